"""W&B's side of a sweep: a real `wandb agent` on a server on loopback, and W&B's own Optuna scheduler."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from wandb.sdk.sweeps.scheduler.optuna import build_optuna_optimizer
from wandb.sdk.sweeps.sweep_info import SweepInfo

from suite.search.sweep import NAMES
from suite.store import records

ROOT = Path(__file__).parents[3]
SWEEP = "swp12345"


class Server:
    """One sweep whose agent gets the configurations one after another, and then is told to exit.

    It speaks what wandb 0.31's agent asks: Viewer, SweepWithRuns, CreateAgent, Heartbeat
    (wandb/apis/public/sweeps.py).
    """

    def __init__(self, config: Mapping[str, Any], trials: Mapping[str, Mapping[str, Any]]) -> None:
        self.config = dict(config)
        self.waiting = list(trials.items())
        self.exited: list[str] = []

    def answer(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The data of one GraphQL call."""
        if "createAgent" in query:
            return {"createAgent": {"agent": {"id": "agent0"}}}
        if "agentHeartbeat" in query:
            commands = self._commands(json.loads(variables["runState"]))
            return {"agentHeartbeat": {"agent": {"id": "agent0"}, "commands": json.dumps(commands)}}
        if "sweepName" in query:
            sweep = {"id": SWEEP, "name": SWEEP, "config": yaml.safe_dump(self.config), "runs": {"edges": []}}
            return {"project": {"sweep": sweep}}
        if "viewer" in query:
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        raise AssertionError(f"the agent asks what this server does not speak: {query}")

    def _commands(self, running: Mapping[str, bool]) -> list[dict[str, Any]]:
        if running:
            return []
        if not self.waiting:
            return [{"type": "exit"}]
        name, config = self.waiting.pop(0)
        args = {key: {"value": value} for key, value in config.items()}
        return [{"type": "run", "run_id": name, "program": self.config["program"], "args": args}]


@contextmanager
def serving(server: Server) -> Iterator[str]:
    """The URL at which `server` answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            data = json.dumps({"data": server.answer(asked["query"], asked.get("variables") or {})}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()


def agent(server: Server, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    """`wandb agent` in `folder`, children offline, with `path` as PATH."""
    wandb = Path(sys.executable).with_name("wandb")
    with serving(server) as url:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "SUITE"))}
        env = plain | {
            "PATH": path,
            "HOME": str(folder),
            "WANDB_BASE_URL": url,
            "WANDB_API_KEY": "0" * 40,
            "WANDB_ENTITY": "me",
            "WANDB_PROJECT": "mine",
            "WANDB_MODE": "offline",
        }
        command = [str(wandb), "agent", SWEEP]
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
    bin_folder = Path(sys.executable).parent
    done = agent(Server(content, trials), tmp_path, f"{bin_folder}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    found, broken = records.scan(tmp_path / "results")
    assert not broken
    ran = {r.meta.sweep.trial: r for r in found}
    assert ran.keys() == trials.keys()
    for name, record in ran.items():
        config = record.identity.baseline.config
        assert record.meta.sweep.study == SWEEP
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
    server = Server(content, {f"trial{i}": constants for i in range(8)})
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
