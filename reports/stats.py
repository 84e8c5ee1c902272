"""Statistics of a leaderboard: pure functions over the seeds of one row.

One value per seed. A few seeds of a success rate are skewed (log-SD 1.3 to 1.8), so the interval-bearing
summary is the geometric mean, and arithmetic means carry no interval. ``None`` is unknown or censored and
never a zero.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from scipy import stats as scipy_stats

from suite import intervals

MIN_SEEDS = 8
"""Below this many seeds on either side a comparison is called untestable."""
SAME = 1e-6
"""Relative difference up to which two seeds count as identical (another processor's rounding)."""


def mean(values: Sequence[float]) -> float | None:
    """Arithmetic mean of (seeds,); None for no values."""
    return math.fsum(values) / len(values) if values else None


def median(values: Sequence[float]) -> float | None:
    """Median of (seeds,), the mean of the two middle ones for an even number; None for no values."""
    return float(statistics.median(values)) if values else None


def sd(values: Sequence[float]) -> float | None:
    """Sample standard deviation (n - 1) of (seeds,); None below two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def ratios(values: Sequence[float], bases: Sequence[float]) -> list[float] | None:
    """Each rate over its own base, (seeds,), (seeds,) -> (seeds,); None where a base is not positive."""
    if not values or any(base <= 0 for base in bases):
        return None
    return [value / base for value, base in zip(values, bases, strict=True)]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A geometric mean and the ends of its 95 % interval; an end is None where the seeds cannot tell."""

    value: float
    low: float | None
    high: float | None


def identical(values: Sequence[float]) -> bool:
    """Whether (seeds,) holds at least two values, all equal up to rounding (:data:`SAME`)."""
    return len(values) > 1 and all(math.isclose(value, values[0], rel_tol=SAME) for value in values)


def geometric_mean(values: Sequence[float], *, exact: bool = False, level: float = 0.95) -> Estimate | None:
    """Geometric mean of (seeds,) with Student's t-interval of the mean logarithm, taken back by exp.

    None for no values or where one of them is zero: the logarithm of a rate that was not seen is unknown.
    `exact` says that each value was computed rather than sampled; identical exact values (a deterministic
    method) are known without error, identical sampled ones say nothing about their spread and get no
    interval.
    """
    if not values or min(values) <= 0:
        return None
    if identical(values):
        end = values[0] if exact else None
        return Estimate(values[0], end, end)
    try:
        return Estimate(*intervals.t_interval_log(values, level))
    except OverflowError:  # two seeds hundreds of orders of magnitude apart: no interval worth the name
        return Estimate(math.exp(math.fsum(map(math.log, values)) / len(values)), None, None)


def parts(estimate: Estimate | None) -> tuple[float | None, float | None, float | None]:
    """(value, low, high), each None where there is no estimate."""
    return (estimate.value, estimate.low, estimate.high) if estimate else (None, None, None)


def geometric_upper(highs: Sequence[float]) -> float | None:
    """Geometric mean of the seeds' upper bounds (seeds,): what stands as "< upper"."""
    if not highs:
        return None
    return 0.0 if min(highs) <= 0 else math.exp(math.fsum(map(math.log, highs)) / len(highs))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Ratio of two geometric means, its 95 % interval, and in words what may be concluded from it."""

    value: float | None
    low: float | None
    high: float | None
    note: str


def compare(
    method: Sequence[float],
    control: Sequence[float],
    *,
    method_exact: bool = False,
    control_exact: bool = False,
    level: float = 0.95,
) -> Comparison:
    """Ratio of the geometric means of `method` (seeds,) and `control` (seeds,), with Welch's t-interval on
    logs.

    The seeds of the two sides are independent. A side whose values are exact and identical on all seeds is
    known without error and adds no variance: the interval is then the one-sample t-interval of the other
    side. Otherwise a side below :data:`MIN_SEEDS` seeds makes the comparison untestable, and a side of one
    seed leaves no interval.

    Source: Welch, Biometrika 34 (1947), with Satterthwaite's degrees of freedom.
    """
    sides = {
        "method": (method, method_exact and identical(method)),
        "control": (control, control_exact and identical(control)),
    }
    for name, (values, _) in sides.items():
        if not values:
            return Comparison(None, None, None, f"no final rate of the {name} is known")
        if min(values) <= 0:
            return Comparison(None, None, None, f"a seed of the {name} without a success: no geometric mean")
    logs = {name: [math.log(value) for value in values] for name, (values, _) in sides.items()}
    difference = statistics.fmean(logs["method"]) - statistics.fmean(logs["control"])
    unknown = [name for name, (_, known) in sides.items() if not known]
    few = [f"{len(logs[name])} of the {name}" for name in unknown if len(logs[name]) < MIN_SEEDS]
    half = _welch_half([logs[name] for name in unknown], level)
    low, high = (None, None) if half is None else (_exp(difference - half), _exp(difference + half))
    if few:
        note = f"untestable: {' and '.join(few)}, {MIN_SEEDS} seeds needed"
    elif half is None or low is None or high is None:
        note = "no spread between sampled seeds: no interval"
    elif high < 1:
        note = "interval below 1: worse than the control"
    else:
        note = "interval above 1" if low > 1 else "interval includes 1: no evidence of a difference"
    return Comparison(_exp(difference), low, high, note)


def _welch_half(samples: Sequence[Sequence[float]], level: float) -> float | None:
    """Half width of Welch's interval over the samples (each (seeds,)) whose mean is not known exactly."""
    if not samples:
        return 0.0
    if any(len(sample) < 2 for sample in samples):
        return None
    parts = [(statistics.variance(sample) / len(sample), len(sample) - 1) for sample in samples]
    total = sum(part for part, _ in parts)
    if total == 0:
        return None
    # Satterthwaite, with the shares of the variance so that tiny ones do not underflow when squared
    df = 1 / sum((part / total) ** 2 / freedom for part, freedom in parts)
    return float(scipy_stats.t.ppf((1 + level) / 2, df)) * math.sqrt(total)


def _exp(x: float) -> float | None:
    return math.exp(x) if x < 700 else None


def nre_to(curve: Sequence[Mapping[str, Any]], factor: float, base: float | None) -> int | None:
    """Evaluations at the first point of a curve whose interval lies wholly above `factor` x `base`.

    None is censored: not reached, or a base that is unknown or zero. A lucky estimate does not count: the
    lower bound of the point's interval has to be above.
    """
    if base is None or base <= 0:
        return None
    for point in curve:
        if point["low"] is not None and point["low"] > factor * base:
            return int(point["nre"])
    return None


def censored_median(events: Sequence[float | None], ends: Sequence[float]) -> float | None:
    """Kaplan-Meier median of times (seeds,), where None is censored at that seed's end (seeds,).

    The smallest time at which the survival function is at most one half; None where it never falls that far.

    Source: Kaplan and Meier, JASA 53 (1958), through ``scipy.stats.ecdf``.
    """
    seen = [event for event in events if event is not None]
    if not seen:
        return None
    censored = [end for event, end in zip(events, ends, strict=True) if event is None]
    survival = scipy_stats.ecdf(scipy_stats.CensoredData(uncensored=seen, right=censored)).sf
    for time, probability in zip(survival.quantiles, survival.probabilities, strict=True):
        if probability <= 0.5 + 1e-12:
            return float(time)
    return None
