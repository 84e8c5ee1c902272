"""What all verifiers outside of this process share: requests of bounded size, several at a time, each tried again.

Answers are yielded as they come. Where one request gets none, no further one begins, those in flight are waited for and
their answers kept, and the run ends in a way that the same command goes on from.
"""

from __future__ import annotations

import abc
import contextlib
import hashlib
import json
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import tenacity
import torch
from torch import Tensor

from suite import attempts
from suite.attempts import Attempt
from suite.errors import Unanswered, Unavailable, VerifierError, one_line
from suite.task import Answered
from suite.verifiers.settings import Settings

LONGEST_PAUSE = 60.0
"""Seconds between two attempts, at most."""


class Unreachable(Exception):
    """An attempt without an answer that may have one if it is made again."""


class Request(NamedTuple):
    """Some of the questions of a batch, which go together."""

    first: int
    """The place of the first of them in the batch."""
    questions: Sequence[object]
    body: bytes
    """The questions as JSON, a list."""
    key: str
    """sha256 of the body: equal for every attempt, so that a service can tell that it has answered before."""


class Connection(Protocol):
    """The way to the verifier of one thread."""

    def ask(self, request: Request, timeout: float) -> object:
        """What was answered, a list of 0, 1 or None for each question.

        Raises:
            Unreachable: there was no answer this time.
            VerifierError: there is none to this request, however often it is made.
        """

    def close(self) -> None: ...


class Remote(abc.ABC):
    """A verifier outside of this process.

    Args:
        name: of the environment variables that overrule its settings, `SUITE_NAME_TIMEOUT`.
        batch, concurrency, timeout, retries, pause: :class:`suite.verifiers.settings.Settings`.
    """

    def __init__(self, name: str, **settings: Any) -> None:
        self.name = name
        self.settings = Settings(**settings)

    @property
    @abc.abstractmethod
    def place(self) -> str:
        """Where the answers come from, without secrets: for messages and the ledger."""

    @abc.abstractmethod
    def connect(self) -> Connection:
        """A connection for one thread."""

    def __call__(self, x: Tensor | Sequence[object]) -> Iterator[Answered]:
        """The answers to samples, int64 (B, T), or to questions of any kind that JSON knows, as they come.

        Raises:
            Unavailable: a request had no answer after all its attempts.
            Unanswered: the verifier does not know all answers yet.
            VerifierError: an answer is not one 0 or 1 per question.
        """
        questions = x.tolist() if isinstance(x, Tensor) else list(x)
        settings = self.settings.overruled(self.name)
        yield from _answers(self, list(requests(questions, settings.batch)), settings)


def requests(questions: Sequence[object], size: int) -> Iterator[Request]:
    """The questions, `size` at a time: of whole requests that were left of a batch the same are made again."""
    for first in range(0, len(questions), size):
        some = questions[first : first + size]
        body = json.dumps(some, ensure_ascii=False, separators=(",", ":")).encode()
        yield Request(first, some, body, hashlib.sha256(body).hexdigest())


class _Reply(NamedTuple):
    request: Request
    answer: object


Event = Attempt | _Reply | Exception | None
"""None: a thread has ended."""


def _answers(remote: Remote, waiting: Sequence[Request], settings: Settings) -> Iterator[Answered]:
    todo: queue.SimpleQueue[Request] = queue.SimpleQueue()
    for request in waiting:
        todo.put(request)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    stop = threading.Event()
    workers = min(settings.concurrency, len(waiting))
    for _ in range(workers):
        threading.Thread(target=_work, args=(remote, settings, todo, events, stop), daemon=True).start()
    faults: list[Exception] = []
    pending = 0
    try:
        while workers:
            arrived: list[Answered] = []
            for event in _waiting(events):
                if event is None:
                    workers -= 1
                elif isinstance(event, Attempt):
                    attempts.note(event)
                elif isinstance(event, _Reply):
                    try:
                        arrived.append(checked(event.answer, event.request, remote.place))
                        pending += len(event.request.questions) - len(arrived[-1].places)
                    except VerifierError as error:
                        faults.append(error)
                        stop.set()
                else:
                    faults.append(event)
            if any(len(part.places) for part in arrived):
                yield Answered(torch.cat([p.places for p in arrived]), torch.cat([p.rewards for p in arrived]))
    finally:
        stop.set()
    if faults:  # a fault of the verifier before one of the way to it
        raise min(faults, key=lambda fault: isinstance(fault, Unavailable))
    if pending:
        raise Unanswered(
            f"{remote.place} has not answered {pending} questions yet; the answers that it gave are kept: the same "
            "command goes on from here"
        )


