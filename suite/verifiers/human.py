"""A verifier that is a person: a file of questions, in which somebody writes the answers, today or next week."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from suite.errors import FORMULA, Unanswered, UserError
from suite.store import disk
from suite.task import Answered
from suite.verifiers.settings import from_environment

YES, NO = ("1", "yes", "y", "true"), ("0", "no", "n", "false")
COLUMNS = ("id", "question", "answer")


class Human:
    """A CSV file with the columns id, question and answer, which a spreadsheet can edit.

    A run writes the questions that the file does not have yet and ends; once `answer` says 1 or 0 (yes, no) for each,
    the same command goes on. A question stands in it once, for whatever runs ask it, and is found by its id: the
    question itself may be cut or formatted. One that a spreadsheet would run as a formula begins with an apostrophe.

    Args:
        path: of the file, from where the run is started; SUITE_NAME_PATH overrules it.
        name: of that environment variable.
    """

    def __init__(self, path: Path | str, *, name: str = "verifier") -> None:
        self.path = Path(from_environment(name, "path") or path).absolute()

    def __call__(self, x: Tensor | Sequence[object]) -> Iterator[Answered]:
        """The answers that the file has to samples, int64 (B, T), or to questions.

        Raises:
            Unanswered: some are missing; their questions are in the file.
            UserError: the file cannot be read, or an answer is none of yes and no.
        """
        questions = [_text(question) for question in (x.tolist() if isinstance(x, Tensor) else x)]
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            rows = self._read()
            known = {row["id"]: _answer(row, self.path) for row in rows}
            new = [question for question in dict.fromkeys(questions) if _id(question) not in known]
            if new:
                fresh = [{"id": _id(question), "question": _cell(question), "answer": ""} for question in new]
                self._write([*rows, *fresh])
        found = [known.get(_id(question)) for question in questions]
        answered = [i for i, answer in enumerate(found) if answer is not None]
        if answered:
            yield Answered(torch.tensor(answered), torch.tensor([found[i] is True for i in answered]))
        missing = len({question for question, answer in zip(questions, found, strict=True) if answer is None})
        if missing:
            raise Unanswered(
                f"{missing} questions wait in {self.path}: write 1 or 0 into the column `answer` of each; then the "
                "same command goes on from here"
            )

    def _read(self) -> list[dict[str, str]]:
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self.path} cannot be read: {error}") from error
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise UserError(f"{self.path}: its first line must name the columns {', '.join(COLUMNS)}")
        return [{name: row[name] or "" for name in COLUMNS} for row in reader]

    def _write(self, rows: Sequence[dict[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        with disk.failures_named():
            disk.write(self.path, text.getvalue())


def _text(question: object) -> str:
    return question if isinstance(question, str) else json.dumps(question, ensure_ascii=False)


def _cell(question: str) -> str:
    """With an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{question}" if question.startswith(FORMULA) else question


def _id(question: str) -> str:
    """q and 12 digits of the sha256; with the letter no spreadsheet takes it for a number."""
    return f"q{hashlib.sha256(question.encode()).hexdigest()[:12]}"


def _answer(row: dict[str, str], path: Path) -> bool | None:
    text = row["answer"].strip().lower()
    if text in YES or text in NO:
        return text in YES
    if text:
        raise UserError(f"{path}: the answer to {row['id']} is {row['answer']!r}; write 1 or 0")
    return None
