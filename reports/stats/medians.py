"""Medians over seeds with intervals by order statistics, and a row's median over that of the best control.

No law of the seeds is assumed: some methods find the successes on some seeds and nothing on the others, where an
interval from means of logarithms says "above 1" of methods that are not.
"""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats as scipy_stats

from reports.stats.comparison import MIN_SEEDS, Comparison, verdict
from reports.stats.sample import Sample
from reports.stats.summary import Estimate, median


def median_estimate(sample: Sample, level: float = 0.95) -> Estimate:
    """The median of (seeds,) with its interval: the k-th lowest and the k-th highest seed.

    k is the largest with P(Bin(seeds, 1/2) < k) <= (1 - level) / 2: [x1, x8] of 8 seeds covers 99.2 %, [x2, x9] of 10
    97.9 %. The ends of each run's own interval stand in for its value, so that sampled rates cover too. Ends are None
    below 6 seeds, where no k is left; the value is None where half of the runs or more saw no success.

    Source: Thompson, Annals of Mathematical Statistics 7 (1936); Conover, Practical Nonparametric Statistics, 3.2.
    """
    tail = (1 - level) / 2
    value = median(sample.values)
    unseen = value == 0 and not sample.exact
    return Estimate(None if unseen else value, _low(sample, tail), _high(sample, tail))


def over_best(method: Sample, controls: Sequence[Sample], level: float = 0.95) -> Comparison:
    """Ratio of a row's median to that of the best of several controls, whichever truly is the best.

    The ratio to the best is the smallest of the ratios to each. So the lower end is the smallest of theirs: it fails
    only where the method's lower end or the true best's upper end fails, which share (1 - level) / 2. The upper end is
    the smallest as well, and fails where the method's upper end or the lower end of any control does: the controls
    whose rates vary over seeds share what the method leaves of (1 - level) / 2 (Bonferroni). A control that cannot be
    bounded at its share is left out of the smallest, which makes the upper end larger.

    The value is the ratio to the control with the largest median. A deterministic side (:attr:`Sample.known`) is known
    without error. A varying side of fewer than :data:`reports.stats.comparison.MIN_SEEDS` seeds leaves nothing tested.

    Source: multiple comparisons with the best: Hsu, Multiple Comparisons (1996), chapter 4.
    """
    if not method.values or not all(control.values for control in controls):
        return Comparison(None, None, None, "no final rate is known")
    tail = (1 - level) / 2
    varying = sum(not control.known for control in controls)
    own = tail / 2 if varying else tail
    left = tail - (0.0 if method.known else _spent(len(method), own))
    value = _ratio(median_estimate(method).value, max(median(control.values) or 0.0 for control in controls))
    highest = [_high(control, left) for control in controls]
    low = None if None in highest else _ratio(_low(method, own), max(end for end in highest if end is not None))
    lowest = [end for control in controls if (end := _low(control, left / max(1, varying))) is not None]
    high = _ratio(_high(method, own), max(lowest, default=None))
    sides = [("method", method), *(("control", control) for control in controls)]
    few = [f"{len(s)} of the {name}" for name, s in sides if not s.known and len(s) < MIN_SEEDS]
    if few:
        return Comparison(value, low, high, f"untestable: {' and '.join(few)}, {MIN_SEEDS} seeds needed")
    return Comparison(value, low, high, verdict(low, high, ["method"] if value is None else []))


def _places(seeds: int, tail: float) -> int:
    """The largest k with P(Bin(seeds, 1/2) < k) <= tail; 0 where there is none."""
    k = 0
    while k < seeds // 2 and _spent_at(seeds, k + 1) <= tail:
        k += 1
    return k


def _spent_at(seeds: int, k: int) -> float:
    """P(Bin(seeds, 1/2) < k): how often the k-th lowest of the seeds is above the median."""
    return float(scipy_stats.binom.cdf(k - 1, seeds, 0.5))


def _spent(seeds: int, tail: float) -> float:
    k = _places(seeds, tail)
    return _spent_at(seeds, k) if k else 0.0


def _low(sample: Sample, tail: float) -> float | None:
    """The lower end of the median of (seeds,), which is above it with probability `tail` at most."""
    if sample.known:
        return sample.values[0]
    k = _places(len(sample), tail)
    return sorted(sample.lows)[k - 1] if k else None


def _high(sample: Sample, tail: float) -> float | None:
    if sample.known:
        return sample.values[0]
    k = _places(len(sample), tail)
    return sorted(sample.highs)[-k] if k else None


def _ratio(value: float | None, by: float | None) -> float | None:
    """`value` over a control's; None where one is unknown or the control is at zero."""
    return None if value is None or not by else value / by
