"""A grid on W&B: one group, and where it is online a run that holds the leaderboard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suite import cli
from suite.tracking import run as tracking

pytestmark = pytest.mark.slow

GRID = [
    "bench",
    "--tasks",
    "lock-v1",
    "--baselines",
    "uniform,pretrained",
    "--seeds",
    "1",
    "--budget",
    "500",
    "--quiet",
]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


def group(run: Path) -> str:
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(run)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return str(next(json.loads(line)["run"]["run_group"] for line in output.splitlines() if '"type":"run"' in line))


def test_one_grid_is_one_group_also_where_its_cells_are_given_in_another_order(tmp_path: Path) -> None:
    assert cli.main([*GRID, "--results", str(tmp_path / "a")]) == 0
    turned = [word.replace("uniform,pretrained", "pretrained,uniform") for word in GRID]
    assert cli.main([*turned, "--results", str(tmp_path / "b")]) == 0
    runs = sorted(tmp_path.glob("*/cells/*/wandb/offline-run-*"))
    assert len(runs) == 4  # two methods, twice
    (name,) = {group(run) for run in runs}
    assert name.startswith("bench-")


@pytest.mark.usefixtures("unencoded")
def test_online_the_leaderboard_is_a_run_of_the_same_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def refuse(**options: Any) -> None:
        asked.append(options | {"environment": os.environ.get("WANDB_RUN_GROUP")})
        raise OSError("no server")

    monkeypatch.setattr(tracking, "log_in", lambda: None)
    monkeypatch.setattr("wandb.init", refuse)
    assert cli.main([*GRID, "--results", str(tmp_path), "--tracking", "online"]) == 0
    (report,) = [one for one in asked if one["job_type"] == "report"]
    (name,) = {one["group"] for one in asked if one["job_type"] == "run"}
    assert report["environment"] == name
    assert "WANDB_RUN_GROUP" not in os.environ
    assert "the leaderboard of this grid is not on W&B: --to wandb: no server" in capsys.readouterr().err
    assert (tmp_path / "report" / name / "leaderboard.md").exists()
