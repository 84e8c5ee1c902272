"""One configuration, all its seeds, as one run on W&B: what a sweep there compares.

The objective is logged only when all seeds have their records. A trial that failed ends as failed, one that was killed
leaves curves and no objective, so that no search takes it for a result.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.search.objective import Configuration
from suite.store.records import Record
from suite.tracking import run as tracking

if TYPE_CHECKING:
    from wandb import Run


class TrialTracker(tracking.Tracker):
    """A run on W&B, or nothing at all; a failure of W&B stops the tracking and not the trial."""

    def seed(self, record: Record) -> None:
        """Add a seed's curve to the history: its numbers against NRE, under the seed's name."""
        self.guard(lambda run: self._curve(run, record))

    def conclude(self, records: Sequence[Record], values: Mapping[str, float]) -> None:
        """End the run well, with the objectives `values` and what the seeds came to."""
        self.guard(lambda run: self._end(run, records, values))

    def _curve(self, run: Run, record: Record) -> None:
        for point in record.result["curve"]:
            named = {f"seed {record.seed}/{name}": value for name, value in tracking.row_of(point).items()}
            self.log(run, {**named, "nre": point["nre"]})

    def _end(self, run: Run, records: Sequence[Record], values: Mapping[str, float]) -> None:
        import wandb

        run.summary.update(summary(records))
        rows: list[Iterable[Any]] = [
            [r.seed, p["round"], p["nre"], text] for r in records for p in r.result["curve"] for text in p["samples"]
        ]
        with tracking.staging_in(Path(run.dir).parent):
            columns: list[str | int] = ["seed", "round", "nre", "text"]
            run.summary["samples"] = wandb.Table(columns=columns, data=rows)
        for name in values:
            run.define_metric(name, summary="last")
        run.log(dict(values))
        run.summary.update(dict(values))
        self.close(run, exit_code=0)


def start(mode: str, folder: Path, trial: Configuration, config: Mapping[str, Any]) -> TrialTracker:
    """A tracker of one configuration; it never raises, nor does what it returns, but for a missing key.

    Args:
        mode: as for :func:`suite.tracking.run.start`.
        folder: W&B's files go to `folder/wandb`.
        config: the flat parameters of the trial, W&B's config.

    Raises:
        UserError: an online run was asked for and nobody is logged in: a sweep would wait for its objective in vain.
    """
    tracker = TrialTracker(tracking.resolve(mode), folder.absolute())
    tracking.require_login(mode)
    if tracker.status != "off":
        folder.mkdir(parents=True, exist_ok=True)
        task, baseline = trial.cell.task, trial.cell.baseline
        tracker.open(
            group=f"{task}/{baseline}",
            job_type="trial",
            name=f"{task}/{baseline}/trial",
            tags=[task, baseline, trial.cell.protocol, "sweep"],
            config=dict(config),
        )
    return tracker


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """What the seeds came to together; medians over seeds, nothing where a value is unknown or censored."""
    columns = {
        "base": [record.result["base"]["success_rate"] for record in records],
        "final": [record.result["final"]["success_rate"] for record in records],
        "best": [record.result["best"]["success_rate"] for record in records],
        "improvement_final": [record.result["improvement_final"] for record in records],
        "improvement_best": [record.result["improvement_best"] for record in records],
        "first_success": [record.result["first_success"] for record in records],
        "nre_to_10x": [tracking.nre_to_10x(record.result) for record in records],
    }
    medians = {name: statistics.median(known) for name, known in columns.items() if None not in known}
    totals = {name: sum(record.result[name] for record in records) for name in ("nre", "heldout_evaluations")}
    return {**medians, **totals, "cells": [record.cell for record in records]}
