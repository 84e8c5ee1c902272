"""Records: one content-addressed folder per cell, and the reading of many."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from suite.errors import BrokenCell, NewerSchema, UserError
from suite.store import disk, schema
from suite.store.schema import SCHEMA, Best, FinishedResult, Identity, Meta, Placed, Result

AGAIN = "move the file away, and the same run goes on from its ledger"
"""What to do about a record that cannot be read."""

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, default=schema.plain)


def canonical(value: object) -> str:
    """JSON with sorted keys and no spare blanks; NaN and infinity are errors. Parts of records are objects."""
    return _ENCODER.encode(value)


def cell_of(identity: Identity | Mapping[str, object]) -> str:
    """The name of the cell that an identity describes: 20 hexadecimal digits."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()[:20]


def results_folder(results: Path | str | None) -> Path:
    """`results`, else $SUITE_RESULTS, else ./results."""
    return Path(results or os.environ.get("SUITE_RESULTS") or "results")


@dataclasses.dataclass(frozen=True)
class Record:
    """One finished or failed cell; `result` is the same for equal cells on one platform, `meta` is not.

    Finished ones are of the class :class:`FinishedRecord`.
    """

    cell: str
    identity: Identity
    result: Result
    meta: Meta
    folder: Path

    @property
    def task(self) -> str:
        return self.identity.task.id

    @property
    def baseline(self) -> str:
        return self.identity.baseline.id

    @property
    def seed(self) -> int:
        return self.identity.seed

    @functools.cached_property
    def configs(self) -> tuple[str, str]:
        """The configurations of task and baseline as canonical JSON."""
        return canonical(self.identity.task.config), canonical(self.identity.baseline.config)

    @property
    def status(self) -> Literal["finished", "failed"]:
        return self.result.status

    @property
    def final(self) -> Placed | None:
        """The last policy's success rate; None where nothing was measured."""
        return self.result.final

    @property
    def best(self) -> Best | None:
        """The best policy's, oracle-selected."""
        return self.result.best

    def plugin_file(self, kind: Literal["task", "baseline"]) -> Path | None:
        """Where the file of a plug-in lay when it ran; None where that is unknown, or it is none."""
        path = self.meta.files.get(kind)
        return None if path is None else Path(os.path.normpath(self.folder.absolute() / path))

    def to_dict(self) -> dict[str, object]:
        """What record.json holds."""
        parts = {"identity": self.identity, "result": self.result, "meta": self.meta}
        return {"schema": SCHEMA, "cell": self.cell} | {name: schema.plain(part) for name, part in parts.items()}


@dataclasses.dataclass(frozen=True)
class FinishedRecord(Record):
    """A cell that finished; a run that failed counts in no statistic."""

    result: FinishedResult


def make(cell: str, identity: Identity, result: Result, meta: Meta, folder: Path) -> Record:
    """The record of a result, a :class:`FinishedRecord` where it is finished."""
    if isinstance(result, FinishedResult):
        return FinishedRecord(cell, identity, result, meta, folder)
    return Record(cell, identity, result, meta, folder)


def finished(records: Iterable[Record]) -> list[FinishedRecord]:
    """Those that finished, in their order."""
    return [record for record in records if isinstance(record, FinishedRecord)]


def write(record: Record) -> None:
    disk.write(record.folder / "record.json", json.dumps(record.to_dict(), indent=1, allow_nan=False) + "\n")


def read(path: Path) -> Record:
    """The record in the file `path`, which an earlier version may have written.

    Raises:
        BrokenCell: broken JSON, another shape (with the place in it), or content whose cell is not its identity's.
        NewerSchema: only a newer version can read it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BrokenCell(f"{path}: not a record ({error.strerror or error}); {AGAIN}") from error
    try:
        content = schema.decode(data)
        identity = schema.identity_of(content.identity)
        found = cell_of(content.identity)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        _check_schema(path, schema.version_of(data))
        raise BrokenCell(f"{path}: not a record ({error}); {AGAIN}") from error
    _check_schema(path, content.schema)
    if found != content.cell:
        raise BrokenCell(f"{path}: its identity does not hash to its cell {content.cell}; {AGAIN}")
    return make(content.cell, identity, content.result, content.meta, path.parent)


def _check_schema(path: Path, version: int | None) -> None:
    if version is not None and version > SCHEMA:
        raise NewerSchema(f"{path}: record schema {version}, this version reads up to {SCHEMA}; update the suite")


def scan(results: Path | str | None) -> tuple[list[Record], list[str]]:
    """All records below a results folder, by cell, and one line for every file that is none.

    Raises:
        NewerSchema: a record that only a newer version can read; half a folder would mislead.
    """
    records, broken = [], []
    with _no_collection():
        for path in sorted(results_folder(results).glob("cells/*/record.json")):
            try:
                records.append(read(path))
            except NewerSchema:
                raise
            except UserError as error:
                broken.append(str(error))
    return records, broken


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection, and none later of what was made meanwhile: parsed JSON holds no cycles.

    Searching it for some, again and again, takes half of the time of reading it and a fifth of a report's.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.freeze()
            gc.enable()


def file_hashes(folder: Path) -> dict[str, str]:
    """sha256 of the files that a verification speaks of."""
    names = ["record.json", "ledger.sqlite", *sorted(p.name for p in folder.glob("policy-*.safetensors"))]
    return {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names if (folder / n).is_file()}


def verified(record: Record) -> bool | None:
    """What `suite verify` found; None where it was not run, or a file changed since."""
    path = record.folder / "verify.json"
    try:
        verdict = json.loads(path.read_text())
        if verdict["hashes"] != file_hashes(record.folder):
            return None
        return bool(verdict["verified"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
