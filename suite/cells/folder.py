"""The folder of a cell: its lock, its finished record, its failed attempts."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from suite.cells.identity import Identity
from suite.errors import BrokenCell, CellLocked, UserError
from suite.store import disk, provenance, records
from suite.store.ledger import Ledger
from suite.store.records import FinishedRecord, Record
from suite.store.schema import Error, FailedResult


def set_aside(identity: Identity, results: Path | str | None) -> None:
    """Make a cell one that has never run; its record stays as attempt-N.json, its ledger as ledger-N.sqlite.

    A ledger is never deleted: what it holds was paid for.
    """
    with _locked(identity, results) as folder, disk.failures_named():
        number = _attempt(folder)
        for name, aside in (
            ("record.json", f"attempt-{number}.json"),
            ("ledger.sqlite-journal", f"ledger-{number}.sqlite-journal"),  # first: without it the ledger is torn
            ("ledger.sqlite", f"ledger-{number}.sqlite"),
        ):
            if (folder / name).exists():
                disk.rename(folder / name, folder / aside)
        for name in ("verify.json", "policy-final.safetensors", "policy-best.safetensors"):
            (folder / name).unlink(missing_ok=True)
        for path in folder.glob("checkpoint-*.safetensors"):
            path.unlink(missing_ok=True)


def _attempt(folder: Path) -> int:
    """The number of the attempt that is next: one more than those set aside."""
    aside = [*folder.glob("attempt-*.json"), *folder.glob("ledger-*.sqlite")]
    numbers = (path.stem.rpartition("-")[2] for path in aside)
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=0)


@contextlib.contextmanager
def opened(identity: Identity, results: Path | str | None) -> Iterator[tuple[Path, FinishedRecord | None, int]]:
    """The cell's folder under its lock, its finished record, and the attempt's number; a failed one is set aside.

    Bad input that shows only when the method runs leaves nothing behind, where nothing was charged.
    """
    with _locked(identity, results) as folder:
        path = folder / "record.json"
        there = records.read(path) if path.exists() else None
        earlier = there if isinstance(there, FinishedRecord) else None
        if there is not None and earlier is None:
            with disk.failures_named():
                disk.rename(path, folder / f"attempt-{_attempt(folder)}.json")
        try:
            yield folder, earlier, _attempt(folder)
        except UserError:
            if not path.exists() and _attempt(folder) == 1 and not _charged(folder / "ledger.sqlite"):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _charged(path: Path) -> bool:
    """Whether a ledger holds a charge, or may hold one."""
    if not path.exists():
        return False
    try:
        with contextlib.closing(Ledger(path)) as book:
            return book.nre > 0
    except UserError:
        return True


@contextlib.contextmanager
def _locked(identity: Identity, results: Path | str | None) -> Iterator[Path]:
    """The cell's folder, made if it is not there, under its lock."""
    folder = identity.folder(results)
    _check_kinds(folder)
    try:
        disk.make_folder(folder)
        lock = FileLock(folder / ".lock", timeout=0).acquire()
    except Timeout:
        raise CellLocked(f"{folder} is locked: another process runs this cell; wait for it or stop it") from None
    except OSError as error:
        raise UserError(
            f"--results {records.results_folder(results)}: {error.strerror or error}; choose another folder"
        ) from error
    with lock:
        yield folder


FILES = ("record.json", "ledger.sqlite", "verify.json", "policy-final.safetensors", "policy-best.safetensors", ".lock")


def _check_kinds(folder: Path) -> None:
    """BrokenCell where a file stands in the place of the cell's folder, or a folder in that of one of its files."""
    if folder.exists() and not folder.is_dir():
        raise BrokenCell(f"{folder}: a file where the folder of a cell belongs; move it away")
    for name in FILES:
        if (folder / name).is_dir():
            raise BrokenCell(f"{folder / name}: a folder where a file belongs; move it away")


def fail(identity: Identity, results: Path | str | None, message: str) -> Record:
    """The failed record of a cell whose process died, written where it will be found."""
    with opened(identity, results) as (folder, earlier, attempt):
        if earlier is not None:
            return earlier
        result = FailedResult(error=Error(type="ProcessDied", message=message))
        record = Record(identity.cell, identity.content, result, provenance.meta(attempt, 0.0, None), folder)
        records.write(record)
        return record
