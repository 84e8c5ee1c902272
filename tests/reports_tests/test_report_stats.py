"""The formulas of the leaderboard against SciPy, hand calculation and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as reference

from reports import stats

TEN = [0.95, 0.04, 0.04, 0.2, 0.01, 0.3, 0.005, 0.08, 0.02, 0.11]
NINE = [0.1, 0.08, 0.2, 0.05, 0.12, 0.07, 0.15, 0.09, 0.11]


def test_plain_summaries_by_hand() -> None:
    assert stats.mean([1.0, 2.0, 6.0]) == 3.0
    assert stats.median([1.0, 2.0, 6.0, 10.0]) == 4.0
    assert stats.sd([1.0, 2.0, 6.0]) == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_summaries_of_too_few_seeds_are_unknown() -> None:
    assert (stats.mean([]), stats.median([]), stats.sd([0.5]), stats.geometric_mean([])) == (None,) * 4


def test_geometric_mean_of_two_decades_is_the_one_between() -> None:
    made = stats.geometric_mean([1e-4, 1e-2])
    assert made is not None
    assert made.value == pytest.approx(1e-3)


def test_interval_of_the_geometric_mean_is_scipys_t_interval_on_logs() -> None:
    made = stats.geometric_mean(TEN)
    logs = np.log(TEN)
    low, high = reference.t.interval(0.95, len(logs) - 1, logs.mean(), reference.sem(logs))
    assert made is not None
    assert made.value == pytest.approx(reference.gmean(TEN))
    assert (made.low, made.high) == pytest.approx((math.exp(low), math.exp(high)))


def test_one_seed_has_a_value_and_no_interval() -> None:
    assert stats.geometric_mean([0.2], exact=True) == stats.Estimate(pytest.approx(0.2), None, None)


def test_identical_seeds_are_known_exactly_only_where_they_were_computed() -> None:
    assert stats.geometric_mean([0.053] * 5, exact=True) == stats.Estimate(0.053, 0.053, 0.053)
    assert stats.geometric_mean([0.053] * 5) == stats.Estimate(0.053, None, None)


def test_a_seed_without_success_leaves_no_geometric_mean() -> None:
    assert stats.geometric_mean([0.1, 0.0]) is None
    # sqrt(0.25 x 0.0004) = 0.01
    assert stats.geometric_upper([0.25, 4e-4]) == pytest.approx(0.01)


def test_seeds_too_far_apart_for_floats_have_no_interval() -> None:
    made = stats.geometric_mean([1e-300, 1.0])
    assert made == stats.Estimate(pytest.approx(1e-150), None, None)


def test_improvement_over_base_as_geometric_and_arithmetic_mean() -> None:
    ratios = stats.ratios([0.0004, 0.04], [0.0004, 0.0004])
    assert ratios is not None
    assert stats.mean(ratios) == pytest.approx((1 + 100) / 2)
    geometric = stats.geometric_mean(ratios)
    assert geometric is not None
    assert geometric.value == pytest.approx(10)


def test_improvement_over_a_base_of_zero_is_unknown() -> None:
    assert stats.ratios([0.1], [0.0]) is None


def test_comparison_is_scipys_welch_interval_on_logs() -> None:
    made = stats.compare(TEN, NINE)
    expected = reference.ttest_ind(np.log(TEN), np.log(NINE), equal_var=False).confidence_interval(0.95)
    assert (made.low, made.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))
    assert made.value == pytest.approx(reference.gmean(TEN) / reference.gmean(NINE))
    assert made.note == "interval includes 1: no evidence of a difference"


def test_an_exact_control_leaves_the_one_sample_interval() -> None:
    made = stats.compare(TEN, [0.053, 0.053], control_exact=True)
    expected = reference.ttest_1samp(np.log(TEN), math.log(0.053)).confidence_interval(0.95)
    shift = 1 / 0.053
    assert (made.low, made.high) == pytest.approx((math.exp(expected.low) * shift, math.exp(expected.high) * shift))
    assert "untestable" not in made.note


def test_two_exact_sides_have_an_interval_of_no_width() -> None:
    made = stats.compare([4e-4] * 3, [4e-3] * 3, method_exact=True, control_exact=True)
    assert (made.value, made.low, made.high) == pytest.approx((0.1, 0.1, 0.1))
    assert made.note == "interval below 1: worse than the control"


def test_a_method_far_above_the_control_says_so() -> None:
    assert stats.compare([x * 100 for x in NINE], NINE).note == "interval above 1"


@pytest.mark.parametrize(
    ("method", "control", "few"),
    [(7, 8, "7 of the method"), (8, 7, "7 of the control"), (2, 2, "2 of the method and 2 of the control")],
)
def test_below_eight_seeds_is_untestable(method: int, control: int, few: str) -> None:
    made = stats.compare(TEN[:method], NINE[:control])
    assert made.note == f"untestable: {few}, 8 seeds needed"
    assert made.low is not None


def test_eight_seeds_on_both_sides_are_tested() -> None:
    assert not stats.compare(TEN[:8], NINE[:8]).note.startswith("untestable")


def test_one_seed_of_a_method_has_a_ratio_and_no_interval() -> None:
    made = stats.compare([0.1], NINE)
    assert made.value == pytest.approx(0.1 / reference.gmean(NINE))
    assert (made.low, made.high) == (None, None)
    assert made.note == "untestable: 1 of the method, 8 seeds needed"


def test_equal_sampled_seeds_are_not_taken_for_exact_ones() -> None:
    made = stats.compare([0.1] * 8, [0.05] * 8)
    assert (made.value, made.low, made.high) == (pytest.approx(2), None, None)


def test_equal_sampled_seeds_of_a_control_are_too_few_like_any_others() -> None:
    assert stats.compare(TEN, [0.053, 0.053]).note == "untestable: 2 of the control, 8 seeds needed"


@pytest.mark.parametrize(
    ("method", "control", "note"),
    [
        ([], [0.1], "no final rate of the method is known"),
        ([0.1, 0.0], [0.1], "a seed of the method without a success: no geometric mean"),
    ],
)
def test_nothing_is_compared_without_rates(method: list[float], control: list[float], note: str) -> None:
    assert stats.compare(method, control) == stats.Comparison(None, None, None, note)


def _point(nre: int, rate: float, low: float) -> dict[str, float]:
    return {"nre": nre, "success_rate": rate, "low": low}


def test_a_lucky_estimate_has_not_reached_ten_times_base() -> None:
    curve = [_point(0, 4e-4, 4e-4), _point(500, 5e-3, 3.7e-3), _point(1000, 6e-3, 4.5e-3)]
    assert stats.nre_to(curve, 10, 4e-4) == 1000
    assert stats.nre_to(curve, 100, 4e-4) is None


def test_exactly_ten_times_base_is_not_above_it() -> None:
    assert stats.nre_to([_point(500, 0.25, 0.25)], 2, 0.125) is None


@pytest.mark.parametrize("base", [None, 0.0])
def test_nothing_is_reached_over_an_unknown_base(base: float | None) -> None:
    assert stats.nre_to([_point(500, 0.5, 0.5)], 10, base) is None


def test_kaplan_meier_medians_by_hand() -> None:
    assert stats.censored_median([3, 5, None, None], [7, 7, 7, 7]) == 5  # S(5) = 3/4 x 2/3 = 1/2
    assert stats.censored_median([3, None, 9, 10], [20, 4, 20, 20]) == 9  # S(9) = 3/4 x 1/2 = 3/8
    assert stats.censored_median([3, None, None], [7, 7, 7]) is None  # S ends at 2/3
    assert stats.censored_median([None, None], [7, 7]) is None


def test_early_censoring_raises_the_median_estimate() -> None:
    # counted as never, three of five would leave the median unreached; at risk only until 2, they do not
    assert stats.censored_median([5, 6, None, None, None], [9, 9, 2, 2, 2]) == 5


def test_t_interval_covers_the_geometric_mean_of_log_normal_seeds() -> None:
    # 2,000 intervals at 95 %: 1,900 expected, SD 9.7; 4 SD on either side
    rng = np.random.default_rng(0)
    hits = 0
    for seeds in np.exp(rng.normal(math.log(0.05), 1.5, size=(2000, 10))):
        made = stats.geometric_mean(list(seeds))
        assert made is not None
        assert made.low is not None
        assert made.high is not None
        hits += made.low <= 0.05 <= made.high
    assert 1861 <= hits <= 1939


def test_welch_interval_covers_the_ratio_of_unequally_spread_sides() -> None:
    rng = np.random.default_rng(1)
    methods = np.exp(rng.normal(math.log(0.1), 1.5, size=(2000, 10)))
    controls = np.exp(rng.normal(math.log(0.02), 0.3, size=(2000, 8)))
    made = [stats.compare(list(m), list(c)) for m, c in zip(methods, controls, strict=True)]
    hits = sum(one.low <= 5 <= one.high for one in made if one.low is not None and one.high is not None)
    assert 1861 <= hits <= 1939
