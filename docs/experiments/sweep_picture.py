"""The picture at the head of docs/sweeps.md: a sweep as its runs on Weights & Biases show it, drawn without an account.

    suite sweep sweeps/gaussian/banel-small.yaml --trials 24 --jobs 2 --results /tmp/sweep
    python docs/experiments/sweep_picture.py /tmp/sweep docs/sweep.png

All that is drawn is read from the offline runs of the results folder, by W&B's own `wandb leet inspect --json`.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from PIL import Image

METRIC = "success_rate"
COLOURS = plt.get_cmap("viridis")


def read(folder: Path) -> dict[str, Any]:
    """One offline run: its job type, its config, its history and its summary."""
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(folder)]
    log = [json.loads(line) for line in subprocess.check_output(command, text=True, timeout=60).splitlines()]
    run: dict[str, Any] = next(entry["run"] for entry in log if entry["type"] == "run")
    summary: dict[str, Any] = {}
    for entry in log:
        summary |= entry.get("summary", {}).get("update", {})
    history = [entry["history"]["item"] for entry in log if entry["type"] == "history"]
    return {"kind": run["job_type"], "config": run["config"]["update"], "history": history, "summary": summary}


def draw(study: dict[str, Any], trials: list[dict[str, Any]]) -> Figure:
    """Trials and their objective, the best so far over evaluations, and parallel coordinates of what was searched."""
    complete = [trial for trial in trials if trial["summary"]["state"] == "complete"]
    values = [trial["summary"][METRIC] for trial in complete]
    norm = LogNorm(min(values), max(values))
    figure, places = plt.subplot_mosaic(
        [["trials", "best"], ["parallel", "parallel"]], figsize=(9, 6), layout="constrained"
    )
    _trials(places["trials"], complete, [trial for trial in trials if trial not in complete], norm)
    _best(places["best"], study["history"])
    _parallel(places["parallel"], study["config"]["sweep"]["parameters"], complete, norm)
    return figure


def _trials(axes: Axes, complete: list[dict[str, Any]], others: list[dict[str, Any]], norm: LogNorm) -> None:
    values = [trial["summary"][METRIC] for trial in complete]
    axes.scatter([trial["config"]["trial"] for trial in complete], values, c=values, cmap=COLOURS, norm=norm)
    for trial in others:
        axes.axvline(trial["config"]["trial"], color="0.85", zorder=0)
    axes.set(yscale="log", xlabel="trial (0: the shipped defaults)", ylabel="success rate", title="one run per trial")


def _best(axes: Axes, history: list[dict[str, Any]]) -> None:
    rows = [row for row in history if f"best {METRIC}" in row]
    axes.step([row["spent"] for row in rows], [row[f"best {METRIC}"] for row in rows], where="post", color="0.2")
    axes.set(yscale="log", xlabel="reward evaluations spent", title="the study's run: best so far")


def _parallel(axes: Axes, parameters: dict[str, Any], complete: list[dict[str, Any]], norm: LogNorm) -> None:
    searched = {name: space for name, space in parameters.items() if "min" in space}
    for trial in sorted(complete, key=lambda one: one["summary"][METRIC]):
        heights = [_height(space, trial["config"][name]) for name, space in searched.items()]
        value = trial["summary"][METRIC]
        axes.plot([*heights, norm(value)], color=COLOURS(norm(value)), alpha=0.8)
    for place, (name, space) in enumerate([*searched.items(), (METRIC, {"min": norm.vmin, "max": norm.vmax})]):
        axes.vlines(place, 0, 1, color="0.3", linewidth=0.8)
        axes.text(place, 1.03, f"{space['max']:.3g}", ha="center", fontsize="small")
        axes.text(place, -0.03, f"{space['min']:.3g}", ha="center", va="top", fontsize="small")
        axes.text(place, 1.13, name, ha="center")
    axes.set(ylim=(-0.12, 1.25), title="parallel coordinates of the runs' configs")
    axes.axis("off")


def _height(space: dict[str, Any], value: float) -> float:
    """Where a value lies between the ends of its range, which may be logarithmic."""
    scale = np.log if "log" in space["distribution"] else np.asarray
    low, high, at = (float(scale(number)) for number in (space["min"], space["max"], value))
    return (at - low) / (high - low)


def main(results: Path, out: Path) -> None:
    runs = [read(folder) for folder in sorted(results.glob("studies/*/wandb/offline-run-*"))]
    (study,) = [run for run in runs if run["kind"] == "study"]
    trials = sorted((run for run in runs if run["kind"] == "trial"), key=lambda run: run["config"]["trial"])
    drawn = io.BytesIO()
    draw(study, trials).savefig(drawn, dpi=110)
    Image.open(drawn).convert("RGB").quantize(128).save(out)  # a third of the size


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
