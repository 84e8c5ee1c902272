"""The grid: every baseline on every task with every seed, only what is missing."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from suite import registry
from suite.cells import dispatch
from suite.cells.dispatch import Call, Outcomes
from suite.config import nearest, specs
from suite.errors import CellLocked, UserError
from suite.store.records import Record, results_folder

if TYPE_CHECKING:
    from suite.cells.identity import Identity


class CellDone(NamedTuple):
    """One cell of a grid has its record; `fresh` where it was run now."""

    record: Record
    done: int
    total: int
    fresh: bool


class _Cell(NamedTuple):
    identity: Identity
    what: dict[str, Any]
    """The arguments of :func:`suite.cells.identity.identify`."""


PAUSE = 30.0
"""Seconds after which a cell that another process runs is tried again, if no record of it appeared before."""


def bench(
    tasks: Sequence[str],
    baselines: Sequence[str],
    *,
    seeds: int | Sequence[int] = 5,
    budget: int = 7500,
    jobs: int = 1,
    executor: str | None = None,
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

    The order is seed by seed, so that every method has as many seeds as any other while the grid fills. Several
    processes may run the same grid into one folder: each leaves out what another is running, and waits for it last.

    Args:
        tasks, baselines: ids, `module:Name` or `path/to/file.py:Name`.
        seeds: how many, from 0 on, or the seeds themselves.
        jobs: processes; with 1 the cells run in this one.
        executor: `local:J`, the same as jobs=J, or `dask://HOST:PORT`, the workers of a Dask scheduler.
        config, task_config: fields that differ from their defaults; each goes to all that have it.
        tuning: as in :func:`suite.run`, of the baselines that have a field of `config`; the others owe it nothing.
        progress: called with every cell that has its record, those of earlier calls first.
        others: as in :func:`suite.run`.

    Returns:
        One record per cell, seed by seed; where its worker died again and again its status is `failed`.

    Raises:
        UserError: bad input, before any cell is run.
    """
    place = dispatch.parse(executor, jobs)
    folder = results_folder(results).absolute()  # a worker elsewhere stands in another directory
    tasks, baselines = [registry.absolute(ref) for ref in tasks], [registry.absolute(ref) for ref in baselines]
    task_fields = shared_fields("task", tasks, task_config or {})
    fields = shared_fields("baseline", baselines, config or {})
    options = {
        "budget": budget,
        "protocol": protocol,
        "duplicates": duplicates,
        "heldout": heldout,
        "points": points,
        "device": device,
        "threads": threads,
    }
    whats = [
        {"task": task, "baseline": baseline, "seed": seed, "task_config": task_fields[task], "config": fields[baseline]}
        for seed in seed_list(seeds)
        for task in tasks
        for baseline in baselines
    ]
    cells = _identified([what | options for what in whats])
    found: dict[str, Record] = {}

    def report(name: str, record: Record, fresh: bool) -> None:
        found[name] = record
        if progress is not None:
            progress(CellDone(record, len(found), len(cells), fresh))

    how = {"results": str(folder), "tracking": tracking}
    with dispatch.opened(place, next(iter(cells.values())).identity.content["device"], threads) as outcomes:
        if force:  # here and once: a worker that is tried again must find its ledger
            from suite.cells.folder import set_aside

            for cell in cells.values():
                set_aside(cell.identity, folder)
        missing: list[Call] = []
        for name, cell in cells.items():
            earlier = cell.identity.finished(folder)
            if earlier is None:
                tuned = tuning if cell.what["config"] else None
                missing.append(Call(name, cell.what, how | {"tuning": tuned}))
            else:
                report(name, earlier, False)
        while missing:
            missing = _pass(outcomes, missing, cells, folder, report)
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


def _identified(whats: Sequence[dict[str, Any]]) -> dict[str, _Cell]:
    """The cells of the grid by name, in its order; a cell that is asked for twice stands once."""
    from suite.cells.identity import identify  # imports torch

    cells: dict[str, _Cell] = {}
    for what in whats:
        identity = identify(**what)
        resolved = what | {"device": identity.content["device"]}  # `auto` is what it is here
        cells.setdefault(identity.cell, _Cell(identity, resolved))
    return cells


def _pass(
    outcomes: Callable[[Sequence[Call]], Outcomes],
    calls: Sequence[Call],
    cells: Mapping[str, _Cell],
    folder: Path,
    report: Callable[[str, Record, bool], None],
) -> list[Call]:
    """Run and report what no other process is running; the rest, once one of it has a record or PAUSE is over."""
    busy: list[Call] = []
    with contextlib.closing(outcomes(calls)) as finished:
        for call, outcome in finished:
            if isinstance(outcome, Exception):
                outcome = _failed(cells[call.name].identity, folder, outcome)
            if outcome is None:
                busy.append(call)
            else:
                report(call.name, outcome, True)
    if busy and len(busy) == len(calls):
        print(f"warning: other processes run the last {len(busy)} cells; waiting for them", file=sys.stderr)
        deadline = time.monotonic() + PAUSE
        places = [cells[call.name].identity.folder(folder) / "record.json" for call in busy]
        while time.monotonic() < deadline and not any(path.exists() for path in places):
            time.sleep(0.5)
    return busy


def _failed(identity: Identity, folder: Path, error: Exception) -> Record | None:
    """The failed record of a cell that takes its workers along; None where another process is running it."""
    from suite.cells.folder import fail

    try:
        return fail(identity, folder, f"every process that ran this cell died ({error})")
    except CellLocked:
        return None
