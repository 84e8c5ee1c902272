"""One report: everything that is shown, in files, on the page, on the terminal and on W&B, made in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.board import leaderboard
from reports.board.row import Row
from reports.read import origin, select
from suite.store.records import Record

if TYPE_CHECKING:
    from reports.figures import Drawn


@dataclasses.dataclass(frozen=True)
class Report:
    """What a results folder comes to."""

    records: Sequence[Record]
    """Those behind the rows."""
    rows: Sequence[Row]
    figures: Sequence[Drawn] = ()
    notes: Sequence[str] = ()
    """What a reader has to be told of the records: failures, mixtures, files that were skipped, figures that failed."""
    origin: str = ""
    """The commits and days that the records are of."""


def make(
    records: Sequence[Record], *, baselines: Sequence[str] = (), notes: Sequence[str] = (), draw: bool = True
) -> Report:
    """The report of records: those that count, their rows, figures and notes.

    Args:
        baselines: the methods and controls shown; all where none is named. A method is held against the best control
            of all records, shown or not.
        notes: what is known of the records already; it comes first.
        draw: whether figures are drawn, which takes most of the time.

    Raises:
        UserError: all runs failed.
    """
    from reports import figures

    kept, left_out = select.current(records)
    select.check_some_finished(kept)
    rows = [row for row in leaderboard.rows(kept) if not baselines or row.baseline in baselines]
    shown = {cell for row in rows for cell in row.cells}
    behind = [record for record in kept if record.cell in shown]
    drawn, failures = figures.of_report(behind, rows) if draw else ([], [])
    return Report(behind, rows, drawn, [*notes, *left_out, *select.notices(kept), *failures], origin.describe(behind))
