"""The leaderboard as Markdown, CSV, JSON and a table for the terminal."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from reports import stats
from reports.leaderboard import Row
from reports.stats import MIN_SEEDS
from reports.text import count, interval, number, plain, rate

Columns = Mapping[str, Callable[[Row], str]]

MEANING = (
    "× best control is the headline: the geometric mean of a method's final success rate over that of the "
    "best oracle-free control, with Welch's 95 % t-interval on logs. An interval that includes 1 is no "
    f"evidence of a gain; below {MIN_SEEDS} seeds on a side that varies, nothing is tested."
)
LEGEND = (
    MEANING,
    "Geometric means have 95 % t-intervals of the mean logarithm over seeds; arithmetic means have none.",
    "The best rate is the cumulative best over the curve. It is *oracle-selected*: chosen by held-out "
    "measurements that no method has, so read it beside the final rate.",
    "`< x`: no success among the held-out samples; x is the upper end of the 95 % interval, summarised as the "
    "column says. – is censored or unknown.",
    "Diversity: medians over seeds for the final policy. Effective successes are 1 / Σ (p(x) / success "
    "rate)² over the successes x; distinct ones are counted among 10,000 draws.",
    "Cost: means over seeds; seconds and FLOPs without held-out measurement. First success and NRE to k × "
    "base are Kaplan-Meier medians, with the number of seeds that got there; k × counts as reached where the "
    "whole interval of a point lies above it.",
)


def to_json(rows: Sequence[Row]) -> str:
    """`{"rows": [...]}`, one flat object per row; null is unknown or censored."""
    flat = [{key: _finite(value) for key, value in dataclasses.asdict(row).items()} for row in rows]
    return json.dumps({"rows": flat}, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def to_csv(rows: Sequence[Row]) -> str:
    """One line per row, the columns of :class:`Row`; empty is unknown, lists are joined by semicolons."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(Row))
    for row in rows:
        writer.writerow(_cell(_finite(value)) for value in dataclasses.asdict(row).values())
    return text.getvalue()


def to_markdown(rows: Sequence[Row]) -> str:
    """Three tables for each setting: the headline, every seed, diversity and cost; a legend below."""
    parts = ["# Leaderboard"]
    for block in blocks(rows):
        seeds = sorted({seed for row in block for seed in row.seed_list})
        every = {"method": _method} | {f"seed {seed}": _of_seed(seed) for seed in seeds}
        parts += [
            f"## {_escape(title(block[0]))}",
            _escape(best_control(block)),
            _pipe_table(block, HEADLINE),
            "### Final success rate of every seed",
            _pipe_table(block, every),
            "### Diversity and cost",
            _pipe_table(block, COST),
        ]
    parts += ["## How to read this", "\n".join(f"- {line}" for line in LEGEND)]
    return "\n\n".join(parts) + "\n"


def to_console(rows: Sequence[Row]) -> Group:
    """One table for each setting that fits 80 columns, controls below the methods."""
    parts: list[Table | Text] = []
    for block in blocks(rows):
        table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
        for i, name in enumerate(BRIEF):
            justify: Literal["left", "right"] = "right" if i else "left"
            table.add_column(name, justify=justify, overflow="fold", no_wrap=bool(i), min_width=0 if i else 14)
        methods = [row for row in block if not row.control]
        controls = [row for row in block if row.control]
        for row in methods:
            table.add_row(*(Text(show(row)) for show in BRIEF.values()))
        if controls:
            table.add_section()
            table.add_row(Text("controls:", style="italic"))
        for row in controls:
            table.add_row(*(Text(show(row), style="dim") for show in BRIEF.values()))
        parts += [
            Text(title(block[0]), style="bold"),
            table,
            *map(Text, [best_control(block), *verdicts(block)]),
        ]
        parts.append(Text())
    return Group(*parts, Text(MEANING, style="dim"))


