"""`suite trial`: one configuration of a sweep, the command that W&B's agents start."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from suite.errors import UserError, printable
from suite.store import json_file
from suite.store.records import FinishedRecord, canonical, results_folder
from suite.store.schema import StudyTrial
from suite.tracking.run import require_login, resolve

_EXAMPLE = 'an example is {"task": "addition-v1", "baseline": "banel"}'


@click.command("trial", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="JSON object of settings and fields, all in one."
)
@click.option("--results", type=click.Path(path_type=Path), help="Folder of records [$SUITE_RESULTS or results].")
@click.option(
    "--tracking",
    type=click.Choice(("offline", "online", "off")),
    default="offline",
    show_default=True,
    help="Weights & Biases; online under an agent.",
)
@click.pass_context
def command(ctx: click.Context, config_file: Path | None, results: Path | None, tracking: str) -> None:
    """Run all seeds of one configuration, and log what it is worth as one W&B run.

    Settings (task, baseline, seeds, budget …) and fields of the baseline's config stand side by side, as a sweep's
    parameters do: in --config, or as --key=value, which overrules it. A field of the task's is --task.field=value.
    """
    from suite.search import agents
    from suite.search.objective import Configuration, TrialFailed, values
    from suite.search.sweep import split, typed
    from suite.tracking import trial as trackers

    given = _flags(ctx.args)
    if config_file:
        given = json_file.read(config_file, flag="--config", advice=_EXAMPLE) | given
    trial = Configuration(*split(given))
    given = typed(given, trial.settings, trial.cell)
    trial.check()
    folder = results_folder(results)
    name = _run_id() or hashlib.sha256(canonical(given).encode()).hexdigest()[:12]
    sweep = os.environ.get("WANDB_SWEEP_ID")
    origin = StudyTrial(study=sweep, trial=name) if sweep else None
    cell = trial.cell
    require_login(tracking)  # else a sweep would wait for its objective in vain
    tracker = trackers.start(
        resolve(tracking),
        folder / "trials" / name,
        task=cell.task,
        baseline=cell.baseline,
        protocol=cell.protocol,
        config=given,
        group=sweep,
    )
    if sweep:
        agents.note(folder / "trials" / name, sweep, given)
    records = []
    try:
        for record in trial.cells(folder, origin):
            if isinstance(record, FinishedRecord):
                tracker.seed(record)
                records.append(record)
    except TrialFailed as error:
        tracker.conclude(records, {}, state="failed", error=str(error))
        click.echo(f"suite: {printable(str(error))}", err=True)
        ctx.exit(1)
    except BaseException as error:
        state: trackers.State = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        tracker.conclude(records, {}, state=state, error=str(error) or type(error).__name__)
        raise
    objectives = values(records, trial.settings, cell)
    tracker.conclude(records, objectives)
    click.echo(json.dumps(objectives))


def _run_id() -> str | None:
    """$WANDB_RUN_ID, which names a folder; UserError where it is no name."""
    given = os.environ.get("WANDB_RUN_ID")
    if given and not re.fullmatch(r"[\w-][\w.-]{0,127}", given):
        raise UserError(f"WANDB_RUN_ID={given!r} is no id of a run: give up to 128 letters, digits, - and _")
    return given


def _flags(args: Sequence[str]) -> dict[str, Any]:
    """`--key=value`, `--key value` and `--key` alone, which is True, as W&B's ${args_no_boolean_flags} writes it.

    Values stay text: the field that takes one knows what it means.
    """
    found: dict[str, Any] = {}
    rest = list(args)
    while rest:
        word = rest.pop(0)
        key, given, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not key:
            raise UserError(f"{word!r} is no option; write --key=value")
        if not given:
            text = rest.pop(0) if rest and not rest[0].startswith("--") else "True"
        found[key] = text
    return found
