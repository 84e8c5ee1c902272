"""A success rate over the seeds of one row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from reports import stats
from suite.records import Record


@dataclasses.dataclass(frozen=True)
class Rates:
    """Final or best success rates, (seeds,) each; `values` and `bases` are empty unless every seed's is
    known.

    An estimate of zero successes in a sample is an interval and no zero: it is None in `seeds`, and summaries
    that would be zero, or need its logarithm, are None with an upper bound beside them. A computed zero stays
    zero.
    """

    values: list[float]
    bases: list[float]
    seeds: tuple[float | None, ...]
    lows: tuple[float | None, ...]
    highs: tuple[float | None, ...]

    @classmethod
    def of(cls, records: Sequence[Record], which: str) -> Rates:
        """From the point `which` ("final" or "best") of finished records; held-out off has no points."""
        points: list[dict[str, Any]] = [record.result[which] or {} for record in records]
        rates: list[Any] = [point.get("success_rate") for point in points]
        highs = tuple(point.get("high") for point in points)
        bases: list[Any] = [(record.result["base"] or {}).get("success_rate") for record in records]
        return cls(
            values=[] if None in rates else rates,
            bases=[] if None in bases else bases,
            seeds=tuple(None if r == 0 and high else r for r, high in zip(rates, highs, strict=True)),
            lows=tuple(point.get("low") for point in points),
            highs=highs,
        )

    @property
    def exact(self) -> bool:
        """Whether every value was computed and not sampled."""
        return bool(self.values) and all(low == high for low, high in zip(self.lows, self.highs, strict=True))

    @property
    def geomean(self) -> stats.Estimate | None:
        return stats.geometric_mean(self.values, exact=self.exact)

    @property
    def upper(self) -> float | None:
        """Geometric mean of the upper bounds, where a seed's estimate is zero."""
        known = [high for high in self.highs if high is not None]
        return stats.geometric_upper(known) if self.values and min(self.values) <= 0 else None

    def seen(self, value: float | None) -> float | None:
        """`value`, a summary of these rates, unless it is a zero that stands for not having seen a
        success.
        """
        return None if value == 0 and not self.exact else value

    def summary(self, which: str) -> dict[str, Any]:
        """The fields of a row that final and best rates have in common."""
        value, low, high = stats.parts(self.geomean)
        over_base = stats.ratios(self.values, self.bases) if self.bases else None
        return {
            f"success_{which}_geomean": value,
            f"success_{which}_geomean_low": low,
            f"success_{which}_geomean_high": None if high is None else min(1.0, high),
            f"success_{which}_upper": self.upper,
            f"success_{which}_mean": self.seen(stats.mean(self.values)),
            f"improvement_{which}_geomean": stats.parts(stats.geometric_mean(over_base or []))[0],
            f"improvement_{which}_mean": self.seen(stats.mean(over_base or [])),
        }
