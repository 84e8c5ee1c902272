"""`suite sweep-best`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from suite.records import results_folder


@click.command("sweep-best")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--storage", help="SQLAlchemy URL of the study [sqlite:///RESULTS/studies.sqlite].")
@click.option("--study", "name", help="Name of the study [from the file's content].")
@click.option("--results", type=click.Path(path_type=Path), help="Folder of records [$SUITE_RESULTS or results].")
def command(file: Path, storage: str | None, name: str | None, results: Path | None) -> None:
    """Write the winning configuration of a sweep, and what it cost, as JSON for `run --config` and `bench --config`.

    Every evaluation of every trial is counted, pruned and failed ones too.
    """
    from suite.search import best, read, study

    sweep = read(file)
    folder = results_folder(results)
    found = study.load_study(sweep, study.connect(storage or study.default_url(folder), create=False), name)
    click.echo(json.dumps(best(sweep, found, folder), indent=1))
