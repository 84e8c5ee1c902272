"""W&B's side of a sweep: a real `wandb agent` on a server on loopback, and W&B's own Optuna scheduler."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from wandb.sdk.sweeps.scheduler.optuna import build_optuna_optimizer
from wandb.sdk.sweeps.sweep_info import SweepInfo

from suite import cli, search
from suite.search.sweep import NAMES, parse
from suite.store import records
from tests.wandb_server import SweepServer, serving

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
WANDB = str(BIN / "wandb")


def environment(server: SweepServer, home: Path) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "SUITE"))}
    account = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40, "WANDB_ENTITY": "me", "WANDB_PROJECT": "mine"}
    return plain | account | {"HOME": str(home)}


def agent(server: SweepServer, folder: Path, path: str, mode: str = "offline") -> subprocess.CompletedProcess[str]:
    """`wandb agent` in `folder`, its children tracked by `mode`, with `path` as PATH."""
    env = environment(server, folder) | {"PATH": path, "WANDB_MODE": mode}
    command = [WANDB, "agent", server.id]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=280, check=False)


def committed() -> tuple[dict[str, Any], dict[str, Any]]:
    """The committed small sweep of gaussian-tune-v1, and the constants that it hands to every trial."""
    content = yaml.safe_load((ROOT / "sweeps" / "gaussian" / "banel-small.yaml").read_text())
    return content, {name: p["value"] for name, p in content["parameters"].items() if "value" in p}


@pytest.mark.server
@pytest.mark.timeout(300)
def test_an_agent_runs_three_trials_of_a_committed_sweep_from_any_folder(tmp_path: Path) -> None:
    content, constants = committed()
    searched = {"filter_factor": 4.0, "failure_lr": 1e-3, "distil_lr": 1e-3, "distil_epochs": 1}
    trials = {f"trial{e}": constants | {"seeds": 1} | searched | {"epochs": e, "reset": e == 2} for e in (1, 2, 3)}
    with serving(SweepServer(content, trials)) as server:
        done = agent(server, tmp_path, f"{BIN}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    found, broken = records.scan(tmp_path / "results")
    assert not broken
    ran = {r.meta.sweep.trial: r for r in found}
    assert ran.keys() == trials.keys()
    for name, record in ran.items():
        config = record.identity.baseline.config
        assert record.meta.sweep.study == SweepServer.id
        assert {field: config[field] for field in trials[name].keys() - set(NAMES)} == {
            field: value for field, value in trials[name].items() if field not in NAMES
        }
        assert (record.task, record.seed, record.identity.budget) == ("gaussian-tune-v1", 1000, constants["budget"])
    for name in trials:
        assert len(list((tmp_path / "results" / "trials" / name / "wandb").glob("offline-run-*"))) == 1


@pytest.mark.server
@pytest.mark.timeout(120)
def test_an_agent_without_the_project_says_what_is_missing(tmp_path: Path) -> None:
    """As docs/sweeps.md says: three tries, and an exit code that is W&B's and not ours."""
    content, constants = committed()
    with serving(SweepServer(content, {f"trial{i}": constants for i in range(8)})) as server:
        done = agent(server, tmp_path, "/usr/bin:/bin")
    assert len(re.findall("suite.{1,3}: No such file or directory", done.stderr)) == 3  # quotes differ between locales
    assert "Detected 3 failed runs in the first 60 seconds, shutting down" in done.stderr
    assert done.returncode == 0
    assert not (tmp_path / "results").exists()


def test_wandbs_optuna_scheduler_asks_this_suites_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through wandb's own loader of `scheduler.source` and `scheduler.optimizer`."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("SUITE_STORAGE", raising=False)
    content = yaml.safe_load((ROOT / "sweeps" / "addition" / "banel-scheduler.yaml").read_text())
    optimizer = build_optuna_optimizer(SweepInfo("s1", "s", "me", "mine", content, "controller"))
    assert optimizer.study.study_name == "wandb-s1"
    assert isinstance(optimizer.study.pruner, optuna.pruners.NopPruner)
    optimizer.validate_sweep_objective()
    first, second = (run.config.flat_dict() for run in optimizer.ask_n_runs(2))
    # The first is the shipped default, read off baselines/banel.py by its config class; the constants come along.
    from baselines.banel import Config

    assert first["epochs"] == Config().epochs
    assert first["filter_factor"] == Config().filter_factor
    assert (first["task"], first["seeds"], first["baseline"]) == ("addition-tune-v1", 4, "banel")
    assert second["filter_factor"] != first["filter_factor"]


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(400)
def test_wandbs_scheduler_makes_the_study_of_suite_sweep_also_after_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`wandb sweep-scheduler` and `wandb agent`: two trials, and a third after both were started again.

    The sweep is stopped when the scheduler has proposed the third: it waits on the server, and the scheduler that is
    started next takes it up.
    """
    content, _ = committed()
    scheduler = {"engine": "optuna", "source": "suite/search/scheduler.py", "optimizer": "study"}
    content |= {"method": "custom", "scheduler": scheduler}
    url = f"sqlite:///{tmp_path / 'studies.sqlite'}"
    with serving(SweepServer(content, {}, enough=2)) as server:
        env = environment(server, tmp_path) | {"SUITE_STORAGE": url, "WANDB_DIR": str(tmp_path)}
        command = [WANDB, "sweep-scheduler", f"me/mine/{server.id}", "--batch-size", "1", "--poll-interval", "0.2"]
        for server.enough in (2, 3):
            server.state = "RUNNING"
            with subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            ) as started:
                ran = agent(server, tmp_path, f"{BIN}:/usr/bin:/bin", mode="online")
                said, _ = started.communicate(timeout=60)
            assert (ran.returncode, started.returncode) == (0, 0), ran.stderr + said.decode()
    assert server.exited == {"run0": 0, "run1": 0, "run2": 0}

    sweep = parse(content)
    expected = search.tune(sweep, trials=3, results=tmp_path / "alone", tracking="off").trials
    made = optuna.load_study(study_name=f"wandb-{server.id}", storage=url).trials
    assert [sweep.from_optuna(trial.params) for trial in made[:3]] == [
        sweep.from_optuna(trial.params) for trial in expected
    ]
    assert [trial.values for trial in made[:3]] == [trial.values for trial in expected]
    assert [trial.state.name for trial in made[3:]] == ["RUNNING"], (
        "the run that waits for an agent, and no trial twice"
    )

    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    words = [file, "--storage", url, "--study", f"wandb-{server.id}", "--results", tmp_path / "results"]
    assert cli.main(["sweep-best", *map(str, words)]) == 0
    tuning = json.loads(capsys.readouterr().out)["tuning"]
    assert (tuning["nre"], tuning["cut_off"]) == (3 * 2 * 500, 0)  # three trials of two seeds of 500 evaluations
