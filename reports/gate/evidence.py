"""The test behind the gate: is a quantity worse than its reference, at a family-wise level over all quantities?"""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy import stats

from reports.gate.quantities import Better
from reports.stats import holm

LEVEL = 0.001
"""Most probability of any red comparison where nothing got worse, averaged over references.

All later runs meet one reference, and one drawn a little too good raises all their alarms. Simulated for 18 normal
quantities and 6 fresh seeds: at a level of 1 % with 24 reference seeds the rate given the reference is 0.8 % in the
median, 2.3 % for one reference in twenty; at 0.1 % with 96 seeds it is 0.09 % on average and 0.2 % for one in twenty.
So this level keeps the false alarms of *one* reference below 1 % (docs/protocol.md asks for that), and the larger
reference pays for it: the power of 6 fresh seeds is the same.
"""
RTOL = 1e-6
"""Relative difference that two processors' rounding may leave; closer values are ties."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One quantity of one cell, fresh seeds against the reference's."""

    cell: str
    quantity: str
    better: Better
    reference: list[float]
    fresh: list[float]
    p: float
    """One-sided, of the fresh values being worse."""
    p_holm: float = math.nan
    """The same, adjusted for all comparisons of the gate."""

    @property
    def red(self) -> bool:
        return self.p_holm <= LEVEL

    @property
    def shift(self) -> float:
        """Median of the fresh values minus median of the reference's; negative is worse where higher is better."""
        return statistics.median(self.fresh) - statistics.median(self.reference)

    @property
    def effect(self) -> float | None:
        """The shift in standard deviations of the reference, positive is better; None where that has no spread."""
        spread = statistics.stdev(self.reference)
        if spread <= RTOL * abs(statistics.fmean(self.reference)):
            return None
        return self.shift / spread * (1 if self.better == "higher" else -1)


def compare(cell: str, quantity: str, better: Better, reference: Sequence[float], fresh: Sequence[float]) -> Comparison:
    """A comparison that is not yet adjusted for the others."""
    p = inferiority_p(reference, fresh, better)
    return Comparison(cell, quantity, better, list(reference), list(fresh), p)


def inferiority_p(reference: Sequence[float], fresh: Sequence[float], better: Better) -> float:
    """P-value of the one-sided exact rank test (Mann-Whitney) that fresh (m,) is worse than reference (n,).

    Exact for any distribution, which a t-test on five seeds is not. Ties, up to :data:`RTOL`, are broken for the
    fresh side, so the p-value errs upwards only: a number that another processor rounds otherwise is no evidence.

    Source: Mann and Whitney, Annals of Mathematical Statistics 18 (1947).
    """
    sign = 1.0 if better == "higher" else -1.0
    then, now = np.asarray(reference), np.asarray(fresh)[:, None]
    beaten = (sign * (then - now) > 0) & ~np.isclose(now, then, rtol=RTOL, atol=0.0)  # (m, n)
    return _p_of(int(beaten.sum()), len(fresh), len(reference))


@functools.cache
def _p_of(u: int, m: int, n: int) -> float:
    """P(U ≥ u) of Mann and Whitney's U for m and n exchangeable values without ties."""
    places = [n - (u // m + (i < u % m)) + 0.5 + 0.4 * i / m for i in range(m)]  # among 1..n, below u pairs of them
    return float(stats.mannwhitneyu(places, range(1, n + 1), alternative="less", method="exact").pvalue)


def least_p(m: int, n: int) -> float:
    """The smallest p-value that m fresh seeds can have against n: all of them worse than every reference."""
    return 1 / math.comb(m + n, m)


def adjusted(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's p-values over all of them."""
    p_holm = holm([c.p for c in comparisons])
    return [dataclasses.replace(c, p_holm=p) for c, p in zip(comparisons, p_holm, strict=True)]


def power(m: int, n: int, tests: int, effect: float, *, runs: int = 2000, seed: int = 0) -> float:
    """Probability that a quantity worse by `effect` standard deviations is red, all others unchanged.

    Simulated for normal values, against the first and strictest of Holm's levels, LEVEL / tests.
    """
    rng = np.random.default_rng(seed)
    reference, fresh = rng.normal(size=(n, runs)), rng.normal(-effect, size=(m, runs))
    beaten = (fresh[:, None] < reference).sum(axis=(0, 1))  # (runs,), Mann and Whitney's U
    return float(np.mean(beaten >= _critical(m, n, LEVEL / tests)))


@functools.cache
def _critical(m: int, n: int, level: float) -> int:
    """The least U whose p-value is at most `level`; m n + 1 where there is none."""
    for u in range(m * n, -1, -1):
        if _p_of(u, m, n) > level:
            return u + 1
    return 0


@functools.cache
def detectable(m: int, n: int, tests: int, wanted: float = 0.9) -> float:
    """The least effect, in tenths of a standard deviation, that is red with the wanted power; inf above 20."""
    return next((effect / 10 for effect in range(1, 200) if power(m, n, tests, effect / 10) >= wanted), math.inf)
