"""What `suite sweep` adds to a bare Optuna loop: the same objective, storage, sampler and pruner, tracking off.

The objective sleeps for a trial's seconds, spread over its seeds, and reports each seed. Medians of the time from one
trial's end to the next one's, of both loops in turns.

    python docs/experiments/sweep_overhead.py [SECONDS [TRIALS]]
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import optuna

from suite import search
from suite.records import Record
from suite.search import loop, objective, study

SWEEP = Path(__file__).parents[2] / "sweeps" / "addition-banel.yaml"


def asleep(seconds: float) -> Any:
    """Stands for `Configuration.cells`: a record per seed that takes its share of the seconds."""

    def cells(self: objective.Configuration, *args: object) -> Iterator[Record]:
        for seed in self.settings.seed_list:
            time.sleep(seconds / self.settings.seeds)
            curve = [{"success_rate": self.config["distil_lr"], "n": None, "distinct_successes": 1}]
            result = {"status": "finished", "curve": curve, "nre": 1, "heldout_evaluations": 1}
            yield Record(f"{seed}", {}, result, {}, Path())

    return cells


def suite_loop(sweep: search.Sweep, folder: Path, trials: int) -> list[float]:
    """Seconds between the ends of trials under `suite sweep --jobs 1`."""
    ends: list[float] = []
    search.tune(sweep, trials=trials, results=folder, progress=lambda state: ends.append(time.perf_counter()))
    return [after - before for before, after in itertools.pairwise(ends[1:])]


def bare_loop(sweep: search.Sweep, folder: Path, trials: int) -> list[float]:
    """Seconds between the ends of trials of a plain `study.optimize`."""
    ends: list[float] = []
    storage = study.connect(f"sqlite:///{folder / 'bare.sqlite'}")
    bare = optuna.create_study(
        storage=storage, direction="maximize", sampler=study.Reproducible(sweep), pruner=study.pruner(sweep)
    )

    def objective(trial: optuna.Trial) -> float:
        drawn = {name: loop.suggest(trial, name, space) for name, space in sweep.distributions.items()}
        for step, _ in enumerate(loop.configuration(sweep, drawn).cells(None, None)):
            trial.report(drawn["distil_lr"], step)
            if step < sweep.settings.seeds - 1 and trial.should_prune():
                raise optuna.TrialPruned
        return float(drawn["distil_lr"])

    bare.optimize(objective, n_trials=trials, callbacks=[lambda _, __: ends.append(time.perf_counter())])
    return [after - before for before, after in itertools.pairwise(ends)]


def measure(seconds: float, trials: int, rounds: int = 3) -> tuple[float, float]:
    """Median seconds per trial: of `suite sweep`, of the bare loop."""
    content = search.read(SWEEP).content
    content["parameters"]["p_threshold"]["value"] = 0  # all trials take as long
    sweep = search.sweep.parse(content)
    ours: list[float] = []
    theirs: list[float] = []
    with mock.patch.object(objective.Configuration, "cells", asleep(seconds)):
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                ours += suite_loop(sweep, Path(folder), trials)
                theirs += bare_loop(sweep, Path(folder), trials)
    return statistics.median(ours), statistics.median(theirs)


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    trials = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    ours, theirs = measure(seconds, trials)
    print(f"suite sweep {ours:.4f} s, bare loop {theirs:.4f} s a trial: {(ours / theirs - 1):+.1%}")
