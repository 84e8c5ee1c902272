"""Work spread over processes: spawned workers that can be stopped, and another try after one of them died.

This module imports no torch: a worker sets its threads here first.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from types import FrameType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 2
"""How often work that was in flight when a worker died is run again, alone, before it is given up."""
GRACE = 10.0
"""Seconds that a worker gets to end after it was told to."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where the program stands, like Ctrl-C."""


def raise_on_sigterm() -> None:
    """From now on SIGTERM raises :class:`Terminated` in the main thread."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated("terminated")


class _Recording(SpawnContext):
    """A spawn context that remembers its processes, since an executor has no public way to stop them."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: list[SpawnProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]
        worker = SpawnProcess(*args, **kwargs)
        self.workers.append(worker)
        return worker


class WorkerPool(ProcessPoolExecutor):
    """Spawned processes of `threads` threads each, that end with their parent and can be stopped at once."""

    def __init__(self, workers: int, threads: int) -> None:
        self._context = _Recording()
        super().__init__(workers, self._context, initializer=_start_worker, initargs=(threads,))

    def stop(self) -> None:
        """End all workers now; each may first close what it is doing, for at most GRACE seconds."""
        self.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + GRACE
        started = [worker for worker in self._context.workers if worker.pid is not None]
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.join(max(0.0, deadline - time.monotonic()))
            worker.kill()


def run_all(
    work: Callable[[Item], Result], items: Sequence[Item], *, jobs: int, pool: Callable[[int], WorkerPool]
) -> Generator[tuple[Item, Result | BrokenExecutor]]:
    """Yield (item, work(item)) as they finish, `jobs` at a time, begun in the order of `items`.

    If a worker dies, everything in flight runs again, one item at a time in a pool of its own, at most
    RETRIES times; an item that always takes its worker along comes back with the BrokenExecutor instead of a
    result. What `work` itself raises is raised here, after the workers were stopped; so are KeyboardInterrupt
    and Terminated. Close the generator if it is left early, or the workers go on.

    Args:
        work: a function that can be pickled.
        pool: makes the pool of so many workers.
    """
    waiting = deque(items)
    while waiting:
        in_flight: dict[Future[Result], Item] = {}
        with _stopping(pool(min(jobs, len(waiting)))) as workers:
            try:
                while waiting or in_flight:
                    while waiting and len(in_flight) < jobs:
                        future = workers.submit(work, waiting[0])
                        in_flight[future] = waiting.popleft()
                    finished = wait(in_flight, return_when=FIRST_COMPLETED).done
                    for future in finished:
                        result = future.result()
                        yield in_flight.pop(future), result
            except BrokenExecutor:
                pass
        for future, item in in_flight.items():
            if future.done() and future.exception() is None:
                yield item, future.result()
            else:
                yield item, _alone(work, item, pool)


def _alone(work: Callable[[Item], Result], item: Item, pool: Callable[[int], WorkerPool]) -> Result | BrokenExecutor:
    """Run one item in a fresh pool of one, again if that breaks too."""
    for attempt in range(RETRIES):
        with _stopping(pool(1)) as worker:
            try:
                return worker.submit(work, item).result()
            except BrokenExecutor as error:
                if attempt == RETRIES - 1:
                    return error
    raise AssertionError("unreachable: RETRIES is positive")


@contextlib.contextmanager
def _stopping(pool: WorkerPool) -> Iterator[WorkerPool]:
    """The pool; its workers are told to end if the block is left by an exception, else when they are idle."""
    try:
        yield pool
    except BaseException:
        pool.stop()
        raise
    pool.shutdown()


_busy = threading.Event()


def _start_worker(threads: int) -> None:
    """First of all in a worker: threads of libraries yet to be imported, signals, the parent's death."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, _terminate_worker)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _terminate_worker(signum: int, frame: FrameType | None) -> None:
    if not _busy.is_set():
        os._exit(128 + signum)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough; what closes a run is not to be interrupted
    raise Terminated("terminated")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Around the work in a worker: SIGTERM raises Terminated in it, the worker ends when that comes out."""
    _busy.set()
    try:
        yield
    except Terminated:
        os._exit(128 + signal.SIGTERM)
    finally:
        _busy.clear()