def blocks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows of one setting after another."""
    for _, block in itertools.groupby(rows, key=lambda row: row.setting):
        yield list(block)


def title(row: Row) -> str:
    """The setting of a row in one line."""
    task = f"{row.task} ({row.task_config})" if row.task_config else row.task
    parts = [task, row.protocol, f"{row.budget:,} NRE", f"held-out {row.heldout}"]
    parts += [] if row.duplicates == "charge" else [f"duplicates: {row.duplicates}"]
    return plain(" · ".join([*parts, f"base {rate(row.base_rate)}"]))


def best_control(block: Sequence[Row]) -> str:
    """Which control the headline of this setting is held against, or why there is none."""
    row = next((row for row in block if row.best_control is not None), None)
    if row is None:
        return plain(f"No best control: {block[0].improvement_over_control_note}.")
    caveats = f" ({row.best_control_note})" if row.best_control_note else ""
    return plain(f"Best oracle-free control: {row.best_control}, at {rate(row.best_control_rate)}{caveats}.")


def verdicts(block: Sequence[Row]) -> list[str]:
    """What the interval over the best control says, with the methods of which it says so."""
    said: dict[str, list[str]] = {}
    for row in block:
        if not row.control and row.best_control is not None:
            said.setdefault(_verdict(row), []).append(row.name)
    return [plain(f"{verdict}: {', '.join(names)}") for verdict, names in said.items()]


def _verdict(row: Row) -> str:
    if _untestable(row):
        return f"untestable, fewer than {MIN_SEEDS} seeds"
    return row.improvement_over_control_note


def _untestable(row: Row) -> bool:
    return row.improvement_over_control_note.startswith("untestable")


def _method(row: Row) -> str:
    return f"control: {row.name}" if row.control else row.name


def _seeds(row: Row) -> str:
    return f"{row.seeds} (+ {row.failed} failed)" if row.failed else str(row.seeds)


def _final(row: Row) -> str:
    return rate(row.success_final_geomean, row.success_final_upper)


def _over_base(row: Row) -> str:
    upper = row.success_final_upper / row.base_rate if row.success_final_upper and row.base_rate else None
    return rate(row.improvement_final_geomean, upper)


def _upper(row: Row, summary: Callable[[Sequence[float]], float | None]) -> float | None:
    """A summary of the seeds' upper bounds, in place of one of the seeds' rates that came out as zero."""
    return summary([high for high in row.success_final_seeds_high if high is not None])


def _final_interval(row: Row) -> str:
    ends = row.success_final_geomean_low, row.success_final_geomean_high
    return _final(row) if row.success_final_geomean is None else interval(row.success_final_geomean, *ends)


def _over_control(row: Row, digits: int = 3) -> str:
    ends = row.improvement_over_control_low, row.improvement_over_control_high
    return interval(row.improvement_over_control, *ends, digits)


def _brief_over_control(row: Row) -> str:
    if row.control:
        return ""
    if _untestable(row):
        return f"{number(row.improvement_over_control, 2)} untestable"
    return _over_control(row, 2)


def _of_seed(seed: int) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        if seed not in row.seed_list:
            return ""
        i = row.seed_list.index(seed)
        return rate(row.success_final_seeds[i], row.success_final_seeds_high[i])

    return show


def _reached(value: float | None, seeds: int | None) -> str:
    return count(value) if seeds is None else f"{count(value)} ({seeds})"


BRIEF: Columns = {
    "method": lambda row: plain(row.name),
    "seeds": lambda row: str(row.seeds),
    "final\nrate": _final,
    "×\nbase": _over_base,
    "× best control\n[95 %]": _brief_over_control,
    "effect.\nsucc.": lambda row: number(row.effective_successes),
    "NRE": lambda row: count(row.nre_mean),
    "sec.": lambda row: number(row.seconds_mean),
}

HEADLINE: Columns = {
    "method": _method,
    "seeds": _seeds,
    "final, geo. mean [95 %]": _final_interval,
    "median": lambda row: rate(row.success_final_median, _upper(row, stats.median)),
    "mean": lambda row: rate(row.success_final_mean, _upper(row, stats.mean)),
    "SD": lambda row: number(row.success_final_std),
    "× base, geo. mean": _over_base,
    "× base, mean": lambda row: number(row.improvement_final_mean),
    "× best control [95 %]": _over_control,
    "which says": lambda row: row.improvement_over_control_note,
    "best (oracle-selected), geo. mean": lambda row: rate(row.success_best_geomean, row.success_best_upper),
    "verified": lambda row: {True: "yes", False: "NO", None: "not checked"}[row.verified],
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
    "NRE to 10 × (seeds)": lambda row: _reached(row.nre_to_10x, row.nre_to_10x_seeds),
    "NRE to 100 × (seeds)": lambda row: _reached(row.nre_to_100x, row.nre_to_100x_seeds),
    "seconds": lambda row: number(row.seconds_mean),
    "model FLOPs": lambda row: number(row.flops_mean),
    "tuning NRE": lambda row: count(row.tuning_nre),
}


def _pipe_table(block: Sequence[Row], columns: Columns) -> str:
    body = [[_escape(show(row)) for show in columns.values()] for row in block]
    align = ["left", *["right"] * (len(columns) - 1)]
    return tabulate(body, list(map(_escape, columns)), "pipe", disable_numparse=True, colalign=align)


def _escape(text: str) -> str:
    """Text that cannot end a Markdown table's cell or row, nor open an HTML tag."""
    text = plain(text).replace("\\", "\\\\").replace("|", "\\|")
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def _finite(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> Any:
    return ";".join("" if item is None else str(item) for item in value) if isinstance(value, list) else value
