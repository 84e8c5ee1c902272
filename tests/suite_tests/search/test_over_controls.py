"""J of several tuning tasks by hand, and a search over (task, seed) pairs."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState

import suite
from suite import search
from suite.cli import main
from suite.errors import UserError
from suite.search import over_controls
from suite.search.over_controls import Control
from suite.search.sweep import Sweep, parse
from suite.store import records
from suite.store.records import FinishedRecord

PLUGINS = Path(__file__).parents[2] / "plugins"
TASKS = ("gaussian-tune-v1", "decoys-tune-v1")
CONTROLS = "gaussian-tune-v1=0.01/0.02,decoys-tune-v1=0.005/-"
SPACE = {"temperature": {"values": [3.0, 0.5]}}


@pytest.fixture(scope="module", autouse=True)
def _same_draws() -> Iterator[None]:
    """What is drawn depends on the file, so on the plug-in's path: it is relative, the same in every checkout."""
    with contextlib.chdir(PLUGINS):
        yield


def made(**settings: Any) -> Sweep:
    constants = {"task": ",".join(TASKS), "baseline": "tuned.py:run", "seeds": 2, "budget": 20}
    given = {name: {"value": value} for name, value in ({**constants, "controls": CONTROLS} | settings).items()}
    metric = {"name": "over_controls", "goal": "maximize"}
    return parse({"program": "suite", "method": "random", "metric": metric, "parameters": given | SPACE})


@pytest.mark.parametrize(
    ("rate", "expected"), [(1e-2, 0.0), (1e-1, 1.0), (1e-3, -1.0), (1.0, 2.0), (1e-9, -2.0), (0.0, -2.0)]
)
def test_a_ratio_counts_by_its_logarithm_up_to_a_hundred(rate: float, expected: float) -> None:
    assert over_controls.clipped(rate, 1e-2) == pytest.approx(expected)


def test_j_by_hand() -> None:
    """Task one: u = 1, 1, 1, −2: mean ¼, lowest quarter −2, half of each −0.875, variance 2.25.

    Task two: u = 0, 2: mean 1, the lowest of two 0, so 0.5; variance 2. J = −0.1875, SE = √(2.25/4 + 2/2) / 2 = 0.625.
    """
    score = over_controls.score([[1.0, 1.0, -2.0, 1.0], [2.0, 0.0]])
    assert score == pytest.approx((-0.1875, 0.625))
    assert score.lower == pytest.approx(-0.8125)


def test_the_lowest_quarter_of_eight_seeds_is_two() -> None:
    """0 … 7: mean 3.5, the lowest two 0.5."""
    assert over_controls.score([[float(u) for u in range(8)]]).j == pytest.approx(2.0)


def test_controls_are_read_and_written_as_text() -> None:
    assert over_controls.controls(" a-v1=0.1/0.2, b.py:B=1e-3/- ") == {
        "a-v1": Control(0.1, 0.2),
        "b.py:B": Control(1e-3, None),
    }
    assert over_controls.text_of({"a-v1": Control(0.1, 0.2), "b": Control(1e-3, None)}) == "a-v1=0.1/0.2,b=0.001/-"


@pytest.mark.parametrize("text", ["a-v1", "a-v1=0.1", "a-v1=x/0.1", "a-v1=0/0.1", "a-v1=0.1/nan", "=0.1/0.1"])
def test_controls_of_another_form_are_one_line(text: str) -> None:
    with pytest.raises(UserError, match="is not TASK=SUCCESS_RATE/POSTERIOR_MATCH with rates above 0, such as"):
        over_controls.controls(text)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"controls": "gaussian-tune-v1=0.01/0.02"}, "needs the best control on decoys-tune-v1: add it to `controls`"),
        ({"task": "gaussian-tune-v1,gaussian-tune-v1"}, "tuned on gaussian-tune-v1 and named twice"),
        ({"report_tasks": "decoys-tune-v1"}, "tuned on decoys-tune-v1 and reported on it too"),
        ({"task": "gaussian-tune-v1,no-such-v1"}, "no-such-v1"),
        ({"task.scale": 1}, "fields of a task's config go with one task, not several"),
    ],
)
def test_what_does_not_go_together_is_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        made(**settings)


def test_a_metric_of_one_task_is_refused_for_several() -> None:
    content = made().content | {"metric": {"name": "success_rate", "goal": "maximize"}}
    with pytest.raises(UserError, match="metric success_rate is of one task, and 2 are tuned on; write over_controls"):
        parse(content)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Path, Any]:
    """Trials of two temperatures on two tasks with two seeds; nothing is pruned."""
    folder = tmp_path_factory.mktemp("searched")
    sweep = made(p_threshold=0)
    return sweep, folder, search.tune(sweep, trials=6, results=folder)


