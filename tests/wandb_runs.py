"""The offline runs of a search, read back by W&B's own `wandb leet inspect --json`, and held against Optuna's study."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial, TrialState

from suite.tracking import sync


class Logged(NamedTuple):
    """One offline run as W&B itself reads it."""

    run: dict[str, Any]
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    exit_code: int | None
    folder: Path


def read(folder: Path) -> Logged:
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(folder)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    log = [json.loads(line) for line in output.splitlines()]
    of = {kind: [entry[kind] for entry in log if entry["type"] == kind] for kind in ("run", "history", "exit")}
    summary: dict[str, Any] = {}
    for entry in log:
        summary |= entry.get("summary", {}).get("update", {})
    history = [{k: v for k, v in row["item"].items() if k[0] != "_"} for row in of["history"]]
    codes = [entry.get("exit_code", 0) for entry in of["exit"]]
    return Logged(of["run"][0], of["run"][0]["config"]["update"], history, summary, codes[0] if codes else None, folder)


def logged(*results: Path, cut_off: bool = False) -> tuple[list[Logged], list[Logged]]:
    """The runs of the trials by number, and those of studies; W&B's helper may write after its process has ended.

    Args:
        cut_off: those too that `suite sync` does not upload, since they are written again.
    """
    deadline = time.monotonic() + 30
    while True:
        logs = [run for folder in results for run in sync.offline_runs(folder / "studies")]
        every = [read(run.parent) for run in logs if cut_off or not sync.cut_off(run)]
        done = all(run.exit_code is not None for run in every) and "study" in {run.run["job_type"] for run in every}
        if done or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    trials = sorted((one for one in every if one.run["job_type"] == "trial"), key=lambda one: one.config["trial"])
    return trials, [one for one in every if one.run["job_type"] == "study"]


def equal_to_the_study(runs: list[Logged], ended: list[FrozenTrial], study: str) -> None:
    """Row by row: one run a trial, with its values, what the pruner saw, its objective, its state and its cost."""
    assert [run.config["trial"] for run in runs] == [trial.number for trial in ended]
    assert len({run.run["run_id"] for run in runs}) == len(runs)
    for run, trial in zip(runs, ended, strict=True):
        assert run.run["run_group"] == study
        assert {name: run.config[name] for name in trial.params} == trial.params
        seen = {row["seed"]: row["intermediate"] for row in run.history if "intermediate" in row}
        assert seen == trial.intermediate_values
        state = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}[trial.state]
        assert run.summary["state"] == state
        assert run.summary.get("success_rate") == (trial.values[0] if state == "complete" else None)
        assert run.summary["spent"] == trial.user_attrs["spent"]
        assert run.summary.get("error") == trial.user_attrs.get("error")
        assert run.exit_code == (state == "failed")
