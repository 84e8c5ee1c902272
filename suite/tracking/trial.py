"""One configuration, all its seeds, as one run on W&B: what a sweep there compares.

The objective is logged only when all seeds have their records. A trial that failed ends as failed, one that was killed
leaves curves and no objective, so that no search takes it for a result. `suite trial` and `suite sweep` write the same
run, which `state` in its summary says the outcome of.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from suite.store.records import FinishedRecord
from suite.store.schema import rate_of
from suite.tracking import run as tracking
from suite.tracking import sync

if TYPE_CHECKING:
    from wandb import Run

State = Literal["complete", "pruned", "failed", "interrupted"]


class TrialTracker(tracking.Tracker):
    """A run on W&B, or nothing at all; a failure of W&B stops the tracking and not the trial."""

    def seed(self, record: FinishedRecord) -> None:
        """Add a seed's curve to the history: its numbers against NRE, under the seed's name."""
        self.guard(lambda run: self._curve(run, record))

    def intermediate(self, seed: int, value: float) -> None:
        """Add what the pruner saw of a step, a seed: the row {seed, intermediate}, and its place in the summary."""
        self.guard(lambda run: self._intermediate(run, seed, value))

    def conclude(
        self,
        records: Sequence[FinishedRecord],
        values: Mapping[str, float],
        *,
        state: State = "complete",
        error: str | None = None,
        **more: Any,
    ) -> None:
        """End the run with what the finished seeds came to.

        Args:
            records: the finished seeds' records.
            values: the objectives; none where the trial did not complete.
            state: how the trial ended; `failed` and `interrupted` end the run as failed.
            error: why.
            more: further entries of the summary.
        """
        self.guard(lambda run: self._end(run, records, values, {"state": state, "error": error, **more}))

    def _curve(self, run: Run, record: FinishedRecord) -> None:
        task = f"{record.identity.task.id} " if "," in self.task else ""
        for point in record.result.curve:
            named = {f"{task}seed {record.seed}/{name}": value for name, value in tracking.row_of(point).items()}
            self.log(run, {**named, "nre": point.nre})

    def _intermediate(self, run: Run, seed: int, value: float) -> None:
        self._seen[str(seed)] = value
        if "seed" not in self._defined:
            run.define_metric("seed", summary="none")
            run.define_metric("intermediate", step_metric="seed", summary="none")
            self._defined |= {"seed", "intermediate"}
        run.log({"seed": seed, "intermediate": value})

    def _end(
        self, run: Run, records: Sequence[FinishedRecord], values: Mapping[str, float], outcome: Mapping[str, Any]
    ) -> None:
        import wandb

        run.summary.update({name: value for name, value in outcome.items() if value is not None})
        run.summary.update({"intermediate": dict(self._seen)} if self._seen else {})
        run.summary.update(summary(records) if records else {})
        rows: list[Iterable[Any]] = [
            [record.seed, point.round, point.nre, text]
            for record in records
            for point in record.result.curve
            for text in point.samples
        ]
        if rows:
            with tracking.staging_in(Path(run.dir).parent):
                columns: list[str | int] = ["seed", "round", "nre", "text"]
                run.summary["samples"] = wandb.Table(columns=columns, data=rows)
        if values:
            for name in values:
                run.define_metric(name, summary="last")
            run.log(dict(values))
            run.summary.update(dict(values))
        folder = Path(run.dir).parent
        self.close(run, exit_code=int(outcome["state"] in ("failed", "interrupted")))
        if outcome["state"] != "interrupted":  # else it runs again
            seal(folder)

    def _fail(self, error: Exception) -> None:
        """Say it once in a process: a full disk, or a server that is gone, meets every trial of a search."""
        told = tracking.reason(error)
        if told in _TOLD:
            self.status = f"failed: {told}"
            return
        _TOLD.add(told)
        super()._fail(error)

    def __init__(self, mode: str, folder: Path, task: str) -> None:
        super().__init__(mode, folder)
        self.task = task
        """The task, or all tasks, by commas."""
        self._seen: dict[str, float] = {}


_TOLD: set[str] = set()


def start(
    mode: str,
    folder: Path,
    *,
    task: str,
    baseline: str,
    protocol: str,
    config: Mapping[str, Any],
    group: str | None = None,
    name: str = "trial",
    run_id: str | None = None,
) -> TrialTracker:
    """A tracker of one configuration; it never raises, nor does what it returns.

    Args:
        mode: `offline`, `online` or `off`, as :func:`suite.tracking.run.resolve` gives it.
        folder: W&B's files go to `folder/wandb`.
        config: the flat parameters of the trial, W&B's config.
        group: the study; without one, the task and the method.
        run_id: the run's id; an offline run that has it and was not uploaded is replaced, since this is its repetition.
    """
    tracker = TrialTracker(mode, folder.absolute(), task)
    if tracker.status == "off":
        return tracker
    if run_id is not None:
        forget(folder, run_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        tracker._fail(error)
        return tracker
    tracker.open(
        group=group or f"{task}/{baseline}",
        job_type="trial",
        name=f"{task}/{baseline}/{name}",
        tags=[task, baseline, protocol, "sweep"],
        config=dict(config),
        **({} if run_id is None else {"id": run_id}),
    )
    if run_id is not None:
        tracker.guard(unsealed)
    return tracker


def unsealed(run: Run) -> None:
    """Mark a run of `suite sweep` that has begun: until it is sealed it is not uploaded from its offline log."""
    (Path(run.dir).parent / sync.UNFINISHED).touch()


def seal(folder: Path) -> None:
    """Mark the run in a folder as whole."""
    (folder / sync.UNFINISHED).unlink(missing_ok=True)


def offline(folder: Path, run_id: str) -> list[Path]:
    """The folders of the offline runs of this id below `folder/wandb`, the oldest first."""
    return sorted((folder / "wandb").glob(f"offline-run-*-{run_id}"))


def forget(folder: Path, run_id: str, keep: Path | None = None) -> None:
    """Remove the offline runs of this id that were not uploaded, but `keep`: what they say is written again, whole."""
    for run in offline(folder, run_id):
        if run != keep and not list(run.glob("*.synced")):
            shutil.rmtree(run, ignore_errors=True)


def summary(records: Sequence[FinishedRecord]) -> dict[str, Any]:
    """What the runs came to together; medians over seeds, nothing where a value is unknown or censored.

    Medians are of one task: of several there are the evaluations alone.
    """
    results = [record.result for record in records]
    one_task = len({record.identity.task.id for record in records}) == 1
    columns: dict[str, list[float | None]] = {
        "base": [rate_of(result.base) for result in results],
        "final": [rate_of(result.final) for result in results],
        "best": [rate_of(result.best) for result in results],
        "improvement_final": [result.improvement_final for result in results],
        "improvement_best": [result.improvement_best for result in results],
        "first_success": [result.first_success for result in results],
        "nre_to_10x": [tracking.nre_to_10x(result) for result in results],
    }
    known = {name: [value for value in column if value is not None] for name, column in columns.items()}
    return {
        **{n: statistics.median(values) for n, values in known.items() if one_task and len(values) == len(records)},
        "nre": sum(result.nre for result in results),
        "heldout_evaluations": sum(result.heldout_evaluations or 0 for result in results),
        "cells": [record.cell for record in records],
    }
