"""A success rate over the seeds of one row."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from reports import stats
from reports.stats import Estimate, Sample
from suite.store.records import Record

PASS_AT = (10, 100, 1000)
"""The k of pass@k."""


@dataclasses.dataclass(frozen=True)
class Rates:
    """Final or best success rates, (seeds,) each; `sample` is empty unless every seed's is known.

    An estimate of zero successes in a sample is an interval and no zero: it is None in `seeds`, and summaries
    that would be zero, or need its logarithm, are None with an upper bound beside them. A computed zero stays
    zero.
    """

    sample: Sample
    base: Estimate
    seeds: tuple[float | None, ...]
    lows: tuple[float | None, ...]
    highs: tuple[float | None, ...]

    @classmethod
    def of(cls, records: Sequence[Record], which: str, base: Estimate) -> Rates:
        """From the point `which` ("final" or "best") of finished records; held-out off has no points."""
        points: list[dict[str, Any]] = [record.result[which] or {} for record in records]
        rates, lows, highs = (_column(points, key) for key in ("success_rate", "low", "high"))
        return cls(
            sample=Sample((), (), ()) if None in rates else Sample(rates, lows, highs),
            base=base,
            seeds=tuple(None if r == 0 and high else r for r, high in zip(rates, highs, strict=True)),
            lows=lows,
            highs=highs,
        )

    @functools.cached_property
    def geomean(self) -> Estimate:
        return _probability(stats.geometric_mean(self.sample))

    @property
    def upper(self) -> float | None:
        """The upper end of the geometric mean, where a seed without a success leaves no value."""
        return self.geomean.high if self.geomean.value is None else None

    def seen(self, value: float | None) -> float | None:
        """`value`, a summary of these rates, unless it is a zero that stands for not having seen a success."""
        return None if value == 0 and not self.sample.exact else value

    def summary(self, which: str) -> dict[str, Any]:
        """The fields of a row that final and best rates have in common."""
        mean = self.seen(stats.mean(self.sample.values))
        return {
            **_fields(f"success_{which}_geomean", self.geomean),
            f"success_{which}_upper": self.upper,
            f"success_{which}_mean": mean,
            **_fields(f"improvement_{which}_geomean", self.geomean.over(self.base)),
            f"improvement_{which}_mean": mean / self.base.value if mean is not None and self.base.value else None,
        }

    def deployed(self) -> dict[str, Any]:
        """The fields of a row on the final policy in use: pass@k and evaluations to the first success."""
        rate = self.geomean
        fields: dict[str, Any] = {}
        for k in PASS_AT:
            ends = (stats.pass_at(k, end) for end in (rate.value, rate.low, rate.high))
            fields |= _fields(f"pass_at_{k}", Estimate(*ends))
        waits = (stats.expected_evaluations(end) for end in (rate.value, rate.high, rate.low))
        return fields | _fields("expected_evaluations", Estimate(*waits))


def area(records: Sequence[Record]) -> dict[str, Any]:
    """The fields of a row on the area under its runs' curves."""
    areas = []
    for record in records:
        curve, budget = record.result["curve"], record.identity["budget"]
        # each end of the points' intervals has an area of its own, which widens that of the rate
        areas.append([stats.area_over_log_nre(curve, budget, key) for key in ("success_rate", "low", "high")])
    known = [tuple(end for end in ends if end is not None) for ends in areas]
    complete = bool(areas) and all(len(ends) == 3 for ends in known)
    sample = Sample(*zip(*known, strict=True)) if complete else Sample((), (), ())
    return _fields("success_auc_geomean", _probability(stats.geometric_mean(sample)))


def _column(points: Sequence[dict[str, Any]], key: str) -> tuple[Any, ...]:
    return tuple(point.get(key) for point in points)


def _probability(estimate: Estimate) -> Estimate:
    return dataclasses.replace(estimate, high=None if estimate.high is None else min(1.0, estimate.high))


def _fields(name: str, estimate: Estimate) -> dict[str, Any]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
