"""Every figure of a report, by name. Nothing that plots is imported before a figure is asked for.

Each module holds one figure: a function from records and rows to a matplotlib figure, or None where the records
hold nothing to draw.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reports.board.row import Row
    from suite.store.records import Record


class Drawn(NamedTuple):
    """A figure with what a reader has to know to read it; `task` is None where it speaks of all."""

    name: str
    task: str | None
    caption: str
    figure: Figure


def of_report(records: Sequence[Record], rows: Sequence[Row]) -> list[Drawn]:
    """All figures that these records give, those of each task first.

    Args:
        records: those behind the rows.
        rows: from :func:`reports.board.leaderboard.rows`.
    """
    from reports.figures import bars, compute, curves, forest, gallery, profiles, scaling, sweeps

    drawn: list[Drawn] = []
    taken: set[str] = set()

    def add(kind: str, of: str | None, caption: str, figure: Figure | None, task: str | None) -> None:
        if figure is not None:
            name = unique("-".join([kind, *([file_name(of)] if of else [])]), taken)
            drawn.append(Drawn(name, task, caption, figure))

    for task in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == task]
        runs = [record for record in records if record.task == task]
        add("curves", task, curves.CAPTION, curves.figure(runs, own), task)
        add("improvement", task, bars.CAPTION, bars.figure(own), task)
        add("compute", task, compute.CAPTION, compute.figure(runs, own), task)
        add("epochs", task, scaling.CAPTION, scaling.figure(runs), task)
        add("samples", task, gallery.CAPTION, gallery.figure(runs, own), task)
        for study, trials in sweeps.studies(runs).items():
            add("sweep", study, sweeps.CAPTION, sweeps.figure(trials), task)
    if len(dict.fromkeys(row.task for row in rows)) > 1:
        add("forest", None, forest.CAPTION, forest.figure(rows), None)
    add("profiles", None, profiles.CAPTION, profiles.figure(records, rows), None)
    return drawn


def file_name(text: str) -> str:
    """A name of a task or study as a part of a file's."""
    return re.sub(r"[^\w.-]+", "-", text)


def unique(name: str, taken: set[str]) -> str:
    """`name`, or `name-2`, `name-3`, ... where it is taken; it is taken from now on."""
    chosen, n = name, 1
    while chosen in taken:
        n += 1
        chosen = f"{name}-{n}"
    taken.add(chosen)
    return chosen
