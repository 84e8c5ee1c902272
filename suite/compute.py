"""Counting of model compute: tokens, FLOPs and seconds by phase.

Generators and novelty networks report what they do with :func:`count`; whoever owns a stretch of work names its
phase with :func:`phase`. The runner opens a :class:`Meter` around a run. FLOPs are analytic: 2 x parameters per
token forward, 6 x in training.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from contextvars import ContextVar

PHASES = ("training", "filtering", "verifying", "heldout")
"""Training of any network; sampling and scoring by the method; the verifier; held-out measurement."""


@dataclasses.dataclass
class Tally:
    """Compute of one phase."""

    tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0


class Meter:
    """Tallies by phase; a stretch of work counts towards the innermost phase around it."""

    def __init__(self) -> None:
        self.tallies = {name: Tally() for name in PHASES}
        self._phase = "filtering"
        self._since = time.perf_counter()

    def switch(self, phase: str) -> str:
        """Book the time since the last switch and go on in `phase`; returns the phase left."""
        if phase not in self.tallies:
            raise ValueError(f"unknown phase {phase!r}; one of {', '.join(PHASES)}")
        now = time.perf_counter()
        self.tallies[self._phase].seconds += now - self._since
        before, self._phase, self._since = self._phase, phase, now
        return before

    def add(self, tokens: int, flops: float) -> None:
        tally = self.tallies[self._phase]
        tally.tokens += tokens
        tally.flops += flops

    def state(self) -> dict[str, tuple[int, float, float]]:
        """Tokens, FLOPs and seconds by phase, so far."""
        self.switch(self._phase)
        return {name: (tally.tokens, tally.flops, tally.seconds) for name, tally in self.tallies.items()}

    def restore(self, state: dict[str, tuple[int, float, float]]) -> None:
        """Go on from a :meth:`state`."""
        self.tallies = {name: Tally(*state[name]) for name in PHASES}
        self._since = time.perf_counter()


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextlib.contextmanager
def metered() -> Iterator[Meter]:
    """Count all compute of the block, in this thread, with a fresh meter."""
    meter = Meter()
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        meter.switch("filtering")
        _METER.reset(token)


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Count the compute of the block towards phase `name`; nothing happens where nobody meters."""
    meter = _METER.get()
    if meter is None:
        yield
        return
    # A held-out measurement that trains or samples stays a held-out measurement.
    before = meter.switch(meter._phase if meter._phase in ("verifying", "heldout") else name)
    try:
        yield
    finally:
        meter.switch(before)


def spent(name: str) -> tuple[int, float]:
    """Tokens and FLOPs of phase `name` so far; zero where nobody meters."""
    meter = _METER.get()
    return (0, 0.0) if meter is None else (meter.tallies[name].tokens, meter.tallies[name].flops)


def count(tokens: int, flops: float) -> None:
    """Report `tokens` put through a network at a cost of `flops`."""
    meter = _METER.get()
    if meter is not None:
        meter.add(tokens, flops)
