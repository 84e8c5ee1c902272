"""`suite sync`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from suite.commands.options import switch
from suite.store.records import results_folder


@click.command("sync")
@click.option("--results", type=click.Path(path_type=Path), help="Folder of records [$SUITE_RESULTS or results].")
@switch("--quiet", help="Print nothing but errors.")
@click.pass_context
def command(ctx: click.Context, results: Path | None, quiet: bool) -> None:
    """Upload to Weights & Biases what was tracked offline.

    Every run below the results folder is named with what became of it: uploaded, already there, cut off, or failed and
    why. The same command again tries the failed ones again. A trial of `suite sweep` that was cut off is not uploaded:
    the same `suite sweep` repeats it and writes its run whole.
    """
    from suite.tracking.sync import sync

    folder = results_folder(results)
    counts: Counter[str] = Counter()
    for done in sync(folder):
        counts[done.outcome] += 1
        failed = done.outcome == "failed"
        if failed or not quiet:
            line = f"{done.run.parent.relative_to(folder)}: {done.outcome}" + (f", {done.reason}" if failed else "")
            click.echo(line, err=failed)
    if not quiet:
        outcomes = ["uploaded", "already", *(["cut off"] if counts["cut off"] else []), "failed"]
        click.echo(", ".join(f"{counts[outcome]} {outcome}" for outcome in outcomes) if counts else "no offline runs")
    if counts["failed"]:
        ctx.exit(1)
