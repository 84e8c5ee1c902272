"""Cells handed to where they run: this process, processes of this machine, the workers of a Dask scheduler.

A worker receives ids, configs as plain values and a seed, never a class or a tensor.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Union
from urllib.parse import urlsplit

from suite.cells import executor, running
from suite.cells.executor import Workers
from suite.cells.spec import CellSpec
from suite.config import nearest
from suite.errors import BrokenCell, CellLocked, Unanswered, UserError

if TYPE_CHECKING:
    from suite.store.records import Record
    from suite.store.schema import Tuning


class Call(NamedTuple):
    """A cell as a worker gets it: plain data."""

    name: str
    spec: CellSpec
    results: str
    """The results folder, an absolute path."""
    tracking: str
    tuning: Tuning | None
    group: str | None = None
    """The group of its W&B run."""


Outcome = Union["Record", Exception, None]
"""A cell's record; the exception, if its workers kept crashing, its files cannot be read or its verifier has not
answered yet; None if another process is running it."""
Outcomes = Generator[tuple[Call, Outcome]]


class Place(NamedTuple):
    """Where cells run: as so many processes here, or at the address of a Dask scheduler."""

    jobs: int
    scheduler: str | None = None


def parse(text: str | None, jobs: int) -> Place:
    """`local:J` or `dask://HOST:PORT`; without it, `jobs` local processes. UserError for anything else."""
    if text is None:
        if jobs < 1:
            raise UserError(f"--jobs must be at least 1, got {jobs}")
        return Place(jobs)
    if jobs != 1:
        raise UserError(
            f"--jobs {jobs} and --executor {text}: give one of them; --jobs J is short for --executor local:J"
        )
    scheme, _, rest = text.partition(":")
    if scheme == "local":
        if not rest.isdecimal() or int(rest) < 1:
            raise UserError(f"--executor {text}: how many processes? a whole number from 1 on, local:2")
        return Place(int(rest))
    if scheme != "dask":
        raise UserError(f"--executor {text} is unknown{nearest(scheme, ['local:J', 'dask://HOST:PORT'])}")
    try:
        url = urlsplit(text)
        if url.hostname and url.port and url.netloc and not url.path.strip("/"):
            return Place(1, url.netloc)
    except ValueError:
        pass
    raise UserError(f"--executor {text}: give host and port (1 to 65535) of a Dask scheduler, dask://HOST:8786")


@contextlib.contextmanager
def opened(place: Place, device: str, threads: int) -> Iterator[Callable[[Sequence[Call]], Outcomes]]:
    """What runs calls at a place, and yields them as they finish; close what it returns if it is left early.

    Raises:
        UserError: the place cannot be reached, or this machine has no such device.
    """
    from suite.cells.identity import check_device

    if place.scheduler is not None:
        from suite.cells import cluster

        with cluster.connected(place.scheduler, gpu=device == "cuda") as workers:
            yield functools.partial(_elsewhere, workers)
        return
    check_device(device)
    if place.jobs == 1:
        yield lambda calls: ((call, _run(call)) for call in calls)
    else:
        workers = Workers(place.jobs, functools.partial(executor.WorkerPool, threads=threads))
        yield lambda calls: executor.run_all(_run_in_worker, calls, workers)


def _elsewhere(workers: Workers, calls: Sequence[Call]) -> Outcomes:
    Path(calls[0].results).mkdir(parents=True, exist_ok=True)
    try:
        yield from executor.run_all(_run_elsewhere, calls, workers)
    except CancelledError:
        raise UserError("the Dask scheduler is gone; start it again, the same command goes on from here") from None


def _run(call: Call) -> Record | BrokenCell | Unanswered | None:
    """The cell's record; None where another process is running it; the error where its files cannot be read, or its
    verifier has not answered yet."""
    from suite.cells.runner import run_cell

    try:
        with running.told(call.results, call.name, call.spec) as tell:
            return run_cell(
                call.spec,
                results=call.results,
                tracking=call.tracking,
                tuning=call.tuning,
                progress=tell,
                group=call.group,
            )
    except CellLocked:
        return None
    except (BrokenCell, Unanswered) as error:
        return error


def _run_in_worker(call: Call) -> Record | BrokenCell | Unanswered | None:
    with executor.interruptible():
        return _run(call)


def _run_elsewhere(call: Call) -> Record | BrokenCell | Unanswered | None:
    """On a machine whose files may be others: UserError where they are."""
    from suite.cells import cluster
    from suite.cells.identity import check_device, identify

    cluster.check_worker(Path(call.results))
    check_device(call.spec.device)
    if identify(call.spec).cell != call.name:
        raise UserError(
            f"{socket.gethostname()} has other files of {call.spec.task} or {call.spec.baseline}; install one version "
            "everywhere"
        )
    return _run(call)
