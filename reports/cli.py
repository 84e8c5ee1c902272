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
    from reports.report import Report
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
@switch("--shipped", help="Show the records that come with the suite too: tasks that take minutes a run.")
@switch("--tables-only", help="Write no figures and no page, which take most of the time.")
def report(
    results: Sequence[Path],
    out: Path | None,
    baselines: Sequence[str],
    source: str | None,
    target: str | None,
    readme: Path | None,
    shipped: bool,
    tables_only: bool,
    **filters: Sequence[str],
) -> None:
    """Print the leaderboard of results folders; write its tables, figures, and leaderboard.html, a page to open.

    leaderboard.{md,csv,json,tex} hold the tables, significance.{md,csv} the tests between rows,
    overall.{md,csv} what several tasks say together, figures/ every figure as SVG, PDF and PNG.

    A method is held against the best control of all that ran, shown or not.
    """
    from rich.console import Console

    from reports import page
    from reports import report as reporting
    from reports.read import select, wandb_source
    from reports.read import shipped as shipped_records
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
    records += shipped_records.read() if shipped else []
    for kind, of in KINDS.items():
        records = _only(records, kind, filters[f"{kind}s"], of)
    _only(records, "baseline", baselines, lambda record: (record.baseline,))
    skipped = [f"{len(broken)} broken files skipped"] if broken else []
    made = reporting.make(
        records, baselines=_names(baselines), notes=[*fetched, *skipped, *broken], draw=not tables_only
    )
    folder = out or results_folder(results[0] if results else None) / "report"
    files = outputs.of_tables(made.rows)
    if not tables_only:
        files["leaderboard.html"] = page.render(made).encode()
    written = files | outputs.of_figures(made.figures)
    outputs.write(folder, written)
    Console().print(terminal.to_console(made.rows))
    if readme is not None:
        _fill(readme, made, folder)
    pictures = f" and {len(made.figures)} figures" if made.figures else ""
    click.echo(f"{made.origin}\nwrote {', '.join(files)}{pictures} to {folder}")
    if mirror is not None:
        click.echo(mirror.send(made, folder, written))
    for line in made.notes:
        click.echo(f"note: {plain(line)}", err=True)


def _fill(readme: Path, report: Report, folder: Path) -> None:
    """Put the table as plain text, and the curves, into the marked block of a Markdown file."""
    from rich.console import Console

    from reports.tables import terminal

    console = Console(width=80, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(terminal.to_console(report.rows))
    curves = [folder / f"figures/{item.name}.png" for item in report.figures if item.name.startswith("curves-")]
    marked.fill(readme, marked.block(captured.get(), curves, report.origin, beside=readme))


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
