"""A finished run goes on with a larger budget: the new cell begins with its ledger and its checkpoints."""

from __future__ import annotations

import contextlib
from pathlib import Path

from suite.cells import checkpoint
from suite.cells.identity import Identity
from suite.errors import UserError
from suite.store import disk, ledger, records, schema
from suite.store.ledger import Ledger
from suite.store.records import FinishedRecord


def begin(identity: Identity, results: Path | str | None, parent: str, folder: Path) -> None:
    """Put what the finished cell `parent` has paid for into the folder of one that differs in the budget alone.

    Nothing happens where that was done before. The new run is the one that a fresh start with its budget would give,
    since rounds do not depend on the budget; only a last batch that was cut to the budget would be another.

    Raises:
        UserError: there is no such cell, it has not finished, or it is not the beginning of this run.
    """
    path = records.results_folder(results) / "cells" / parent / "record.json"
    if not path.is_file():
        raise UserError(f"--from {parent}: no record {path}; a cell is the name of a folder in {path.parents[1]}")
    record = records.read(path)
    if not isinstance(record, FinishedRecord):
        raise UserError(f"--from {parent}: that run failed; its own command tries it again")
    _check_same(identity, record)
    if (folder / "ledger.sqlite").exists():
        return
    with contextlib.closing(Ledger(record.folder / "ledger.sqlite")) as book:
        sizes = [len(batch.x) for batch in book.batches()]
    batch = getattr(identity.config, "batch", max(sizes, default=1))
    if record.identity.budget % batch or (sizes and sizes[-1] < max(sizes)):
        raise UserError(
            f"--from {parent}: its budget of {record.identity.budget} cut its last batch, which a larger one would not "
            f"have done; only a run whose budget is a multiple of its batch, {batch}, can be continued"
        )
    with disk.failures_named():
        for file in checkpoint.files(record.folder):
            disk.write(folder / file.name, file.read_bytes())
        ledger.copy(record.folder / "ledger.sqlite", folder / "ledger.sqlite")


def _check_same(identity: Identity, record: FinishedRecord) -> None:
    """UserError where the two differ in anything but a larger budget."""
    ours, theirs = schema.plain(identity.content), schema.plain(record.identity)
    budget = record.identity.budget
    if differing := [name for name in ours if name != "budget" and ours[name] != theirs.get(name)]:
        raise UserError(
            f"--from {record.cell}: that run differs in {', '.join(differing)}; give the same settings, or run anew"
        )
    if identity.content.budget <= budget:
        raise UserError(f"--from {record.cell}: its budget is {budget}; give a larger --budget")
