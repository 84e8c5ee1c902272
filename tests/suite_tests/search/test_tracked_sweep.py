"""What a search leaves for W&B, read back by `wandb leet inspect --json` and held against Optuna's study."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from suite import cli, search
from suite.errors import UserError
from suite.search import mirror
from suite.search.sweep import Sweep, parse
from suite.store import records
from suite.tracking import sync
from tests.wandb_runs import equal_to_the_study, logged

pytestmark = pytest.mark.slow

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No W&B variable of whoever runs the tests, and none of their credentials."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A sweep of the temperature and of whether the method breaks; three seeds, of which two prune.

    The method's path is relative, since what is drawn depends on the content: it is the same in every checkout.
    """
    monkeypatch.chdir(PLUGINS)
    constants = {"task": "gaussian-v1", "baseline": "tuned.py:run", "seeds": 3, "budget": 20}
    space: dict[str, Any] = {"temperature": {"distribution": "log_uniform_values", "min": 0.5, "max": 10.0}}
    return {
        "program": "suite",
        "method": "random",
        "metric": {"name": "success_rate", "goal": "maximize"},
        "parameters": {name: {"value": value} for name, value in constants.items()} | space,
    }


def made(content: dict[str, Any], **parameters: Any) -> Sweep:
    given = {name: p if isinstance(p, dict) else {"value": p} for name, p in parameters.items()}
    return parse({**content, "parameters": content["parameters"] | given})


def test_one_trial_is_one_run_and_equal_to_the_study(content: dict[str, Any], tmp_path: Path) -> None:
    sweep = made(content, broken={"values": [False, True]})
    found = search.tune(sweep, trials=7, results=tmp_path, tracking="offline")
    runs, (study,) = logged(tmp_path)
    equal_to_the_study(runs, found.trials, found.study_name)
    assert {run.summary["state"] for run in runs} == {"complete", "pruned", "failed"}
    assert all({"gaussian-v1", sweep.cell.baseline[:64]} <= set(run.run["tags"]) for run in runs)
    assert runs[0].config["seeds"] == 3
    curve = [row for row in runs[0].history if "seed 1000/success_rate" in row]
    by_cell = {record.cell: record for record in records.scan(tmp_path)[0]}
    first = by_cell[runs[0].summary["cells"][0]]
    assert [(row["nre"], row["seed 1000/success_rate"]) for row in curve] == [
        (point.nre, point.success_rate) for point in first.result.curve
    ]
    assert first.meta.sweep.run == runs[0].run["run_id"]
    assert study.run["run_group"] == found.study_name


def test_the_run_of_the_study_has_its_trials_its_best_so_far_its_plots_and_its_files(
    content: dict[str, Any], tmp_path: Path
) -> None:
    sweep = made(content, p_threshold=0)
    found = search.tune(sweep, trials=6, results=tmp_path, tracking="offline")
    _, (study,) = logged(tmp_path)
    values = [trial.values[0] for trial in found.trials]
    assert [row["trial"] for row in study.history] == list(range(6))
    assert [row["best success_rate"] for row in study.history] == [max(values[: i + 1]) for i in range(6)]
    assert [row["spent"] for row in study.history] == [60 * (i + 1) for i in range(6)]  # 3 seeds of 20
    table = json.loads((study.folder / "files" / study.summary["trials"]["path"]).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["success_rate"] for row in rows] == values
    assert [row["temperature"] for row in rows] == [trial.params["temperature"] for trial in found.trials]
    assert {"plots/parallel coordinates", "plots/slice", "plots/timeline"} <= study.summary.keys()
    assert (study.summary["nre"], study.summary["heldout"]) == (360, 6 * 3 * 2 * 10_000)
    (folder,) = (tmp_path / "studies").iterdir()
    best = json.loads((folder / "best.json").read_text())
    assert best == search.best(sweep, found, tmp_path)
    assert yaml.safe_load((folder / "sweep.yaml").read_text()) == sweep.content


