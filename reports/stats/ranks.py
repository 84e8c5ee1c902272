"""The order of rows, and how much of it the seeds support."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from reports.stats.comparison import Comparison, compare, holm
from reports.stats.sample import Sample, identical
from reports.stats.summary import median

MOST_ROWS = 60
"""More rows than these are not tested against each other: a sweep's hundreds leave no power after Holm."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """A comparison of row `first` with row `second` (indices), and its p-value in the family of all pairs."""

    first: int
    second: int
    comparison: Comparison
    p_holm: float | None

    def differs(self, level: float = 0.95) -> bool:
        """Whether the first is known to be another than the second: by the test, or both without error."""
        if self.p_holm is not None:
            return self.p_holm <= 1 - level
        low, high = self.comparison.low, self.comparison.high
        return low is not None and low == high and not identical([low, 1.0])


def pairs(samples: Sequence[Sample]) -> list[Pair]:
    """All pairs of rows, Holm-corrected over those that can be tested; none beyond :data:`MOST_ROWS` rows."""
    n = len(samples) if len(samples) <= MOST_ROWS else 0
    places = [(i, j) for i in range(n) for j in range(i + 1, n)]
    made = [compare(samples[i], samples[j]) for i, j in places]
    tested = [k for k, one in enumerate(made) if one.p is not None]
    adjusted = dict(zip(tested, holm([made[k].p or 0.0 for k in tested]), strict=True))
    return [Pair(i, j, made[k], adjusted.get(k)) for k, (i, j) in enumerate(places)]


@dataclasses.dataclass(frozen=True)
class Rank:
    """A place in the order, 1 the best, with its interval."""

    value: float
    low: int
    high: int


def ranks(samples: Sequence[Sample], found: Sequence[Pair], level: float = 0.95) -> list[Rank | None]:
    """The rank of each row by the median of its seeds, (rows,); None for a row without rates.

    Ties share the mean of their places. The interval
    goes from 1 + the rows that are significantly better to the rows - those significantly worse: with all
    pairs Holm-corrected, the intervals of all rows hold at once with at least `level`. Nothing is assumed of a
    pair that cannot be tested, so a row with too few seeds may have any rank.

    Args:
        found: the :func:`pairs` of these rows.

    Source: Mogstad, Romano, Shaikh and Wilhelm, Review of Economic Studies 91 (2024), with Holm's p-values.
    """
    entered = [i for i, sample in enumerate(samples) if sample.values]
    levels = {i: median(samples[i].values) or 0.0 for i in entered}
    better, worse = dict.fromkeys(entered, 0), dict.fromkeys(entered, 0)
    for pair in found:
        if pair.differs(level):
            comparison = pair.comparison
            ends = (pair.first, pair.second)
            winner, loser = ends if comparison.low is not None and comparison.low > 1 else ends[::-1]
            better[loser] += 1
            worse[winner] += 1
    result: list[Rank | None] = [None] * len(samples)
    for i in entered:
        above = sum(levels[j] > levels[i] for j in entered)
        ties = sum(levels[j] == levels[i] for j in entered)
        result[i] = Rank(above + (ties + 1) / 2, 1 + better[i], len(entered) - worse[i])
    return result
