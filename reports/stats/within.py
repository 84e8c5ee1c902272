"""One run: its curve, its final policy in use, the base rate that all runs of a task share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy import special

from reports.stats.summary import Estimate
from suite.intervals import clopper_pearson


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


def nre_to(curve: Sequence[Mapping[str, Any]], target: float | None) -> int | None:
    """Evaluations at the first point of a curve that is surely above the success rate `target`.

    None is censored: not reached, or a target that is unknown or zero. A lucky estimate does not count: the
    lower bound of the point has to be above. A Monte Carlo point is held to the one-sided level 1 - 0.025 /
    points (Bonferroni), since each of a curve's points is another chance to be lucky; of other sampled points
    the recorded 95 % interval counts.
    """
    if target is None or target <= 0:
        return None
    for point in curve:
        if point["low"] is not None and point["low"] > target and _surely(point, target, len(curve)):
            return int(point["nre"])
    return None


def _surely(point: Mapping[str, Any], target: float, points: int) -> bool:
    if point["estimator"] != "monte-carlo":
        return True
    hits = round(point["success_rate"] * point["n"])
    # the lower end of Clopper and Pearson's interval is above the target where so many hits are that unlikely there
    return bool(special.bdtrc(hits - 1, point["n"], target) < 0.025 / points)


def area_over_log_nre(curve: Sequence[Mapping[str, Any]], budget: int) -> float | None:
    """Area under the success rate over log NRE from 1 to `budget`, divided by log budget: a mean rate.

    Every factor of evaluations weighs the same. The rate is a step function: a policy's rate holds until the
    next one is yielded. None where a rate is unknown or the budget is a single evaluation.

    Args:
        curve: points with `nre` (not falling) and `success_rate`.
    """
    if budget < 2 or not curve or any(point["success_rate"] is None for point in curve):
        return None
    places = [math.log(min(max(point["nre"], 1), budget)) for point in curve] + [math.log(budget)]
    steps = zip(curve, places, places[1:], strict=False)
    return math.fsum(point["success_rate"] * (after - before) for point, before, after in steps) / math.log(budget)


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
