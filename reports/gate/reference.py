"""References: what the gated cells gave when the reference was written, as JSON that a reviewer can read.

    REFERENCE/plan.yaml              by hand: which cells, how many seeds (reports/gate/plan.py)
              manifest.json          by `suite check --update`: commit, versions, platform, command
              cells/NAME.json        one entry per seed: hashes of result and ledger, summary, quantities
              ledgers/NAME/SEED.sqlite   of the pr mode's seeds

One number a line and sorted keys, so that the difference between two references is a readable diff.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from reports.gate import files, quantities
from reports.gate.plan import GatedCell, Plan
from reports.gate.quantities import Subject
from suite.cells.spec import CellSpec
from suite.config import nearest
from suite.errors import NewerSchema, UserError
from suite.store import disk, json_file
from suite.store.ledger import Ledger, digest
from suite.store.records import Record, canonical
from suite.store.schema import Platform
from suite.task import Task, verified

SCHEMA = 1
AGAIN = "write it anew with `suite check --update`"


class Reference(NamedTuple):
    """A reference as read from its folder, complete for its plan."""

    manifest: files.Manifest
    cells: dict[str, files.Cell]

    def seeds(self, cell: str) -> dict[int, files.Entry]:
        """What is kept of each seed."""
        return {int(seed): kept for seed, kept in self.cells[cell].seeds.items()}

    def values(self, cell: str, quantity: str) -> list[float]:
        """(seeds,), in the order of the seeds."""
        return [kept.quantities[quantity] for _, kept in sorted(self.seeds(cell).items())]

    def base_rate(self, cell: str) -> float | None:
        """The exact base rate; None where it was estimated."""
        return self.cells[cell].base


def result_sha256(record: Record) -> str:
    return hashlib.sha256(canonical(record.result).encode()).hexdigest()


def ledger_sha256(path: Path) -> str:
    """A hash of samples, prices and rewards, not of the file, which holds times."""
    total = hashlib.sha256()
    book = Ledger(path)
    try:
        for batch in book.batches():
            rewards = b"" if batch.rewards is None else batch.rewards.numpy().tobytes()
            total.update(digest(batch.x) + batch.priced.numpy().tobytes() + rewards)
    finally:
        book.close()
    return total.hexdigest()


def platform_of(record: Record) -> Platform:
    """Where a record was made; UserError where it does not say that."""
    if record.meta.platform is None:
        raise UserError(f"{record.folder}: the record does not say its platform; run its cell again with --force")
    return record.meta.platform


# -- reading -----------------------------------------------------------------------------------------------------


def read(folder: Path, plan: Plan, mode: str) -> Reference:
    """The reference in a folder, held against its plan.

    Raises:
        UserError: another schema, a file that is not whole, a cell or a seed that the plan asks for and the reference
            lacks or the other way round, a cell that runs otherwise than planned; each is named.
    """
    content = json_file.read(folder / "manifest.json", advice=AGAIN)
    schema = content.get("schema")
    if schema != SCHEMA:
        kind = NewerSchema if isinstance(schema, int) and schema > SCHEMA else UserError
        raise kind(f"{folder}: reference of schema {schema}, this version reads {SCHEMA}; {AGAIN}")
    manifest = files.typed(files.Manifest, content, f"{folder / 'manifest.json'}", AGAIN)
    present = {path.stem for path in (folder / "cells").glob("*.json")}
    missing, extra = sorted(set(plan.cells) - present), sorted(present - set(plan.cells))
    if missing or extra:
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(extra)} beyond it"] * bool(extra)
        raise UserError(f"{folder}: the reference does not fit its plan: it {' and '.join(parts)}; {AGAIN}")
    paths = {name: folder / "cells" / f"{name}.json" for name in plan.cells}
    cells = {
        name: files.typed(files.Cell, json_file.read(path, advice=AGAIN), f"{path}", AGAIN)
        for name, path in paths.items()
    }
    for cell in plan.gated(mode):
        _fits(folder, cell, cells[cell.name], plan.seeds["reference"])
    return Reference(manifest, cells)


def _fits(folder: Path, cell: GatedCell, kept: files.Cell, seeds: int) -> None:
    """UserError unless what was kept is what the plan asks for."""
    ran, present = kept.call, {int(seed) for seed in kept.seeds}
    lacking, beyond = sorted(set(range(seeds)) - present), sorted(present - set(range(seeds)))
    named = [set(entry.quantities) for entry in kept.seeds.values()]
    for field, value in call_of(cell).items():
        kept_value = ran.get(field, getattr(CellSpec, field, None))  # an older reference lacks a newer setting
        if kept_value != value:
            raise UserError(f"{folder}: cell {cell.name} ran with {field} {kept_value}, its plan says {value}; {AGAIN}")
    if lacking:
        raise UserError(f"{folder}: fewer seeds than planned: cell {cell.name} lacks {_some(lacking)}; {AGAIN}")
    if beyond:
        raise UserError(f"{folder}: cell {cell.name} has seeds beyond its plan: {_some(beyond)}; {AGAIN}")
    for quantity in cell.quantities:
        if not all(quantity in own for own in named):
            guess = nearest(quantity, named[0])
            raise UserError(f"{folder}: cell {cell.name} has no reference for {quantity!r}{guess}; {AGAIN}")


def call_of(cell: GatedCell) -> dict[str, object]:
    """What a cell runs with, as JSON gives it back; plug-in files by their names."""
    call: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(cell.spec(0))))
    del call["seed"]
    refs = {"task": cell.settings.task, "baseline": cell.settings.baseline}
    return call | {kind: Path(ref).name for kind, ref in refs.items() if ".py:" in ref}


def _some(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return shown + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")


def check_ledgers(folder: Path, reference: Reference, cell: GatedCell, seeds: Sequence[int]) -> None:
    """Hold the committed ledgers of a cell against their hashes, and ask for their rewards again.

    Raises:
        UserError: a ledger that is missing, changed, or whose rewards the task does not give.
    """
    task = cell.settings.task
    for seed in seeds:
        path = folder / "ledgers" / cell.name / f"{seed}.sqlite"
        if not path.exists():
            raise UserError(f"{path}: the reference lacks this ledger; {AGAIN}")
        kept = reference.seeds(cell.name)[seed]
        try:
            same = ledger_sha256(path) == kept.ledger_sha256
        except Exception as error:  # whatever a broken file makes SQLite or torch say
            raise UserError(f"{path}: cannot be read as a ledger ({error}); {AGAIN}") from error
        if not same:
            raise UserError(f"{path}: the reference's ledger does not verify: it is not the one hashed; {AGAIN}")
        try:
            differing = _differing(path, quantities.task_of(cell.spec(seed)))
        except Exception as error:  # samples that are none of this task's any more, whatever its verifier says of them
            raise UserError(
                f"{path}: {task} cannot be asked for the rewards of the reference's ledger ({error}); {AGAIN}"
            ) from error
        if differing:
            raise UserError(
                f"{path}: the reference's ledger does not verify: {differing} rewards differ when {task} is asked "
                f"again; {AGAIN}, or give the task another version"
            )


def _differing(path: Path, task: Task) -> int:
    book = Ledger(path)
    try:
        answered = [(batch.x, batch.rewards) for batch in book.batches() if batch.rewards is not None]
        return sum(int(torch.ne(verified(task.verify, x).cpu(), rewards).sum()) for x, rewards in answered)
    finally:
        book.close()


# -- writing -----------------------------------------------------------------------------------------------------


def write(folder: Path, plan: Plan, fresh: Mapping[str, Sequence[Subject]]) -> None:
    """Write manifest, cells and ledgers of a reference; files of cells that are no longer planned go.

    Args:
        fresh: the finished records of every planned cell, one per seed.

    Raises:
        UserError: a planned quantity that a record does not have; nothing was written.
    """
    cells = {name: _kept(plan.cells[name], subjects) for name, subjects in fresh.items()}
    some = next(iter(fresh.values()))[0].record
    platform = platform_of(some)
    manifest = files.Manifest(
        schema=SCHEMA,
        command=" ".join(["suite", *sys.argv[1:]]),
        commit=some.meta.commit,
        dirty=some.meta.dirty,
        engine=some.meta.engine,
        python=platform.python,
        platform=files.Platform(platform.cpu, platform.capability, platform.torch, platform.threads),
        created=some.meta.finished,
        seeds=plan.seeds,
    )
    _write_ledgers(folder / "ledgers", plan, fresh)
    shutil.rmtree(folder / "cells", ignore_errors=True)
    (folder / "cells").mkdir()
    for name, cell in cells.items():
        disk.write(folder / "cells" / f"{name}.json", _readable(cell))
    disk.write(folder / "manifest.json", _readable(manifest))


def _write_ledgers(folder: Path, plan: Plan, fresh: Mapping[str, Sequence[Subject]]) -> None:
    """The ledgers of the pr mode's seeds. One that holds the same charges stays as it is: its bytes would differ."""
    wanted = {
        folder / name / f"{of.record.seed}.sqlite": of.record.folder / "ledger.sqlite"
        for name, subjects in fresh.items()
        for of in subjects
        if of.record.seed < plan.seeds["pr"] and "pr" in plan.cells[name].modes
    }
    for path in set(folder.glob("*/*")) - wanted.keys():
        path.unlink()
    for path, made in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or not _same_ledger(path, made):
            shutil.copyfile(made, path)


