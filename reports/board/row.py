"""The columns of the leaderboard."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator

from reports.stats import Sample


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the leaderboard; `None` is unknown or censored, never zero.

    Success rates are held-out probabilities; NRE counts reward evaluations. A rate of which no success was
    seen in the held-out sample is None and has its upper bound beside it. Means, medians and deviations are
    over seeds.
    """

    task: str
    task_config: str
    """What sets this configuration of the task apart from others in the table; empty where there is one."""
    baseline: str
    config: str
    """The same for the method, with device and threads."""
    control: bool
    """An oracle-free control: it learns from no evaluation."""
    uses: str | None
    """What the method says that it learns from: `nothing`, `failures`, `failures and counts`, `rewards`."""
    protocol: str
    duplicates: str
    budget: int
    heldout: str
    tags: tuple[str, ...]
    """The task's tags, as `suite list` shows them; empty for a task that is not registered here."""
    seeds: int
    """Finished runs."""
    seed_list: tuple[int, ...]
    failed: int
    """Failed runs, which count in no statistic."""
    verified: bool | None
    """True if `suite verify` confirmed every finished cell, False if it refuted one, else None."""
    estimator: str
    base_rate: float | None
    """Of the prior, all runs of the task and held-out mode together, with its 95 % interval."""
    base_rate_low: float | None
    base_rate_high: float | None
    rank: float | None
    """By the median of the final rate, among all rows of the setting; ties share a mean rank."""
    rank_low: int | None
    """95 % interval, of all rows of the setting at once: from Holm-corrected tests between them."""
    rank_high: int | None
    success_final_geomean: float | None
    success_final_geomean_low: float | None
    """95 % t-interval of the mean logarithm over seeds, widened by the runs' own intervals where sampled."""
    success_final_geomean_high: float | None
    success_final_upper: float | None
    """The upper end of that interval, where a seed without a success in its held-out sample leaves no mean."""
    success_final_mean: float | None
    success_final_median: float | None
    """With its 95 % interval by order statistics; None where half of the runs saw no success."""
    success_final_median_low: float | None
    success_final_median_high: float | None
    success_final_std: float | None
    success_final_iqm: float | None
    """Interquartile mean; None below four seeds."""
    success_final_seeds: tuple[float | None, ...]
    """Each seed's final success rate in the order of `seed_list`, with the ends of its interval."""
    success_final_seeds_low: tuple[float | None, ...]
    success_final_seeds_high: tuple[float | None, ...]
    success_best_geomean: float | None
    """Cumulative best over the curve, oracle-selected: chosen by held-out estimates no method may see."""
    success_best_geomean_low: float | None
    success_best_geomean_high: float | None
    success_best_upper: float | None
    success_best_mean: float | None
    success_best_median: float | None
    success_best_median_low: float | None
    success_best_median_high: float | None
    best_selected_on: str | None
    """`half`: chosen on one held-out half and measured on the other; `same`: on the same, so optimistic."""
    improvement_final_geomean: float | None
    """Success rate over the base rate; the ratio of the geometric, then of the arithmetic mean."""
    improvement_final_geomean_low: float | None
    """95 % interval; that of the base rate widens it."""
    improvement_final_geomean_high: float | None
    improvement_final_mean: float | None
    improvement_best_geomean: float | None
    improvement_best_geomean_low: float | None
    improvement_best_geomean_high: float | None
    improvement_best_mean: float | None
    best_control: str | None
    """The control with the largest median of the final rate, in the same setting."""
    best_control_rate: float | None
    """That median."""
    best_control_note: str
    """What to know about it: it lies below the base, or another may be better."""
    improvement_over_control: float | None
    """Ratio of the medians of the final rates, with a 95 % interval against the best control, whichever truly is the
    best: order statistics, corrected for the number of controls."""
    improvement_over_control_low: float | None
    improvement_over_control_high: float | None
    improvement_over_control_note: str
    match_final_geomean: float | None
    """Posterior match of the final policy: how close it is to the prior conditioned on success, on the scale of the
    success rate, with its 95 % interval as that one's; None where it was not measured."""
    match_final_geomean_low: float | None
    match_final_geomean_high: float | None
    match_final_upper: float | None
    match_final_median: float | None
    match_final_median_low: float | None
    match_final_median_high: float | None
    match_final_seeds: tuple[float | None, ...]
    """Each seed's, in the order of `seed_list`, with the ends of its interval."""
    match_final_seeds_low: tuple[float | None, ...]
    match_final_seeds_high: tuple[float | None, ...]
    match_best_control: str | None
    """The control with the largest median of the match."""
    match_best_control_rate: float | None
    match_over_control: float | None
    """As `improvement_over_control`, of the match."""
    match_over_control_low: float | None
    match_over_control_high: float | None
    match_over_control_note: str
    collapsed: bool | None
    """The success rate is surely above the best control's and the match is not: few successes, written often. None
    where one of the two is not tested."""
    probability_of_improvement: float | None
    """P(a seed of this method ends above a seed of `best_control`), ties one half, with its 95 % interval, which takes
    that control as given."""
    probability_of_improvement_low: float | None
    probability_of_improvement_high: float | None
    below_base_share: float | None
    """Share of the seeds that end below the pre-trained model, with Clopper-Pearson's interval."""
    below_base_share_low: float | None
    below_base_share_high: float | None
    success_auc_geomean: float | None
    """Area under the success rate over log NRE from 1 to the budget, over log budget: a mean rate."""
    success_auc_geomean_low: float | None
    success_auc_geomean_high: float | None
    pass_at_10: float | None
    """Chance of a success among k samples of the final policy, at the geometric mean of its rate, with the 95 %
    interval that follows from that of the rate; so are all down to `expected_evaluations_high`."""
    pass_at_10_low: float | None
    pass_at_10_high: float | None
    pass_at_100: float | None
    pass_at_100_low: float | None
    pass_at_100_high: float | None
    pass_at_1000: float | None
    pass_at_1000_low: float | None
    pass_at_1000_high: float | None
    expected_evaluations: float | None
    """Evaluations until the first success when the final policy is deployed."""
    expected_evaluations_low: float | None
    expected_evaluations_high: float | None
    """None where the lower end of the rate is zero: there may never be one."""
    distinct_share: float | None
    """Medians over seeds of the final policy, down to `kl_prior`."""
    distinct_successes: float | None
    effective_successes: float | None
    valid_share: float | None
    entropy: float | None
    kl_prior: float | None
    successes_mean: float | None
    """Successes among the charged evaluations."""
    first_success_median: float | None
    """Kaplan-Meier median of the evaluation that first succeeded, with the number of seeds that had one."""
    first_success_seeds: int
    nre_mean: float | None
    cost: tuple[float, str] | None
    """What these cost, where the task says what one does: an amount and its unit."""
    nre_to_10x: float | None
    """Kaplan-Meier median of the NRE at which a point is surely above 10 x base; seeds with one."""
    nre_to_10x_seeds: int | None
    nre_to_100x: float | None
    nre_to_100x_seeds: int | None
    seconds_mean: float | None
    """Training, filtering and verifying; held-out measurement apart."""
    seconds_heldout_mean: float | None
    flops_mean: float | None
    """Model compute of training, filtering and verifying, without held-out measurement."""
    tokens_mean: float | None
    """Tokens put through models, in the same phases."""
    smallest_batch: int | None
    """Of all runs, but each run's last: the fewer samples a batch has, the more the number of its failures tells."""
    tuning_nre: int | None
    """Evaluations that choosing this configuration had cost, as its tuning provenance says."""
    tuning_heldout: int | None
    """Held-out evaluations that it had cost."""
    shipped: str | None
    """The commit that made these runs, where they come with the suite and were not made here."""
    cells: tuple[str, ...]
    """The folders below RESULTS/cells, ledgers included, that stand behind this row."""

    @property
    def name(self) -> str:
        """The method, with its configuration where several are in the table."""
        return f"{self.baseline} ({self.config})" if self.config else self.baseline

    @property
    def setting(self) -> tuple[str, str, str, str, int, str]:
        """What rows must share to stand in one table."""
        return self.task, self.task_config, self.protocol, self.duplicates, self.budget, self.heldout

    @property
    def wins(self) -> bool:
        """Success rate and match are both surely above those of the best control."""
        lows = self.improvement_over_control_low, self.match_over_control_low
        return all(low is not None and low > 1 for low in lows)

    @functools.cached_property
    def final_sample(self) -> Sample:
        """The final rates with their intervals, for tests; empty unless every seed's is known."""
        ends = zip(self.success_final_seeds, self.success_final_seeds_low, self.success_final_seeds_high, strict=True)
        known = [(value or 0.0, low, high) for value, low, high in ends if low is not None and high is not None]
        if not known or len(known) < len(self.seed_list):
            return Sample((), (), ())
        return Sample(*zip(*known, strict=True))


def blocks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows of one setting after another."""
    for _, block in itertools.groupby(rows, key=lambda row: row.setting):
        yield list(block)
