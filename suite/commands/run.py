"""`suite run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from suite.commands import progress
from suite.commands.options import CellCommand, cell_options, settings
from suite.tracking.run import require_login


@click.command("run", cls=CellCommand, task_flag="--task", baseline_flag="--baseline")
@click.option("--task", required=True, help="Id, module:Name or path/to/file.py:Name.")
@click.option("--baseline", required=True, help="Id, module:name or path/to/file.py:name.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Master seed.")
@cell_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    task: str,
    baseline: str,
    seed: int,
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
    """Run one baseline on one task with one seed.

    Every field of the baseline's config is an option, `--field=value`, every field of the task's is
    `--task.field=value`; name a task and a baseline before --help to see them. A run that was interrupted goes on
    where it was; one that has a record is not run again.
    """
    from suite.cells.runner import run

    require_login(tracking)
    chosen = settings(config_file, fields)
    with progress.of_run(budget, quiet) as show:
        record = run(
            task,
            baseline,
            seed=seed,
            budget=budget,
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
    if not quiet:
        click.echo(f"{progress.line(record)}\n{record.folder / 'record.json'}")
    if record.status != "finished":
        if quiet:
            click.echo(progress.line(record), err=True)
        ctx.exit(1)
