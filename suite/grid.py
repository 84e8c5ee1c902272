"""The grid: every baseline on every task with every seed, only what is missing."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from suite import executor, registry
from suite.config import nearest, specs
from suite.errors import UserError
from suite.records import Record, results_folder

if TYPE_CHECKING:
    from suite.runner import Identity


class CellDone(NamedTuple):
    """One cell of a grid has its record; `fresh` where it was run now."""

    record: Record
    done: int
    total: int
    fresh: bool


class _Cell(NamedTuple):
    identity: Identity
    call: dict[str, Any]


_Call = tuple[str, dict[str, Any]]
"""A cell's name and the arguments of :func:`suite.run`, plain data that a worker can be sent."""


def bench(
    tasks: Sequence[str],
    baselines: Sequence[str],
    *,
    seeds: int | Sequence[int] = 5,
    budget: int = 7500,
    jobs: int = 1,
    results: Path | str | None = None,
    config: Mapping[str, object] | None = None,
    task_config: Mapping[str, object] | None = None,
    protocol: str = "failures-only",
    duplicates: str = "charge",
    heldout: str = "auto",
    points: str = "all",
    device: str = "cpu",
    threads: int = 1,
    tracking: str = "offline",
    force: bool = False,
    tuning: Mapping[str, object] | None = None,
    progress: Callable[[CellDone], None] | None = None,
) -> list[Record]:
    """Run the cells of the grid that have no finished record yet.

    The order is seed by seed, so that every method has as many seeds as any other while the grid fills.

    Args:
        tasks, baselines: ids, `module:Name` or `path/to/file.py:Name`.
        seeds: how many, from 0 on, or the seeds themselves.
        jobs: processes; with 1 the cells run in this one.
        config, task_config: fields that differ from their defaults; each goes to all that have it.
        progress: called with every cell that has its record, those of earlier calls first.
        others: as in :func:`suite.run`.

    Returns:
        One record per cell, seed by seed; where a worker died three times its status is `failed`.

    Raises:
        UserError: bad input, before any cell is run.
    """
    if jobs < 1:
        raise UserError(f"--jobs must be at least 1, got {jobs}")
    options = {
        "budget": budget,
        "protocol": protocol,
        "duplicates": duplicates,
        "heldout": heldout,
        "points": points,
        "device": device,
        "threads": threads,
    }
    extras = {"results": str(results_folder(results)), "tracking": tracking, "tuning": tuning}
    task_fields = shared_fields("task", tasks, task_config or {})
    fields = shared_fields("baseline", baselines, config or {})
    calls = [
        {
            "task": task,
            "baseline": baseline,
            "seed": seed,
            "task_config": task_fields[task],
            "config": fields[baseline],
        }
        for seed in seed_list(seeds)
        for task in tasks
        for baseline in baselines
    ]
    cells = _identified(calls, options)
    found: dict[str, Record] = {}

    def report(name: str, record: Record, fresh: bool) -> None:
        found[name] = record
        if progress is not None:
            progress(CellDone(record, len(found), len(cells), fresh))

    if force:  # here and once: a worker that is tried again must find its ledger
        from suite.runner import set_aside

        for cell in cells.values():
            set_aside(cell.identity, results)
    missing: list[_Call] = []
    for name, cell in cells.items():
        earlier = cell.identity.finished(results)
        if earlier is None:
            missing.append((name, cell.call | options | extras))
        else:
            report(name, earlier, False)
    with contextlib.closing(_outcomes(missing, jobs, threads)) as outcomes:
        for name, outcome in outcomes:
            if isinstance(outcome, BrokenExecutor):
                outcome = _failed(cells[name].identity, results, outcome)
            report(name, outcome, True)
    return [found[name] for name in cells]


def seed_list(seeds: int | Sequence[int]) -> list[int]:
    """`5` as 0..4, a sequence without its repetitions; UserError where it is empty or one is negative."""
    listed = list(range(seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    if not listed or min(listed) < 0:
        raise UserError(f"--seeds {seeds}: give a number of seeds from 1 on, or seeds from 0 on, `0,3,7`")
    return listed


def shared_fields(
    kind: registry.Kind, refs: Sequence[str], values: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    """The values that each reference's config has a field for; UserError for one that none of them has."""
    if not refs:
        raise UserError(f"no {kind} given; `suite list` shows all")
    names = {ref: [spec.name for spec in specs(registry.load(kind, ref).config_class)] for ref in refs}
    for field in values:
        if not any(field in own for own in names.values()):
            known = list(dict.fromkeys(name for own in names.values() for name in own))
            raise UserError(f"no field {field!r} in the config of {', '.join(refs)}{nearest(field, known)}")
    return {ref: {field: values[field] for field in values if field in names[ref]} for ref in refs}


def _identified(calls: Sequence[dict[str, Any]], options: Mapping[str, Any]) -> dict[str, _Cell]:
    """The cells of the grid by name, in its order; a cell that is asked for twice stands once."""
    from suite.runner import identify  # imports torch

    cells: dict[str, _Cell] = {}
    for call in calls:
        identity = identify(**call, **options)
        cells.setdefault(identity.cell, _Cell(identity, call))
    return cells


def _outcomes(missing: Sequence[_Call], jobs: int, threads: int) -> Generator[tuple[str, Record | BrokenExecutor]]:
    """(cell, its record, or what broke) as cells finish."""
    if jobs == 1:
        for call in missing:
            yield call[0], _run(call)
        return
    pool = functools.partial(executor.WorkerPool, threads=threads)
    with contextlib.closing(executor.run_all(_run_in_worker, missing, jobs=jobs, pool=pool)) as outcomes:
        for (name, _), outcome in outcomes:
            yield name, outcome


def _run_in_worker(call: _Call) -> Record:
    with executor.interruptible():
        return _run(call)


def _run(call: _Call) -> Record:
    from suite.runner import run

    return run(**call[1])


def _failed(identity: Identity, results: Path | str | None, error: BrokenExecutor) -> Record:
    from suite.runner import fail

    return fail(identity, results, f"the process of this cell died {1 + executor.RETRIES} times ({error})")
