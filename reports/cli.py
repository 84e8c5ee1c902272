"""`suite report`: the leaderboard on the terminal and in files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from suite.config import nearest
from suite.errors import UserError
from suite.records import results_folder

if TYPE_CHECKING:
    from reports.leaderboard import Row
    from suite.records import Record


@click.command()
@click.option("--results", type=click.Path(path_type=Path), help="Folder of records; else $SUITE_RESULTS, ./results.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files; else RESULTS/report.")
@click.option("--task", "tasks", multiple=True, metavar="ID[,ID]", help="Only these tasks.")
@click.option("--baseline", "baselines", multiple=True, metavar="ID[,ID]", help="Show only these methods and controls.")
def report(results: Path | None, out: Path | None, tasks: Sequence[str], baselines: Sequence[str]) -> None:
    """Print the leaderboard of a results folder; write leaderboard.{md,csv,json} and curves per task.

    A method is held against the best control of all that ran, shown or not.
    """
    from rich.console import Console

    from reports import leaderboard, select, tables

    records, broken = select.read(results)
    records = _only(records, "task", tasks)
    _only(records, "baseline", baselines)
    kept, left_out = select.current(records)
    rows = leaderboard.rows(kept)
    if baselines:
        rows = [row for row in rows if row.baseline in _names(baselines)]
    folder = out or results_folder(results) / "report"
    files = {
        "leaderboard.md": tables.to_markdown(rows).encode(),
        "leaderboard.csv": tables.to_csv(rows).encode(),
        "leaderboard.json": tables.to_json(rows).encode(),
        **_curves(kept, rows),
    }
    _write(folder, files)
    Console().print(tables.to_console(rows))
    click.echo(f"wrote {', '.join(files)} to {folder}")
    skipped = [f"{len(broken)} broken files skipped"] if broken else []
    for line in [*skipped, *broken, *left_out, *select.notices(kept)]:
        click.echo(f"note: {line}", err=True)


def _names(given: Iterable[str]) -> list[str]:
    return [name.strip() for text in given for name in text.split(",")]


def _only(records: Sequence[Record], kind: str, given: Sequence[str]) -> list[Record]:
    """The records whose `kind` (task or baseline) is among the given ids; UserError for an id without any."""
    names = _names(given)
    present = sorted({getattr(record, kind) for record in records})
    for name in names:
        if name not in present:
            raise UserError(f"--{kind} {name!r}: no record of it here{nearest(name, present)}")
    return [record for record in records if not names or getattr(record, kind) in names]


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
