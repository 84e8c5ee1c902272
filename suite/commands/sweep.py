"""`suite sweep`."""

from __future__ import annotations

from pathlib import Path

import click

from suite.commands import progress
from suite.commands.options import switch, tracking_option
from suite.store.records import results_folder


@click.command("sweep")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--trials", type=int, default=24, show_default=True, help="Trials of the study, earlier ones included.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes, one torch thread each.")
@click.option("--storage", help="SQLAlchemy URL of the study [sqlite:///RESULTS/studies.sqlite].")
@click.option("--study", "name", help="Name of the study [from the file's content].")
@click.option("--results", type=click.Path(path_type=Path), help="Folder of records [$SUITE_RESULTS or results].")
@click.option("--heartbeat", type=int, default=30, show_default=True, help="Seconds between a trial's signs of life.")
@tracking_option
@switch("--quiet", help="Print nothing but errors.")
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    trials: int,
    jobs: int,
    storage: str | None,
    name: str | None,
    results: Path | None,
    heartbeat: int,
    tracking: str,
    quiet: bool,
) -> None:
    """Search for a configuration with Optuna, as the sweep file FILE says.

    The first trial is the shipped defaults. The seeds of a trial run in turn, and a trial whose seeds are worse than
    those of the best is pruned. The same command again goes on; so do other machines with the same --storage.
    """
    from suite.search import read, study, tune

    sweep = read(file)
    for line in sweep.unused:
        click.echo(f"{file}: {line}", err=True)
    with progress.of_sweep(quiet) as show:
        found = tune(
            sweep,
            trials=trials,
            jobs=jobs,
            url=storage,
            results=results_folder(results),
            name=name,
            heartbeat=heartbeat,
            progress=show,
            tracking=tracking,
        )
    if study.leading(found) is None:
        click.echo(f"no trial of {found.study_name} has completed; see the errors above", err=True)
        ctx.exit(1)
