"""`suite report`: the leaderboard on the terminal and in files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from suite import registry
from suite.config import nearest
from suite.errors import UserError
from suite.records import results_folder

if TYPE_CHECKING:
    from reports.leaderboard import Row
    from suite.records import Record

KINDS: dict[str, Callable[[Record], Sequence[str]]] = {
    "task": lambda record: (record.task,),
    "tag": lambda record: registry.tags(record.task),
    "protocol": lambda record: (str(record.identity["protocol"]),),
    "budget": lambda record: (str(record.identity["budget"]),),
}
"""What records can be picked by: the names of a record, by flag."""


@click.command()
@click.option(
    "--results",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of records, several of them together; else $SUITE_RESULTS, ./results.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files; else RESULTS/report.")
@click.option("--task", "tasks", multiple=True, metavar="ID[,ID]", help="Only these tasks.")
@click.option("--tag", "tags", multiple=True, metavar="TAG[,TAG]", help="Only tasks with one of these tags.")
@click.option("--protocol", "protocols", multiple=True, metavar="NAME[,NAME]", help="Only these protocols.")
@click.option("--budget", "budgets", multiple=True, metavar="N[,N]", help="Only these budgets.")
@click.option("--baseline", "baselines", multiple=True, metavar="ID[,ID]", help="Show only these methods and controls.")
def report(results: Sequence[Path], out: Path | None, baselines: Sequence[str], **filters: Sequence[str]) -> None:
    """Print the leaderboard of results folders; write it, the tests behind it, and curves per task.

    leaderboard.{md,csv,json,tex} hold the tables, significance.{md,csv} the tests between rows,
    overall.{md,csv} what several tasks say together.

    A method is held against the best control of all that ran, shown or not.
    """
    from rich.console import Console

    from reports import leaderboard, select, terminal

    records, broken = select.read(*results)
    for kind, of in KINDS.items():
        records = _only(records, kind, filters[f"{kind}s"], of)
    _only(records, "baseline", baselines, lambda record: (record.baseline,))
    kept, left_out = select.current(records)
    rows = leaderboard.rows(kept)
    if baselines:
        rows = [row for row in rows if row.baseline in _names(baselines)]
    folder = out or results_folder(results[0] if results else None) / "report"
    files = {**_tables(rows), **_curves(kept, rows)}
    _write(folder, files)
    Console().print(terminal.to_console(rows))
    click.echo(f"wrote {', '.join(files)} to {folder}")
    skipped = [f"{len(broken)} broken files skipped"] if broken else []
    for line in [*skipped, *broken, *left_out, *select.notices(kept)]:
        click.echo(f"note: {line}", err=True)


def _names(given: Iterable[str]) -> list[str]:
    return [name.strip() for text in given for name in text.split(",")]


def _only(
    records: Sequence[Record], kind: str, given: Sequence[str], of: Callable[[Record], Sequence[str]]
) -> list[Record]:
    """The records of which one of the names `of` it is among the given ones; UserError for one without any."""
    names = _names(given)
    present = sorted({name for record in records for name in of(record)})
    for name in names:
        if name not in present:
            raise UserError(f"--{kind} {name!r}: no record of it here{nearest(name, present)}")
    return [record for record in records if not names or set(names) & set(of(record))]


def _tables(rows: Sequence[Row]) -> dict[str, bytes]:
    """File name -> content: the tables of all rows."""
    from reports import overall, significance, tables

    made = {
        "leaderboard.md": tables.to_markdown(rows),
        "leaderboard.csv": tables.to_csv(rows),
        "leaderboard.json": tables.to_json(rows),
        "leaderboard.tex": tables.to_latex(rows),
        "significance.md": significance.to_markdown(rows),
        "significance.csv": significance.to_csv(rows),
        "overall.md": overall.to_markdown(rows),
        "overall.csv": overall.to_csv(rows),
    }
    return {name: text.encode() for name, text in made.items()}


def _curves(records: Sequence[Record], rows: Sequence[Row]) -> dict[str, bytes]:
    """File name -> content: the curves of each task as PNG and SVG."""
    from reports import figures

    files: dict[str, bytes] = {}
    for task in dict.fromkeys(row.task for row in rows):
        figure = figures.curves(records, [row for row in rows if row.task == task])
        if figure is not None:
            name = "curves-" + re.sub(r"[^\w.-]+", "-", task)
            while f"{name}.png" in files:
                name += "-2"
            files |= {f"{name}.{kind}": figures.encode(figure, kind) for kind in ("png", "svg")}
    return files


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Put the files into the folder, each whole or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            temporary = folder / f".{name}.tmp"
            temporary.write_bytes(content)
            temporary.replace(folder / name)
    except OSError as error:
        raise UserError(f"--out {folder}: {error.strerror or error}; choose a folder that can be written to") from error
