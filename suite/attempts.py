"""Attempts to have samples verified outside of this process: noted by who makes them, written by who has a ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import NamedTuple


class Attempt(NamedTuple):
    """One attempt at one request."""

    place: str
    """What was asked: an address, a command, a function."""
    request: str
    """The first 16 digits of the sha256 of what was asked; equal for all attempts at it, in later runs too."""
    number: int
    """1, and one more for each attempt at this request before in this run."""
    samples: int
    begun_at: float
    """Seconds since 1970."""
    seconds: float
    error: str | None
    """Why there was no answer; None where there was one."""


Sink = Callable[[Attempt], None]
_SINK: ContextVar[Sink | None] = ContextVar("attempts", default=None)


@contextlib.contextmanager
def noted(sink: Sink) -> Iterator[None]:
    """Hand the attempts of the block, in this thread, to `sink`."""
    token = _SINK.set(sink)
    try:
        yield
    finally:
        _SINK.reset(token)


def note(attempt: Attempt) -> None:
    """Report an attempt; nothing happens where nobody notes them."""
    sink = _SINK.get()
    if sink is not None:
        sink(attempt)
