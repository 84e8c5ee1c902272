"""The columns of the tables: a name, and what a row shows under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from reports import stats
from reports.board.row import Row
from reports.tables.text import NONE, count, interval, number, rate

Columns = Mapping[str, Callable[[Row], str]]


def every_seed(block: Sequence[Row]) -> Columns:
    """A column for each seed that a row of the block has: its final success rate."""
    seeds = sorted({seed for row in block for seed in row.seed_list})
    return {"method": _method} | {f"seed {seed}": _of_seed(seed) for seed in seeds}


def _method(row: Row) -> str:
    return f"control: {row.name}" if row.control else row.name


def _seeds(row: Row) -> str:
    return f"{row.seeds} (+ {row.failed} failed)" if row.failed else str(row.seeds)


def _final(row: Row) -> str:
    return rate(row.success_final_geomean, row.success_final_upper)


def _median(row: Row) -> str:
    return rate(row.success_final_median, _upper(row, stats.median))


def _median_interval(row: Row) -> str:
    ends = row.success_final_median_low, row.success_final_median_high
    return _median(row) if row.success_final_median is None else interval(row.success_final_median, *ends)


def _share(row: Row, name: str) -> str:
    value, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
    return number(value) if low is None else interval(value, low, high, 2)


def _over_base(row: Row) -> str:
    return rate(row.improvement_final_geomean, row.improvement_final_geomean_high)


def _median_over_base(row: Row) -> str:
    """The median over the base rate, or its upper end where half of the runs saw no success."""
    if not row.base_rate:
        return NONE
    value, upper = row.success_final_median, _upper(row, stats.median)
    bound = upper / row.base_rate_low if upper is not None and row.base_rate_low else None
    return rate(None if value is None else value / row.base_rate, bound)


def untestable(row: Row) -> bool:
    """Whether a side of the headline's comparison has too few seeds."""
    return row.improvement_over_control_note.startswith("untestable")


def _upper(row: Row, summary: Callable[[Sequence[float]], float | None]) -> float | None:
    """A summary of the seeds' upper bounds, in place of one of the seeds' rates that came out as zero."""
    return summary([high for high in row.success_final_seeds_high if high is not None])


def _final_interval(row: Row) -> str:
    ends = row.success_final_geomean_low, row.success_final_geomean_high
    return _final(row) if row.success_final_geomean is None else interval(row.success_final_geomean, *ends)


def _over_base_interval(row: Row) -> str:
    ends = row.improvement_final_geomean_low, row.improvement_final_geomean_high
    return _over_base(row) if row.improvement_final_geomean is None else interval(row.improvement_final_geomean, *ends)


def _area(row: Row) -> str:
    if row.success_auc_geomean is None:
        return rate(None, row.success_auc_geomean_high)
    return interval(row.success_auc_geomean, row.success_auc_geomean_low, row.success_auc_geomean_high)


def _over_control(row: Row, digits: int = 3) -> str:
    ends = row.improvement_over_control_low, row.improvement_over_control_high
    return interval(row.improvement_over_control, *ends, digits)


def _brief_over_control(row: Row) -> str:
    if row.control:
        return ""
    if untestable(row):
        return f"{number(row.improvement_over_control, 2)} untestable"
    return _over_control(row, 2)


def _match(row: Row) -> str:
    return rate(row.match_final_geomean, row.match_final_upper)


def _match_median(row: Row) -> str:
    upper = stats.median([high for high in row.match_final_seeds_high if high is not None])
    return rate(row.match_final_median, upper)


def _match_median_interval(row: Row) -> str:
    ends = row.match_final_median_low, row.match_final_median_high
    return _match_median(row) if row.match_final_median is None else interval(row.match_final_median, *ends)


def _match_interval(row: Row) -> str:
    ends = row.match_final_geomean_low, row.match_final_geomean_high
    return _match(row) if row.match_final_geomean is None else interval(row.match_final_geomean, *ends)


def _match_over_control(row: Row, digits: int = 3) -> str:
    ends = row.match_over_control_low, row.match_over_control_high
    return interval(row.match_over_control, *ends, digits)


def _brief_match_over_control(row: Row) -> str:
    if row.control:
        return ""
    if row.match_over_control_note.startswith("untestable"):
        return f"{number(row.match_over_control, 2)} untestable"
    return _match_over_control(row, 2)


def _rank(row: Row) -> str:
    if row.rank is None or row.rank_low is None or row.rank_high is None:
        return number(row.rank)
    return f"{number(row.rank)} [{row.rank_low}, {row.rank_high}]"


def _deployed(name: str) -> Callable[[Row], str]:
    """`name` with its interval, or the end that is known where a run without a success leaves no value."""

    def show(row: Row) -> str:
        value, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
        if value is None and name == "expected_evaluations":
            return NONE if low is None else f"> {number(low)}"
        return rate(None, high) if value is None else interval(value, low, high)

    return show


