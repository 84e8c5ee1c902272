"""What several tasks say together, as Markdown and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence

from reports.board.overall import Overall
from reports.tables.render import escape, pipe_table
from reports.tables.text import NONE, cell_of_csv, interval, plain

LEGEND = (
    "Over all tasks that every one of these rows ran, tasks for tuning left out. Rank: the mean of the ranks, with a "
    "95 % interval from the tests on each task (Holm within, Bonferroni over tasks). × base, IQM: exp of the "
    "interquartile mean of the log improvement over all tasks and seeds, with a 95 % stratified bootstrap interval "
    "of these tasks; – where a seed met no success in its held-out sample, or seeds are too few."
)


def to_markdown(found: Sequence[Overall]) -> str:
    """A table for each group of tasks."""
    parts = ["# Over tasks"]
    for place in dict.fromkeys(_place(one) for one in found):
        protocol, duplicates, budget, tasks = place
        names = ", ".join(map(plain, tasks))
        setting = f"{protocol} · duplicates: {duplicates} · {budget:,} NRE · {len(tasks)} tasks: {names}"
        parts.append(escape(setting))
        mine = [_cells(one) for one in found if _place(one) == place]
        parts.append(pipe_table(["method", "mean rank [95 %]", "× base, IQM [95 %]"], mine))
    parts += [LEGEND if found else "No two tasks that at least two methods ran with one protocol and budget."]
    return "\n\n".join(parts) + "\n"


def _place(one: Overall) -> tuple[str, str, int, tuple[str, ...]]:
    return one.protocol, one.duplicates, one.budget, one.tasks


def to_csv(found: Sequence[Overall]) -> str:
    """One line per method, the columns of :class:`Overall`, tasks joined by semicolons."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(Overall))
    for one in found:
        cells = dataclasses.asdict(one) | {"tasks": ";".join(map(plain, one.tasks))}
        writer.writerow(map(cell_of_csv, cells.values()))
    return text.getvalue()


def _cells(one: Overall) -> list[str]:
    gain = one.improvement_iqm, one.improvement_iqm_low, one.improvement_iqm_high
    shown = NONE if gain[0] is None else interval(*gain)
    return [
        f"control: {one.method}" if one.control else one.method,
        interval(one.rank, one.rank_low, one.rank_high, 2),
        shown,
    ]
