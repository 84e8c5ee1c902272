"""The leaderboard on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from reports.board.row import Row, blocks
from reports.tables.columns import WORK, Columns, headline
from reports.tables.render import MEANING, best_control, origin, title, verdicts
from reports.tables.text import plain


def to_console(rows: Sequence[Row]) -> Group:
    """Two tables for each setting that fit 80 columns, controls below the methods."""
    parts: list[Table | Text] = []
    for block in blocks(rows):
        parts += [
            Text(title(block[0]), style="bold"),
            _table(block, headline(block)),
            *map(Text, filter(None, [best_control(block), *verdicts(block), origin(block)])),
            Text(),
            _table(block, WORK),
            Text(),
        ]
    return Group(*parts, Text(MEANING, style="dim"))


def _table(block: Sequence[Row], columns: Columns) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    for i, name in enumerate(columns):
        justify: Literal["left", "right"] = "right" if i else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=bool(i), min_width=0 if i else 14)
    methods = [row for row in block if not row.control]
    controls = [row for row in block if row.control]
    for row in methods:
        table.add_row(*_cells(row, columns))
    if controls:
        table.add_section()
        table.add_row(Text("controls:", style="italic"))
    for row in controls:
        table.add_row(*_cells(row, columns, "dim"))
    return table


def _cells(row: Row, columns: Columns, style: str = "") -> list[Text]:
    shown = {name: show(row) for name, show in columns.items()} | {"method": row.name}
    return [Text(plain(cell), style=style) for cell in shown.values()]
