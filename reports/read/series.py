"""Curves of single runs, as figures and pages draw them: the current policy and the best one so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from suite.measure import estimators
from suite.store.records import FinishedRecord, Record, finished
from suite.store.schema import Estimate, Point, rate_of

Which = Literal["current", "best"]


class At(NamedTuple):
    """A success rate after `nre` evaluations with its 95 % interval; None is not measured."""

    nre: int
    rate: float | None
    low: float | None
    high: float | None


def of(record: FinishedRecord, which: Which) -> list[At]:
    """The curve of a finished run: of the current policy, or of the best one so far (oracle-selected)."""
    curve = record.result.curve
    return best_so_far(curve) if which == "best" else [_at(point.nre, point) for point in curve]


def best_so_far(curve: Sequence[Point]) -> list[At]:
    """At each point the best policy until then, chosen as `suite.measure.estimators.best` chooses the run's best.

    Noisy rates are compared on the first half of the held-out samples and shown from the second, so that choosing
    among many does not inflate the number.
    """
    found: list[At] = []
    top: Point | None = None
    for point in curve:
        if point.success_rate is None:
            found.append(At(point.nre, None, None, None))
            continue
        if top is None or estimators.selection_rate(point) > estimators.selection_rate(top):
            top = point
        found.append(_at(point.nre, estimators.reported(top)))
    return found


def _at(nre: int, estimate: Estimate) -> At:
    return At(nre, estimate.success_rate, estimate.low, estimate.high)


def flops(record: FinishedRecord) -> float:
    """Model compute of a finished run, without its held-out measurement."""
    return record.result.compute.of_method().flops


def typical(records: Sequence[Record]) -> FinishedRecord | None:
    """The finished run whose final success rate is the (lower) median of its row; None where none finished."""
    ranked = sorted(finished(records), key=lambda run: (rate_of(run.final) or 0.0, run.seed))
    return ranked[(len(ranked) - 1) // 2] if ranked else None