def u_of(record: FinishedRecord) -> float:
    """By the definition, from what the record says."""
    last = record.result.curve[-1]
    assert last.success_rate is not None
    if record.identity.task.id == "decoys-tune-v1":
        return max(-2, min(2, math.log10(last.success_rate / 0.005)))
    assert last.posterior_match is not None
    ratios = (last.success_rate / 0.01, last.posterior_match.value / 0.02)
    return sum(max(-2, min(2, math.log10(ratio))) for ratio in ratios) / 2


def test_the_steps_of_a_trial_are_its_pairs_of_task_and_seed(searched: tuple[Sweep, Path, Any]) -> None:
    _, folder, study = searched
    found = {record.cell: record for record in records.finished(records.scan(folder)[0])}
    for trial in study.trials:
        ran = [found[cell] for cell in trial.user_attrs["spent"]]
        pairs = [(task, seed) for seed in (1000, 1001) for task in TASKS]
        assert [(record.identity.task.id, record.seed) for record in ran] == pairs
        assert trial.intermediate_values == pytest.approx({2000 + i: u_of(record) for i, record in enumerate(ran)})
        by_task = [[u_of(record) for record in ran if record.identity.task.id == task] for task in TASKS]
        j = sum(sum(u) / 4 + min(u) / 2 for u in by_task) / 2
        variance = sum((u[0] - u[1]) ** 2 / 2 / 2 for u in by_task)
        assert trial.values == [pytest.approx(j - math.sqrt(variance) / 2)]


def test_the_winner_says_all_tasks_and_what_they_cost(searched: tuple[Sweep, Path, Any]) -> None:
    sweep, folder, study = searched
    best = search.best(sweep, study, folder)
    assert best["temperature"] == 3.0  # 0.5 writes the prior's bulk, where nothing succeeds
    tuning = best["tuning"]
    assert tuning["task"] == "gaussian-tune-v1,decoys-tune-v1"
    assert tuning["nre"] == 2 * 2 * 2 * 20  # two temperatures, two tasks, two seeds, 20 evaluations
    assert tuning["metrics"]["over_controls"] == max(trial.values[0] for trial in study.trials)
    assert sweep.study.startswith(f"{sweep.cell.baseline}-gaussian-tune-v1+1-".replace("/", "-"))


def test_a_configuration_that_raises_has_failed_and_the_search_goes_on(tmp_path: Path) -> None:
    content = made(seeds=1).content
    content["parameters"] |= {"broken": {"values": [False, True]}}
    study = search.tune(parse(content), trials=5, results=tmp_path)
    failed = [trial for trial in study.trials if trial.state == TrialState.FAIL]
    assert failed
    assert failed[0].user_attrs["error"] == "gaussian-tune-v1 seed 1000: RuntimeError: broken on purpose"
    assert len(failed) < len(study.trials) == 5


def test_sweep_init_takes_the_best_controls_from_their_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The best median over seeds of each column, and `suite trial` logs what `suite sweep` compares."""
    ran = [
        suite.run("gaussian-tune-v1", name, seed=seed, results=tmp_path, tracking="off", budget=20)
        for name in ("uniform", "temperature")
        for seed in range(2)
    ]
    rates = [record.final.success_rate for record in ran]
    matches = [record.final.posterior_match.value for record in ran]
    best = [max(sum(column[:2]) / 2, sum(column[2:]) / 2) for column in (rates, matches)]
    words = ["sweep-init", "--task", "gaussian-tune-v1", "--baseline", "tail", "--metric", "over_controls"]
    assert main([*words, "--controls", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    content = yaml.safe_load(text)
    assert content["parameters"]["controls"]["value"] == f"gaussian-tune-v1={best[0]:.4g}/{best[1]:.4g}"
    command = text.splitlines()[0].removeprefix("# Made by `suite ").removesuffix("`.")
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == text
    given = {name: p["value"] for name, p in content["parameters"].items() if "value" in p} | {"seeds": 2, "budget": 20}
    (tmp_path / "given.json").write_text(json.dumps(given | {"baseline": "uniform", "controls": CONTROLS}))
    assert main(["trial", "--config", str(tmp_path / "given.json"), f"--results={tmp_path}", "--tracking=off"]) == 0
    logged = json.loads(capsys.readouterr().out)
    assert {"success_rate", "over_controls", "J", "SE"} <= logged.keys()
    assert logged["over_controls"] == pytest.approx(logged["J"] - logged["SE"])


def test_a_task_without_runs_of_controls_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no control with a success on gaussian-tune-v1 is there; run `suite bench"):
        over_controls.best_controls([], ["gaussian-tune-v1"])
