"""One run: its curve, its final policy in use, the base rate that all runs of a task share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reports.stats.summary import Estimate
from suite.measure.intervals import clopper_pearson
from suite.store import schema


def pooled_rate(points: Sequence[schema.Estimate]) -> Estimate:
    """The rate that several measurements of one policy agree on, with its 95 % interval.

    Monte Carlo counts are added up, with a Clopper-Pearson interval of the sum (no success in n is the interval
    from 0 to its upper end, and no value). Of any others, values and ends are averaged, which keeps at least
    the coverage of one.
    """
    ends = [(point.success_rate, point.low, point.high) for point in points]
    known = [(rate, low, high) for rate, low, high in ends if rate is not None and low is not None and high is not None]
    if not known:
        return Estimate(None, None, None)
    counts = [counted for point in points if (counted := point.counted()) is not None]
    if len(counts) == len(known):
        hits, n = sum(hits for hits, _ in counts), sum(n for _, n in counts)
        return Estimate(hits / n if hits else None, *clopper_pearson(hits, n))
    value, low, high = (math.fsum(column) / len(known) for column in zip(*known, strict=True))
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
