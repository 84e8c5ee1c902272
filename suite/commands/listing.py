"""`suite list`."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import click

from suite import registry
from suite.cells.spec import CellSpec
from suite.commands.options import describe, fields_of, split, switch
from suite.config import specs

WIDTH = 80
GUESSABLE = 100
"""Successes from which on a task is called guessable: so many are met without learning anything."""


@click.command("list")
@click.argument("refs", metavar="[REF]...", nargs=-1)
@switch("--json", "as_json", help="One JSON object instead of text.")
@click.option("--measure", metavar="TASKS", help="Measure base rate and tail enrichment of these, and keep them.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help='With --measure: {"task": {…}}, fields of the task; then only successes of its prior are drawn and kept.',
)
def command(refs: tuple[str, ...], as_json: bool, measure: str | None, config_file: Path | None) -> None:
    """Show all tasks and baselines, or those that are named: ids, or places in files of your own, my.py:Name.

    A task's numbers were measured before any method ran: its base success rate and how (exact, or monte-carlo with the
    interval in --json), how many samples are well formed, how much more often the least likely 1 % of the prior
    succeeds than all of it, how many successes 7,500 draws meet without learning anything, the prior's or uniform
    strings (from 100 on the task is guessable: *), and what must be installed. Of what is named the fields of its
    config are shown too.

    Where a task's successes are not enumerated, --measure also draws 400 of its prior's, from which the posterior
    match is estimated.
    """
    if measure is not None:
        fields = fields_of(config_file, {})
        for ref in split(measure):
            _measure(ref, fields.task_config)
        return
    tasks, baselines = _found([name for ref in refs for name in split(ref)])
    if as_json:
        click.echo(json.dumps({"tasks": tasks, "baselines": baselines}, indent=2, ensure_ascii=False))
        return
    if tasks:
        click.echo(f"{'task':<26}{'base rate':>10}  {'estimator':<12}{'space':>8}{'tail':>6}{'met':>6}  needs")
    for task in tasks:
        click.echo(_line(task).rstrip())
        click.echo(textwrap.fill(task["title"], WIDTH, initial_indent="  ", subsequent_indent="  "))
        if refs:
            _show_fields("task", task["id"], "--task.")
    if baselines:
        click.echo(
            f"{'' if refs else chr(10)}baseline  (* control: spends no reward evaluation)  [what others learn from]"
        )
    for baseline in baselines:
        name = baseline["id"] + (" *" if baseline["control"] else "")
        uses = "" if baseline["control"] or not baseline["uses"] else f" [{baseline['uses']}]"
        text = baseline["title"] + uses
        click.echo(textwrap.fill(text, WIDTH, initial_indent=f"{name:<16}", subsequent_indent=" " * 16))
        if refs:
            _show_fields("baseline", baseline["id"], "--")


def _found(refs: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(tasks, baselines) of these names, else all that are registered."""
    kinds = {ref: registry.kind_of(ref) for ref in refs}
    listed: dict[registry.Kind, list[str]] = {
        kind: [ref for ref in kinds if kinds[ref] == kind] if refs else registry.ids(kind) for kind in registry.KINDS
    }
    controls = registry.controls()
    tasks = [{"id": ref, "title": registry.title("task", ref)} | registry.facts_of_task(ref) for ref in listed["task"]]
    baselines = [
        {"id": ref, "title": registry.title("baseline", ref), "control": ref in controls, "uses": registry.uses_of(ref)}
        for ref in listed["baseline"]
    ]
    return tasks, baselines


def _show_fields(kind: registry.Kind, ref: str, flag: str) -> None:
    """The fields of a config, as options of `suite run`."""
    for spec in specs(registry.load(kind, ref).config_class):
        text = f"{flag}{spec.name}  {describe(spec)}"
        click.echo(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent=" " * 6))


def _line(task: dict[str, Any]) -> str:
    """A task's numbers in 80 columns; a dash where nothing is known."""
    extra = task.get("extra")
    needs = f"[{extra}]" if extra else ""
    rates = [rate for rate in (task.get("base_rate"), task.get("uniform_rate")) if rate is not None]
    met = CellSpec.budget * max(rates) if rates else None
    guessable = "*" if met is not None and met >= GUESSABLE else " "
    return (
        f"{task['id']:<26}{_number(task.get('base_rate'), '.2e'):>10}  {task.get('estimator') or '–':<12}"
        f"{_number(task.get('space'), '.1e'):>8}{_number(task.get('tail_enrichment'), '.3g'):>6}"
        f"{_number(met, '.0f' if met and met >= 10 else '.2g'):>6}{guessable} {needs}"
    )


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _measure(ref: str, task_config: dict[str, Any]) -> None:
    from suite import config
    from suite.cells import identity
    from suite.measure import facts, successes

    entry = registry.load("task", ref)
    configured = config.build(entry.config_class, task_config)
    task = identity.build_task(entry, configured)
    if not task_config:
        with identity.blamed_on(entry):
            measured = facts.measure(task)
        measured["config"] = config.to_dict(configured)
        if not registry.is_registered("task", ref):  # else a test holds the numbers against the task
            measured["source_sha256"] = registry.source_sha256(entry)
        path = facts.write(registry.facts_file(entry.source), entry.id, measured)
        click.echo(f"{_line({'id': ref} | measured).rstrip()}\n  -> {path}")
    with identity.blamed_on(entry):
        click.echo(f"  -> {successes.keep(entry, configured, task)}")
