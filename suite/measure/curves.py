"""What a run's curve of (NRE, success rate) comes to: times to a target and areas."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import special

from suite.store.schema import Placed


def nre_to(curve: Sequence[Placed], target: float | None) -> int | None:
    """Evaluations at the first point of a curve that is surely above the success rate `target`.

    None is censored: not reached, or a target that is unknown or zero. A lucky estimate does not count: the
    lower bound of the point has to be above. A Monte Carlo point is held to the one-sided level 1 - 0.025 /
    points (Bonferroni), since each of a curve's points is another chance to be lucky; of other sampled points
    the recorded 95 % interval counts.
    """
    if target is None or target <= 0:
        return None
    for point in curve:
        if point.low is not None and point.low > target and _surely(point, target, len(curve)):
            return point.nre
    return None


def _surely(point: Placed, target: float, points: int) -> bool:
    counted = point.counted()
    if counted is None:
        return True
    hits, n = counted
    # the lower end of Clopper and Pearson's interval is above the target where so many hits are that unlikely there
    return bool(special.bdtrc(hits - 1, n, target) < 0.025 / points)


def area_over_log_nre(nre: Sequence[int], rates: Sequence[float | None], budget: int) -> float | None:
    """Area under the success rate over log NRE from 1 to `budget`, divided by log budget: a mean rate.

    Every factor of evaluations weighs the same. The rate is a step function: a policy's rate holds until the
    next one is yielded. None where a rate is unknown or the budget is a single evaluation.

    Args:
        nre: evaluations spent at each point, not falling.
        rates: the success rate there, or an end of its interval.
    """
    known = [rate for rate in rates if rate is not None]
    if budget < 2 or not known or len(known) < len(rates):
        return None
    places = [math.log(min(max(spent, 1), budget)) for spent in nre] + [math.log(budget)]
    steps = zip(known, places, places[1:], strict=False)
    return math.fsum(height * (after - before) for height, before, after in steps) / math.log(budget)
