"""`suite list`."""

from __future__ import annotations

import json
from typing import Any

import click

from suite import registry
from suite.commands.options import switch


@click.command("list")
@switch("--json", "as_json", help="One JSON object instead of tables.")
def command(as_json: bool) -> None:
    """Show all tasks and baselines."""
    tasks = [{"id": ref, "title": registry.title("task", ref)} for ref in registry.ids("task")]
    controls = registry.controls()
    baselines = [
        {"id": ref, "title": registry.title("baseline", ref), "control": ref in controls}
        for ref in registry.ids("baseline")
    ]
    if as_json:
        click.echo(json.dumps({"tasks": tasks, "baselines": baselines}, indent=2, ensure_ascii=False))
        return
    _show("task", tasks)
    _show("baseline", baselines)
    click.echo("* control: spends no reward evaluation")


def _show(kind: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column(kind, no_wrap=True)
    table.add_column("what it is")
    for row in rows:
        table.add_row(row["id"] + (" *" if row.get("control") else ""), row["title"])
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 80
    console.print(table)
    console.print()
