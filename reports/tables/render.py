"""The leaderboard as Markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
import typing
from collections.abc import Sequence
from typing import Any

import msgspec
from tabulate import tabulate

from reports.board.row import Row, blocks
from reports.stats import MIN_SEEDS
from reports.tables.columns import COST, DEPLOYED, MATCH, RATES, Columns, every_seed, has_match, headline, untestable
from reports.tables.text import cell_of_csv, plain, rate, text_of_csv

MEANING = (
    "× best control is the headline, of two rates: how often a method's final policy succeeds (success), and how "
    "close it is to the prior conditioned on success (match, on the same scale). Each is the median over seeds, over "
    "that of the best oracle-free control, with a 95 % interval that holds whichever control truly is the best. One "
    f"that includes 1 is no evidence of a gain; below {MIN_SEEDS} seeds on a side that varies, nothing is tested. "
    "A method wins where both intervals are above 1. Collapsed: success is above the control and match is not, "
    "since few of the successes are written often."
)
LEGEND = (
    MEANING,
    "[a, b] is a 95 % interval. Those of medians are order statistics ([lowest, highest] of 8 seeds), which assume no "
    "law of the seeds. Those of geometric means are t-intervals of the mean logarithm over seeds, widened "
    "by each run's own Clopper-Pearson interval; arithmetic and interquartile means have none. What each really "
    "covers stands in docs/statistics.md.",
    "Ranks are by the median of the final rate, controls included. The intervals hold for all rows of a "
    f"table at once; a row with fewer than {MIN_SEEDS} seeds may have any rank. The tests behind them are in "
    "significance.md.",
    "The best rate is the cumulative best over the curve. It is *oracle-selected*: chosen by held-out "
    "measurements that no method has, so read it beside the final rate.",
    "`< x`: no success among the held-out samples of a seed; x is the upper end of the 95 % interval, for a "
    "median or mean that summary of the seeds' upper ends. – is censored or unknown.",
    "Diversity: medians over seeds for the final policy. Effective successes are 1 / Σ (p(x) / success "
    "rate)² over the successes x; distinct ones are counted among 10,000 draws.",
    "Cost: means over seeds; seconds, FLOPs and tokens without held-out measurement. First success and NRE to "
    "k × base are Kaplan-Meier medians, with the number of seeds that got there; k × counts as reached where a "
    "point is surely above it.",
    "In use: pass@k is the chance of a success among k samples of the final policy at the geometric mean of its "
    "rate; the expected evaluations are 1 over that rate.",
    "Area over log NRE: the success rate as a step function of the evaluations, averaged over their logarithm "
    "from 1 to the budget.",
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


def from_csv(text: str) -> list[Row]:
    """The rows that :func:`to_csv` wrote; a column that it lacks or that is no longer one is an error.

    Raises:
        msgspec.ValidationError: a value that the field cannot have.
    """
    kinds = typing.get_type_hints(Row)
    rows = []
    for line in csv.DictReader(io.StringIO(text)):
        if line.keys() != kinds.keys():
            raise ValueError(f"columns of another version: {', '.join(sorted(line.keys() ^ kinds.keys()))}")
        values: dict[str, Any] = {}
        for name, cell in line.items():
            value = text_of_csv(cell)
            if typing.get_origin(kinds[name]) is tuple:
                values[name] = [part or None for part in value.split(";")] if value else []
            else:
                values[name] = value if value or kinds[name] is str else None
        rows.append(msgspec.convert(values, Row, strict=False))
    return rows


def sections(block: Sequence[Row]) -> dict[str, Columns]:
    """The tables of one setting, by their headings; the first has none."""
    return {
        "": headline(block),
        "Final success rates": RATES,
        **({"Posterior match": MATCH} if has_match(block) else {}),
        "Final success rate of every seed": every_seed(block),
        "Diversity and cost": COST,
        "The final policy in use": DEPLOYED,
    }


def to_markdown(rows: Sequence[Row]) -> str:
    """For each setting the headline in 80 columns and a table for each kind of detail; a legend below."""
    parts = ["# Leaderboard"]
    for block in blocks(rows):
        parts += [f"## {escape(title(block[0]))}", *filter(None, [escape(origin(block))]), escape(best_control(block))]
        for heading, columns in sections(block).items():
            if heading:
                parts.append(f"### {heading}")
            parts.append(pipe_table(*_cells(block, columns)))
            if not heading and verdicts(block):
                parts.append("\n".join(f"- {escape(line)}" for line in verdicts(block)))
    parts += ["## How to read this", "\n".join(f"- {line}" for line in LEGEND)]
    return "\n\n".join(parts) + "\n"


def to_latex(rows: Sequence[Row]) -> str:
    r"""The tables of :func:`to_markdown` as `tabular`s with booktabs' rules, to be read by `\input`."""
    parts = ["% \\usepackage{booktabs}; UTF-8"]
    for block in blocks(rows):
        for heading, columns in sections(block).items():
            parts.append(f"% {' · '.join(filter(None, [title(block[0]), heading]))}")
            head, body = _cells(block, columns)
            align = ["left", *["right"] * (len(head) - 1)]
            parts.append(tabulate(body, head, "latex_booktabs", disable_numparse=True, colalign=align))
    return "\n\n".join(parts) + "\n"


