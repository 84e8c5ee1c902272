"""The mean that every summary of success rates rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence


def geometric_mean(values: Sequence[float]) -> float:
    """exp of the mean logarithm of non-negative values, (n,) with n ≥ 1; 0 where one of them is 0."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if min(values) > 0 else 0.0
