"""Every figure of a report, by name. Nothing that plots is imported before a figure is asked for.

Each module holds one figure: a function from records and rows to a matplotlib figure, or None where the records
hold nothing to draw.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reports.board.row import Row
    from suite.store.records import Record


class Drawn(NamedTuple):
    """A figure in its formats, with what a reader has to know to read it; `task` is None where it speaks of all."""

    name: str
    task: str | None
    caption: str
    files: dict[str, bytes]
    """Its files by format, those of :data:`reports.figures.style.KINDS`."""
    html: str
    """For a page: SVG or, where that is large, an image of pixels."""
    photo: bool
    """It shows pictures, which a dark page must not turn into their negatives."""

    @classmethod
    def of(cls, figure: Figure, name: str, task: str | None = None, caption: str = "") -> Drawn:
        from reports.figures import style

        files = {kind: style.encode(figure, kind) for kind in style.KINDS}
        return cls(name, task, caption, files, style.html(figure), any(ax.images for ax in figure.axes))


class Planned(NamedTuple):
    """A figure of a report before it is drawn."""

    kind: str
    of: str | None
    """The task or the study that its name ends with."""
    task: str | None
    caption: str
    draw: Callable[[], Figure | None]


def of_report(records: Sequence[Record], rows: Sequence[Row]) -> tuple[list[Drawn], list[str]]:
    """All figures that these records give, those of each task first, and a line for each one that failed.

    Args:
        records: those behind the rows.
        rows: from :func:`reports.board.leaderboard.rows`.
    """
    drawn: list[Drawn] = []
    failures: list[str] = []
    taken: set[str] = set()
    for figure in planned(records, rows):
        name = "-".join([figure.kind, *([file_name(figure.of)] if figure.of else [])])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a glyph that the font lacks, of a layout too tight: to a developer
                if (made := figure.draw()) is not None:
                    drawn.append(Drawn.of(made, unique(name, taken), figure.task, figure.caption))
        except Exception as error:  # whatever the drawing of an unforeseen record raises costs this figure alone
            failures.append(f"figure {name} could not be drawn: {type(error).__name__}: {error}")
    return drawn, failures


def planned(records: Sequence[Record], rows: Sequence[Row]) -> Iterator[Planned]:
    """The figures of a report, in its order."""
    from reports.figures import bars, compute, curves, forest, gallery, profiles, scaling, sweeps

    tasks = list(dict.fromkeys(row.task for row in rows))
    for task in tasks:
        own = [row for row in rows if row.task == task]
        runs = [record for record in records if record.task == task]
        yield Planned("curves", task, task, curves.CAPTION, partial(curves.figure, runs, own))
        yield Planned("improvement", task, task, bars.CAPTION, partial(bars.figure, own))
        yield Planned("compute", task, task, compute.CAPTION, partial(compute.figure, runs, own))
        yield Planned("epochs", task, task, scaling.CAPTION, partial(scaling.figure, runs))
        yield Planned("samples", task, task, gallery.CAPTION, partial(gallery.figure, runs, own))
        for study, trials in sweeps.studies(runs).items():
            yield Planned("sweep", study, task, sweeps.CAPTION, partial(sweeps.figure, trials))
    if len(tasks) > 1:
        yield Planned("forest", None, None, forest.CAPTION, partial(forest.figure, rows))
    yield Planned("profiles", None, None, profiles.CAPTION, partial(profiles.figure, records, rows))


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