def _same_ledger(old: Path, new: Path) -> bool:
    try:
        return ledger_sha256(old) == ledger_sha256(new)
    except Exception:  # whatever a broken file makes SQLite or torch say
        return False


def _readable(value: msgspec.Struct) -> str:
    return json.dumps(msgspec.to_builtins(value), indent=1, sort_keys=True, allow_nan=False) + "\n"


def _kept(cell: GatedCell, subjects: Sequence[Subject]) -> files.Cell:
    """What the reference keeps of a cell."""
    first = subjects[0].record
    base = first.result.base
    return files.Cell(
        call=call_of(cell),
        identity=files.Identity(first.identity.task, first.identity.baseline),
        base=base.success_rate if base is not None and base.estimator == "exact" else None,
        seeds={str(of.record.seed): _entry(cell, of) for of in subjects},
    )


def _entry(cell: GatedCell, of: Subject) -> files.Entry:
    result = of.record.result
    found = {name: quantities.measure(of, name) for name in cell.quantities}
    values = {name: value for name, value in found.items() if value is not None}
    if unknown := [name for name in found if name not in values]:
        raise UserError(
            f"cell {cell.name}, seed {of.record.seed}: {', '.join(unknown)} cannot be measured; "
            "take it out of plan.yaml, or choose settings where every seed has it"
        )
    return files.Entry(
        result_sha256=result_sha256(of.record),
        ledger_sha256=ledger_sha256(of.record.folder / "ledger.sqlite"),
        nre=result.nre,
        successes=result.successes,
        first_success=result.first_success,
        curve=[(point.nre, point.success_rate) for point in result.curve],
        quantities=values,
    )
