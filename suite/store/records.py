"""Records: one content-addressed folder per cell, and the reading of many."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from suite.errors import BrokenCell, NewerSchema, UserError
from suite.store import disk

SCHEMA = 1

AGAIN = "move the file away, and the same run goes on from its ledger"
"""What to do about a record that cannot be read."""

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: object) -> str:
    """JSON with sorted keys and no spare blanks; NaN and infinity are errors."""
    return _ENCODER.encode(value)


def cell_of(identity: dict[str, Any]) -> str:
    """The name of the cell that an identity describes: 20 hexadecimal digits."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()[:20]


def results_folder(results: Path | str | None) -> Path:
    """`results`, else $SUITE_RESULTS, else ./results."""
    return Path(results or os.environ.get("SUITE_RESULTS") or "results")


@dataclasses.dataclass(frozen=True)
class Record:
    """One finished or failed cell; `result` is the same for equal cells on one platform, `meta` is not."""

    cell: str
    identity: dict[str, Any]
    result: dict[str, Any]
    meta: dict[str, Any]
    folder: Path

    @property
    def task(self) -> str:
        return str(self.identity["task"]["id"])

    @property
    def baseline(self) -> str:
        return str(self.identity["baseline"]["id"])

    @property
    def seed(self) -> int:
        return int(self.identity["seed"])

    @functools.cached_property
    def configs(self) -> tuple[str, str]:
        """The configurations of task and baseline as canonical JSON."""
        return canonical(self.identity["task"]["config"]), canonical(self.identity["baseline"]["config"])

    @property
    def points(self) -> str:
        return str(self.identity.get("points", "all"))  # older records have the whole curve

    @property
    def engine(self) -> int:
        """The number of the engine that made it; 0 where it is of before engines had numbers."""
        return int(self.identity.get("engine", 0))

    @property
    def status(self) -> str:
        return str(self.result["status"])

    @property
    def final(self) -> dict[str, Any] | None:
        final: dict[str, Any] | None = self.result["final"]
        return final

    @property
    def best(self) -> dict[str, Any] | None:
        best: dict[str, Any] | None = self.result["best"]
        return best

    def to_dict(self) -> dict[str, Any]:
        """What record.json holds."""
        return {
            "schema": SCHEMA,
            "cell": self.cell,
            "identity": self.identity,
            "result": self.result,
            "meta": self.meta,
        }


def write(record: Record) -> None:
    disk.write(record.folder / "record.json", json.dumps(record.to_dict(), indent=1, allow_nan=False) + "\n")


def read(path: Path) -> Record:
    """The record in the file `path`.

    Raises:
        BrokenCell: broken JSON, or content whose cell is not its identity's.
        NewerSchema: written by a newer version.
    """
    try:
        content = msgspec.json.decode(path.read_bytes())
        schema = content["schema"]
        if schema > SCHEMA:
            raise NewerSchema(f"{path}: record schema {schema}, this version reads up to {SCHEMA}; update the suite")
        record = Record(content["cell"], content["identity"], content["result"], content["meta"], path.parent)
        found = cell_of(record.identity)
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BrokenCell(f"{path}: not a record ({type(error).__name__}: {error}); {AGAIN}") from error
    if found != record.cell:
        raise BrokenCell(f"{path}: its identity does not hash to its cell {record.cell}; {AGAIN}")
    return record


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
    return {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names if (folder / n).exists()}


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
