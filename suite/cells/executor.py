"""Work spread over the workers of any `concurrent.futures.Executor`, and another try after one of them died.

Of processes on this machine it has its own pool, whose workers can be stopped at once; other machines are
reached through :mod:`suite.cells.cluster`. This module imports no torch: a worker sets its threads here first.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from types import FrameType
from typing import Any, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 2
"""How often work that was in flight when a worker died is run again, alone, before it is given up."""
SHUTDOWN_SECONDS = 10.0
"""Seconds that a worker gets to end after it was told to."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where the program stands, like Ctrl-C."""


def raise_on_sigterm() -> None:
    """From now on SIGTERM raises :class:`Terminated` in the main thread."""
    _handle_sigterm(_terminate)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated("terminated")


def _handle_sigterm(handler: Callable[[int, FrameType | None], None]) -> None:
    """Have SIGTERM handled in this process, not in what it forks: a verifier ends its own pool of processes by it."""
    signal.signal(signal.SIGTERM, functools.partial(_in_process, os.getpid(), handler))


def _in_process(
    owner: int, handler: Callable[[int, FrameType | None], None], signum: int, frame: FrameType | None
) -> None:
    if os.getpid() == owner:
        handler(signum, frame)
    else:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


_mask = threading.local()


def _is_ours() -> bool:
    handler = signal.getsignal(signal.SIGTERM)
    return isinstance(handler, functools.partial) and handler.func is _in_process


def _hold_sigterm() -> None:
    """Before a fork: one that reaches the new process at once would else be forgotten by Python."""
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM] if _is_ours() else [])


def _let_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _leave_to_system() -> None:
    """In a forked process: the system's own reaction to SIGTERM, which needs no line of Python to be reached."""
    if _is_ours():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_sigterm()


os.register_at_fork(before=_hold_sigterm, after_in_parent=_let_sigterm, after_in_child=_leave_to_system)


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

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Without `wait` all workers end now; each gets SHUTDOWN_SECONDS to close what it does."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            return
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        started = [worker for worker in self._context.workers if worker.pid is not None]
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.join(max(0.0, deadline - time.monotonic()))
            worker.kill()


class Workers(NamedTuple):
    """Where work runs."""

    jobs: int
    """How many pieces of it are handed over at a time."""
    open: Callable[[int], Executor]
    """Makes an executor of so many workers; its `shutdown(wait=False, cancel_futures=True)` drops what is queued."""
    deaths: tuple[type[Exception], ...] = ()
    """With what the executor gives up a piece of work that took its worker along again and again."""


def run_all(
    work: Callable[[Item], Result], items: Sequence[Item], workers: Workers
) -> Generator[tuple[Item, Result | Exception]]:
    """Yield (item, work(item)) as they finish, `workers.jobs` at a time, begun in the order of `items`.

    If the executor breaks, everything in flight runs again, one item at a time in an executor of its own, at most
    RETRIES times; an item that always takes its worker along comes back with the BrokenExecutor instead of a
    result. One that tries again by itself says with which of `workers.deaths` it gave an item up. What `work`
    itself raises is raised here, after the executor was shut down; so are KeyboardInterrupt and Terminated.
    Close the generator if it is left early, or the workers go on.

    Args:
        work: a function that can be pickled.
    """
    waiting = deque(items)
    while waiting:
        in_flight: dict[Future[Result], Item] = {}
        with _stopping(workers.open(min(workers.jobs, len(waiting)))) as executor:
            try:
                while waiting or in_flight:
                    while waiting and len(in_flight) < workers.jobs:
                        future = executor.submit(work, waiting[0])
                        in_flight[future] = waiting.popleft()
                    finished = wait(in_flight, return_when=FIRST_COMPLETED).done
                    for future in finished:
                        result = _result(future, workers.deaths)
                        yield in_flight.pop(future), result
            except BrokenExecutor:
                pass
        for future, item in in_flight.items():
            if future.done() and future.exception() is None:
                yield item, future.result()
            else:
                yield item, _alone(work, item, workers)


def _result(future: Future[Result], deaths: tuple[type[Exception], ...]) -> Result | Exception:
    """What a finished future holds; one of `deaths` is returned, not raised."""
    try:
        return future.result()
    except deaths as death:
        return death


def _alone(work: Callable[[Item], Result], item: Item, workers: Workers) -> Result | Exception:
    """Run one item in a fresh executor of one worker, again if that breaks too."""
    for attempt in range(RETRIES):
        with _stopping(workers.open(1)) as executor:
            try:
                return _result(executor.submit(work, item), workers.deaths)
            except BrokenExecutor as error:
                if attempt == RETRIES - 1:
                    return error
    raise AssertionError("unreachable: RETRIES is positive")


@contextlib.contextmanager
def _stopping(executor: Executor) -> Iterator[Executor]:
    """The executor; its workers are told to end if the block is left by an exception, else when they are idle."""
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


_busy = threading.Event()


def _start_worker(threads: int) -> None:
    """First of all in a worker: threads of libraries yet to be imported, signals, the parent's death."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    # W&B's helper process of the parent would keep the run of a worker that was killed open, and refuse its repetition
    os.environ.pop("WANDB_SERVICE", None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _handle_sigterm(_terminate_worker)
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
