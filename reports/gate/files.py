"""What the files of a reference hold, and the one line that says where a file holds something else."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec

from suite.errors import UserError

Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
SeedName = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]*)$")]


class Platform(msgspec.Struct):
    """What results are equal on, byte for byte."""

    cpu: str
    capability: str
    torch: str
    threads: int


class Manifest(msgspec.Struct):
    """manifest.json."""

    schema: int
    command: str
    commit: str | None
    dirty: bool | None
    engine: int | str
    python: str
    platform: Platform
    created: str
    seeds: dict[str, int]


class Entry(msgspec.Struct):
    """What is kept of one seed of a cell."""

    result_sha256: str
    ledger_sha256: str
    nre: int
    successes: int
    first_success: int | None
    curve: list[list[Finite | None]]
    quantities: dict[str, Finite]


class Kind(msgspec.Struct):
    """The part of an identity that is about the task, or about the baseline."""

    id: str
    config: dict[str, Any]
    source_sha256: str


class TaskKind(Kind):
    """The same of the task, with what it reads."""

    assets: dict[str, Any]


class Identity(msgspec.Struct):
    """What ran."""

    task: TaskKind
    baseline: Kind


class Cell(msgspec.Struct):
    """cells/NAME.json."""

    call: dict[str, Any]
    identity: Identity
    base: Finite | None
    seeds: dict[SeedName, Entry]


def check(kind: Any, content: object, where: str, then: str) -> None:
    """Hold content against one of these types, or any other.

    Raises:
        UserError: the first place where it differs, `$` being the whole; `where` begins the line and `then` ends it.
    """
    try:
        msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: {error}; {then}") from error
