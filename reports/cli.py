"""`suite report`: the leaderboard on the terminal and in files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reports import readme as marked
from suite.commands.options import switch
from suite.config import nearest
from suite.errors import UserError
from suite.records import results_folder

if TYPE_CHECKING:
    from rich.console import Group

    from suite.records import Record


@click.command()
@click.option("--results", type=click.Path(path_type=Path), help="Folder of records; else $SUITE_RESULTS, ./results.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files; else RESULTS/report.")
@click.option("--task", "tasks", multiple=True, metavar="ID[,ID]", help="Only these tasks.")
@click.option("--baseline", "baselines", multiple=True, metavar="ID[,ID]", help="Show only these methods and controls.")
@click.option("--readme", type=click.Path(path_type=Path), help="Put table and curves between the marks of this file.")
@switch("--tables-only", help="Write no figures and no page, which take most of the time.")
def report(
    results: Path | None,
    out: Path | None,
    tasks: Sequence[str],
    baselines: Sequence[str],
    readme: Path | None,
    tables_only: bool,
) -> None:
    """Print the leaderboard of a results folder; write its tables, figures and leaderboard.html, a page to open.

    A method is held against the best control of all that ran, shown or not.
    """
    from rich.console import Console

    from reports import figures, leaderboard, origin, outputs, page, select, tables

    if readme is not None:
        marked.read(readme)

    records, broken = select.read(results)
    records = _only(records, "task", tasks)
    _only(records, "baseline", baselines)
    kept, left_out = select.current(records)
    rows = leaderboard.rows(kept)
    if baselines:
        rows = [row for row in rows if row.baseline in _names(baselines)]
    folder = out or results_folder(results) / "report"
    skipped = [f"{len(broken)} broken files skipped"] if broken else []
    notes = [*skipped, *broken, *left_out, *select.notices(kept)]
    shown = {cell for row in rows for cell in row.cells}
    behind = [record for record in kept if record.cell in shown]
    made = origin.of(behind)
    files = {
        "leaderboard.md": tables.to_markdown(rows).encode(),
        "leaderboard.csv": tables.to_csv(rows).encode(),
        "leaderboard.json": tables.to_json(rows).encode(),
    }
    drawn = [] if tables_only else figures.of_report(behind, rows)
    if not tables_only:
        files["leaderboard.html"] = page.render(behind, rows, drawn, notes, made).encode()
    outputs.write(folder, files | outputs.of_figures(drawn))
    Console().print(tables.to_console(rows))
    if readme is not None:
        _fill(readme, tables.to_console(rows), [folder / f"figures/{d.name}.png" for d in drawn], made)
    click.echo(f"{made}\nwrote {', '.join(files)}{f' and {len(drawn)} figures' if drawn else ''} to {folder}")
    for line in notes:
        click.echo(f"note: {line}", err=True)


def _fill(readme: Path, table: Group, pictures: Sequence[Path], made: str) -> None:
    """Put the table as plain text, and the curves, into the marked block of a Markdown file."""
    from rich.console import Console

    console = Console(width=80, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(table)
    curves = [path for path in pictures if path.name.startswith("curves-")]
    marked.fill(readme, marked.block(captured.get(), curves, made, beside=readme))


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
