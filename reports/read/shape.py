"""What a record must hold for a report to count it: names and types, checked before anything is computed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from suite.store.records import Record


class Placed(msgspec.Struct):
    """A success rate with its interval; null where held-out measurement is off."""

    success_rate: float | None
    low: float | None
    high: float | None


class Best(Placed):
    """The best point of the curve."""

    selected_on: str


class Point(Placed):
    """A point of the curve."""

    round: int
    nre: int
    estimator: str
    n: int | None
    distinct_successes: float | None
    distinct_share: float | None
    effective_successes: float | None
    valid_share: float | None
    entropy: float | None
    kl_prior: float | None
    samples: list[str]

    def __post_init__(self) -> None:
        if self.estimator == "monte-carlo" and self.n is None:
            raise ValueError("monte-carlo without a number of samples `n`")


class Tally(msgspec.Struct):
    """Model compute of one phase."""

    tokens: float
    flops: float


class Compute(msgspec.Struct):
    """Model compute by phase."""

    training: Tally
    filtering: Tally
    verifying: Tally
    heldout: Tally


class Seconds(msgspec.Struct):
    """Seconds by phase."""

    training: float
    filtering: float
    verifying: float
    heldout: float
    total: float | None = None


class Result(msgspec.Struct):
    """The result of a finished run; the curve holds the prior at least."""

    status: Literal["finished"]
    curve: Annotated[list[Point], msgspec.Meta(min_length=1)]
    base: Placed | None
    final: Placed | None
    best: Best | None
    improvement_final: float | None
    nre: int
    first_success: int | None
    successes: int | None
    withheld: int | None
    compute: Compute
    error: dict[str, Any] | None = None


class Meta(msgspec.Struct):
    """What surrounds a finished run."""

    seconds: Seconds
    tuning: dict[str, Any] | None = None


class Finished(msgspec.Struct):
    """A finished run."""

    result: Result
    meta: Meta


class Failure(msgspec.Struct):
    """The result of a failed run."""

    status: Literal["failed"]
    error: dict[str, Any] | None
    curve: list[Point] | None


class Around(msgspec.Struct):
    """What surrounds a failed run."""

    seconds: dict[str, float | None] | None = None


class Failed(msgspec.Struct):
    """A failed run."""

    result: Failure
    meta: Around


def fault(record: Record) -> str:
    """What keeps a record from being counted, "Expected `float`, got `str` - at `$.result.nre`"; empty: nothing."""
    has_failed = isinstance(record.result, dict) and record.result.get("status") == "failed"
    try:
        msgspec.convert({"result": record.result, "meta": record.meta}, Failed if has_failed else Finished)
    except msgspec.ValidationError as error:
        return str(error)
    return ""