def _waiting(events: queue.SimpleQueue[Event]) -> Iterator[Event]:
    """The next event, and those that came while the last answers were written: they are written together."""
    yield events.get()
    with contextlib.suppress(queue.Empty):
        while True:
            yield events.get_nowait()


def _work(
    remote: Remote,
    settings: Settings,
    todo: queue.SimpleQueue[Request],
    events: queue.SimpleQueue[Event],
    stop: threading.Event,
) -> None:
    """Make one request after the other until there is none left, or one had no answer."""
    connection: Connection | None = None
    try:
        connection = remote.connect()
        while not stop.is_set():
            try:
                request = todo.get_nowait()
            except queue.Empty:
                break
            events.put(_Reply(request, _tried(remote.place, connection, request, settings, events, stop)))
    except Exception as error:
        stop.set()
        events.put(error)
    finally:
        if connection is not None:
            connection.close()
        events.put(None)


def _tried(
    place: str,
    connection: Connection,
    request: Request,
    settings: Settings,
    events: queue.SimpleQueue[Event],
    stop: threading.Event,
) -> object:
    """The answer to a request, tried again after pauses that grow; Unavailable where there is none."""
    number = 0

    def attempt() -> object:
        nonlocal number
        number += 1
        begun_at, begun = time.time(), time.monotonic()
        error: str | None = None
        try:
            return connection.ask(request, settings.timeout)
        except Exception as raised:
            error = str(raised) or type(raised).__name__
            raise
        finally:
            seconds = time.monotonic() - begun
            events.put(Attempt(place, request.key[:16], number, len(request.questions), begun_at, seconds, error))

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Unreachable),
        stop=tenacity.stop_after_attempt(settings.retries + 1) | tenacity.stop_when_event_set(stop),
        wait=tenacity.wait_exponential(settings.pause, LONGEST_PAUSE) + tenacity.wait_random(0, min(1, settings.pause)),
        sleep=tenacity.sleep_using_event(stop),
        reraise=True,
    )
    try:
        return retrying(attempt)
    except Unreachable as error:
        times = "1 attempt" if number == 1 else f"{number} attempts"
        raise Unavailable(
            f"{place} is not reachable after {times} ({error}); all that was answered is kept: "
            "the same command goes on from here"
        ) from error


def checked(answer: object, request: Request, place: str) -> Answered:
    """The rows that were answered with 0 or 1; a row that was answered with null is waited for.

    Raises:
        VerifierError: it is no list of one 0, 1 or null per question.
    """
    if isinstance(answer, Tensor):
        answer = answer.tolist()
    wanted = len(request.questions)
    if not isinstance(answer, list | tuple) or len(answer) != wanted:
        found = f"{len(answer)} answers" if isinstance(answer, list | tuple) else type(answer).__name__
        raise VerifierError(f"{place} must answer {wanted} questions with a list of {wanted}, each 0 or 1, got {found}")
    for question, value in zip(request.questions, answer, strict=True):
        if value is not None and not (isinstance(value, int | float) and value in (0, 1)):
            raise VerifierError(f"{place} must answer 0 or 1, or null where it does not know yet, got {value!r} for "
                                f"{str(question)[:60]!r}")  # fmt: skip
    known = [i for i, value in enumerate(answer) if value is not None]
    return Answered(
        torch.tensor([request.first + i for i in known], dtype=torch.long),
        torch.tensor([bool(answer[i]) for i in known], dtype=torch.bool),
    )


def reason(error: BaseException) -> str:
    """Why an attempt had no answer, in one line."""
    return one_line(error)[:200]
