"""What the rows say, in sentences for somebody who has never seen the suite."""

from __future__ import annotations

from collections.abc import Sequence

from reports.board.row import Row
from reports.stats import MIN_SEEDS
from reports.tables.columns import untestable
from reports.tables.text import count, interval, number, plain, rate
from suite.store.records import Record


def counts(records: Sequence[Record], rows: Sequence[Row]) -> str:
    """How much stands behind the page."""
    tasks = len({row.task for row in rows})
    methods = len({row.baseline for row in rows if not row.control})
    controls = len({row.baseline for row in rows if row.control})
    parts = [_some(len(records), "run"), _some(tasks, "task"), _some(methods, "method"), _some(controls, "control")]
    return ", ".join(parts)


def headline(block: Sequence[Row]) -> str:
    """Which method of a setting ends highest, by how much, and how sure that is."""
    methods = [row for row in block if not row.control and row.success_final_median]
    if not methods:
        return "No method here has a known final success rate."
    best = max(methods, key=lambda row: row.success_final_median or 0.0)
    low, high = best.success_final_median_low, best.success_final_median_high
    sure = "" if low is None or high is None or low == high else f"95 % interval {number(low)} to {number(high)}, "
    text = (
        f"After {best.budget:,} evaluations {best.name} ends highest: a sample succeeds with probability "
        f"{number(best.success_final_median)} ({sure}median over {_some(best.seeds, 'seed')})"
    )
    if best.base_rate:
        text += f", {_times((best.success_final_median or 0.0) / best.base_rate)} the pre-trained model"
    return plain(" ".join([f"{text}.", _over_control(best), *_in_match(methods)]))


def _in_match(methods: Sequence[Row]) -> list[str]:
    """Which method covers most of what succeeds, and which ones only write a few successes often."""
    known = [row for row in methods if row.match_final_median is not None]
    if not known:
        return []
    top = max(known, key=lambda row: row.match_final_median or 0.0)
    text = (
        f"In posterior match, how much of what succeeds is covered, {top.name} is highest at "
        f"{number(top.match_final_median)}"
    )
    if top.match_over_control is not None:
        ends = top.match_over_control_low, top.match_over_control_high
        text += f", {interval(top.match_over_control, *ends)} times the best control's"
    collapsed = [row.name for row in methods if row.collapsed]
    return [f"{text}.", *([f"Collapsed, writing few successes often: {', '.join(collapsed)}."] if collapsed else [])]


def _over_control(row: Row) -> str:
    if row.best_control is None:
        return f"There is nothing to hold that against: {row.improvement_over_control_note}."
    factor = row.improvement_over_control
    against = f"the best control that asks for no evaluation, {row.best_control} at {rate(row.best_control_rate)}"
    if factor is None:
        return f"Against {against}: {row.improvement_over_control_note}."
    ends = row.improvement_over_control_low, row.improvement_over_control_high
    if untestable(row):
        return f"That is {_times(factor)} {against}; with so few seeds this is no test ({MIN_SEEDS} are needed)."
    text = f"That is {interval(factor, *ends)} times {against}; {row.improvement_over_control_note}."
    if ends[0] is not None and ends[1] is not None and ends[0] <= 1 <= ends[1]:
        text += " So there is no evidence that its evaluations bought anything."
    return text


def remarks(block: Sequence[Row]) -> list[str]:
    """Who needs the fewest evaluations, at what compute, and how diverse the successes are."""
    methods = [row for row in block if not row.control and row.seeds]
    lines = []
    reached = [row for row in methods if row.nre_to_10x is not None]
    if reached:
        first = min(reached, key=lambda row: row.nre_to_10x or 0.0)
        lines.append(
            f"Fewest evaluations to 10 × base: {first.name}, {count(first.nre_to_10x)} (median; "
            f"{first.nre_to_10x_seeds} of {first.seeds} seeds got there)."
        )
    elif methods:
        lines.append("No method's median run reaches 10 × base within the budget.")
    costly = [row for row in methods if row.flops_mean]
    if costly:
        most, least = (pick(costly, key=lambda row: row.flops_mean or 0.0) for pick in (max, min))
        lines.append(
            f"Model compute: from {number(least.flops_mean)} FLOPs, {number(least.seconds_mean)} s ({least.name}), "
            f"to {number(most.flops_mean)}, {number(most.seconds_mean)} s ({most.name})."
        )
    diverse = [row for row in block if row.success_final_median and row.effective_successes is not None]
    if diverse:
        top = max(diverse, key=lambda row: row.success_final_median or 0.0)
        lines.append(
            f"Diversity: the successes of {top.name}, the highest final rate of all rows, are worth "
            f"{number(top.effective_successes)} equally likely ones."
        )
    return [plain(line) for line in lines]


def _some(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _times(factor: float) -> str:
    return f"{number(factor)} times"
