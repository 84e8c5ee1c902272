"""The grid: every baseline on every task with every seed, only what is missing."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from suite import registry
from suite.cells import dispatch
from suite.cells.dispatch import Call, Outcomes
from suite.cells.spec import CellSpec
from suite.config import nearest, specs
from suite.errors import BrokenCell, CellLocked, Unanswered, UserError
from suite.store.records import Record, results_folder
from suite.store.schema import Tuning

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
    spec: CellSpec
    """Its settings, with the device that `auto` stands for here."""


PAUSE = 30.0
"""Seconds after which a cell that another process runs is tried again, if no record of it appeared before."""


def cells_of(
    tasks: Sequence[str],
    baselines: Sequence[str],
    seeds: int | Sequence[int],
    *,
    config: Mapping[str, object],
    task_config: Mapping[str, object],
    **settings: Any,
) -> list[CellSpec]:
    """The cells of a grid, seed by seed.

    Args:
        seeds, config, task_config: as in :func:`suite.bench`.
        settings: the other fields of :class:`CellSpec`, the same for all.

    Raises:
        UserError: no task, no baseline, no seed, or a field or value that is not valid.
    """
    tasks, baselines = [registry.absolute(ref) for ref in tasks], [registry.absolute(ref) for ref in baselines]
    of_tasks = shared_fields("task", tasks, task_config)
    of_baselines = shared_fields("baseline", baselines, config)
    return [
        CellSpec(task, baseline, seed=seed, config=of_baselines[baseline], task_config=of_tasks[task], **settings)
        for seed in seed_list(seeds)
        for task in tasks
        for baseline in baselines
    ]


def run_grid(
    specs: Sequence[CellSpec],
    *,
    jobs: int = 1,
    executor: str | None = None,
    results: Path | str | None = None,
    tracking: str = "offline",
    force: bool = False,
    tuning: Tuning | None = None,
    progress: Callable[[CellDone], None] | None = None,
) -> list[Record]:
    """Run the cells that have no finished record yet, in their order.

    Args:
        specs: the cells; all on the same device with the same number of threads, which their processes share. Files
            of plug-ins are absolute paths, for a worker in another directory.
        jobs, executor, results, tracking, force, tuning, progress: as in :func:`suite.bench`.

    Returns:
        The record of each cell, once if it is given twice.

    Raises:
        UserError: bad input, before any cell is run.
        BrokenCell: the files of some cells cannot be read; all others have their records by then.
        Unanswered: the verifier of some has not answered yet; likewise.
        Unavailable: a verifier cannot be reached, at the first such cell.
    """
    from suite.cells.identity import warn_of_earlier_engines, warn_of_few_samples  # imports torch

    place = dispatch.parse(executor, jobs)
    folder = results_folder(results).absolute()  # a worker elsewhere stands in another directory
    cells = _identified(specs)
    found: dict[str, Record] = {}
    torn: list[BrokenCell] = []
    waiting: list[Unanswered] = []

    def report(name: str, record: Record, fresh: bool) -> None:
        found[name] = record
        if progress is not None:
            progress(CellDone(record, len(found), len(cells), fresh))

    with dispatch.opened(place, *_shared_by_processes(cells.values())) as outcomes:
        if force:  # here and once: a worker that is tried again must find its ledger
            from suite.cells.folder import set_aside

            for cell in cells.values():
                set_aside(cell.identity, folder)
        missing: list[Call] = []
        for name, cell in cells.items():
            try:
                earlier = cell.identity.finished(folder)
            except BrokenCell as error:
                torn.append(error)
                continue
            if earlier is None:
                of_cell = tuning if cell.spec.config else None
                missing.append(Call(name, cell.spec, str(folder), tracking, of_cell, group_of(cells)))
            else:
                report(name, earlier, False)
        warn_of_earlier_engines((cells[call.name].identity for call in missing), folder)
        warn_of_few_samples(cells[call.name].identity for call in missing)
        while missing:
            missing = _pass(outcomes, missing, cells, folder, report, torn, waiting)
    if torn:
        others = len(cells) - len(torn)
        raise BrokenCell(
            f"{len(torn)} of {len(cells)} cells cannot be read and were left as they are; the other {others} have "
            f"their records: {'; '.join(map(str, torn))}"
        )
    if waiting:
        raise Unanswered(
            f"{len(waiting)} of {len(cells)} cells wait for answers, the other {len(cells) - len(waiting)} have their "
            f"records; the last one: {waiting[-1]}"
        )
    return [found[name] for name in cells]


def group_of(cells: Iterable[str]) -> str:
    """The group of a grid's W&B runs: the same for the same cells, in whatever order and however often they are run."""
    return f"bench-{hashlib.sha256(' '.join(sorted(cells)).encode()).hexdigest()[:12]}"


def _shared_by_processes(cells: Iterable[_Cell]) -> tuple[str, int]:
    """The device and the number of threads of all cells; ValueError if they differ."""
    shared = {(cell.spec.device, cell.spec.threads) for cell in cells}
    if len(shared) != 1:
        raise ValueError(f"the cells of one grid must share device and threads, got {sorted(shared)}")
    return shared.pop()


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


def _identified(specs: Sequence[CellSpec]) -> dict[str, _Cell]:
    """The cells of the grid by name, in its order; a cell that is given twice appears once."""
    from suite.cells.identity import identify  # imports torch

    cells: dict[str, _Cell] = {}
    for spec in specs:
        identity = identify(spec)
        resolved = dataclasses.replace(spec, device=identity.content.device)
        cells.setdefault(identity.cell, _Cell(identity, resolved))
    return cells


def _pass(
    outcomes: Callable[[Sequence[Call]], Outcomes],
    calls: Sequence[Call],
    cells: Mapping[str, _Cell],
    folder: Path,
    report: Callable[[str, Record, bool], None],
    torn: list[BrokenCell],
    waiting: list[Unanswered],
) -> list[Call]:
    """Run and report what no other process is running; the rest, once one of it has a record or PAUSE is over.

    Cells whose files cannot be read are added to `torn`, those whose verifier has not answered yet to `waiting`.
    """
    busy: list[Call] = []
    with contextlib.closing(outcomes(calls)) as finished:
        for call, outcome in finished:
            if isinstance(outcome, BrokenCell):
                torn.append(outcome)
                continue
            if isinstance(outcome, Unanswered):
                waiting.append(outcome)
                continue
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
