"""What `suite sweep` adds to a plain Optuna loop with the same objective on the same storage, and what tracking adds.

The objective sleeps for a trial's seconds, spread over its seeds, and reports each seed. Medians of the time from one
trial's end to the next one's, of both loops in turns.

The plain loop is Optuna alone: `RDBStorage` on SQLite in the same folder, `TPESampler` with the arguments that `suite
sweep` pins, `study.optimize`. The same in both: the search space, the sampler's arguments, what is reported and asked
at each seed, the objective's value, the seconds slept, and that nothing is pruned, so that all trials take as long.
Not in the plain loop, and so in the difference: heartbeats and the search for stale trials, a sampler seeded anew for
each trial, the shipped defaults as first trial, the configuration of each trial checked and built, its costs written
as an attribute, and the line of progress.

The second line holds the same sweep, tracked offline, against itself with tracking off.

    python docs/experiments/sweep_overhead.py [SECONDS [TRIALS]]
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import optuna

from suite import search
from suite.compute import PHASES
from suite.search import objective
from suite.store.records import FinishedRecord
from suite.store.schema import (
    BaselineIdentity,
    Best,
    Compute,
    FinishedResult,
    Identity,
    Meta,
    Placed,
    Point,
    Tally,
    TaskIdentity,
)

SWEEP = Path(__file__).parents[2] / "sweeps" / "addition" / "banel.yaml"


IDENTITY = Identity(
    task=TaskIdentity(id="addition-tune-v1", config={}, source_sha256="", assets={}),
    baseline=BaselineIdentity(id="banel", config={}, source_sha256="", control=False),
    seed=0,
    protocol="failures-only",
    duplicates="charge",
    budget=7500,
    heldout="exact",
    points="final",
    device="cpu",
    threads=1,
)


def result_of(rate: Any) -> FinishedResult:
    """A curve of two equal points with ten samples each."""
    ends = (rate, 0.0, 0.0, "exact", None)
    unknown = ("distinct_share", "effective_successes", "valid_share", "entropy", "kl_prior")
    place = {"round": 0, "nre": 0, "stream": 0}
    point = Point(*ends, **place, metrics={}, distinct_successes=1, samples=["1+1=2"] * 10, **dict.fromkeys(unknown))
    return FinishedResult(
        curve=[point] * 2,
        base=Placed(*ends, **place),
        final=Placed(*ends, **place),
        best=Best(*ends, **place, selected_on="same"),
        improvement_final=1.0,
        improvement_best=1.0,
        nre=1,
        first_success=None,
        successes=0,
        withheld=0,
        heldout_evaluations=1,
        compute=Compute(**dict.fromkeys(PHASES, Tally(0, 0.0))),
    )


def asleep(seconds: float) -> Any:
    """Stands for `Configuration.cells`: a record per seed that takes its share of the seconds."""

    def cells(self: objective.Configuration, *args: object) -> Iterator[FinishedRecord]:
        for seed in self.settings.seed_list:
            time.sleep(seconds / self.settings.seeds)
            identity = msgspec.structs.replace(IDENTITY, seed=seed)
            yield FinishedRecord(f"{seed}", identity, result_of(self.cell.config["distil_lr"]), Meta(), Path())

    return cells


def suite_loop(sweep: search.Sweep, folder: Path, trials: int, tracking: str = "off") -> list[float]:
    """Seconds between the ends of trials under `suite sweep --jobs 1`."""
    ends: list[float] = []
    search.tune(
        sweep,
        trials=trials,
        results=folder,
        tracking=tracking,
        progress=lambda state: ends.append(time.perf_counter()),
    )
    return [after - before for before, after in itertools.pairwise(ends[1:])]


def bare_loop(sweep: search.Sweep, folder: Path, trials: int, seconds: float) -> list[float]:
    """Seconds between the ends of trials of a plain `study.optimize`."""
    ends: list[float] = []
    seeds = sweep.settings.seeds
    bare = optuna.create_study(
        storage=optuna.storages.RDBStorage(f"sqlite:///{folder / 'bare.sqlite'}"),
        direction="maximize",
        sampler=optuna.samplers.TPESampler(
            seed=0, n_startup_trials=8, n_ei_candidates=24, multivariate=True, group=False, constant_liar=True
        ),
        pruner=optuna.pruners.NopPruner(),
    )

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_int("epochs", 1, 100, log=True)
        trial.suggest_float("filter_factor", 1.03, 16.0, log=True)
        trial.suggest_float("failure_lr", 1e-4, 1e-2, log=True)
        rate = trial.suggest_float("distil_lr", 1e-4, 1e-2, log=True)
        trial.suggest_int("distil_epochs", 1, 4)
        for step in range(seeds):
            time.sleep(seconds / seeds)
            trial.report(math.log(rate), step)
            if step < seeds - 1 and trial.should_prune():
                raise optuna.TrialPruned
        return rate

    bare.optimize(objective, n_trials=trials, callbacks=[lambda _, __: ends.append(time.perf_counter())])
    assert bare.trials[0].distributions == sweep.distributions, "the two loops search different spaces"
    return [after - before for before, after in itertools.pairwise(ends)]


def measure(seconds: float, trials: int, rounds: int = 3, tracking: str = "off") -> tuple[float, float]:
    """Median seconds per trial: of `suite sweep`; of the bare loop, or where it is tracked of the same untracked."""
    content = search.read(SWEEP).content
    content["parameters"]["p_threshold"]["value"] = 0  # all trials take as long
    sweep = search.sweep.parse(content)
    ours: list[float] = []
    theirs: list[float] = []
    with mock.patch.object(objective.Configuration, "cells", asleep(seconds)):
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                ours += suite_loop(sweep, Path(folder) / "ours", trials, tracking)
                if tracking == "off":
                    theirs += bare_loop(sweep, Path(folder), trials, seconds)
                else:
                    theirs += suite_loop(sweep, Path(folder) / "theirs", trials)
    return statistics.median(ours), statistics.median(theirs)


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    trials = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    ours, theirs = measure(seconds, trials)
    print(f"suite sweep {ours:.4f} s, bare loop {theirs:.4f} s a trial: {(ours / theirs - 1):+.1%}")
    ours, theirs = measure(seconds, trials, rounds=1, tracking="offline")
    print(f"tracked offline {ours:.4f} s, not tracked {theirs:.4f} s a trial: {(ours / theirs - 1):+.1%}")
