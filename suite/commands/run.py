"""`suite run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from suite.cells.spec import CellSpec
from suite.commands import progress
from suite.commands.options import CellCommand, cell_options, fields_of, settings_of
from suite.tracking.run import require_login


@click.command("run", cls=CellCommand, task_flag="--task", baseline_flag="--baseline")
@click.option("--task", required=True, help="Id, module:Name or path/to/file.py:Name.")
@click.option("--baseline", required=True, help="Id, module:name or path/to/file.py:name.")
@click.option(
    "--from",
    "continued",
    metavar="CELL",
    help="Go on where this finished cell of a smaller budget ended; the same settings else.",
)
@cell_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    task: str,
    baseline: str,
    results: Path | None,
    tracking: str,
    config_file: Path | None,
    force: bool,
    quiet: bool,
    continued: str | None,
    **given: Any,
) -> None:
    """Run one baseline on one task with one seed.

    Every field of the baseline's config is an option, `--field=value`, every field of the task's is
    `--task.field=value`; name a task and a baseline before --help to see them. A run that was interrupted resumes from
    its last checkpoint and its ledger; one that has a record is not run again.
    """
    from suite.cells.identity import identify, warn_of_earlier_engines, warn_of_few_samples
    from suite.cells.runner import run_cell

    require_login(tracking)
    settings = settings_of(given)
    fields = fields_of(config_file, given)
    spec = CellSpec(task, baseline, config=fields.config, task_config=fields.task_config, **settings)
    identity = identify(spec)
    warn_of_earlier_engines([identity], results)
    there = not force and identity.is_finished(results)
    if not there:
        warn_of_few_samples([identity])
    with progress.of_run(spec.budget, quiet) as show:
        record = run_cell(
            spec,
            results=results,
            tracking=tracking,
            force=force,
            tuning=fields.tuning,
            progress=show,
            continued=continued,
        )
    if not quiet:
        before = " (recorded before; --force runs it again)" if there else ""
        click.echo(f"{progress.line(record)}{before}\n{record.folder / 'record.json'}")
    if record.status != "finished":
        if quiet:
            click.echo(progress.line(record), err=True)
        ctx.exit(1)
