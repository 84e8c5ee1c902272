"""A search that is tracked online, against a stand-in of W&B's API."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from suite.tracking import sync
from tests.wandb_server import Server, serving

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(400)]


def environment(server: Server, home: Path) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "SUITE"))}
    return plain | {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": server.url, "HOME": str(home)}


@pytest.fixture
def command(plugin: Callable[[str], str], tmp_path: Path) -> list[str]:
    constants: dict[str, Any] = {"task": "gaussian-v1", "baseline": plugin("tuned.py:run"), "seeds": 2, "budget": 20}
    space: dict[str, Any] = {"temperature": {"distribution": "log_uniform_values", "min": 0.5, "max": 10.0}}
    content = {
        "program": "suite",
        "method": "random",
        "metric": {"name": "success_rate", "goal": "maximize"},
        "parameters": {name: {"value": value} for name, value in constants.items()} | space,
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    words = [sys.executable, "-m", "suite", "sweep", str(tmp_path / "sweep.yaml"), "--trials", "4"]
    return [*words, "--tracking", "online", "--results", str(tmp_path / "results")]


def test_every_run_arrives_grouped(command: list[str], tmp_path: Path) -> None:
    with serving(Server()) as server:
        env = environment(server, tmp_path)
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "warning:" not in done.stderr
    (study,) = {group for group, _ in server.groups.values()}
    assert study.endswith(next((tmp_path / "results" / "studies").iterdir()).name[-12:])
    assert sorted(kind for _, kind in server.groups.values()) == ["study"] + ["trial"] * 4
    trials = [config for name, config in server.runs.items() if server.groups[name][1] == "trial"]
    assert sorted(config["trial"]["value"] for config in trials) == [0, 1, 2, 3]
    (of_study,) = [server.history[name] for name, (_, kind) in server.groups.items() if kind == "study"]
    assert [row["trial"] for row in of_study if "trial" in row] == [0, 1, 2, 3]


def test_a_server_that_stops_costs_nothing_and_sync_completes(command: list[str], tmp_path: Path) -> None:
    with serving(Server()) as server:
        env = environment(server, tmp_path)
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("[1/4"):
                break
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "[4/4" in out
    assert "runs are not on W&B yet; `suite sync` uploads them" in err
    with serving(Server(server.server_port)) as again:
        words = [sys.executable, "-m", "suite", "sync", "--results", str(tmp_path / "results")]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    arrived = server.groups | again.groups
    assert sorted(kind for _, kind in arrived.values()) == ["study"] + ["trial"] * 4
    (of_study,) = [again.history[name] for name, (_, kind) in again.groups.items() if kind == "study"]
    assert [row["trial"] for row in of_study if "trial" in row] == [0, 1, 2, 3]
    assert all(sync.arrived(run) for run in sync.offline_runs(tmp_path / "results"))
