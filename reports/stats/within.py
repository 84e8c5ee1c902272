"""One run: its curve, its final policy in use, the base rate that all runs of a task share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.stats.summary import Estimate
from suite.measure.intervals import clopper_pearson


def pooled_rate(points: Sequence[Mapping[str, Any]]) -> Estimate:
    """The rate that several measurements of one policy agree on, with its 95 % interval.

    Monte Carlo counts are added up, with a Clopper-Pearson interval of the sum (no success in n is the interval
    from 0 to its upper end, and no value). Of any others, values and ends are averaged, which keeps at least
    the coverage of one.
    """
    known = [point for point in points if point["success_rate"] is not None]
    if not known:
        return Estimate(None, None, None)
    if all(point["estimator"] == "monte-carlo" for point in known):
        n = sum(point["n"] for point in known)
        hits = sum(round(point["success_rate"] * point["n"]) for point in known)
        return Estimate(hits / n if hits else None, *clopper_pearson(hits, n))
    value, low, high = (
        math.fsum(point[key] for point in known) / len(known) for key in ("success_rate", "low", "high")
    )
    return Estimate(value if value or not high else None, low, high)


def pass_at(k: int, rate: float | None) -> float | None:
    """pass@k: the chance of a success among k independent samples of a policy of this success rate.

    1 - (1 - rate)^k, which grows with the rate, so that an interval of the rate becomes one of pass@k.

    Source: Chen et al., arXiv 2107.03374, for a rate that is known.
    """
    if rate is None:
        return None
    return 1.0 if rate >= 1 else -math.expm1(k * math.log1p(-rate))


def expected_evaluations(rate: float | None) -> float | None:
    """Evaluations until the first success when a policy is deployed: 1 / rate, the mean of a geometric law.

    None for an unknown rate and for a rate of zero, which never succeeds.
    """
    return 1 / rate if rate else None
