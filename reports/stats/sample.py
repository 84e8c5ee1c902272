"""One success rate per seed, with what each run's own interval leaves open."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

SAME = 1e-6
"""Relative difference up to which two seeds count as identical (another processor's rounding)."""


class Moments(NamedTuple):
    """Mean and variance (n - 1) of (seeds,); the mean is -inf where a value is, the variance nan below two."""

    mean: float
    variance: float


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rates of independent runs, (seeds,), and the ends of each run's 95 % interval, (seeds,) each.

    A computed rate has low = value = high. A rate of zero with a positive high is a run without a success
    among its held-out samples: an interval, and no zero.
    """

    values: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]

    @classmethod
    def computed(cls, values: Sequence[float]) -> Sample:
        """Rates that are known without sampling error."""
        return cls(values, values, values)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def exact(self) -> bool:
        """Whether every value was computed and not sampled."""
        return bool(self.values) and all(low == high for low, high in zip(self.lows, self.highs, strict=True))

    @functools.cached_property
    def low_moments(self) -> Moments:
        """Of the logarithms of the lower ends."""
        return moments(logs(self.lows))

    @functools.cached_property
    def high_moments(self) -> Moments:
        """Of the logarithms of the upper ends."""
        return moments(logs(self.highs))

    @functools.cached_property
    def known(self) -> bool:
        """Whether the method is deterministic: computed values, the same on all of at least two seeds."""
        return self.exact and identical(self.values)


def identical(values: Sequence[float]) -> bool:
    """Whether (seeds,) holds at least two values, all equal up to rounding (:data:`SAME`)."""
    return len(values) > 1 and all(math.isclose(value, values[0], rel_tol=SAME) for value in values)


def logs(values: Sequence[float]) -> list[float]:
    """Natural logarithms of (seeds,), -inf for a zero."""
    return [math.log(value) if value > 0 else -math.inf for value in values]


def moments(values: Sequence[float]) -> Moments:
    """Mean and variance of (seeds,)."""
    mean = math.fsum(values) / len(values)
    if math.isinf(mean) or len(values) < 2:
        return Moments(mean, math.nan)
    if max(values) - min(values) < 1e-12:  # equal ones, whose mean is rounded
        return Moments(mean, 0.0)
    return Moments(mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def exp(x: float) -> float | None:
    """e^x; None beyond the largest float, 0 below the smallest."""
    return math.exp(x) if x < 700 else None
