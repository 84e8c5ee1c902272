"""One success rate per seed, with what each run's own interval leaves open."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

SAME = 1e-6
"""Relative difference up to which two seeds count as identical (another processor's rounding)."""


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

    @property
    def known(self) -> bool:
        """Whether the method is deterministic: computed values, the same on all of at least two seeds."""
        return self.exact and identical(self.values)


def identical(values: Sequence[float]) -> bool:
    """Whether (seeds,) holds at least two values, all equal up to rounding (:data:`SAME`)."""
    return len(values) > 1 and all(math.isclose(value, values[0], rel_tol=SAME) for value in values)


def logs(values: Sequence[float]) -> list[float]:
    """Natural logarithms of (seeds,), -inf for a zero."""
    return [math.log(value) if value > 0 else -math.inf for value in values]


def exp(x: float) -> float | None:
    """e^x; None beyond the largest float, 0 below the smallest."""
    return math.exp(x) if x < 700 else None
