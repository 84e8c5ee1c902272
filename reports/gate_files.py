"""What the files of a reference hold, and the one line that says where a file holds something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pydantic
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from suite.errors import UserError

Finite = Annotated[float, pydantic.Field(allow_inf_nan=False)]
SeedName = Annotated[str, pydantic.Field(pattern=r"^(0|[1-9]\d*)$")]


class Platform(TypedDict):
    """What results are equal on, byte for byte."""

    cpu: str
    capability: str
    torch: str
    threads: int


class Manifest(TypedDict):
    """manifest.json."""

    schema: int
    command: str
    commit: str | None
    dirty: bool | None
    engine: str
    python: str
    platform: Platform
    created: str
    seeds: dict[str, int]


class Entry(TypedDict):
    """What is kept of one seed of a cell."""

    result_sha256: str
    ledger_sha256: str
    nre: int
    successes: int
    first_success: int | None
    curve: list[list[Finite | None]]
    quantities: dict[str, Finite]


class Kind(TypedDict):
    """The part of an identity that is about the task, or about the baseline."""

    id: str
    config: dict[str, Any]
    source_sha256: str


class TaskKind(Kind):
    """The same of the task, with what it reads."""

    assets: dict[str, Any]


class Identity(TypedDict):
    """What ran."""

    task: TaskKind
    baseline: Kind


class Cell(TypedDict):
    """cells/NAME.json."""

    call: dict[str, Any]
    identity: Identity
    base: Finite | None
    seeds: dict[SeedName, Entry]


def check(kind: Any, content: object, where: str, then: str) -> None:
    """Hold content against one of these types, or any other.

    Raises:
        UserError: the first place where it differs; `where` begins the line and `then` ends it.
    """
    try:
        pydantic.TypeAdapter(kind).validate_python(content, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f" {part}" for part in first["loc"] if part != "[key]")
        got = "" if first["type"] == "missing" else f", got {_short(first['input'])}"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UserError(f"{where}{place}: {_lower(first['msg'])}{got}{more}; {then}") from error


def _short(value: object) -> str:
    text = repr(value) if not isinstance(value, Mapping) else "a mapping"
    return text if len(text) <= 40 else text[:37] + "..."


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