def title(row: Row) -> str:
    """The setting of a row in one line."""
    task = f"{row.task} ({row.task_config})" if row.task_config else row.task
    parts = [task, row.protocol, f"{row.budget:,} NRE", f"held-out {row.heldout}"]
    parts += [] if row.duplicates == "charge" else [f"duplicates: {row.duplicates}"]
    return plain(" · ".join([*parts, f"base {rate(row.base_rate)}"]))


def best_control(block: Sequence[Row]) -> str:
    """Which controls the headline of this setting is held against, or why there is none."""
    row = next((row for row in block if row.best_control is not None), None)
    if row is None:
        return plain(f"No best control: {block[0].improvement_over_control_note}.")
    caveats = f" ({row.best_control_note})" if row.best_control_note else ""
    sentence = f"Best oracle-free control: {row.best_control}, at {rate(row.best_control_rate)}{caveats}"
    if row.match_best_control is not None:
        sentence += f"; in match: {row.match_best_control}, at {rate(row.match_best_control_rate)}"
    return plain(f"{sentence}.")


def origin(block: Sequence[Row]) -> str:
    """Which rows of a setting were not run here, and of which commit they are; empty where all were."""
    own: dict[str, list[str]] = {}
    for row in block:
        if row.shipped:
            own.setdefault(row.shipped, []).append(row.name)
    alone = sum(map(len, own.values())) == len(block)
    parts = [f"{'all rows' if alone else ', '.join(names)} of commit {commit}" for commit, names in own.items()]
    return plain(f"Shipped with the suite, not run here: {'; '.join(parts)}.") if parts else ""


def verdicts(block: Sequence[Row]) -> list[str]:
    """What the intervals over the best control say, with the methods of which they say so."""
    by_verdict: dict[str, list[str]] = {}
    for row in block:
        if not row.control and row.best_control is not None:
            by_verdict.setdefault(_verdict(row), []).append(row.name)
    return [plain(f"{verdict}: {', '.join(names)}") for verdict, names in by_verdict.items()]


def _verdict(row: Row) -> str:
    if untestable(row):
        return f"untestable, fewer than {MIN_SEEDS} seeds"
    if row.wins:
        return "above the best control in success rate and in match"
    if row.collapsed:
        return "collapsed: above the best control in success rate, not in match"
    return row.improvement_over_control_note


def _cells(block: Sequence[Row], columns: Columns) -> tuple[list[str], list[list[str]]]:
    """(heads, rows of cells) on one line each."""
    head = [plain(name) for name in columns]
    return head, [[plain(show(row)) for show in columns.values()] for row in block]


def pipe_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left and all others to the right."""
    cells = [[escape(cell) for cell in line] for line in body]
    align = ["left", *["right"] * (len(head) - 1)]
    return tabulate(cells, list(map(escape, head)), "pipe", disable_numparse=True, colalign=align)


def escape(text: str) -> str:
    """Text that cannot end a Markdown table's cell or row, nor open an HTML tag."""
    text = plain(text).replace("\\", "\\\\").replace("|", "\\|")
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def _finite(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> Any:
    """A value as a CSV file has it; lists are joined by semicolons."""
    joined = ";".join("" if item is None else str(item) for item in value) if isinstance(value, list) else value
    return cell_of_csv(joined)
