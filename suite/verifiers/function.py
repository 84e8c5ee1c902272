"""A verifier that is a Python function: a client library of a laboratory, a model behind somebody's API."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from suite.verifiers.remote import Remote, Request, Unreachable, reason


class Function(Remote):
    """A function of a list of questions that returns a list of 0 and 1.

    It is called in threads, `concurrency` at a time. One that raises an OSError (ConnectionError and TimeoutError are
    such), or takes longer than `timeout`, is called again; a call that is too late goes on, and its answer is dropped.
    Everything else that it raises ends the run.

    Args:
        function: takes the questions of one request.
        again: further exceptions after which it is called again.
        name, settings: as in :class:`Remote`.
    """

    def __init__(
        self,
        function: Callable[[list[Any]], Any],
        *,
        again: tuple[type[Exception], ...] = (),
        name: str = "verifier",
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        self._function = function
        self._again: tuple[type[Exception], ...] = (OSError, *again)

    @property
    def place(self) -> str:
        return getattr(self._function, "__qualname__", None) or type(self._function).__name__

    def connect(self) -> _Call:
        return _Call(self._function, self._again)


class _Call:
    def __init__(self, function: Callable[[list[Any]], Any], again: tuple[type[Exception], ...]) -> None:
        self._function, self._again = function, again

    def ask(self, request: Request, timeout: float) -> object:
        answer: queue.SimpleQueue[tuple[object, BaseException | None]] = queue.SimpleQueue()

        def call() -> None:
            try:
                answer.put((self._function(list(request.questions)), None))
            except BaseException as raised:  # SystemExit too: it is said by the thread that waits
                answer.put((None, raised))

        threading.Thread(target=call, daemon=True).start()
        try:
            value, error = answer.get(timeout=timeout)
        except queue.Empty:
            raise Unreachable(f"no answer within {timeout:g} s") from None
        if isinstance(error, self._again):
            raise Unreachable(reason(error)) from error
        if isinstance(error, Exception):
            raise error
        if error is not None:
            raise RuntimeError(reason(error)) from error
        return value

    def close(self) -> None:
        """Nothing is kept open."""
