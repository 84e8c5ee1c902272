"""What the files of a reference hold, and the one line that says where a file holds something else."""

from __future__ import annotations

import sys
from typing import Annotated, TypeVar

import msgspec

from suite.errors import UserError
from suite.store.schema import BaselineIdentity, TaskIdentity

T = TypeVar("T")

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
    engine: int | str | None
    python: str
    platform: Platform
    created: str | None
    seeds: dict[str, int]


class Entry(msgspec.Struct):
    """What is kept of one seed of a cell."""

    result_sha256: str
    ledger_sha256: str
    nre: int
    successes: int
    first_success: int | None
    curve: list[tuple[int, Finite | None]]
    """(NRE, success rate) of each point."""
    quantities: dict[str, Finite]


class Identity(msgspec.Struct):
    """What ran."""

    task: TaskIdentity
    baseline: BaselineIdentity


class Cell(msgspec.Struct):
    """cells/NAME.json."""

    call: dict[str, object]
    identity: Identity
    base: Finite | None
    seeds: dict[SeedName, Entry]


def typed(kind: type[T], content: object, where: str, then: str) -> T:
    """Content as one of these types.

    Raises:
        UserError: the first place where it differs, `$` being the whole; `where` begins the line and `then` ends it.
    """
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: {error}; {then}") from error