def _of_seed(seed: int) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        if seed not in row.seed_list:
            return ""
        i = row.seed_list.index(seed)
        return rate(row.success_final_seeds[i], row.success_final_seeds_high[i])

    return show


def _reached(value: float | None, seeds: int | None) -> str:
    return count(value) if seeds is None else f"{count(value)} ({seeds})"


SUCCESS: Columns = {
    "method": _method,
    "rank": _rank,
    "final": _median,
    "× base": _median_over_base,
    "× best control": _brief_over_control,
}
BOTH: Columns = {
    "method": _method,
    "rank": _rank,
    "success": _median,
    "× best control": _brief_over_control,
    "match": _match_median,
    "× best in match": _brief_match_over_control,
}


def headline(block: Sequence[Row]) -> Columns:
    """The first table of a setting, which fits a terminal of 80 columns: with the match where it was measured."""
    return BOTH if has_match(block) else SUCCESS


def has_match(block: Sequence[Row]) -> bool:
    """Whether a row of the block has a posterior match."""
    return any(row.match_final_geomean is not None or row.match_final_upper is not None for row in block)


MATCH: Columns = {
    "method": _method,
    "match, median [95 %]": _match_median_interval,
    "match, geo. mean [95 %]": _match_interval,
    "× best control in match [95 %]": _match_over_control,
    "what it says": lambda row: "collapsed" if row.collapsed else row.match_over_control_note,
}

WORK: Columns = {
    "method": _method,
    "seeds": _seeds,
    "effect.\nsucc.": lambda row: number(row.effective_successes),
    "valid\nshare": lambda row: number(row.valid_share, 2),
    "NRE": lambda row: count(row.nre_mean),
    "NRE to\n10 ×": lambda row: _reached(row.nre_to_10x, row.nre_to_10x_seeds),
    "succ.\nmet": lambda row: number(row.successes_mean),
    "sec.": lambda row: number(row.seconds_mean),
}
"""What a terminal shows of diversity and cost."""

RATES: Columns = {
    "method": _method,
    "seeds": _seeds,
    "final, median [95 %]": _median_interval,
    "geo. mean [95 %]": _final_interval,
    "IQM": lambda row: rate(row.success_final_iqm, _upper(row, stats.iqm)),
    "mean": lambda row: rate(row.success_final_mean, _upper(row, stats.mean)),
    "SD": lambda row: number(row.success_final_std),
    "× base, geo. mean [95 %]": _over_base_interval,
    "× base, mean": lambda row: number(row.improvement_final_mean),
    "P(above best control) [95 %]": lambda row: _share(row, "probability_of_improvement"),
    "below base [95 %]": lambda row: _share(row, "below_base_share"),
    "best (oracle-selected), geo. mean": lambda row: rate(row.success_best_geomean, row.success_best_upper),
    "area over log NRE [95 %]": _area,
    "estimator": lambda row: row.estimator or NONE,
    "verified": lambda row: {True: "yes", False: "NO", None: "not checked"}[row.verified],
}

DEPLOYED: Columns = {
    "method": _method,
    "pass@10 [95 %]": _deployed("pass_at_10"),
    "pass@100 [95 %]": _deployed("pass_at_100"),
    "pass@1000 [95 %]": _deployed("pass_at_1000"),
    "expected evaluations to a success [95 %]": _deployed("expected_evaluations"),
}

COST: Columns = {
    "method": _method,
    "effective successes": lambda row: number(row.effective_successes),
    "distinct successes": lambda row: count(row.distinct_successes),
    "distinct share": lambda row: number(row.distinct_share),
    "valid share": lambda row: number(row.valid_share),
    "entropy": lambda row: number(row.entropy),
    "KL to prior": lambda row: number(row.kl_prior),
    "successes met": lambda row: number(row.successes_mean),
    "first success (seeds)": lambda row: _reached(row.first_success_median, row.first_success_seeds),
    "NRE": lambda row: count(row.nre_mean),
    "cost": lambda row: NONE if row.cost is None else f"{number(row.cost[0])} {row.cost[1]}",
    "NRE to 10 × (seeds)": lambda row: _reached(row.nre_to_10x, row.nre_to_10x_seeds),
    "NRE to 100 × (seeds)": lambda row: _reached(row.nre_to_100x, row.nre_to_100x_seeds),
    "seconds": lambda row: number(row.seconds_mean),
    "model FLOPs": lambda row: number(row.flops_mean),
    "model tokens": lambda row: number(row.tokens_mean),
    "smallest batch": lambda row: count(row.smallest_batch),
    "uses": lambda row: row.uses or NONE,
    "tuning NRE": lambda row: count(row.tuning_nre),
    "tuning held-out": lambda row: count(row.tuning_heldout),
}
