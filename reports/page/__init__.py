"""`leaderboard.html`: the report as one file that opens from disk and asks the network for nothing.

Its parts: `words` says in sentences what the rows show, `grids` makes the tables that sort and filter, `runs` packs the
curves, samples and provenance of single runs small enough for ten thousand of them, and `template.html` with its style
and script puts them on a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.board.row import Row
    from reports.figures import Drawn
    from reports.report import Report

HERE = Path(__file__).parent
MOST = 4_900_000
"""Bytes of a page; figures that no longer fit are only in the folder."""


def render(report: Report) -> str:
    """The whole page as HTML."""
    import jinja2
    from markupsafe import Markup

    from reports.page import grids, runs, words
    from reports.tables import render as tables
    from reports.tables import text

    rows = report.rows
    places = {cell: i for i, row in enumerate(rows) for cell in row.cells}
    records = sorted(report.records, key=lambda record: (places.get(record.cell, len(rows)), record.seed))
    details, library, table = runs.pack(records, rows), grids.library(), grids.runs(records, rows)
    sections = [_section(i, task, rows) for i, task in enumerate(dict.fromkeys(row.task for row in rows))]
    grown = [setting["table"] for section in sections for setting in section["settings"]]
    pictures = _pictures(report.figures, MOST - sum(map(len, (library, table, *details.groups, *grown))))
    for section in sections:
        section["figures"] = [picture for picture in pictures if picture["task"] == section["name"]]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["plain"] = text.plain
    return environment.get_template("template.html").render(
        style=Markup((HERE / "style.css").read_text()),
        script=Markup((HERE / "script.js").read_text()),
        library=Markup(library),
        tasks=sections,
        overall=[picture for picture in pictures if picture["task"] is None],
        runs=Markup(table),
        details=details,
        legend=[line.translate({ord(mark): None for mark in "*`"}) for line in tables.LEGEND],
        notes=report.notes,
        made=report.origin,
        counts=words.counts(records, rows),
    )


def _section(i: int, task: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What the template shows of one task, but its figures."""
    from markupsafe import Markup

    from reports.board.row import blocks
    from reports.page import grids, words
    from reports.tables import render as tables

    settings = [
        {
            "title": tables.title(block[0]),
            "headline": words.headline(block),
            "remarks": words.remarks(block),
            "table": Markup(grids.leaderboard(block, f"rows-{i}-{k}")),
        }
        for k, block in enumerate(blocks(row for row in rows if row.task == task))
    ]
    return {"id": f"task-{i}", "name": task, "settings": settings}


def _pictures(drawn: Sequence[Drawn], left: int) -> list[dict[str, Any]]:
    """What the template shows of each figure; `html` is None for those beyond `left` bytes."""
    from markupsafe import Markup

    pictures = []
    for item in drawn:
        shown = len(item.html) <= left
        left -= len(item.html) if shown else 0
        html = Markup(_own_ids(item.html, item.name)) if shown else None
        shared = {"name": item.name, "task": item.task, "caption": item.caption, "photo": item.photo}
        pictures.append({**shared, "html": html})
    return pictures


def _own_ids(svg: str, name: str) -> str:
    """An SVG whose ids are no other's on the page."""
    import re

    prefix = re.sub(r"\W", "_", name)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}.\1"', svg)
    return re.sub(r'(href="|url\()#', rf"\1#{prefix}.", svg)
