"""`suite sweep-best`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from suite.errors import UserError
from suite.store.records import results_folder


@click.command("sweep-best")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--storage", help="SQLAlchemy URL of the study [sqlite:///RESULTS/studies.sqlite].")
@click.option("--study", "name", help="Name of the study [from the file's content].")
@click.option("--wandb-sweep", help="ID of a sweep that W&B's agents ran: its records are read, and no study.")
@click.option("--results", type=click.Path(path_type=Path), help="Folder of records [$SUITE_RESULTS or results].")
def command(file: Path, storage: str | None, name: str | None, wandb_sweep: str | None, results: Path | None) -> None:
    """Write the winning configuration of a sweep, and what it cost, as JSON for `run --config` and `bench --config`.

    Every evaluation of every trial is counted, pruned, failed and killed ones too.
    """
    from suite.search import best, best_of_agents, read, study

    sweep = read(file)
    folder = results_folder(results)
    if wandb_sweep:
        if storage or name:
            raise UserError("--wandb-sweep reads records, and no study: leave out --storage and --study")
        found = best_of_agents(sweep, wandb_sweep.rpartition("/")[2], folder)
    else:
        url = storage or study.default_url(folder)
        found = best(sweep, study.load_study(sweep, study.connect(url, create=False), name), folder)
    if cut_off := found["tuning"]["cut_off"]:
        click.echo(
            f"{file}: cells that were cut off before their record: {cut_off}; of their held-out evaluations only those"
            " of the prior are counted, so `heldout` is a lower bound",
            err=True,
        )
    click.echo(json.dumps(found, indent=1))
