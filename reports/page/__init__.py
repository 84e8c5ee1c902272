"""`leaderboard.html`: the report as one file that opens from disk and asks the network for nothing.

Its parts: `words` says in sentences what the rows show, `grids` makes the tables that sort and filter, `runs` packs the
curves, samples and provenance of single runs small enough for ten thousand of them, and `template.html` with its style
and script puts them on a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.records import Record

if TYPE_CHECKING:
    from reports.figures import Drawn
    from reports.row import Row

HERE = Path(__file__).parent
LARGEST_SVG = 90_000
"""Bytes from which on a figure is put on the page as pixels."""
MOST_FIGURES = 2_000_000
"""Bytes of figures on a page; those after it are only in the folder."""


def render(
    records: Sequence[Record], rows: Sequence[Row], drawn: Sequence[Drawn], notes: Sequence[str] = (), made: str = ""
) -> str:
    """The whole page as HTML.

    Args:
        records: those behind the rows.
        rows: from :func:`reports.leaderboard.rows`.
        drawn: from :func:`reports.figures.of_report`.
        notes: what a reader has to be told about the records: failures, mixtures, files that were skipped.
        made: which commits the records come from, from :func:`reports.origin.of`.
    """
    import jinja2
    from markupsafe import Markup

    from reports import tables, text
    from reports.page import grids, runs, words

    places = {cell: i for i, row in enumerate(rows) for cell in row.cells}
    records = sorted(records, key=lambda record: (places.get(record.cell, len(rows)), record.seed))
    pictures = _pictures(drawn)
    details = runs.pack(records, rows)
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
        library=Markup(grids.library()),
        tasks=[_section(i, task, rows, pictures) for i, task in enumerate(dict.fromkeys(row.task for row in rows))],
        overall=[picture for picture in pictures if picture["task"] is None],
        runs=Markup(grids.runs(records, rows)),
        details=details,
        legend=[line.translate({ord(mark): None for mark in "*`"}) for line in tables.LEGEND],
        notes=notes,
        made=made,
        counts=words.counts(records, rows),
    )


def _section(i: int, task: str, rows: Sequence[Row], pictures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the template shows of one task."""
    from markupsafe import Markup

    from reports import tables
    from reports.page import grids, words

    settings = [
        {
            "title": tables.title(block[0]),
            "headline": words.headline(block),
            "remarks": words.remarks(block),
            "table": Markup(grids.leaderboard(block, f"rows-{i}-{k}")),
        }
        for k, block in enumerate(tables.blocks(row for row in rows if row.task == task))
    ]
    return {
        "id": f"task-{i}",
        "name": task,
        "settings": settings,
        "figures": [picture for picture in pictures if picture["task"] == task],
    }


def _pictures(drawn: Sequence[Drawn]) -> list[dict[str, Any]]:
    """The figures as HTML; drawings as SVG within the page, large ones as pixels, and none beyond the limit."""
    import base64

    from markupsafe import Markup

    from reports import style

    left, pictures = MOST_FIGURES, []
    for item in drawn:
        svg = style.encode(item.figure, "svg", outlines=False).decode()
        inline = svg[svg.index("<svg") :]
        if len(inline) > LARGEST_SVG:
            pixels = base64.b64encode(style.encode(item.figure, "png", dpi=100)).decode()
            inline = f'<img alt="" src="data:image/png;base64,{pixels}">'
        shown = len(inline) <= left
        left -= len(inline) if shown else 0
        html = Markup(_own_ids(inline, item.name)) if shown else None
        pictures.append({"name": item.name, "task": item.task, "caption": item.caption, "html": html})
    return pictures


def _own_ids(svg: str, name: str) -> str:
    """An SVG whose ids are no other's on the page."""
    import re

    prefix = re.sub(r"\W", "_", name)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}.\1"', svg)
    return re.sub(r'(href="|url\()#', rf"\1#{prefix}.", svg)
