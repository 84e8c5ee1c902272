"""Curves of single runs, as figures and pages draw them: the current policy and the best one so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from suite.measure import estimators
from suite.store.records import Record

Which = Literal["current", "best"]


class At(NamedTuple):
    """A success rate after `nre` evaluations with its 95 % interval; None is not measured."""

    nre: int
    rate: float | None
    low: float | None
    high: float | None


def of(record: Record, which: Which) -> list[At]:
    """The curve of a finished run: of the current policy, or of the best one so far (oracle-selected)."""
    curve: list[dict[str, Any]] = record.result["curve"] or []
    return best_so_far(curve) if which == "best" else [_as_is(point, point["nre"]) for point in curve]


def best_so_far(curve: Sequence[dict[str, Any]]) -> list[At]:
    """At each point the best policy until then, chosen as `suite.measure.estimators.best` chooses the run's best.

    Noisy rates are compared on the first half of the held-out samples and shown from the second, so that choosing
    among many does not inflate the number.
    """
    found: list[At] = []
    top: dict[str, Any] | None = None
    for point in curve:
        if point["success_rate"] is None:
            found.append(At(point["nre"], None, None, None))
            continue
        if top is None or estimators.selection_rate(point) > estimators.selection_rate(top):
            top = point
        found.append(At(point["nre"], *estimators.reported(top)[:3]))
    return found


def _as_is(point: dict[str, Any], nre: int) -> At:
    return At(nre, point["success_rate"], point["low"], point["high"])


SPENT = ("training", "filtering", "verifying")
"""Phases of a run that a method pays for; held-out measurement is the suite's own."""


def flops(record: Record) -> float:
    """Model compute of a finished run, without its held-out measurement."""
    return float(sum(record.result["compute"][phase]["flops"] for phase in SPENT))


def typical(records: Sequence[Record]) -> Record | None:
    """The finished run whose final success rate is the (lower) median of its row; None where none finished."""
    finished = [record for record in records if record.status == "finished"]
    ranked = sorted(finished, key=lambda r: ((r.final or {}).get("success_rate") or 0.0, r.seed))
    return ranked[(len(ranked) - 1) // 2] if ranked else None
