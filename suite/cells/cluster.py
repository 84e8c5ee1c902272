"""Dask beyond one machine: an executor over the workers of a scheduler that somebody else started.

The scheduler decides who runs what, and runs a cell of a worker that died on another one; what the cell had paid for
stands in its ledger. Needs the extra `cluster`.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from suite.cells.executor import RETRIES, Workers
from suite.errors import UserError

Result = TypeVar("Result")

TIMEOUT = 5.0
"""Seconds in which a scheduler must answer."""
HANDED_OVER = 1000
"""So many cells are given to the scheduler at a time; it queues what its workers cannot take, and more may come."""
DISTRIBUTION = "sparse-reward-suite"
EVERYWHERE = ("python", "dask", "distributed", DISTRIBUTION)
"""What must be of one version here, on the scheduler and on all workers."""


class DaskExecutor(Executor):
    """The workers of a client's scheduler.

    A shutdown that does not wait cancels what is queued; a cell that runs there goes on to its record.
    """

    def __init__(self, client: Any, resources: dict[str, float]) -> None:
        self._executor: Any = client.get_executor(pure=False, retries=RETRIES, resources=resources)

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        future: Future[Result] = self._executor.submit(fn, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._executor.shutdown(wait=wait)


@contextlib.contextmanager
def connected(address: str, *, gpu: bool) -> Iterator[Workers]:
    """The workers of the scheduler at `address`, HOST:PORT.

    Args:
        gpu: each cell takes one unit of the resource GPU, so that it runs where `dask worker --resources GPU=1` did.

    Raises:
        UserError: Dask is not installed, nothing answers there, or its versions are not ours.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise UserError("--executor dask://… needs Dask: pip install 'sparse-reward-suite[cluster]'") from None
    where = f"dask://{address}"
    connect: Callable[..., Any] = Client
    try:
        _await_greeting(address)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions that differ, which are errors below
            client = connect(f"tcp://{address}", timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:  # of these is a time-out too
        raise UserError(
            f"--executor {where}: no scheduler answered in {TIMEOUT:.0f} s ({type(error).__name__}); start one with "
            "`dask scheduler`, its log names host and port"
        ) from error
    with contextlib.closing(client):
        _check_versions(where, client.get_versions(packages=[DISTRIBUTION]))
        _warn_if_nobody_can_work(where, client, gpu)
        yield Workers(HANDED_OVER, lambda _: DaskExecutor(client, {"GPU": 1} if gpu else {}), (KilledWorker,))


def _await_greeting(address: str) -> None:
    """OSError where nobody listens, or who does says nothing; a Dask server speaks first.

    A client whose server is silent does not come back at its timeout.
    """
    url = urlsplit(f"tcp://{address}")
    with socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=TIMEOUT) as server:
        if not server.recv(1):
            raise ConnectionError("closed")


def _check_versions(where: str, found: Any) -> None:
    """UserError where the scheduler or a worker has another version of something than this process."""
    ours = found["client"]["packages"]
    others = {"the scheduler": found["scheduler"]} | {f"worker {at}": it for at, it in found["workers"].items()}
    for name, other in others.items():
        for package in EVERYWHERE:
            theirs = other["packages"].get(package)
            if theirs != ours[package]:
                raise UserError(
                    f"--executor {where}: {name} has {package} {theirs or '(not installed)'}, here it is "
                    f"{ours[package]}; install one version on all machines"
                )


def _warn_if_nobody_can_work(where: str, client: Any, gpu: bool) -> None:
    """Workers may come later, so that having none yet is no error; but it should not look like a hang."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    able = [worker for worker in workers if not gpu or worker["resources"].get("GPU", 0) >= 1]
    if not able:
        start = "dask worker HOST:PORT --nthreads 1" + (" --resources GPU=1" if gpu else "")
        print(
            f"warning: {where} has no worker {'with a GPU ' if gpu else ''}yet; waiting for `{start}`", file=sys.stderr
        )


def check_worker(results: Path) -> None:
    """In a worker: UserError where cells would disturb each other, or be written to a folder that nobody reads."""
    from distributed import get_worker

    if get_worker().state.nthreads != 1:
        raise UserError(
            f"worker {get_worker().address} has {get_worker().state.nthreads} threads, but cells of one process share "
            "torch's settings; start it with --nthreads 1 --nworkers N"
        )
    if not results.is_dir():
        raise UserError(
            f"no folder {results} on {socket.gethostname()}; --results must lie on a file system shared by all machines"
        )
