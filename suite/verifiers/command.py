"""A verifier that is a program: a line with a list of questions on its stdin, a line with a list of 0 and 1 back."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from suite.errors import Unavailable, VerifierError
from suite.verifiers.remote import Remote, Request, Unreachable, reason


class Command(Remote):
    """A program that reads JSON lines and answers each with one; it runs until its stdin ends, with this process.

    As many of it run as requests are made at a time. One that does not answer in time, or ends, is started again for
    the next attempt. What it writes to stderr is passed on.

    Args:
        argv: the program and its arguments; they stand in messages and the ledger, secrets belong into the environment.
        name, settings: as in :class:`Remote`.
    """

    def __init__(self, argv: Sequence[str], *, name: str = "verifier", **settings: Any) -> None:
        super().__init__(name, **settings)
        self.argv = list(argv)
        self._idle: list[_Program] = []

    @property
    def place(self) -> str:
        return " ".join(self.argv)

    def connect(self) -> _Program:
        return self._idle.pop() if self._idle else _Program(self.argv, self._idle)


class _Program:
    def __init__(self, argv: Sequence[str], idle: list[_Program]) -> None:
        self._argv, self._idle = argv, idle
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def ask(self, request: Request, timeout: float) -> object:
        process = self._process or self._start()
        assert process.stdin is not None
        late = threading.Timer(timeout, process.kill)  # also where it does not read: writing would wait for ever
        late.start()
        try:
            process.stdin.write(request.body + b"\n")
            process.stdin.flush()
            line = self._lines.get()
        except OSError as error:
            self._end()
            raise Unreachable(reason(error)) from error
        finally:
            late.cancel()
        if not line.endswith(b"\n"):
            code = process.wait()
            self._end()
            raise Unreachable(f"it ended with exit code {code} before it answered, or took longer than {timeout:g} s")
        try:
            return json.loads(line)
        except ValueError:
            raise VerifierError(f"{self._argv[0]} answered a line that is no JSON: {line[:60]!r}") from None

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except (FileNotFoundError, PermissionError) as error:
            raise Unavailable(
                f"{self._argv[0]} cannot be started ({error.strerror}); once it can, the same command goes on from here"
            ) from error
        except OSError as error:
            raise Unreachable(reason(error)) from error
        self._process, self._lines = process, queue.SimpleQueue()
        threading.Thread(target=_read, args=(process, self._lines), daemon=True).start()
        return process

    def close(self) -> None:
        """It waits for the next batch."""
        self._idle.append(self)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
            process.wait()


def _read(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Its lines, and an empty one at its end."""
    assert process.stdout is not None
    with process.stdout as out:
        for line in out:
            lines.put(line)
    lines.put(b"")
