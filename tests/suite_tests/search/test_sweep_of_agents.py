"""`suite sweep-best` on sweeps that W&B's agents ran: the winner and the whole cost, or an error, and never a zero.

The trials run in this process as an agent starts them: `suite trial --config ARGS.json` with its variables set.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.sweeps.run_state import RunState
from wandb.sdk.sweeps.scheduler.optimizer import Run, RunConfig, RunWithMetrics
from wandb.sdk.sweeps.scheduler.optuna import build_optuna_optimizer
from wandb.sdk.sweeps.sweep_info import SweepInfo

from suite import cli
from suite.store import records
from suite.store.schema import StudyTrial

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
BUDGET, SEEDS, DRAWS = 20, 2, 10_000
CELL = {"nre": BUDGET, "heldout": 2 * DRAWS}
"""What a finished cell costs: its budget, and the prior and the last policy by 10,000 samples each."""


@pytest.fixture
def sweep(plugin: Callable[[str], str], tmp_path: Path) -> Path:
    """A sweep file for W&B's Optuna scheduler over tests/plugins/tuned.py."""
    constants = {"task": "gaussian-v1", "baseline": plugin("tuned.py:run"), "seeds": SEEDS, "budget": BUDGET}
    content = {
        "program": "suite",
        "method": "custom",
        "metric": {"name": "success_rate", "goal": "maximize"},
        "scheduler": {"engine": "optuna", "source": "suite/search/scheduler.py", "optimizer": "study"},
        "parameters": {
            **{name: {"value": value} for name, value in constants.items()},
            "temperature": {"distribution": "log_uniform_values", "min": 0.5, "max": 10.0},
            "broken": {"values": [False, True]},
        },
    }
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def agent(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a trial of the W&B sweep `abc` in a results folder; its exit code."""
    constants = {n: p["value"] for n, p in yaml.safe_load(sweep.read_text())["parameters"].items() if "value" in p}

    def run(name: str, values: Mapping[str, object], results: Path | None = None, id: str = "abc") -> int:
        args = tmp_path / "args.json"
        args.write_text(json.dumps(constants | {"broken": False} | dict(values)))
        with monkeypatch.context() as patch:
            patch.setenv("WANDB_SWEEP_ID", id)
            patch.setenv("WANDB_RUN_ID", name)
            words = ["trial", "--config", str(args), "--tracking", "off"]
            return cli.main([*words, "--results", str(results or tmp_path / "results")])

    return run


def best(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, Any], str]:
    """What `suite sweep-best` prints: the configuration, and its lines on stderr."""
    capsys.readouterr()
    assert cli.main(["sweep-best", *words]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert cli.main(["sweep-best", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def rate(results: Path, temperature: float) -> float:
    """The geometric mean of the final rates of a configuration, from its records."""
    found = records.scan(results)[0]
    of = [r for r in found if r.identity.baseline.config["temperature"] == temperature and r.final]
    return math.prod(r.final.success_rate for r in of if r.final) ** (1 / len(of))


def test_a_study_of_wandbs_scheduler_is_counted_from_the_records_of_its_trials(
    sweep: Path,
    agent: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two trials that complete and one whose first seed fails, through wandb's own optimizer."""
    results, url = tmp_path / "results", f"sqlite:///{tmp_path / 'sched.sqlite'}"
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SUITE_STORAGE", url)
    content = yaml.safe_load(sweep.read_text())
    optimizer = build_optuna_optimizer(SweepInfo("abc", "s", "me", "mine", content, "controller"))
    runs = optimizer.ask_n_runs(1)  # the shipped defaults
    optimizer.study.enqueue_trial({"temperature": 5.0, "broken": False})
    optimizer.study.enqueue_trial({"temperature": 2.0, "broken": True})
    for run in [*runs, *optimizer.ask_n_runs(2)]:
        given = run.config.flat_dict()
        failed = agent(f"run{run.run_id}", given)
        values = {} if failed else {"success_rate": rate(results, given["temperature"])}
        state = RunState.FAILED if failed else RunState.FINISHED
        optimizer.tell_run(run.run_id, RunWithMetrics(RunConfig.from_values(given), state, "w", values, []))
    words = [str(sweep), "--storage", url, "--study", "wandb-abc", "--results"]
    found, _ = best(capsys, *words, str(results))
    tuning = found.pop("tuning")
    # two trials of two whole cells; the third's first seed spent its budget, measured the prior, and raised
    assert {name: tuning[name] for name in CELL} == {"nre": 5 * BUDGET, "heldout": (4 * 2 + 1) * DRAWS}
    assert tuning["cut_off"] == 0
    assert found["temperature"] == max((3.0, 5.0), key=lambda temperature: rate(results, temperature))
    assert found.keys() == {"temperature", "broken"}, "W&B's constants are no fields of the method"

    assert "unknown; give --results the folder that its agent wrote to" in refused(capsys, *words, str(tmp_path))


def test_a_scheduler_that_starts_again_begins_its_study_anew(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `wandb sweep-scheduler` does: it tells the runs that have finished, then those that are under way."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SUITE_STORAGE", f"sqlite:///{tmp_path / 'sched.sqlite'}")
    info = SweepInfo("abc", "s", "me", "mine", yaml.safe_load(sweep.read_text()), "controller")
    first, second = build_optuna_optimizer(info).ask_n_runs(2)
    assert (first.config.flat_dict()["temperature"], first.config.flat_dict()["broken"]) == (3.0, False)  # Config()

    again = build_optuna_optimizer(info)
    again.tell_existing_finished_run(RunWithMetrics(first.config, RunState.FINISHED, "w", {"success_rate": 0.5}, []))
    adopted = again.tell_existing_active_run(Run(second.config, RunState.RUNNING, "x"))
    (third,) = again.ask_n_runs(1)
    assert (adopted, third.run_id) == ("1", "2")
    trials = again.study.trials
    assert [trial.params for trial in trials[:2]] == [first.config.flat_dict(), second.config.flat_dict()]
    assert trials[2].params["temperature"] not in (3.0, trials[1].params["temperature"])
    assert [trial.values for trial in trials] == [[0.5], None, None]


def test_a_sweep_of_plain_agents_has_a_winner_and_its_cost(
    sweep: Path, agent: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    assert agent("one", {"temperature": 5.0}) == 0
    assert agent("two", {"temperature": 3.0}) == 0
    assert agent("twin", {"temperature": 3.0}) == 0  # the same cells, paid once
    assert agent("bad", {"temperature": 2.0, "broken": True}) == 1
    assert agent("other", {"temperature": 9.0}, id="xyz") == 0
    found, said = best(capsys, str(sweep), "--wandb-sweep", "me/mine/abc", "--results", str(results))
    winner = max((3.0, 5.0), key=lambda temperature: rate(results, temperature))
    assert found["temperature"] == winner
    tuning = found["tuning"]
    assert (tuning["nre"], tuning["heldout"], tuning["cut_off"]) == (5 * BUDGET, (4 * 2 + 1) * DRAWS, 0)
    assert (tuning["study"], tuning["trials"]) == ("abc", 3)
    assert tuning["winner"] == {3.0: "two", 5.0: "one"}[winner]
    assert tuning["metrics"] == {"success_rate": pytest.approx(rate(results, winner))}
    assert tuning["defaults_won"] is (winner == 3.0)
    assert said == ""


@pytest.mark.parametrize("killed", [0, 1])
def test_an_agents_trial_that_was_killed_is_counted_as_far_as_is_known(
    killed: int,
    sweep: Path,
    agent: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed after the last measurement and before the record of its first or its second seed.

    The prior's measurement and the last one stand in the ledger, so both are counted.
    """
    results = tmp_path / "results"
    assert agent("one", {"temperature": 5.0}) == 0
    write, left = records.write, [killed]

    def dies(record: records.Record) -> None:
        if not left[0]:
            raise SystemExit
        left[0] -= 1
        write(record)

    with monkeypatch.context() as patch:
        patch.setattr("suite.store.records.write", dies)
        with pytest.raises(SystemExit):
            agent("two", {"temperature": 3.0})
    found, said = best(capsys, str(sweep), "--wandb-sweep", "abc", "--results", str(results))
    assert found["temperature"] == 5.0
    tuning = found["tuning"]
    assert tuning["nre"] == (2 + killed + 1) * BUDGET
    assert tuning["heldout"] == ((2 + killed) * 2 + 2) * DRAWS
    assert tuning["cut_off"] == 1
    assert "cells that were cut off before their record: 1;" in said
    assert "lower bound" in said


def test_what_is_no_sweep_of_agents_is_one_line(
    sweep: Path, agent: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    assert agent("bad", {"temperature": 2.0, "broken": True}) == 1
    words = ["--results", str(results), "--wandb-sweep"]
    assert "no trial of a W&B sweep abd below" in refused(capsys, str(sweep), *words, "abd")
    assert "did you mean 'abc'?" in refused(capsys, str(sweep), *words, "abd")
    assert "has finished all its 2 seeds" in refused(capsys, str(sweep), *words, "abc")
    assert "leave out --storage and --study" in refused(capsys, str(sweep), *words, "abc", "--study", "mine")
    content = yaml.safe_load(sweep.read_text())
    content["parameters"]["budget"]["value"] = 30
    sweep.write_text(yaml.safe_dump(content))
    assert "are not what this file runs" in refused(capsys, str(sweep), *words, "abc")
    other = ROOT / "sweeps" / "gaussian" / "banel.yaml"
    assert "no field 'distil_epochs': give its own file" in refused(capsys, str(other), *words, "abc")
    shutil.rmtree(results)
    assert "no trial of a W&B sweep abc below" in refused(capsys, str(sweep), *words, "abc")


def test_a_trial_by_hand_is_of_no_study(
    sweep: Path, agent: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert agent("one", {"temperature": 5.0, "seeds": 1}) == 0
    assert agent("", {"temperature": 6.0, "seeds": 1}, id="") == 0
    found = {r.identity.baseline.config["temperature"]: r.meta.sweep for r in records.scan(tmp_path / "results")[0]}
    assert found == {5.0: StudyTrial(study="abc", trial="one"), 6.0: None}
