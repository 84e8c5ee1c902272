"""`suite bench`."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import click

from suite.cells.grid import cells_of, group_of, run_grid
from suite.commands import progress
from suite.commands.options import CellCommand, cell_options, fields_of, settings_of, split
from suite.errors import UserError
from suite.store.records import results_folder
from suite.tracking.run import require_login, resolve, warn


@click.command("bench", cls=CellCommand, task_flag="--tasks", baseline_flag="--baselines", without=["seed"])
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
    results: Path | None,
    tracking: str,
    config_file: Path | None,
    force: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Run a grid of tasks, baselines and seeds; only what is missing.

    Every field of a baseline's config is an option, `--field=value`, and goes to each baseline that has it;
    `--task.field=value` likewise. All methods run with one seed before the next seed.
    """
    require_login(tracking)
    settings = settings_of(given)
    fields = fields_of(config_file, given)
    specs = cells_of(
        split(tasks),
        split(baselines),
        parse_seeds(seeds),
        config=fields.config,
        task_config=fields.task_config,
        **settings,
    )
    local = (executor or "").removeprefix("local:")
    workers = int(local) if local.isdecimal() else jobs
    with progress.of_grid(quiet, specs, results, workers) as show:
        records = run_grid(
            specs,
            jobs=jobs,
            executor=executor,
            results=results,
            tracking=tracking,
            force=force,
            tuning=fields.tuning,
            progress=show,
        )
    if resolve(tracking) == "online":
        _mirror(ctx, results_folder(results), tasks, baselines, group_of(record.cell for record in records), quiet)
    failed = [record for record in records if record.status != "finished"]
    for record in failed if quiet else ():
        click.echo(progress.line(record), err=True)
    if failed:
        ctx.exit(1)


def _mirror(ctx: click.Context, results: Path, tasks: str, baselines: str, group: str, quiet: bool) -> None:
    """What `suite report --to wandb` says of the grid, as a run of its group; a failure of it does not end the grid."""
    assert ctx.parent is not None
    assert isinstance(ctx.parent.command, click.Group)
    report = ctx.parent.command.get_command(ctx.parent, "report")  # by name: the engine imports no report
    assert report is not None
    earlier = os.environ.get("WANDB_RUN_GROUP")
    os.environ["WANDB_RUN_GROUP"] = group
    try:
        with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
            ctx.invoke(
                report,
                results=(results,),
                out=results / "report" / group,
                tasks=(tasks,),
                baselines=(baselines,),
                target="wandb",
            )
    except UserError as error:
        warn(f"the leaderboard of this grid is not on W&B: {error}")
    finally:
        del os.environ["WANDB_RUN_GROUP"]
        if earlier is not None:
            os.environ["WANDB_RUN_GROUP"] = earlier


def parse_seeds(text: str) -> int | list[int]:
    """`5` as a number of seeds, `0,3,7` or `3,` as the seeds themselves."""
    try:
        return [int(part) for part in split(text)] if "," in text else int(text)
    except ValueError:
        raise UserError(f"--seeds {text}: give a number of seeds, 5, or the seeds by commas, 0,3,7") from None
