"""`suite bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from suite.cells.grid import bench
from suite.commands import progress
from suite.commands.options import CellCommand, cell_options, settings, split
from suite.errors import UserError
from suite.tracking.run import require_login


@click.command("bench", cls=CellCommand, task_flag="--tasks", baseline_flag="--baselines")
@click.option("--tasks", required=True, help="Ids (or references) by commas.")
@click.option("--baselines", required=True, help="Ids (or references) by commas.")
@click.option("--seeds", default="5", show_default=True, help="How many, from 0 on; or the seeds by commas: 0,3,7.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes, as local:J below.")
@click.option(
    "--executor", metavar="local:J|dask://HOST:PORT", help="Processes here, or the workers of a Dask scheduler."
)
@cell_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    tasks: str,
    baselines: str,
    seeds: str,
    jobs: int,
    executor: str | None,
    budget: int,
    results: Path | None,
    protocol: str,
    duplicates: str,
    heldout: str,
    points: str,
    device: str,
    threads: int,
    tracking: str,
    config_file: Path | None,
    force: bool,
    quiet: bool,
    **fields: Any,
) -> None:
    """Run a grid of tasks, baselines and seeds; only what is missing.

    Every field of a baseline's config is an option, `--field=value`, and goes to each baseline that has it;
    `--task.field=value` likewise. All methods run with one seed before the next seed.
    """
    require_login(tracking)
    chosen = settings(config_file, fields)
    with progress.of_grid(quiet) as show:
        records = bench(
            split(tasks),
            split(baselines),
            seeds=parse_seeds(seeds),
            budget=budget,
            jobs=jobs,
            executor=executor,
            results=results,
            config=chosen.config,
            task_config=chosen.task_config,
            protocol=protocol,
            duplicates=duplicates,
            heldout=heldout,
            points=points,
            device=device,
            threads=threads,
            tracking=tracking,
            force=force,
            tuning=chosen.tuning,
            progress=show,
        )
    failed = [record for record in records if record.status != "finished"]
    for record in failed if quiet else ():
        click.echo(progress.line(record), err=True)
    if failed:
        ctx.exit(1)


def parse_seeds(text: str) -> int | list[int]:
    """`5` as a number of seeds, `0,3,7` or `3,` as the seeds themselves."""
    try:
        return [int(part) for part in split(text)] if "," in text else int(text)
    except ValueError:
        raise UserError(f"--seeds {text}: give a number of seeds, 5, or the seeds by commas, 0,3,7") from None
