"""`suite report`: the leaderboard on the terminal and in files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reports.tables.text import plain
from reports.write import readme as marked
from suite import registry
from suite.commands.options import switch
from suite.config import nearest
from suite.errors import UserError
from suite.store.records import results_folder

if TYPE_CHECKING:
    from rich.console import Group

    from reports.board.row import Row
    from suite.store.records import Record

KINDS: dict[str, Callable[[Record], Sequence[str]]] = {
    "task": lambda record: (record.task,),
    "tag": lambda record: registry.tags(record.task),
    "protocol": lambda record: (record.identity.protocol,),
    "budget": lambda record: (str(record.identity.budget),),
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
@click.option("--from", "source", metavar="wandb:ENTITY/PROJECT", help="Read the records of a W&B project.")
@click.option("--to", "target", metavar="wandb[:ENTITY/PROJECT]", help="Mirror tables and figures to a W&B run.")
@click.option("--readme", type=click.Path(path_type=Path), help="Put table and curves between the marks of this file.")
@switch("--tables-only", help="Write no figures and no page, which take most of the time.")
def report(
    results: Sequence[Path],
    out: Path | None,
    baselines: Sequence[str],
    source: str | None,
    target: str | None,
    readme: Path | None,
    tables_only: bool,
    **filters: Sequence[str],
) -> None:
    """Print the leaderboard of results folders; write its tables, figures, and leaderboard.html, a page to open.

    leaderboard.{md,csv,json,tex} hold the tables, significance.{md,csv} the tests between rows,
    overall.{md,csv} what several tasks say together, figures/ every figure as SVG, PDF and PNG.

    A method is held against the best control of all that ran, shown or not.
    """
    from rich.console import Console

    from reports import figures, page
    from reports.board import leaderboard
    from reports.read import origin, select, wandb_source
    from reports.tables import terminal
    from reports.write import outputs, wandb_target

    if readme is not None:
        marked.read(readme)
    mirror = None if target is None else wandb_target.open_target(target)
    fetched: list[str] = []
    if source is not None:
        folder_of_source, fetched = wandb_source.fetch(source)
        results = [*results, folder_of_source]
    records, broken = select.read(*results)
    for kind, of in KINDS.items():
        records = _only(records, kind, filters[f"{kind}s"], of)
    _only(records, "baseline", baselines, lambda record: (record.baseline,))
    kept, left_out = select.current(records)
    select.check_some_finished(kept)
    rows = leaderboard.rows(kept)
    if baselines:
        rows = [row for row in rows if row.baseline in _names(baselines)]
    folder = out or results_folder(results[0] if results else None) / "report"
    skipped = [f"{len(broken)} broken files skipped"] if broken else []
    shown = {cell for row in rows for cell in row.cells}
    behind = [record for record in kept if record.cell in shown]
    made = origin.of(behind)
    files = _tables(rows)
    drawn, undrawn = ([], []) if tables_only else figures.of_report(behind, rows)
    notes = [*fetched, *skipped, *broken, *left_out, *select.notices(kept), *undrawn]
    if not tables_only:
        files["leaderboard.html"] = page.render(behind, rows, drawn, notes, made).encode()
    written = files | outputs.of_figures(drawn)
    outputs.write(folder, written)
    Console().print(terminal.to_console(rows))
    if readme is not None:
        _fill(readme, terminal.to_console(rows), [folder / f"figures/{item.name}.png" for item in drawn], made)
    click.echo(f"{made}\nwrote {', '.join(files)}{f' and {len(drawn)} figures' if drawn else ''} to {folder}")
    if mirror is not None:
        click.echo(mirror.send(folder, written, rows, drawn, made))
    for line in notes:
        click.echo(f"note: {plain(line)}", err=True)


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
    from reports.board import overall, significance
    from reports.tables import render as tables

    pairs, together = significance.tests(rows), overall.overall(rows)
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
