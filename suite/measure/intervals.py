"""Confidence intervals: of a proportion within one run, of a geometric mean across runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from scipy import special, stats


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact (conservative) interval of a proportion after `hits` successes in `n` independent draws.

    Source: Clopper and Pearson, Biometrika 26 (1934). Each tail holds (1 - level) / 2; with no hits the lower
    end is 0 and the upper one 1 - ((1 - level) / 2)^(1/n).

    Raises:
        ValueError: `n` below 1, `hits` outside 0..n, or a level outside (0, 1).
    """
    return _proportion(hits, n, level, "exact")


def wilson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion: narrower than Clopper-Pearson, right on average.

    Source: Wilson, JASA 22 (1927), without continuity correction.

    Raises:
        ValueError: as :func:`clopper_pearson`.
    """
    return _proportion(hits, n, level, "wilson")


def t_interval_log(values: Sequence[float], level: float = 0.95) -> tuple[float, float | None, float | None]:
    """(geometric mean, low, high): Student's t-interval of the mean logarithm, taken back by exp.

    `values` are positive, one per independent run. A single value has no spread to judge by: its interval is
    (None, None), unknown. The interval is about the geometric mean, not the arithmetic one.

    Raises:
        ValueError: no values, a value that is not positive and finite, or a level outside (0, 1).
    """
    _check_level(level)
    if not values:
        raise ValueError("a geometric mean needs at least one value")
    if not all(0 < value < math.inf for value in values):
        raise ValueError(f"a geometric mean needs positive, finite values, got {list(values)}")
    logs = [math.log(value) for value in values]
    n = len(logs)
    mean = math.fsum(logs) / n
    if n == 1:
        return math.exp(mean), None, None
    deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in logs) / (n - 1))
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * deviation / math.sqrt(n)
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def _proportion(hits: int, n: int, level: float, method: Literal["exact", "wilson"]) -> tuple[float, float]:
    _check_level(level)
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"hits={hits} of n={n}: need n >= 1 and 0 <= hits <= n")
    interval = stats.binomtest(int(hits), int(n)).proportion_ci(confidence_level=level, method=method)
    return float(interval.low), float(interval.high)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level={level}: need 0 < level < 1")
