"""Two rows: the ratio of geometric means with its test, the probability of improvement."""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Sequence

from scipy import optimize, special

from reports.stats.sample import Moments, Sample, exp, logs, moments
from suite.measure.intervals import clopper_pearson

MIN_SEEDS = 8
"""Below this many seeds on either side a comparison is called untestable."""

EDGE = 1e-12
"""How far from 0 and 1 a root is looked for, where the equation also holds at 0 and 1 themselves."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Ratio of two geometric means, its interval, and in words what may be concluded from it."""

    value: float | None
    low: float | None
    high: float | None
    note: str
    p: float | None = None
    """Two-sided p-value of a ratio of 1; None where nothing is tested."""

    @property
    def untestable(self) -> bool:
        return self.note.startswith("untestable")


def compare(method: Sample, control: Sample, level: float = 0.95, *, upper_level: float | None = None) -> Comparison:
    """Ratio of the geometric means of two rows, with Welch's t-interval on logs and the test that goes with it.

    The seeds of the two sides are independent. A deterministic side (:attr:`Sample.known`) adds no variance:
    the interval is then the one-sample t-interval of the other side. Otherwise a side below :data:`MIN_SEEDS`
    seeds makes the comparison untestable, and a side of one seed leaves no interval.

    Sampled rates widen it: the lower end is Welch's over the lower ends of the method's runs and the upper ends
    of the control's, the upper end the reverse; the p-value is that of the nearer end. A run without a success
    leaves no value, yet an end that the other side's rates may still decide.

    Args:
        upper_level: the level of the upper end, where it is not `level`.

    Source: Welch, Biometrika 34 (1947), with Satterthwaite's degrees of freedom.
    """
    sides = {"method": method, "control": control}
    for name, side in sides.items():
        if not side.values:
            return Comparison(None, None, None, f"no final rate of the {name} is known")
        if min(side.highs) <= 0:
            return Comparison(None, None, None, f"a seed of the {name} with a success rate of zero: no ratio")
    unseen = [name for name, side in sides.items() if min(side.values) <= 0]
    value = None if unseen else exp(moments(logs(method.values)).mean - moments(logs(control.values)).mean)
    if method.known and control.known:
        return Comparison(value, value, value, verdict(value, value, unseen))
    below = _welch(method, method.low_moments, control, control.high_moments)
    above = _welch(method, method.high_moments, control, control.low_moments)
    low, high = _quantile(below, (1 - level) / 2), _quantile(above, (1 + (upper_level or level)) / 2)
    few = [f"{len(s)} of the {name}" for name, s in sides.items() if not s.known and len(s) < MIN_SEEDS]
    if few:
        return Comparison(value, low, high, f"untestable: {' and '.join(few)}, {MIN_SEEDS} seeds needed")
    if low is None and high is None:
        return Comparison(value, None, None, "no spread between sampled seeds: no interval")
    return Comparison(value, low, high, verdict(low, high, unseen), _p_value(below, above))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p-values (tests,): reject where the result is below the family's level.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def probability_of_improvement(
    method: Sequence[float], control: Sequence[float], *, control_known: bool = False, level: float = 0.95
) -> tuple[float, float, float] | None:
    """(P(a seed of the method beats one of the control), low, high) from (seeds,), (seeds,); ties count one half.

    The Mann-Whitney statistic over the number of pairs. Its interval is Newcombe's method 5, which solves
    |estimate - theta| = z SE(theta) with Hanley and McNeil's standard error of exponential laws. Against a
    deterministic control it is Clopper-Pearson's, of the seeds above it, ties rounded outwards. None without
    seeds.

    Source: Newcombe, Statistics in Medicine 25 (2006), 559-573, part 2.
    """
    if not method or not control:
        return None
    ordered = sorted(control)
    wins = sum(bisect.bisect_left(ordered, a) + bisect.bisect_right(ordered, a) for a in method) / 2
    estimate = wins / (len(method) * len(control))
    if control_known:
        above = sum(a > control[0] for a in method)
        ties = sum(a == control[0] for a in method)
        low = clopper_pearson(above, len(method), level)[0]
        return estimate, low, clopper_pearson(above + ties, len(method), level)[1]
    low, high = _newcombe(estimate, len(method), len(control), level)
    return estimate, low, high


def _newcombe(estimate: float, m: int, n: int, level: float) -> tuple[float, float]:
    z = float(special.ndtri((1 + level) / 2))
    middle = (m + n) / 2 - 1

    def gap(theta: float) -> float:
        variance = theta * (1 - theta) * (1 + middle * ((1 - theta) / (2 - theta) + theta / (1 + theta))) / (m * n)
        return float((estimate - theta) ** 2 - z**2 * variance)

    low = float(optimize.brentq(gap, 0.0, min(estimate, 1 - EDGE))) if estimate > 0 else 0.0
    high = float(optimize.brentq(gap, max(estimate, EDGE), 1.0)) if estimate < 1 else 1.0
    return low, high


@dataclasses.dataclass(frozen=True)
class _Welch:
    """A difference of mean logarithms, its standard error and Satterthwaite's degrees of freedom."""

    difference: float
    error: float
    freedom: float


def _welch(a: Sample, a_logs: Moments, b: Sample, b_logs: Moments) -> _Welch | float | None:
    """The difference of the mean logarithms of two rows of rates; infinite where one is 0, None without spread."""
    if math.isinf(a_logs.mean) or math.isinf(b_logs.mean):
        return -math.inf if math.isinf(a_logs.mean) else math.inf
    varying = [(logs, len(side)) for side, logs in ((a, a_logs), (b, b_logs)) if not side.known]
    if any(n < 2 for _, n in varying):
        return None
    parts = [(logs.variance / n, n - 1) for logs, n in varying]
    total = math.fsum(part for part, _ in parts)
    if total == 0:
        return None
    # Satterthwaite, with the shares of the variance so that tiny ones do not underflow when squared
    freedom = 1 / sum((part / total) ** 2 / df for part, df in parts)
    return _Welch(a_logs.mean - b_logs.mean, math.sqrt(total), freedom)


def _quantile(welch: _Welch | float | None, q: float) -> float | None:
    if isinstance(welch, _Welch):
        return exp(welch.difference + float(special.stdtrit(welch.freedom, q)) * welch.error)
    return 0.0 if welch == -math.inf else None


def _p_value(below: _Welch | float | None, above: _Welch | float | None) -> float:
    if isinstance(below, _Welch) and below.difference > 0:
        return 2 * float(special.stdtr(below.freedom, -below.difference / below.error))
    if isinstance(above, _Welch) and above.difference < 0:
        return 2 * float(special.stdtr(above.freedom, above.difference / above.error))
    return 1.0


def verdict(low: float | None, high: float | None, unseen: Sequence[str]) -> str:
    """What an interval of a ratio says, in words; `unseen` are the sides with a seed that saw no success."""
    if high is not None and high < 1:
        return "interval below 1: worse than the control"
    if low is not None and low > 1:
        return "interval above 1"
    if unseen:
        return f"a seed of the {unseen[0]} without a success: no evidence of a difference"
    return "interval includes 1: no evidence of a difference"
