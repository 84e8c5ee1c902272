"""What the seeds of one row have in common: means, a geometric mean with its interval, spread."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from scipy import stats as scipy_stats

from reports.stats.sample import Sample, exp, identical
from suite.measure import intervals, means


def mean(values: Sequence[float]) -> float | None:
    """Arithmetic mean of (seeds,); None for no values."""
    return math.fsum(values) / len(values) if values else None


def median(values: Sequence[float]) -> float | None:
    """Median of (seeds,), the mean of the two middle ones for an even number; None for no values."""
    return float(statistics.median(values)) if values else None


def sd(values: Sequence[float]) -> float | None:
    """Sample standard deviation (n - 1) of (seeds,); None below two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def iqm(values: Sequence[float]) -> float | None:
    """Interquartile mean of (seeds,): the mean without the lowest and the highest quarter, each rounded down.

    None below four values, where no quarter can be cut off.

    Source: Agarwal et al., NeurIPS 2021 (arXiv 2108.13264), through ``scipy.stats.trim_mean``.
    """
    return float(scipy_stats.trim_mean(values, 0.25)) if len(values) >= 4 else None


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A geometric mean and the ends of its 95 % interval; None is what the seeds cannot tell.

    Without a success in one of the runs there is no value, but still an interval, from 0 to `high`.
    """

    value: float | None
    low: float | None
    high: float | None

    def over(self, base: Estimate) -> Estimate:
        """This over a base rate; the ends over the opposite ends, so that both uncertainties count."""
        return Estimate(
            _ratio(self.value, base.value),
            _ratio(self.low, base.high),
            _ratio(self.high, base.low),
        )


NOTHING = Estimate(None, None, None)


def geometric_mean(sample: Sample, level: float = 0.95) -> Estimate:
    """Geometric mean of the rates with a t-interval of the mean logarithm that each run's own interval widens.

    The lower end is that of Student's t-interval over the logarithms of the runs' lower ends, the upper end
    that over their upper ends. For computed rates this is the t-interval itself, exact for log-normal seeds.
    For sampled rates it covers more than `level`: a plain t-interval over estimates would leave out the runs
    without a success and cover too little at rates around 1 / samples. A zero among the lower ends makes the
    lower end zero.

    The ends are None for a single seed, where the spread over seeds is unknown, and for sampled rates that are
    all the same; identical computed rates (a deterministic method) are known without error. A single run
    without a success, and several of them, keep the upper end of their own interval.
    """
    if not sample.values:
        return NOTHING
    unseen = min(sample.values) <= 0
    value = means.geometric_mean(sample.values) or None
    if sample.known:
        return Estimate(value, sample.values[0], sample.values[0])
    if identical(sample.values) or len(sample) == 1:
        return Estimate(None, 0.0, max(sample.highs)) if unseen else Estimate(value, None, None)
    low = 0.0 if min(sample.lows) <= 0 else _end(sample.lows, 1, level)
    high = 0.0 if min(sample.highs) <= 0 else _end(sample.highs, 2, level)
    if low is None or high is None:  # seeds hundreds of orders of magnitude apart: no interval worth the name
        return Estimate(value, None, None)
    return Estimate(value, low, high)


def _end(values: Sequence[float], which: int, level: float) -> float | None:
    if identical(values):
        return values[0]
    try:
        return intervals.t_interval_log(values, level)[which]
    except OverflowError:
        return None


def _ratio(value: float | None, base: float | None) -> float | None:
    if value is None or not base:
        return None
    return exp(math.log(value) - math.log(base)) if value > 0 else 0.0
