"""The formulas of the leaderboard against SciPy, hand calculation and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as reference

from reports import stats
from reports.stats import Sample
from suite.measure import intervals
from suite.measure.estimators import monte_carlo
from suite.store.schema import Placed

TEN = [0.95, 0.04, 0.04, 0.2, 0.01, 0.3, 0.005, 0.08, 0.02, 0.11]
NINE = [0.1, 0.08, 0.2, 0.05, 0.12, 0.07, 0.15, 0.09, 0.11]


def sampled(hits: list[int], n: int) -> Sample:
    ends = [intervals.clopper_pearson(k, n) for k in hits]
    return Sample([k / n for k in hits], [low for low, _ in ends], [high for _, high in ends])


def test_plain_summaries_by_hand() -> None:
    assert stats.mean([1.0, 2.0, 6.0]) == 3.0
    assert stats.median([1.0, 2.0, 6.0, 10.0]) == 4.0
    assert stats.sd([1.0, 2.0, 6.0]) == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_summaries_of_too_few_seeds_are_unknown() -> None:
    assert (stats.mean([]), stats.median([]), stats.sd([0.5]), stats.iqm([1, 2, 3])) == (None,) * 4


def test_geometric_mean_of_two_decades_is_the_one_between() -> None:
    made = stats.geometric_mean(Sample.computed([1e-4, 1e-2]))
    assert made.value == pytest.approx(1e-3)


def test_interval_of_the_geometric_mean_is_scipys_t_interval_on_logs() -> None:
    made = stats.geometric_mean(Sample.computed(TEN))
    logs = np.log(TEN)
    low, high = reference.t.interval(0.95, len(logs) - 1, logs.mean(), reference.sem(logs))
    assert made.value == pytest.approx(reference.gmean(TEN))
    assert (made.low, made.high) == pytest.approx((math.exp(low), math.exp(high)))


def test_one_seed_has_a_value_and_no_interval() -> None:
    assert stats.geometric_mean(Sample.computed([0.2])) == stats.Estimate(pytest.approx(0.2), None, None)


def test_identical_seeds_are_known_exactly_only_where_they_were_computed() -> None:
    assert stats.geometric_mean(Sample.computed([0.053] * 5)) == stats.Estimate(pytest.approx(0.053), 0.053, 0.053)
    sampled = Sample([0.053] * 5, [0.05] * 5, [0.06] * 5)
    assert stats.geometric_mean(sampled) == stats.Estimate(pytest.approx(0.053), None, None)


def test_sampled_seeds_have_the_t_intervals_of_their_ends() -> None:
    sample = sampled([20, 400, 90, 5], 10_000)
    made = stats.geometric_mean(sample)
    assert made.value == pytest.approx(reference.gmean([2e-3, 4e-2, 9e-3, 5e-4]))
    assert made.low == pytest.approx(intervals.t_interval_log(sample.lows)[1])
    assert made.high == pytest.approx(intervals.t_interval_log(sample.highs)[2])


def test_a_seed_without_success_leaves_an_interval_and_no_geometric_mean() -> None:
    sample = sampled([0, 400, 90, 5], 10_000)
    made = stats.geometric_mean(sample)
    assert (made.value, made.low) == (None, 0)
    assert made.high == pytest.approx(intervals.t_interval_log(sample.highs)[2])


def test_no_success_on_any_seed_is_bounded_like_one_run() -> None:
    # 1 - 0.025^(1 / 10,000), Clopper and Pearson's upper end
    bound = 1 - 0.025**1e-4
    for seeds in (1, 5):
        assert stats.geometric_mean(sampled([0] * seeds, 10_000)) == stats.Estimate(None, 0, pytest.approx(bound))


def test_seeds_too_far_apart_for_floats_have_no_interval() -> None:
    made = stats.geometric_mean(Sample.computed([1e-300, 1.0]))
    assert made == stats.Estimate(pytest.approx(1e-150), None, None)


def test_over_a_base_both_uncertainties_count() -> None:
    made = stats.Estimate(0.04, 0.01, 0.1).over(stats.Estimate(4e-4, 2e-4, 5e-4))
    assert (made.value, made.low, made.high) == pytest.approx((100, 0.01 / 5e-4, 0.1 / 2e-4))


def test_over_a_base_that_was_not_seen_only_a_lower_end_is_known() -> None:
    made = stats.Estimate(0.04, 0.01, 0.1).over(stats.Estimate(None, 0.0, 5e-4))
    assert (made.value, made.low, made.high) == (None, pytest.approx(20), None)


def test_comparison_is_scipys_welch_interval_on_logs() -> None:
    made = stats.compare(Sample.computed(TEN), Sample.computed(NINE))
    expected = reference.ttest_ind(np.log(TEN), np.log(NINE), equal_var=False).confidence_interval(0.95)
    assert (made.low, made.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))
    assert made.value == pytest.approx(reference.gmean(TEN) / reference.gmean(NINE))
    assert made.note == "interval includes 1: no evidence of a difference"


def test_an_exact_control_leaves_the_one_sample_interval() -> None:
    made = stats.compare(Sample.computed(TEN), Sample.computed([0.053, 0.053]))
    expected = reference.ttest_1samp(np.log(TEN), math.log(0.053)).confidence_interval(0.95)
    shift = 1 / 0.053
    assert (made.low, made.high) == pytest.approx((math.exp(expected.low) * shift, math.exp(expected.high) * shift))
    assert "untestable" not in made.note


def test_two_exact_sides_have_an_interval_of_no_width() -> None:
    made = stats.compare(Sample.computed([4e-4] * 3), Sample.computed([4e-3] * 3))
    assert (made.value, made.low, made.high) == pytest.approx((0.1, 0.1, 0.1))
    assert made.note == "interval below 1: worse than the control"


def test_a_method_far_above_the_control_says_so() -> None:
    assert stats.compare(Sample.computed([x * 100 for x in NINE]), Sample.computed(NINE)).note == "interval above 1"


@pytest.mark.parametrize(
    ("method", "control", "few"),
    [(7, 8, "7 of the method"), (8, 7, "7 of the control"), (2, 2, "2 of the method and 2 of the control")],
)
def test_below_eight_seeds_is_untestable(method: int, control: int, few: str) -> None:
    made = stats.compare(Sample.computed(TEN[:method]), Sample.computed(NINE[:control]))
    assert made.note == f"untestable: {few}, 8 seeds needed"
    assert made.low is not None


def test_eight_seeds_on_both_sides_are_tested() -> None:
    assert not stats.compare(Sample.computed(TEN[:8]), Sample.computed(NINE[:8])).note.startswith("untestable")


def test_one_seed_of_a_method_has_a_ratio_and_no_interval() -> None:
    made = stats.compare(Sample.computed([0.1]), Sample.computed(NINE))
    assert made.value == pytest.approx(0.1 / reference.gmean(NINE))
    assert (made.low, made.high) == (None, None)
    assert made.note == "untestable: 1 of the method, 8 seeds needed"


def test_equal_sampled_seeds_are_not_taken_for_exact_ones() -> None:
    made = stats.compare(sampled([1000] * 8, 10_000), sampled([500] * 8, 10_000))
    assert (made.value, made.low, made.high, made.p) == (pytest.approx(2), None, None, None)


def test_equal_sampled_seeds_of_a_control_are_too_few_like_any_others() -> None:
    made = stats.compare(Sample.computed(TEN), sampled([530, 530], 10_000))
    assert made.note == "untestable: 2 of the control, 8 seeds needed"


@pytest.mark.parametrize(
    ("method", "note"),
    [
        ([], "no final rate of the method is known"),
        ([0.1, 0.0], "a seed of the method with a success rate of zero: no ratio"),
    ],
)
def test_nothing_is_compared_without_rates(method: list[float], note: str) -> None:
    made = stats.compare(Sample.computed(method), Sample.computed([0.1]))
    assert made == stats.Comparison(None, None, None, note)


def test_the_p_value_is_that_of_scipys_welch_test_on_logs() -> None:
    made = stats.compare(Sample.computed([x / 2 for x in TEN]), Sample.computed(NINE))
    assert made.p == pytest.approx(reference.ttest_ind(np.log(TEN) - math.log(2), np.log(NINE), equal_var=False).pvalue)


def test_p_value_and_interval_say_the_same() -> None:
    for factor in (1, 2, 3, 4, 5, 6, 8, 10):
        made = stats.compare(Sample.computed([x * factor for x in TEN]), Sample.computed(NINE))
        assert made.low is not None
        assert (made.p is not None and made.p < 0.05) == (made.low > 1)


def test_a_control_without_successes_is_surely_worse_than_a_method_with_many() -> None:
    made = stats.compare(sampled([900, 950, 800, 1000, 700, 850, 900, 950], 10_000), sampled([0, 1] * 4, 10_000))
    assert (made.value, made.high) == (None, None)
    # Welch's lower end over the method's lower ends and the control's upper ends
    few = sampled([0, 1] * 4, 10_000)
    many = sampled([900, 950, 800, 1000, 700, 850, 900, 950], 10_000)
    welch = reference.ttest_ind(np.log(many.lows), np.log(few.highs), equal_var=False)
    assert made.low == pytest.approx(math.exp(welch.confidence_interval().low))
    assert made.p == pytest.approx(welch.pvalue)
    assert made.note == "interval above 1"


EIGHT = [0.01, 0.02, 0.03, 0.04, 0.06, 0.07, 0.08, 0.09]


def test_the_interval_of_a_median_by_hand() -> None:
    made = stats.median_estimate(Sample.computed(EIGHT[::-1]))
    assert (made.value, made.low, made.high) == (pytest.approx(0.05), 0.01, 0.09)  # P(Bin(8, 1/2) < 2) = 9/256 > 0.025
    ten = stats.median_estimate(Sample.computed([*EIGHT, 0.1, 0.2]))
    assert (ten.low, ten.high) == (0.02, 0.1)  # P(Bin(10, 1/2) < 2) = 11/1024
    few = stats.median_estimate(Sample.computed(EIGHT[:5]))
    assert (few.low, few.high) == (None, None)  # P(Bin(5, 1/2) < 1) = 1/32


def test_the_interval_of_a_median_takes_the_runs_own_intervals_in() -> None:
    lows, highs = [x / 2 for x in EIGHT], [2 * x for x in EIGHT]
    made = stats.median_estimate(Sample(EIGHT, lows, highs))
    assert (made.low, made.high) == (0.005, 0.18)
    unseen = stats.median_estimate(Sample([0.0] * 8, [0.0] * 8, [0.1] * 8))
    assert (unseen.value, unseen.low, unseen.high) == (None, 0.0, 0.1)


def test_over_the_best_control_by_hand() -> None:
    method = Sample.computed(EIGHT)
    flat, varying = Sample.computed([0.005] * 8), Sample.computed([x / 4 for x in EIGHT])
    made = stats.over_best(method, [flat])
    assert (made.value, made.low, made.high) == (pytest.approx(10), pytest.approx(2), pytest.approx(18))
    assert made.note == "interval above 1"
    made = stats.over_best(method, [flat, varying])  # its median is 0.0125, between 0.0025 and 0.0225
    assert (made.value, made.low) == (pytest.approx(4), pytest.approx(0.01 / 0.0225))
    assert made.high == pytest.approx(0.09 / 0.005)  # the larger of the controls' lower ends
    assert made.note == "interval includes 1: no evidence of a difference"


def test_many_controls_share_what_the_method_leaves() -> None:
    """1/256 for the method, and 1/256 for each of five of the 0.025; a sixth cannot be bounded from 8 seeds."""
    method, control = Sample.computed(EIGHT), Sample.computed([x / 1000 for x in EIGHT])
    five, six = (stats.over_best(method, [control] * count) for count in (5, 6))
    assert five.high == pytest.approx(9000)
    assert (six.high, six.low) == (None, five.low)


def test_zeros_do_not_block_a_verdict() -> None:
    control = Sample.computed([0.0, *EIGHT[1:]])
    dead = stats.over_best(Sample.computed([0.0] * 8), [control, Sample.computed([0.005] * 8)])
    assert (dead.value, dead.low, dead.high, dead.note) == (0, 0, 0, "interval below 1: worse than the control")
    alive = stats.over_best(Sample.computed([1.0] * 8), [control])
    assert (alive.low, alive.note) == (pytest.approx(1 / 0.09), "interval above 1")
    some = stats.over_best(Sample.computed([1.0] * 7 + [1e-11]), [control])
    assert some.note == "interval includes 1: no evidence of a difference"  # 12.5 % of the seeds say nothing of it


def test_holms_correction_by_hand() -> None:
    # sorted 0.01 x 4, 0.02 x 3, 0.04 x 2 = 0.08, 0.05 x 1 raised to the 0.08 before it
    assert stats.holm([0.04, 0.01, 0.05, 0.02]) == pytest.approx([0.08, 0.04, 0.08, 0.06])
    assert stats.holm([0.6, 0.7]) == [1, 1]
    assert stats.holm([]) == []


def test_probability_of_improvement_is_the_mann_whitney_statistic() -> None:
    made = stats.probability_of_improvement(TEN, NINE)
    assert made is not None
    assert made[0] == pytest.approx(reference.mannwhitneyu(TEN, NINE).statistic / 90)


def test_newcombes_interval_solves_its_equation() -> None:
    made = stats.probability_of_improvement(TEN, NINE)
    assert made is not None
    estimate, *ends = made
    for theta in ends:
        spread = 1 + 8.5 * ((1 - theta) / (2 - theta) + theta / (1 + theta))  # (10 + 9) / 2 - 1 = 8.5
        variance = theta * (1 - theta) * spread / 90
        assert abs(estimate - theta) == pytest.approx(reference.norm.ppf(0.975) * math.sqrt(variance))


def test_a_method_that_always_wins_has_an_interval_up_to_one() -> None:
    made = stats.probability_of_improvement([0.5] * 8, [0.1] * 8)
    assert made is not None
    assert (made[0], made[2]) == (1, 1)
    assert 0.6 < made[1] < 0.8


def test_against_a_deterministic_control_it_is_a_proportion_of_seeds() -> None:
    made = stats.probability_of_improvement(TEN, [0.053] * 3, control_known=True)
    assert made == pytest.approx((0.5, *intervals.clopper_pearson(5, 10)))


def _point(nre: int, rate: float, low: float) -> Placed:
    return Placed(rate, low, rate, "exact", None, round=0, nre=nre, stream=0)


def test_a_lucky_estimate_has_not_reached_ten_times_base() -> None:
    curve = [_point(0, 4e-4, 4e-4), _point(500, 5e-3, 3.7e-3), _point(1000, 6e-3, 4.5e-3)]
    assert stats.nre_to(curve, 4e-3) == 1000
    assert stats.nre_to(curve, 4e-2) is None


def test_exactly_ten_times_base_is_not_above_it() -> None:
    assert stats.nre_to([_point(500, 0.25, 0.25)], 0.25) is None


@pytest.mark.parametrize("base", [None, 0.0])
def test_nothing_is_reached_over_an_unknown_base(base: float | None) -> None:
    assert stats.nre_to([_point(500, 0.5, 0.5)], base) is None


def test_kaplan_meier_medians_by_hand() -> None:
    assert stats.censored_median([3, 5, None, None], [7, 7, 7, 7]) == 5  # S(5) = 3/4 x 2/3 = 1/2
    assert stats.censored_median([3, None, 9, 10], [20, 4, 20, 20]) == 9  # S(9) = 3/4 x 1/2 = 3/8
    assert stats.censored_median([3, None, None], [7, 7, 7]) is None  # S ends at 2/3
    assert stats.censored_median([None, None], [7, 7]) is None


def test_early_censoring_raises_the_median_estimate() -> None:
    # counted as never, three of five would leave the median unreached; at risk only until 2, they do not
    assert stats.censored_median([5, 6, None, None, None], [9, 9, 2, 2, 2]) == 5


def test_the_interquartile_mean_by_hand() -> None:
    assert stats.iqm([100.0, 1.0, 2.0, 3.0]) == 2.5
    assert stats.iqm([1, 2, 3, 4, 5, 6, 7, 8, 9, 1000]) == pytest.approx(5.5)  # two cut on either side


def test_the_bootstrap_of_tasks_without_spread_has_no_width() -> None:
    assert stats.iqm_interval([[1.0, 1.0], [3.0, 3.0]]) == (2, 2, 2)


def test_the_bootstrap_says_the_same_twice() -> None:
    tasks = [list(np.log(TEN)), list(np.log(NINE))]
    made = stats.iqm_interval(tasks)
    assert made == stats.iqm_interval(tasks)
    assert made[1] < made[0] < made[2]
    assert made[0] == reference.trim_mean(np.log([*TEN, *NINE]), 0.25)


def test_a_monte_carlo_point_of_many_has_to_be_surer() -> None:
    hits = 52  # of 10,000: Clopper and Pearson's lower end is 3.89e-3 at 95 %, 3.36e-3 at 1 - 0.05 / 30
    low = intervals.clopper_pearson(hits, 10_000)[0]
    lucky = Placed(hits / 10_000, low, 1.0, "monte-carlo", 10_000, round=1, nre=500, stream=1)
    assert stats.nre_to([lucky], 3.6e-3) == 500
    assert stats.nre_to([lucky] * 30, 3.6e-3) is None


def test_the_area_over_log_nre_by_hand() -> None:
    # 0.1 over the decade from 1 to 10, 0.4 over the two from 10 to 1,000
    assert stats.area_over_log_nre([0, 10, 1000], [0.1, 0.4, 0.9], 1000) == pytest.approx((0.1 + 2 * 0.4) / 3)


def test_a_control_that_spends_nothing_has_the_area_of_its_last_policy() -> None:
    assert stats.area_over_log_nre([0, 0], [0.1, 0.4], 1000) == pytest.approx(0.4)


def test_an_unknown_rate_leaves_no_area() -> None:
    assert stats.area_over_log_nre([0, 10], [0.1, None], 1000) is stats.area_over_log_nre([], [], 1000) is None


def test_pass_at_k_by_hand() -> None:
    assert stats.pass_at(2, 0.5) == pytest.approx(0.75)
    assert stats.pass_at(10, 1e-12) == pytest.approx(1e-11)
    assert (stats.pass_at(5, 0.0), stats.pass_at(5, 1.0), stats.pass_at(5, None)) == (0, 1, None)


def test_expected_evaluations_are_the_mean_of_scipys_geometric_law() -> None:
    assert stats.expected_evaluations(0.02) == pytest.approx(reference.geom(0.02).mean())
    assert (stats.expected_evaluations(0.0), stats.expected_evaluations(None)) == (None, None)


def test_counts_of_one_policy_are_pooled() -> None:
    made = stats.pooled_rate([monte_carlo(hits, 1000) for hits in (0, 1, 2)])
    assert (made.value, made.low, made.high) == pytest.approx((1e-3, *intervals.clopper_pearson(3, 3000)))


def test_no_success_in_all_counts_is_an_interval() -> None:
    made = stats.pooled_rate([monte_carlo(0, 1000)] * 3)
    assert (made.value, made.low) == (None, 0)
    assert made.high == pytest.approx(1 - 0.025 ** (1 / 3000))


def _rank(groups: list[list[float]]) -> list[stats.Rank | None]:
    samples = [Sample.computed(values) for values in groups]
    return stats.ranks(samples, stats.pairs(samples))


def test_rows_far_apart_have_sure_ranks() -> None:
    groups = [[x * 1e-4 for x in NINE], NINE, [x * 1e-2 for x in NINE]]
    assert _rank(groups) == [stats.Rank(3, 3, 3), stats.Rank(1, 1, 1), stats.Rank(2, 2, 2)]


def test_rows_too_close_or_too_few_have_any_rank_that_is_left() -> None:
    alike, few = [[x * 1e-4 for x in NINE], NINE, [1.1 * x for x in NINE]], [NINE[:7], [x * 1e-9 for x in NINE]]
    assert _rank(alike) == [stats.Rank(3, 3, 3), stats.Rank(2, 1, 2), stats.Rank(1, 1, 2)]
    assert _rank(few) == [stats.Rank(1, 1, 2), stats.Rank(2, 1, 2)]


def test_deterministic_rows_are_ranked_without_a_test_and_ties_share() -> None:
    assert _rank([[0.1] * 2, [0.2] * 2]) == [stats.Rank(2, 2, 2), stats.Rank(1, 1, 1)]
    assert _rank([[0.1] * 2, [0.1] * 2]) == [stats.Rank(1.5, 1, 2)] * 2
    assert _rank([[], [0.1] * 2]) == [None, stats.Rank(1, 1, 1)]


def test_mean_ranks_by_hand() -> None:
    assert stats.mean_rank([stats.Rank(1, 1, 2), stats.Rank(4, 2, 5)]) == (2.5, 1.5, 3.5)
