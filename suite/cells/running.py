"""What the cells that are being run now say of themselves: a small file for each in RESULTS/running.

It is for people who watch, in a terminal or on a page: no result depends on it, and whatever keeps it from being
written is passed over.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from suite.cells.runner import Progress
    from suite.cells.spec import CellSpec

PRIOR = "measuring the prior"
"""The step before the first point of the curve; of a task with a costly measurement the longest of some cells."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that is being run."""

    cell: str
    task: str
    baseline: str
    seed: int
    budget: int
    pid: int
    host: str
    started: float
    """Seconds since 1970."""
    nre: int = 0
    curve: list[tuple[int, float | None]] = []
    """(NRE, success rate) of the points so far; empty while the prior is measured."""

    @property
    def step(self) -> str:
        """What it does now, in words."""
        return f"{self.nre:,} of {self.budget:,} NRE" if self.curve else PRIOR

    @property
    def share(self) -> float | None:
        """How much of its budget is spent; None before anything is."""
        return self.nre / self.budget if self.nre else None


@contextlib.contextmanager
def told(results: Path | str, cell: str, spec: CellSpec) -> Iterator[Callable[[Progress], None]]:
    """What `run_cell` is to tell its progress, while it runs."""
    from suite import registry

    path = Path(results) / "running" / f"{cell}-{os.getpid()}.json"
    state = Running(
        cell=cell,
        task=registry.id_of(spec.task),
        baseline=registry.id_of(spec.baseline),
        seed=spec.seed,
        budget=spec.budget,
        pid=os.getpid(),
        host=socket.gethostname(),
        started=time.time(),
    )
    _write(path, state)

    def tell(at: Progress) -> None:
        nonlocal state
        point = (at.nre, at.success_rate)
        curve = state.curve if state.curve and state.curve[-1] == point else [*state.curve, point]
        state = msgspec.structs.replace(state, nre=at.nre, curve=curve)
        _write(path, state)

    try:
        yield tell
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()  # where it was the last


def _write(path: Path, state: Running) -> None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(state))
        temporary.replace(path)


def read(results: Path | str) -> list[Running]:
    """The cells that are being run now, the first begun first; those whose process on this machine is gone are not."""
    found = []
    for path in (Path(results) / "running").glob("*.json"):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            state = msgspec.json.decode(path.read_bytes(), type=Running)
            if state.host != socket.gethostname() or _lives(state.pid):
                found.append(state)
    return sorted(found, key=lambda one: (one.started, one.cell))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
