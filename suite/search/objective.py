"""What a configuration is worth: the cells of its seeds, and the numbers that a search is after."""

from __future__ import annotations

import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from suite.cells.spec import CellSpec
from suite.errors import BrokenCell, CellLocked, UserError
from suite.measure.curves import area_over_log_nre
from suite.measure.means import geometric_mean
from suite.search import over_controls
from suite.search.sweep import Settings, Sweep, names_in
from suite.store.records import FinishedRecord, Record
from suite.store.schema import Estimate, FailedResult, StudyTrial

LEAST_RATE = 1e-300
"""Stands for an enumerated success rate of zero, whose logarithm must be finite."""

PAUSE = 1.0
"""Seconds after which a cell that another process runs is tried again."""


class TrialFailed(RuntimeError):
    """A cell of the configuration failed: it has no value."""


class Configuration(NamedTuple):
    """One point of the search space: the settings of its cells, one of which runs with each seed of the search."""

    settings: Settings
    cell: CellSpec
    """The settings of all its cells, but for the seed."""

    def specs(self) -> list[CellSpec]:
        """The cell of each seed; of several tasks, all tasks of one seed before those of the next."""
        tasks, seeds = names_in(self.cell.task), self.settings.seed_list
        return [dataclasses.replace(self.cell, task=task, seed=seed) for seed in seeds for task in tasks]

    def check(self) -> None:
        """UserError where the cells could not run, before anything is written."""
        from suite.cells.identity import identify

        for spec in self.specs()[: len(names_in(self.cell.task))]:
            identify(spec)

    def cells(
        self, results: Path | None, sweep: StudyTrial | None, progress: Callable[..., None] | None = None
    ) -> Iterator[Record]:
        """The record of each seed in turn, tracking off; one that another process runs is waited for.

        Two trials may draw the same values at the same time. A failed record comes too, and is the last.

        Raises:
            TrialFailed: the method or the verifier raised, or the files of a cell cannot be read.
        """
        for spec in self.specs():
            try:
                record = _when_free(spec, results=results, tracking="off", sweep=sweep, progress=progress)
            except BrokenCell as error:  # one torn cell does not end a search
                raise TrialFailed(f"{self.label(spec)}: {error}") from error
            yield record
            if isinstance(record.result, FailedResult):
                raise TrialFailed(f"{self.label(spec)}: {record.result.error.line()}")

    def label(self, spec: CellSpec) -> str:
        """What tells one run of the configuration from the others."""
        return f"seed {spec.seed}" if spec.task == self.cell.task else f"{spec.task} seed {spec.seed}"


def _when_free(spec: CellSpec, **options: Any) -> Record:
    """What :func:`suite.cells.runner.run_cell` returns, once no other process runs the cell."""
    from suite.cells.runner import run_cell  # imports torch

    warned = False
    while True:
        try:
            return run_cell(spec, **options)
        except CellLocked as error:
            if not warned:
                print(f"warning: {error}; waiting", file=sys.stderr)
            warned = True
            time.sleep(PAUSE)


def configuration(sweep: Sweep, drawn: dict[str, Any]) -> Configuration:
    """The configuration that a trial runs."""
    config = {**sweep.cell.config, **drawn}
    return Configuration(sweep.settings, dataclasses.replace(sweep.cell, config=config))


def success_rate(record: FinishedRecord) -> float:
    """The success rate after the last evaluation, above zero: see :func:`positive`."""
    return positive(record.result.curve[-1])


def positive(point: Estimate) -> float:
    """A point's success rate; where it is zero, half a hit of its sample, or LEAST_RATE where it was enumerated.

    Half a hit keeps the order: less than any count of one in the same sample.
    """
    rate = point.success_rate
    if rate is None:
        raise _unmeasured()
    floor = 0.5 / point.n if point.n else LEAST_RATE
    return max(rate, floor)


def _unmeasured() -> UserError:
    return UserError("a search needs success rates: it cannot run with --heldout off")


def success_rate_auc(record: FinishedRecord) -> float:
    """Area under the success rate over log NRE, as the leaderboard has it; above zero."""
    curve = record.result.curve
    area = area_over_log_nre([at.nre for at in curve], [positive(at) for at in curve], record.identity.budget)
    if area is None:
        raise UserError("the area over log NRE needs a budget of at least 2")
    return area


def posterior_match(record: FinishedRecord) -> float:
    """The posterior match after the last evaluation, at least LEAST_RATE."""
    match = record.result.curve[-1].posterior_match
    if match is None:
        task = record.identity.task.id
        raise UserError(f"{task} has no posterior match; `suite list --measure {task}` draws what it needs")
    return max(match.value, LEAST_RATE)


def distinct_successes(record: FinishedRecord) -> float:
    """Distinct successes among 10,000 samples of the final policy."""
    found = record.result.curve[-1].distinct_successes
    if found is None:
        raise _unmeasured()
    return float(found)


_OF_ONE: dict[str, Callable[[FinishedRecord], float]] = {
    "success_rate": success_rate,
    "success_rate_auc": success_rate_auc,
    "posterior_match": posterior_match,
    "distinct_successes": distinct_successes,
}


def of_seed(metric: str, record: FinishedRecord) -> float:
    """One seed's value of a metric of one task."""
    return _OF_ONE[metric](record)


_OF_SEEDS: dict[str, Callable[[Sequence[float]], float]] = {
    "success_rate": geometric_mean,
    "success_rate_auc": geometric_mean,
    "posterior_match": geometric_mean,
    "distinct_successes": statistics.fmean,
}
"""How the seeds of one configuration become its value."""


def step(metric: str, record: FinishedRecord, settings: Settings) -> float:
    """What the pruner sees of one run: log₁₀ of its ratio to the control, the log of a rate, or a number."""
    if metric == "over_controls":
        return over_controls.above(record, over_controls.controls(settings.controls)[record.identity.task.id])
    value = of_seed(metric, record)
    return value if metric == "distinct_successes" else math.log(value)


def values(records: Sequence[FinishedRecord], settings: Settings, cell: CellSpec) -> dict[str, float]:
    """All that a finished trial logs, by metric.

    No area if only the ends of the curve were measured (`points` is `final`); nothing but `over_controls`, its J and
    its SE where there are several tasks, and these only where controls are given.
    """
    found: dict[str, float] = {}
    if len(names_in(cell.task)) == 1:
        whole, matched = cell.points == "all", all(record.result.curve[-1].posterior_match for record in records)
        absent = {"success_rate_auc": not whole, "posterior_match": not matched}
        names = [name for name in _OF_SEEDS if not absent.get(name)]
        found = {name: _OF_SEEDS[name]([of_seed(name, record) for record in records]) for name in names}
    if settings.controls:
        by_task: dict[str, list[float]] = {}
        for record in records:
            by_task.setdefault(record.identity.task.id, []).append(step("over_controls", record, settings))
        score = over_controls.score(by_task.values())
        found |= {"over_controls": score.lower, "J": score.j, "SE": score.se}
    return found


def spent(record: Record) -> list[int]:
    """[reward evaluations, held-out evaluations] of one cell; of all its attempts."""
    heldout = max(record.result.heldout_evaluations or 0, record.meta.heldout_asked or 0)
    return [record.result.nre or 0, heldout]
