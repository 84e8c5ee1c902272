"""`suite check`: the regression gate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from suite.commands.options import switch
from suite.errors import UserError
from suite.store import disk
from suite.store.records import results_folder

if TYPE_CHECKING:
    from reports.gate.verdict import Verdict


@click.command()
@click.option("--results", type=click.Path(path_type=Path), help="Folder of records; else $SUITE_RESULTS, ./results.")
@click.option("--reference", required=True, type=click.Path(path_type=Path), help="Folder with plan.yaml.")
@click.option("--mode", type=click.Choice(("pr", "nightly")), default="pr", show_default=True, help="Seeds and cells.")
@switch("--run", help="First run the gated cells that the results folder lacks.")
@switch("--update", help="Write the reference from the results instead of judging them.")
@switch("--no-equality", help="Test every quantity, whether or not seeded results are equal.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files; else RESULTS/check.")
@click.pass_context
def check(
    ctx: click.Context,
    results: Path | None,
    reference: Path,
    mode: str,
    run: bool,
    update: bool,
    no_equality: bool,
    out: Path | None,
) -> None:
    """Judge records by a committed reference: exit code 1 where they are worse or an invariant is broken.

    Writes check.{md,json,png} and junit.xml; the Markdown also goes to $GITHUB_STEP_SUMMARY where that is set. With
    --update all cells and seeds of the plan become the new reference.
    """
    from reports.gate import plan as gate_plan
    from reports.gate import verdict as gate

    folder = results_folder(results)
    plan = gate_plan.read(reference)
    if run:
        gate.run_missing(plan, "reference" if update else mode, folder, lambda line: click.echo(line, err=True))
    if update:
        runs = gate.update(reference, folder)
        click.echo(f"wrote the reference of {len(plan.cells)} cells, {runs} runs, to {reference}")
        return
    verdict = gate.check(reference, folder, mode, equality=not no_equality)
    _publish(verdict, out or folder / "check")
    if verdict.red:
        ctx.exit(1)


def _publish(verdict: Verdict, folder: Path) -> None:
    from rich.console import Console

    from reports.figures import style
    from reports.gate import output as gate_output

    markdown = gate_output.to_markdown(verdict)
    files = {
        "check.md": markdown.encode(),
        "check.json": gate_output.to_json(verdict).encode(),
        "junit.xml": gate_output.to_junit(verdict).encode(),
        "check.png": style.encode(gate_output.to_figure(verdict), "png"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            disk.write(folder / name, content)
        if os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a") as file:
                file.write(markdown)
    except OSError as error:
        raise UserError(f"--out {folder}: {error.strerror or error}; choose a folder that can be written to") from error
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 80
    console.print(gate_output.to_console(verdict))
    for line in (*gate_output.to_broken(verdict), *gate_output.to_lines(verdict)):
        click.echo(line, err=True)
    click.echo(gate_output.power_line(verdict))
    click.echo(gate_output.time_line(verdict))
    click.echo(gate_output.counts(verdict))
    click.echo(gate_output.summary(verdict))
