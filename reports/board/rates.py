"""A success rate over the seeds of one row."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from reports import stats
from reports.stats import Estimate, Sample
from reports.stats.sample import SAME
from suite.measure.intervals import clopper_pearson
from suite.store import schema
from suite.store.records import FinishedRecord

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
    def of(cls, points: Sequence[schema.Estimate | None], base: Estimate) -> Rates:
        """From the final or the best point of every finished record, or its match; None where it was not measured."""
        measured = [point for point in points if point is not None]
        return cls(
            sample=_sample([(point.success_rate, point.low, point.high) for point in measured], len(points)),
            base=base,
            seeds=tuple(None if point is None or _unseen(point) else point.success_rate for point in points),
            lows=tuple(None if point is None else point.low for point in points),
            highs=tuple(None if point is None else point.high for point in points),
        )

    @functools.cached_property
    def geomean(self) -> Estimate:
        return _probability(stats.geometric_mean(self.sample))

    @functools.cached_property
    def median(self) -> Estimate:
        return stats.median_estimate(self.sample)

    @property
    def upper(self) -> float | None:
        """The upper end of the geometric mean, where a seed without a success leaves no value."""
        return self.geomean.high if self.geomean.value is None else None

    def below_base(self) -> Estimate:
        """The share of seeds that end below the pre-trained model; a seed that may lie on either side opens it.

        Clopper-Pearson's interval: its lower end of the seeds surely below, its upper end of those not surely above.
        """
        n = len(self.sample)
        low, value, high = self.base.low, self.base.value, self.base.high
        if not n or low is None or value is None or high is None:
            return stats.Estimate(None, None, None)
        surely = sum(end < low * (1 - SAME) for end in self.sample.highs)
        maybe = sum(start < high * (1 - SAME) for start in self.sample.lows)
        share = sum(rate < value * (1 - SAME) for rate in self.sample.values) / n
        return stats.Estimate(share, clopper_pearson(surely, n)[0], clopper_pearson(maybe, n)[1])

    def seen(self, value: float | None) -> float | None:
        """`value`, a summary of these rates, unless it is a zero that stands for not having seen a success."""
        return None if value == 0 and not self.sample.exact else value

    def summary(self, which: str) -> dict[str, Any]:
        """The fields of a row that final and best rates have in common."""
        mean = self.seen(stats.mean(self.sample.values))
        return {
            **fields(f"success_{which}_geomean", self.geomean),
            **fields(f"success_{which}_median", self.median),
            f"success_{which}_upper": self.upper,
            f"success_{which}_mean": mean,
            **fields(f"improvement_{which}_geomean", self.geomean.over(self.base)),
            f"improvement_{which}_mean": mean / self.base.value if mean is not None and self.base.value else None,
        }

    def as_match(self) -> dict[str, Any]:
        """The fields of a row on the match, where these are matches and no success rates."""
        return {
            **fields("match_final_geomean", self.geomean),
            "match_final_upper": self.upper,
            **fields("match_final_median", self.median),
            "match_final_seeds": self.seeds,
            "match_final_seeds_low": self.lows,
            "match_final_seeds_high": self.highs,
        }

    def deployed(self) -> dict[str, Any]:
        """The fields of a row on the final policy in use: pass@k and evaluations to the first success."""
        rate = self.geomean
        made: dict[str, Any] = {}
        for k in PASS_AT:
            ends = (stats.pass_at(k, end) for end in (rate.value, rate.low, rate.high))
            made |= fields(f"pass_at_{k}", Estimate(*ends))
        waits = (stats.expected_evaluations(end) for end in (rate.value, rate.high, rate.low))
        return made | fields("expected_evaluations", Estimate(*waits))


def _unseen(point: schema.Estimate) -> bool:
    """Whether a zero stands for not having seen a success."""
    return point.success_rate == 0 and bool(point.high)


def area(records: Sequence[FinishedRecord]) -> dict[str, Any]:
    """The fields of a row on the area under its runs' curves."""
    areas = []
    for record in records:
        curve, budget = record.result.curve, record.identity.budget
        nre = [point.nre for point in curve]
        # each end of the points' intervals has an area of its own, which widens that of the rate
        areas.append(
            (
                stats.area_over_log_nre(nre, [point.success_rate for point in curve], budget),
                stats.area_over_log_nre(nre, [point.low for point in curve], budget),
                stats.area_over_log_nre(nre, [point.high for point in curve], budget),
            )
        )
    return fields("success_auc_geomean", _probability(stats.geometric_mean(_sample(areas, len(areas)))))


def _sample(ends: Sequence[tuple[float | None, float | None, float | None]], seeds: int) -> Sample:
    """The sample of (value, low, high) of so many seeds; empty unless all are known."""
    known = [
        (value, low, high) for value, low, high in ends if value is not None and low is not None and high is not None
    ]
    return Sample(*zip(*known, strict=True)) if known and len(known) == seeds else Sample((), (), ())


def _probability(estimate: Estimate) -> Estimate:
    return dataclasses.replace(estimate, high=None if estimate.high is None else min(1.0, estimate.high))


def fields(name: str, estimate: Estimate) -> dict[str, Any]:
    """The three fields of a row on an estimate."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
