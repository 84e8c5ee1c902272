"""`suite reproduce`: the paper's table and figures with its numbers beside ours, running what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from suite import registry
from suite.cells.grid import run_grid, seed_list
from suite.cells.spec import CellSpec
from suite.commands import progress
from suite.commands.bench import parse_seeds
from suite.commands.options import switch
from suite.errors import UserError
from suite.store.records import Record, results_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTROLS = ("uniform", "temperature", "tail", "blind")
SECONDS = {
    "addition-v1": {"banel": 63, "pseudo-count": 73, "rnd": 49, "blind": 87, "tail": 27, "pretrained": 5, "uniform": 4},
    "addition-nozeros-v1": {"banel": 63, "tail": 27, "blind": 87, "pretrained": 5, "uniform": 4},
    "addition6-nozeros-v1": {"banel": 430, "tail": 110, "uniform": 50, "temperature": 66},
    "word-problems-v1": {"banel": 1500, "rnd": 750, "pretrained": 15, "uniform": 75, "temperature": 57},
}
"""About how long a cell takes on one core where no record says, taken on a busy machine on 2026-11-24 and 25."""
UNKNOWN = 60.0


def _cells(task: str, baselines: Sequence[str], **settings: Any) -> list[CellSpec]:
    return [CellSpec(task, baseline, **settings) for baseline in baselines]


PLANS: dict[str, list[CellSpec]] = {
    "attack-table": _cells("addition-v1", ("banel", "pseudo-count", "rnd", "pretrained", *CONTROLS)),
    "compute-scaling": [
        *(
            CellSpec("addition-nozeros-v1", "banel", config={"epochs": epochs})
            for epochs in (1, 2, 3, 5, 10, 20, 50, 100)
        ),
        *_cells("addition-nozeros-v1", CONTROLS),
        *(
            CellSpec("addition6-nozeros-v1", "banel", config={"epochs": epochs}, heldout="50000", points="final")
            for epochs in (1, 3, 10, 30, 100)
        ),
        *_cells("addition6-nozeros-v1", CONTROLS, heldout="50000", points="final"),
    ],
    "reasoning-curves": [
        cell
        for question in range(6)
        for cell in _cells(
            "word-problems-v1", ("banel", "rnd", "pretrained", *CONTROLS), task_config={"question": question}
        )
    ],
    "illustration": [],
}
"""The runs that each part needs, each with every seed; the illustration is run anew, in a second."""


@click.command("reproduce")
@click.argument("part", type=click.Choice([*PLANS, "all"]))
@click.option("--seeds", default="5", show_default=True, help="How many, from 0 on; or the seeds by commas: 0,3,7.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--results", type=click.Path(path_type=Path), help="Folder of records [$SUITE_RESULTS or results].")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files; else RESULTS/reproduce.")
@switch("--dry-run", help="Say what would be run and stop.")
@switch("--recorded", help="Run nothing; show what is recorded.")
@click.pass_context
def command(
    ctx: click.Context,
    part: str,
    seeds: str,
    jobs: int,
    results: Path | None,
    out: Path | None,
    dry_run: bool,
    recorded: bool,
) -> None:
    """Make the paper's table and figures with its numbers beside ours.

    What has a record is taken from it; what has none is run first, after saying what and for about how long.
    `all` makes what can be made here and names the rest, a network that is not trained, say, at its end.
    """
    parts = [*PLANS] if part == "all" else [part]
    chosen = seed_list(parse_seeds(seeds))
    left_out = {name: why for name in parts if (why := _hindrance(name))}
    if part in left_out:
        raise UserError(f"reproduce {part}: {left_out[part]}")
    parts = [name for name in parts if name not in left_out]
    cells = _seeded([cell for name in parts for cell in PLANS[name]], chosen)
    missing = _missing(cells, results)
    if cells:
        click.echo(_announcement(missing, jobs, recorded))
    elif dry_run:
        click.echo(
            f"no run of it is recorded or needed: {', '.join(parts)} is made anew" if parts else "nothing to run"
        )
    failed: list[Record] = []
    if not dry_run:
        failed = _run(cells, jobs, results) if missing and not recorded else []
        left_out |= _make(parts, chosen, results, out or results_folder(results) / "reproduce")
        if part in left_out and recorded:
            raise UserError(f"reproduce {part}: {left_out[part]}; leave --recorded away to run it")
    for name, why in left_out.items():
        click.echo(f"left out: {name}: {why}", err=True)
    if failed:
        click.echo(f"{len(failed)} runs failed; the same command runs them again", err=True)
        ctx.exit(1)


def _hindrance(part: str) -> str:
    """Why a part cannot be run here: a task that is not registered, a network not trained, a download missing."""
    from suite.cells.identity import identify

    for cell in PLANS[part]:
        if cell.task not in registry.ids("task"):
            return f"it needs the task {cell.task}, which is not registered here"
        try:
            identify(cell)
        except UserError as error:
            return f"it needs {cell.task}: {error}"
    return ""


def _run(cells: Sequence[CellSpec], jobs: int, results: Path | None) -> list[Record]:
    """Run the cells that have no record; those that failed."""
    with progress.of_grid(False, cells, results, jobs) as show:
        made = run_grid(cells, jobs=jobs, results=results, tracking="off", progress=show)
    return [record for record in made if record.status != "finished"]


def _make(parts: Sequence[str], seeds: Sequence[int], results: Path | None, folder: Path) -> dict[str, str]:
    """Write each part from its finished records; {part: why} of those without any."""
    from reports.write import outputs

    without = {}
    for name in parts:
        found = _recorded(_seeded(PLANS[name], seeds), results)
        if PLANS[name] and not found:
            without[name] = "no finished run of it is recorded"
            continue
        text, figure = MAKERS[name](found, seeds)
        outputs.write(folder, _files(name, text, figure))
        click.echo(f"\n{text}\nwrote {name} to {folder}")
    return without


def _seeded(cells: Sequence[CellSpec], seeds: Sequence[int]) -> list[CellSpec]:
    """Every cell with every seed, seed by seed."""
    return [dataclasses.replace(cell, seed=seed) for seed in seeds for cell in cells]


def _recorded(cells: Sequence[CellSpec], results: Path | None) -> list[Record]:
    """The finished records of the cells; what else the folder holds does not count."""
    from suite.cells.identity import identify

    found = [identify(cell).finished(results) for cell in cells]
    return [record for record in found if record is not None]


def _missing(cells: Sequence[CellSpec], results: Path | None) -> dict[tuple[str, str], list[float]]:
    """{(task, baseline): seconds that each missing cell is likely to take}."""
    from suite.cells.identity import identify

    missing: dict[tuple[str, str], int] = {}
    taken: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        key = cell.task, cell.baseline
        record = identify(cell).finished(results)
        if record is None:
            missing[key] = missing.get(key, 0) + 1
        elif record.meta.seconds is not None and record.meta.seconds.total is not None:
            taken.setdefault(key, []).append(record.meta.seconds.total)
    return {key: [_likely(key, taken.get(key, []))] * n for key, n in missing.items()}


def _likely(key: tuple[str, str], taken: Sequence[float]) -> float:
    task, baseline = key
    return sum(taken) / len(taken) if taken else SECONDS.get(task, {}).get(baseline, UNKNOWN)


def _announcement(missing: Mapping[tuple[str, str], Sequence[float]], jobs: int, recorded: bool) -> str:
    if not missing:
        return "everything is recorded, nothing to run"
    lines = [f"{len(seconds)} runs of {baseline} on {task}" for (task, baseline), seconds in missing.items()]
    minutes = sum(map(sum, missing.values())) / jobs / 60
    if recorded:
        return "not recorded and left out: " + ", ".join(lines)
    return f"to run: {', '.join(lines)}; about {max(1, round(minutes))} min with --jobs {jobs}"


def _files(name: str, text: str, figure: Figure | None) -> dict[str, bytes]:
    from reports.figures import style

    pictures = {} if figure is None else {f"{name}.{kind}": style.encode(figure, kind) for kind in style.KINDS}
    return {f"{name}.md": text.encode(), **pictures}


def _attack_table(records: Sequence[Record], seeds: Sequence[int]) -> tuple[str, Figure | None]:
    from reports.board import leaderboard
    from reports.figures import bars
    from reports.paper import table as paper
    from reports.read import origin

    rows = leaderboard.rows(records)
    text = f"# The attack on a toy language model\n\n{paper.attack_table(rows)}\n\n{paper.limits('attack-table')}\n"
    return f"{text}\n{origin.describe(records)}\n", bars.figure(rows)


def _compute_scaling(records: Sequence[Record], seeds: Sequence[int]) -> tuple[str, Figure | None]:
    from reports.figures import scaling
    from reports.paper import table as paper
    from reports.read import origin

    parts = ["# Compute scaling"]
    by_epochs = scaling.by_epochs(records)
    for setting, first in scaling.settings(records).items():
        gains = next((gains for (_, _, place), gains in by_epochs.items() if place == setting), {})
        parts += [f"## {first.task}", paper.compute_scaling(gains)]
        if held := scaling.controls(records, first):
            parts.append(paper.controls(held))
    text = "\n\n".join([*parts, paper.limits("compute-scaling")]) + "\n"
    return f"{text}\n{origin.describe(records)}\n", scaling.figure(records, paper.improvement_by_epochs())


def _reasoning_curves(records: Sequence[Record], seeds: Sequence[int]) -> tuple[str, Figure | None]:
    from reports.board import leaderboard
    from reports.figures import questions
    from reports.paper import table as paper
    from reports.read import origin

    rows = leaderboard.rows(records)
    parts = [paper.reasoning(rows), questions.CAPTION, paper.limits("reasoning-curves"), origin.describe(records)]
    text = "\n\n".join(["# Reasoning curves", *parts]) + "\n"
    return text, questions.figure(records, rows, paper.REASONING_METHODS)


def _illustration(records: Sequence[Record], seeds: Sequence[int]) -> tuple[str, Figure | None]:
    from reports.figures import illustration
    from reports.tables.render import pipe_table
    from reports.tables.text import number

    steps = illustration.watch(seeds[0])
    body = [[str(k + 1), str(sum(step.sampled)), number(step.success_rate)] for k, step in enumerate(steps.rounds)]
    table = pipe_table(["round", "evaluated", "success rate after it"], body)
    head = f"base rate {number(steps.base_rate)}, seed {seeds[0]}"
    return f"# The 1-D illustration\n\n{head}\n\n{table}\n\n{illustration.CAPTION}\n", illustration.figure(steps)


MAKERS = {
    "attack-table": _attack_table,
    "compute-scaling": _compute_scaling,
    "reasoning-curves": _reasoning_curves,
    "illustration": _illustration,
}
