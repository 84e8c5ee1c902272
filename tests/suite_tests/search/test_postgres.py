"""Processes that share one study in a real PostgreSQL, one of them killed in the middle of a trial."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from suite.errors import StorageError
from suite.search import loop
from suite.search import study as studies
from suite.search import sweep as sweeps
from suite.store import records
from tests.wandb_runs import equal_to_the_study, logged

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

METHOD = '''"""Yields the prior; the tenth process here to run a trial notes its id and waits to be killed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from suite.config import setting, tunable
from suite.policy import Round


@dataclass(frozen=True)
class Config:
    nothing: float = tunable(0.5, 0.0, 1.0)
    notes: str = setting("")


def run(config: Config, prior, oracle, rng):
    oracle.collect(prior, 10)
    with Path(config.notes, "begun").open("a") as file:
        file.write("x")
        file.flush()
        if file.tell() == 10:
            Path(config.notes, "victim").write_text(str(os.getpid()))
            time.sleep(600)
    oracle.collect(prior, 10)
    yield Round(prior, {})
'''

BEGIN = "    oracle.collect(prior, 10)\n    with"
BOTH_ARE_THERE = """    import platform

    Path(config.notes, f"host {platform.node()}").touch()
    while len(list(Path(config.notes).glob("host *"))) < 2:
        time.sleep(0.05)
"""
"""Before the first trial of a machine begins, so that each runs some of them."""

PROCESSES, TRIALS = 4, 100


@pytest.fixture
def sweep(tmp_path: Path, plugin: object) -> Path:
    """A sweep file over a task of 64 codes, one seed of 20 evaluations a trial."""
    (tmp_path / "method.py").write_text(METHOD)
    constants = {
        "task": plugin("toys.py:Codes"),  # type: ignore[operator]
        "baseline": f"{tmp_path}/method.py:run",
        "notes": str(tmp_path),
        "seeds": 1,
        "budget": 20,
    }
    content = {
        "method": "random",
        "metric": {"name": "success_rate", "goal": "maximize"},
        "parameters": {name: {"value": value} for name, value in constants.items()}
        | {"nothing": {"min": 0.0, "max": 1.0}},
    }
    path = tmp_path / "sweep.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def test_one_study_of_four_processes_outlives_one(
    sweep: Path, postgres: str, tmp_path: Path, charged: Callable[[Path], int]
) -> None:
    results, victim = tmp_path / "results", tmp_path / "victim"
    command = [
        sys.executable, "-m", "suite", "sweep", str(sweep), f"--trials={TRIALS}", f"--storage={postgres}",
        f"--results={results}", "--heartbeat=2", "--quiet",
    ]  # fmt: skip
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    while not (victim.exists() and victim.read_text()):
        for process in started:
            assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    killed = int(victim.read_text())
    os.kill(killed, signal.SIGKILL)
    for process in started:
        _, err = process.communicate(timeout=200)
        assert process.returncode == (-signal.SIGKILL if process.pid == killed else 0), err
    assert killed in {process.pid for process in started}

    (name,) = optuna.get_all_study_names(postgres)
    trials = optuna.load_study(study_name=name, storage=studies.connect(postgres)).trials
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(finished) == TRIALS
    # those that lost the race for the last places failed before they drew a value; two processes may find the same
    # stale trial and enqueue it again, of which one is surplus
    with studies.stable():
        retried = {trial.number: RetryHeartbeatStaleTrialCallback.retried_trial_number(trial) for trial in trials}
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    (lost,) = [trial for trial in failed if trial.params and retried[trial.number] is None]
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.FAIL}
    assert len(failed) <= 1 + 3 * PROCESSES  # no process begins trials that are surplus one after the other
    (again,) = [trial for trial in finished if retried[trial.number] == lost.number]
    assert again.params == lost.params

    found, broken = records.scan(results)
    assert not broken
    ran = [cell for trial in finished for cell in trial.user_attrs["spent"]]
    assert sorted(record.cell for record in found) == sorted(ran)  # each trial's cell is there, and no other
    assert len(set(ran)) == TRIALS
    assert all(record.status == "finished" and record.result.nre == charged(record.folder) == 20 for record in found)
    assert len((tmp_path / "begun").read_text()) == TRIALS + 1  # the lost one was begun twice, no other


def test_a_server_that_goes_away_is_one_line(sweep: Path, tmp_path: Path, postgres: str) -> None:
    """After the first trial no connection is let in any more; when they are again, the search goes on."""
    url = sqlalchemy.engine.make_url(studies.POSTGRESQL + postgres.partition("://")[2])
    admin = sqlalchemy.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")

    def allow(connections: bool) -> None:
        with admin.connect() as connection:
            connection.execute(sqlalchemy.text(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS {connections}"))
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
            connection.execute(sqlalchemy.text(query), {"name": url.database})

    made = sweeps.read(sweep)

    def shut(done: loop.TrialDone) -> None:
        if done.trial is not None:
            allow(False)

    with pytest.raises(StorageError, match=r"^--storage postgresql.* was lost: .* goes on from here$"):
        loop.tune(made, trials=4, url=postgres, results=tmp_path / "r", progress=shut)
    allow(True)
    study = loop.tune(made, trials=4, url=postgres, results=tmp_path / "r")
    assert sum(studies.ended(trial) for trial in study.get_trials()) == 4


def test_a_server_that_is_restarted_in_the_middle_of_a_study_loses_no_trial(
    sweep: Path, postgres_server: Any, tmp_path: Path, charged: Callable[[Path], int]
) -> None:
    """It crashes after the second of four trials; the same call goes on from there."""
    url = postgres_server("restarted")
    made = sweeps.read(sweep)
    ended = 0

    def crash(done: loop.TrialDone) -> None:
        nonlocal ended
        ended += done.trial is not None
        if ended == 2:
            postgres_server.stop()

    with pytest.raises(StorageError, match=r"^--storage postgresql.* was lost: .* goes on from here$"):
        loop.tune(made, trials=4, url=url, results=tmp_path / "r", progress=crash)
    postgres_server.start()
    study = loop.tune(made, trials=4, url=url, results=tmp_path / "r")
    trials = [trial for trial in study.get_trials() if trial.state == TrialState.COMPLETE]
    found, broken = records.scan(tmp_path / "r")
    assert not broken
    assert len(trials) == 4
    assert {cell for trial in trials for cell in trial.user_attrs["spent"]} == {record.cell for record in found}
    assert sum(charged(record.folder) for record in found) == 4 * 20  # nothing was paid for twice
    assert len((tmp_path / "begun").read_text()) == 4


def test_processes_of_one_study_make_one_run_a_trial_and_one_of_the_study(
    sweep: Path, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes, tracked offline; the one that writes the run of the study is killed on the way."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    (tmp_path / "begun").write_text("x" * 10)  # the method kills none here
    results, trials = tmp_path / "results", 12
    command = [
        sys.executable, "-m", "suite", "sweep", str(sweep), f"--trials={trials}", f"--storage={postgres}",
        f"--results={results}", "--heartbeat=1", "--tracking=offline",
    ]  # fmt: skip
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started = {process.pid: process for process in [subprocess.Popen(command, **output) for _ in range(3)]}
    study = None
    while study is None or not (study.user_attrs.get("mirrored_by") and sum(map(studies.ended, study.trials)) >= 4):
        assert all(process.poll() is None for process in started.values()), [
            p.communicate()[0] for p in started.values()
        ]
        time.sleep(0.05)
        with contextlib.suppress(Exception):  # the tables, or the study, are not there yet
            (name,) = optuna.get_all_study_names(postgres)
            study = optuna.load_study(study_name=name, storage=postgres)
    killed = study.user_attrs["mirrored_by"][3]
    os.kill(killed, signal.SIGKILL)
    for pid, process in started.items():
        said, _ = process.communicate(timeout=200)
        assert process.returncode == (-signal.SIGKILL if pid == killed else 0), said

    ended = [trial for trial in study.trials if studies.ended(trial)]
    runs, (of_study,) = logged(results)
    assert len(runs) == len(ended) == trials
    equal_to_the_study(runs, ended, study.study_name)
    assert sorted(row["trial"] for row in of_study.history) == [trial.number for trial in ended]
    assert of_study.exit_code == 0
    assert of_study.summary["trials ended"] == trials


@pytest.mark.parametrize("killed", [False, True])
def test_two_machines_make_one_run_a_trial_and_one_of_the_study(
    killed: bool, sweep: Path, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two host names, two results folders, one database; the one that writes the study's run may be killed."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    (tmp_path / "begun").write_text("x" * 10)  # the method kills none here
    (tmp_path / "method.py").write_text(METHOD.replace(BEGIN, BOTH_ARE_THERE + BEGIN))
    trials = 8
    options = [str(sweep), f"--trials={trials}", f"--storage={postgres}", "--heartbeat=2", "--tracking=offline"]
    started: dict[str, subprocess.Popen[str]] = {}
    for host in ("one", "two"):
        program = (
            f"import platform; platform.node = lambda: {host!r}; from suite import cli; raise SystemExit(cli.main())"
        )
        command = [sys.executable, "-c", program, "sweep", *options, f"--results={tmp_path / host}"]
        started[host] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    victim = None
    while killed and victim is None:
        assert all(process.poll() is None for process in started.values())
        time.sleep(0.05)
        with contextlib.suppress(Exception):  # the tables, the study or its writer are not there yet
            (name,) = optuna.get_all_study_names(postgres)
            study = optuna.load_study(study_name=name, storage=postgres)
            host = study.user_attrs["mirrored_by"][2]
            if any(studies.ended(trial) for trial in study.trials if trial.user_attrs.get("host") == host):
                victim = started[host]
                victim.kill()
    for process in started.values():
        said, _ = process.communicate(timeout=200)
        assert process.returncode == (-signal.SIGKILL if process is victim else 0), said

    (name,) = optuna.get_all_study_names(postgres)
    found = optuna.load_study(study_name=name, storage=postgres)
    ended = [trial for trial in found.trials if studies.ended(trial)]
    runs, (of_study,) = logged(*(tmp_path / host for host in started))
    assert len(ended) == trials
    equal_to_the_study(runs, ended, name)
    assert {trial.user_attrs["host"] for trial in ended} == {"one", "two"}
    assert sorted(row["trial"] for row in of_study.history) == [trial.number for trial in ended]
    assert of_study.summary["trials ended"] == trials