def test_an_interrupted_trial_goes_on_as_the_same_run(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suite.cells import runner

    plain, started = runner.run_cell, []

    def interrupted(spec: Any, **options: Any) -> Any:
        started.append(spec)
        if len(started) == 5:  # the second seed of the second trial
            raise KeyboardInterrupt
        return plain(spec, **options)

    sweep = made(content, p_threshold=0)
    with monkeypatch.context() as patch:
        patch.setattr("suite.cells.runner.run_cell", interrupted)
        with pytest.raises(KeyboardInterrupt):
            search.tune(sweep, trials=3, results=tmp_path, tracking="offline")
    runs, (study,) = logged(tmp_path, cut_off=True)
    assert [run.summary["state"] for run in runs] == ["complete", "interrupted"]
    assert [(run.folder / sync.UNFINISHED).exists() for run in [*runs, study]] == [False, True, False]
    assert "success_rate" not in runs[1].summary
    assert study.exit_code == 1
    found = search.tune(sweep, trials=3, results=tmp_path, tracking="offline")
    ids = runs[1].run["run_id"]
    runs, (study,) = logged(tmp_path)
    ended = [trial for trial in found.trials if trial.state != TrialState.FAIL]
    equal_to_the_study(runs, ended, found.study_name)
    (again,) = [run for run in runs if run.run["run_id"] == ids]
    assert (again.config["trial"], again.config["retry_of"]) == (2, 1)
    assert [row["trial"] for row in study.history] == [0, 2, 3]


def workers(pid: int) -> list[int]:
    """The processes that run trials for `suite sweep`: its spawned children."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.server
@pytest.mark.timeout(400)
def test_a_worker_that_is_killed_doubles_nothing(content: dict[str, Any], tmp_path: Path) -> None:
    method = tmp_path / "slow.py"  # so slow that there is time to kill a trial in its middle
    source = (PLUGINS / "tuned.py").read_text()
    slow = source.replace("    oracle.collect", "    time.sleep(0.3)\n    oracle.collect", 1)
    method.write_text(slow.replace("import torch\n", "import time\n\nimport torch\n", 1))
    content["parameters"] |= {"seeds": {"value": 4}, "baseline": {"value": f"{method}:run"}}
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "suite", "sweep", str(file), "--trials", "12", "--jobs", "2", "--heartbeat", "1"]
    command += ["--results", str(tmp_path / "results")]
    url = f"sqlite:///{tmp_path / 'results' / 'studies.sqlite'}"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("[3/12"):
                break
        (study,) = optuna.get_all_study_summaries(url)
        before = len(optuna.load_study(study_name=study.study_name, storage=url).trials)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:  # both workers in the middle of a trial, so whichever is killed
            now = optuna.load_study(study_name=study.study_name, storage=url).trials
            halfway = [t for t in now if t.state == TrialState.RUNNING and t.intermediate_values]
            if len(now) > before and len(halfway) == 2:
                break
        os.kill(workers(process.pid)[0], signal.SIGKILL)
        process.stdout.read()
    assert process.returncode == 0
    trials = optuna.load_study(study_name=study.study_name, storage=url).trials
    killed = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert killed
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    runs, studies = logged(tmp_path / "results")
    assert (len(runs), len(studies)) == (12, 1)
    equal_to_the_study(runs, ended, study.study_name)
    table = json.loads((studies[0].folder / "files" / studies[0].summary["trials"]["path"]).read_text())
    assert len(table["data"]) == len(trials)
    assert sorted(row["trial"] for row in studies[0].history) == [trial.number for trial in ended]


def test_a_broken_wandb_never_ends_a_search(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wandb.init", full)
    monkeypatch.setattr("suite.tracking.trial._TOLD", set())
    found = search.tune(made(content, p_threshold=0, seeds=1), trials=3, results=tmp_path, tracking="offline")
    assert [trial.state for trial in found.trials] == [TrialState.COMPLETE] * 3
    warned = capsys.readouterr().err.splitlines()
    assert len(warned) == 2, warned  # once for the trials, once for the study
    assert all("No space left on device" in line for line in warned)


@pytest.mark.parametrize("elsewhere", [1, 0])
def test_the_run_of_a_study_that_is_whole_on_another_machine_is_not_written_again(
    elsewhere: int, content: dict[str, Any], tmp_path: Path
) -> None:
    """`elsewhere`: how many of the study's trials the other machine's run has; there is one."""
    sweep = made(content, seeds=1)
    found = search.tune(sweep, trials=1, results=tmp_path)
    found.set_user_attr("mirrored", ["another:/results/studies/s", elsewhere])
    place = mirror.Mirror("offline", str(tmp_path / "studies" / "s"), "0a1b2c3d")
    with mirror.Owner(place, sweep, found, tmp_path, patience=100.0) as owner:
        owner.refresh()
    assert len(list((tmp_path / "studies" / "s").glob("wandb/offline-run-*"))) == (elsewhere == 0)


@pytest.mark.parametrize("host", ["another", platform.node()])
def test_an_interrupted_search_leaves_the_run_of_the_study_to_a_machine_that_goes_on(
    host: str, content: dict[str, Any], tmp_path: Path
) -> None:
    sweep = made(content, seeds=1)
    found = search.tune(sweep, trials=1, results=tmp_path)
    found.ask().set_user_attr("host", host)
    place = mirror.Mirror("offline", str(tmp_path / "studies" / "s"), "0a1b2c3d")
    owner = mirror.Owner(place, sweep, found, tmp_path, patience=100.0)
    owner.refresh()
    owner.end(exit_code=1)
    assert len(list((tmp_path / "studies" / "s").glob("wandb/offline-run-*"))) == (host != "another")
    assert found.user_attrs["mirrored_by"] is None
    assert "mirrored" not in found.user_attrs


def test_off_writes_nothing(content: dict[str, Any], tmp_path: Path) -> None:
    search.tune(made(content, seeds=1), trials=1, results=tmp_path)
    assert not (tmp_path / "studies").exists()
    assert not list(tmp_path.rglob("wandb"))


def test_a_study_that_is_tracked_elsewhere_is_bad_input(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = made(content, seeds=1)
    found = search.tune(sweep, trials=1, results=tmp_path, tracking="offline")
    monkeypatch.setenv("WANDB_PROJECT", "other")
    with pytest.raises(UserError, match="is tracked elsewhere, project 'sparse-reward-suite' and not 'other'; set WAN"):
        search.tune(sweep, trials=2, results=tmp_path, tracking="offline")
    assert len(found.get_trials()) == 1


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["--tracking", "sometimes"], {}, "'sometimes' is not one of 'offline', 'online', 'off'"),
        (["--tracking", "online"], {}, "not logged in to W&B; run `wandb login`"),
        ([], {"WANDB_PROJECT": "a/b"}, "WANDB_PROJECT: Invalid project name 'a/b'"),
    ],
)
def test_bad_input_is_one_line_and_nothing_half_made(
    words: list[str],
    environment: dict[str, str],
    said: str,
    content: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    assert cli.main(["sweep", str(file), "--trials", "1", "--results", str(tmp_path / "results"), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_no_secret_is_in_any_file(content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "0123456789" * 4
    monkeypatch.setenv("WANDB_API_KEY", secret)
    url = f"sqlite:///{tmp_path / 's.sqlite'}"
    search.tune(made(content, seeds=1), trials=2, results=tmp_path / "r", url=url, tracking="offline")
    assert [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []


def test_all_processes_of_a_study_have_the_same_ids(content: dict[str, Any], tmp_path: Path) -> None:
    sweep = made(content, seeds=1)
    found = search.tune(sweep, trials=1, results=tmp_path)
    other = search.tune(sweep, trials=1, results=tmp_path)
    assert mirror.token_of(found) == mirror.token_of(other) == found.trials[0].user_attrs["token"]


@pytest.mark.parametrize("alive", [True, False])
def test_the_run_of_the_study_is_taken_over_from_a_process_that_is_gone(
    alive: bool, content: dict[str, Any], tmp_path: Path
) -> None:
    """Even at the end of the search, when there is no time to wait until nothing was heard of it."""
    sweep = made(content, seeds=1)
    found = search.tune(sweep, trials=1, results=tmp_path)
    with subprocess.Popen(["sleep", "600"]) as other:
        if not alive:
            other.kill()
            other.wait()
        found.set_user_attr("mirrored_by", ["0123456789abcdef", time.time(), platform.node(), other.pid])
        place = mirror.Mirror("offline", str(tmp_path / "studies" / "s"), "0a1b2c3d")
        mirror.Owner(place, sweep, found, tmp_path, patience=100.0).end(exit_code=0)
        other.kill()
    assert len(list((tmp_path / "studies" / "s").glob("wandb/offline-run-*"))) == (not alive)


def test_a_process_that_lost_the_run_of_the_study_removes_what_it_wrote(
    content: dict[str, Any], tmp_path: Path
) -> None:
    sweep = made(content, seeds=1)
    found = search.tune(sweep, trials=1, results=tmp_path)
    place = mirror.Mirror("offline", str(tmp_path / "studies" / "s"), "0a1b2c3d")
    with mirror.Owner(place, sweep, found, tmp_path, patience=100.0) as owner:
        owner.refresh()
        found.set_user_attr("mirrored_by", ["0123456789abcdef", time.time(), platform.node(), os.getppid()])
    assert not list((tmp_path / "studies" / "s").glob("wandb/offline-run-*"))


def test_a_process_that_was_silent_for_long_still_writes_the_run_of_the_study(
    content: dict[str, Any], tmp_path: Path
) -> None:
    """A trial of its own may take longer than the patience of others; the folder's lock says that it is there."""
    sweep = made(content, seeds=1)
    found = search.tune(sweep, trials=1, results=tmp_path)
    place = mirror.Mirror("offline", str(tmp_path / "studies" / "s"), "0a1b2c3d")
    first, second = (mirror.Owner(place, sweep, found, tmp_path, patience=0.0) for _ in range(2))
    first.refresh()
    written = list((tmp_path / "studies" / "s" / "wandb").glob("offline-run-*"))
    second.end(exit_code=0)
    assert list((tmp_path / "studies" / "s" / "wandb").glob("offline-run-*")) == written
    first.end(exit_code=0)
    second.end(exit_code=0)  # the first has ended: the second writes the run anew


def test_a_trial_that_is_seen_late_is_one_row_more_and_none_twice(content: dict[str, Any], tmp_path: Path) -> None:
    """Of several processes one may write the end of its trial later than another whose trial ended after it."""
    sweep = made(content, seeds=1)
    found = search.tune(sweep, trials=4, results=tmp_path)
    numbers = [row["trial"] for row in mirror.snapshot(sweep, found).history]
    assert numbers == [0, 1, 2, 3]
    late = mirror.snapshot(sweep, found, logged=[0, 2, 3])
    assert [row["trial"] for row in late.history] == [0, 2, 3, 1]
    values = [found.trials[number].values[0] for number in (0, 2, 3, 1)]
    assert [row["best success_rate"] for row in late.history] == [max(values[: i + 1]) for i in range(4)]


def test_one_process_alone_writes_the_run_of_the_study(content: dict[str, Any], tmp_path: Path) -> None:
    sweep = made(content, seeds=1)
    found = search.tune(sweep, trials=1, results=tmp_path)
    place = mirror.Mirror("offline", str(tmp_path / "studies" / "s"), "0a1b2c3d")
    owners = [mirror.Owner(place, sweep, found, tmp_path, patience=100.0) for _ in range(3)]
    for owner in owners:
        owner.refresh()
    assert len(list((tmp_path / "studies" / "s" / "wandb").glob("offline-run-*"))) == 1
    for owner in owners:
        owner.end(exit_code=0)
