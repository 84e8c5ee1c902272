"""Verifiers that are a program, a function or a person; and answers in any order."""

from __future__ import annotations

import csv
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from suite import attempts
from suite.attempts import Attempt
from suite.errors import Unavailable, UserError, VerifierError
from suite.task import Answered, verified
from suite.verifiers import Command, Function, Human
from suite.verifiers.settings import Settings

X = torch.tensor([[7], [8], [7], [9], [7]])
RIGHT = [True, False, True, False, True]

ONCE_DEAF = """
import json, pathlib, sys, time
flag = pathlib.Path(sys.argv[1])
for line in sys.stdin:
    if not flag.exists():
        flag.touch()
        {fault}
    print(json.dumps([int(question == [7]) for question in json.loads(line)]), flush=True)
"""


@pytest.mark.parametrize("fault", ["sys.exit(3)", "time.sleep(60)", "pass"])
def test_a_program_that_ends_or_hangs_is_started_again(tmp_path: Path, fault: str) -> None:
    script = tmp_path / "lab.py"
    script.write_text(ONCE_DEAF.format(fault=fault))
    noted: list[Attempt] = []
    command = Command([sys.executable, "-S", str(script), str(tmp_path / "flag")], batch=2, concurrency=1, pause=0)
    with attempts.noted(noted.append), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUITE_VERIFIER_TIMEOUT", "2" if "sleep" in fault else "30")
        for _ in range(2):
            assert verified(command, X).tolist() == RIGHT
    errors = [attempt.error for attempt in noted if attempt.error]
    assert len(noted) == 2 * 3 + len(errors)  # five questions by two
    if fault == "pass":
        assert not errors
    else:
        end = {"sys.exit(3)": "3 before it answered, or took longer than 30 s", "time.sleep(60)": "-9 before it"}[fault]
        assert errors
        assert all(error.startswith(f"it ended with exit code {end}") for error in errors)
    assert len(command._idle) == 1  # one program for all batches


def test_a_program_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="/no/such/program cannot be started"):
        verified(Command(["/no/such/program"]), X)


def test_a_function_is_called_in_threads_with_bounded_batches() -> None:
    sizes: list[int] = []
    together = threading.Barrier(2, timeout=10)

    def ask(questions: list[list[int]]) -> list[bool]:
        sizes.append(len(questions))
        together.wait()  # passes only where two are called at a time
        return [question == [7] for question in questions]

    assert verified(Function(ask, batch=2, concurrency=2), X[:4]).tolist() == RIGHT[:4]
    assert sizes == [2, 2]


def test_a_function_is_called_again_after_an_oserror_and_not_after_another() -> None:
    calls = 0

    def ask(questions: list[list[int]]) -> Tensor:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ConnectionError("no route")
        return torch.tensor([question == [7] for question in questions])

    assert verified(Function(ask, pause=0), X).tolist() == RIGHT
    assert calls == 3
    with pytest.raises(Unavailable, match=r"fails is not reachable after 3 attempts \(ConnectionError: no route\)"):
        verified(Function(fails, pause=0, retries=2), X)
    with pytest.raises(VerifierError, match="the verifier raised ZeroDivisionError"):
        verified(Function(lambda questions: [1 // 0 for _ in questions], pause=0), X)


def fails(questions: object) -> None:
    raise ConnectionError("no route")


def test_a_function_that_is_late_is_called_again() -> None:
    late = threading.Event()

    def ask(questions: list[list[int]]) -> list[bool]:
        if not late.is_set():
            late.set()
            time.sleep(0.5)
        return [question == [7] for question in questions]

    assert verified(Function(ask, timeout=0.05, pause=0), X).tolist() == RIGHT


def test_no_request_begins_after_one_had_no_answer() -> None:
    asked: list[int] = []

    def ask(questions: list[list[int]]) -> list[bool]:
        asked.append(questions[0][0])
        if questions[0][0] == 8:
            raise ConnectionError
        return [question == [7] for question in questions]

    parts = Function(ask, batch=1, concurrency=1, retries=0)(X)
    assert next(parts).places.tolist() == [0]
    with pytest.raises(Unavailable):
        next(parts)
    assert asked == [7, 8]


def test_a_person_is_asked_each_question_once(tmp_path: Path) -> None:
    human = Human(tmp_path / "questions.csv")
    with pytest.raises(Unavailable, match=r"3 questions wait in .*questions\.csv: write 1 or 0"):
        verified(human, X)
    with (tmp_path / "questions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["question"] for row in rows] == ["[7]", "[8]", "[9]"]
    for row, answer in zip(rows, ("yes", "0", ""), strict=True):
        row["answer"] = answer
    save(tmp_path / "questions.csv", rows)
    parts = human(X)
    first = next(parts)
    assert (first.places.tolist(), first.rewards.tolist()) == ([0, 1, 2, 4], [True, False, True, True])
    with pytest.raises(Unavailable, match="1 questions wait"):
        next(parts)
    rows[2]["answer"], rows[2]["question"] = "No", "formatted by a spreadsheet"
    save(tmp_path / "questions.csv", rows)
    assert verified(human, X).tolist() == RIGHT


def save(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:  # as a spreadsheet does
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_an_answer_of_a_person_that_is_none_is_said(tmp_path: Path) -> None:
    path = tmp_path / "questions.csv"
    with pytest.raises(Unavailable):
        verified(Human(path), X[:1])
    path.write_text(path.read_text().rstrip() + "perhaps\r\n")
    with pytest.raises(UserError, match="is 'perhaps'; write 1 or 0"):
        verified(Human(path), X[:1])
    path.write_text("question\n[7]\n")
    with pytest.raises(UserError, match="its first line must name the columns id, question, answer"):
        verified(Human(path), X[:1])


@pytest.mark.parametrize("rows", [[0, 0], [0, 5], [-1, 0], [2, 0]])
def test_rows_that_are_answered_twice_or_are_not_there_are_refused(rows: list[int]) -> None:
    def ask(x: Tensor) -> object:
        yield Answered(torch.tensor([2]), torch.tensor([1]))
        yield Answered(torch.tensor(rows), torch.tensor([0, 1]))

    with pytest.raises(VerifierError, match="must answer each of the 3 samples once"):
        verified(ask, X[:3])


def test_answers_in_any_order_are_put_in_their_places() -> None:
    def ask(x: Tensor) -> object:
        yield Answered(torch.tensor([2, 0]), torch.tensor([1, 0]))
        yield Answered(torch.tensor([1]), torch.tensor([1]))

    assert verified(ask, X[:3]).tolist() == [False, True, True]


@pytest.mark.parametrize("bad", [{"batch": 0}, {"timeout": 0.0}, {"retries": -1}, {"concurrency": 0}])
def test_settings_out_of_range_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(bad))} of a verifier must be at least"):
        Settings(**bad)
