"""Verifiers that are a program, a function or a person; and answers in any order."""

from __future__ import annotations

import csv
import json
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from suite import attempts, cli
from suite.attempts import Attempt
from suite.errors import Unavailable, UserError, VerifierError
from suite.store import records
from suite.store.ledger import Ledger
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
        patch.setenv("SUITE_VERIFIER_TIMEOUT", "1" if "sleep" in fault else "30")
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


def test_no_question_is_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "questions.csv"
    with pytest.raises(Unavailable):
        list(Human(path)(["=1+1", "1+1"]))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["question"] for row in rows] == ["'=1+1", "1+1"]
    save(path, [row | {"answer": "1"} for row in rows])
    (answered,) = Human(path)(["1+1", "=1+1"])
    assert answered.rewards.tolist() == [True, True]


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


PERSON = """
import torch
from dataclasses import dataclass
from suite.generators import Table
from suite.verifiers import Human

@dataclass(frozen=True)
class Config:
    pass

class Lock:
    config: Config
    verify = Human("unset", name="person")

    def __init__(self, config):
        self.config = config

    def prior(self):
        return Table(torch.zeros(1000))

    def show(self, x):
        return [str(code) for code in x[:, 0].tolist()]
"""


@pytest.mark.slow
def test_a_grid_asks_a_person_the_questions_of_all_its_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first batches of two seeds, 2 x 10 questions; answered, the second ones; answered, two records."""
    (tmp_path / "lock.py").write_text(PERSON.replace("unset", str(tmp_path / "questions.csv")))
    words = ["bench", "--tasks", f"{tmp_path / 'lock.py'}:Lock", "--baselines", "pretrained", "--seeds", "2"]
    words += ["--batch", "10", "--budget", "20", "--heldout", "off", "--tracking", "off", "--quiet"]
    words += ["--results", str(tmp_path / "results")]
    sizes = []
    for _ in range(2):
        assert cli.main(words) == 75
        assert "2 of 2 cells wait for answers, the other 0 have their records" in capsys.readouterr().err
        with (tmp_path / "questions.csv").open(newline="") as file:
            rows = [row | {"answer": row["answer"] or "0"} for row in csv.DictReader(file)]
        sizes.append(len(rows))
        save(tmp_path / "questions.csv", rows)
    assert cli.main(words) == 0
    found, _ = records.scan(tmp_path / "results")
    assert [record.result.nre for record in found] == [20, 20]
    asked = {row for record in found for batch in batches(record) for row in batch}
    assert {row["question"] for row in rows} == {json.dumps([code]) for code in asked}
    assert sizes[0] <= 20 < sizes[1] <= 40  # a code that is drawn twice is asked once


def batches(record: records.Record) -> list[list[int]]:
    ledger = Ledger(record.folder / "ledger.sqlite")
    try:
        return [batch.x[:, 0].tolist() for batch in ledger.batches()]
    finally:
        ledger.close()
