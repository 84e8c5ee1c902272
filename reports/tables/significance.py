"""The tests between rows as Markdown and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence

from reports import stats
from reports.board.row import Row, blocks
from reports.board.significance import PairTest
from reports.tables.render import escape, pipe_table, title
from reports.tables.text import NONE, cell_of_csv, interval, number

LEGEND = (
    "Ratio: the geometric mean of the final rate of the first over that of the second, with Welch's 95 % t-interval "
    "on logs, each for itself. p: of a ratio of 1, after Holm's correction for all pairs of the table, those of two "
    "controls too.",
    "P(first above second): over pairs of seeds, ties one half, with Newcombe's 95 % interval.",
    f"untestable: fewer than {stats.MIN_SEEDS} seeds on a side that varies.",
)


def to_markdown(rows: Sequence[Row], found: Sequence[PairTest]) -> str:
    """A table of the tests of each setting."""
    parts = ["# Tests between methods"]
    head = ["method", "against", "ratio [95 %]", "p (Holm)", "P(first above second) [95 %]", "conclusion"]
    for block in blocks(rows):
        parts.append(f"## {escape(title(block[0]))}")
        mine = [test for test in found if _setting(test) == block[0].setting]
        if mine:
            parts.append(pipe_table(head, [_cells(test) for test in mine]))
        elif len(block) > stats.MOST_ROWS:
            parts.append(f"{len(block)} rows, more than {stats.MOST_ROWS}: pick some with --baseline.")
        else:
            parts.append("Nothing to compare.")
    parts += ["## How to read this", "\n".join(f"- {line}" for line in LEGEND)]
    return "\n\n".join(parts) + "\n"


def to_csv(found: Sequence[PairTest]) -> str:
    """One line per test, the columns of :class:`PairTest`; empty is unknown."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(PairTest))
    writer.writerows(map(cell_of_csv, dataclasses.astuple(test)) for test in found)
    return text.getvalue()


def _setting(test: PairTest) -> tuple[str, str, str, str, int, str]:
    return test.task, test.task_config, test.protocol, test.duplicates, test.budget, test.heldout


def _cells(test: PairTest) -> list[str]:
    return [
        test.first,
        test.second,
        _ratio(test),
        NONE if test.p_holm is None else number(test.p_holm, 2),
        interval(test.probability, test.probability_low, test.probability_high, 2),
        test.conclusion,
    ]


def _ratio(test: PairTest) -> str:
    if test.ratio is None and test.ratio_low:
        return f"> {number(test.ratio_low)}"
    return interval(test.ratio, test.ratio_low, test.ratio_high)
