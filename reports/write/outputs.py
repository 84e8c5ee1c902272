"""The files of a report, as bytes by name: tables, figures, the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import UserError
from suite.store import disk

if TYPE_CHECKING:
    from reports.board.row import Row
    from reports.figures import Drawn


def of_tables(rows: Sequence[Row]) -> dict[str, bytes]:
    """The tables of all rows: the leaderboard in four formats, the tests between rows, what several tasks say."""
    from reports.board.overall import overall as over_tasks
    from reports.board.significance import tests
    from reports.tables import overall, significance
    from reports.tables import render as tables

    pairs, together = tests(rows), over_tasks(rows)
    made = {
        "leaderboard.md": tables.to_markdown(rows),
        "leaderboard.csv": tables.to_csv(rows),
        "leaderboard.json": tables.to_json(rows),
        "leaderboard.tex": tables.to_latex(rows),
        "significance.md": significance.to_markdown(rows, pairs),
        "significance.csv": significance.to_csv(pairs),
        "overall.md": overall.to_markdown(together),
        "overall.csv": overall.to_csv(together),
    }
    return {name: text.encode() for name, text in made.items()}


def of_figures(drawn: Sequence[Drawn]) -> dict[str, bytes]:
    """`figures/NAME.svg`, `.pdf` and `.png` of each."""
    return {f"figures/{item.name}.{kind}": content for item in drawn for kind, content in item.files.items()}


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Put the files into the folder, each whole or not at all.

    Raises:
        UserError: the folder cannot be written to.
    """
    try:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.write(path, content)
    except OSError as error:
        raise UserError(f"--out {folder}: {error.strerror or error}; choose a folder that can be written to") from error
