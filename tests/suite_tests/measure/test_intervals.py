"""Intervals against published tables and closed forms."""

from __future__ import annotations

import math

import pytest

from suite.measure.intervals import clopper_pearson, t_interval_log, wilson


def test_clopper_pearson_of_no_hits_is_the_closed_form() -> None:
    low, high = clopper_pearson(0, 10_000)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / 10_000), rel=1e-9)


def test_clopper_pearson_solves_its_binomial_equations() -> None:
    low, high = clopper_pearson(4, 10)
    at_least = sum(math.comb(10, k) * low**k * (1 - low) ** (10 - k) for k in range(4, 11))
    at_most = sum(math.comb(10, k) * high**k * (1 - high) ** (10 - k) for k in range(5))
    assert at_least == pytest.approx(0.025, abs=1e-9)
    assert at_most == pytest.approx(0.025, abs=1e-9)


def test_wilson_solves_its_quadratic() -> None:
    # Its ends are the p with |p_hat - p| = z sqrt(p (1 - p) / n).
    for p in wilson(4, 10):
        assert abs(0.4 - p) == pytest.approx(1.959963985 * math.sqrt(p * (1 - p) / 10), rel=1e-8)


def test_a_higher_level_is_wider() -> None:
    low, high = clopper_pearson(4, 10)
    lower, higher = clopper_pearson(4, 10, level=0.999)
    assert lower < low < high < higher


def test_t_interval_log_by_hand() -> None:
    # Logs 0, ln 4, ln 16: mean ln 4, standard deviation ln 4; t(0.975, 2) = 4.302653 from the tables.
    mean, low, high = t_interval_log([1, 4, 16])
    half = 4.302653 * math.log(4) / math.sqrt(3)
    assert mean == pytest.approx(4)
    assert low == pytest.approx(math.exp(math.log(4) - half), rel=1e-6)
    assert high == pytest.approx(math.exp(math.log(4) + half), rel=1e-6)


def test_one_run_has_no_interval() -> None:
    assert t_interval_log([0.25]) == (0.25, None, None)


@pytest.mark.parametrize("values", [[], [0.0, 1.0], [-1.0], [math.inf], [math.nan]])
def test_geometric_means_need_positive_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="geometric mean"):
        t_interval_log(values)


@pytest.mark.parametrize(("hits", "n", "level"), [(1, 0, 0.95), (11, 10, 0.95), (-1, 10, 0.95), (1, 10, 1.0)])
def test_impossible_counts_are_refused(hits: int, n: int, level: float) -> None:
    with pytest.raises(ValueError, match="need"):
        clopper_pearson(hits, n, level)
