"""A whole run with a verifier that breaks in its third batch: one clear line, the charge kept, the rest not lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import suite
from suite import cli
from suite.cells.verify import verify
from suite.store.ledger import Ledger

TASK = """
import torch
from dataclasses import dataclass
from suite.config import setting
from suite.generators import Table

@dataclass(frozen=True)
class Config:
    breaks: bool = setting(True)

class Task:
    config: Config
    calls = 0

    def __init__(self, config):
        self.config = config

    def prior(self):
        return Table(torch.zeros(64))

    def verify_heldout(self, x):
        return x[:, 0] == 7

    def verify(self, x):
        self.calls += 1
        if self.calls == 3 and not __import__("pathlib").Path(r"{mended}").exists():
            {statement}
        return x[:, 0] == 7

    def show(self, x):
        return [str(code) for code in x[:, 0].tolist()]

    def exact(self, policy):
        return None
"""

BROKEN = {
    "raises": (
        "raise OSError('no route to the laboratory')",
        "the verifier raised OSError: no route to the laboratory",
    ),
    "raises without a word": ("assert not len(x)", "the verifier raised AssertionError"),
    "raises at length": ("raise ValueError('two\\n  lines')", "the verifier raised ValueError: two lines"),
    "leaves": ("raise SystemExit(3)", "the verifier raised SystemExit: 3"),
    "nan": ("return torch.full((len(x),), torch.nan)", "the verifier must answer 0 or 1, got nan"),
    "shape": ("return torch.zeros(len(x), 2)", "the verifier must answer with a tensor of shape (50,), got (50, 2)"),
    "score": ("return torch.full((len(x),), 0.7)", "the verifier must answer 0 or 1, got 0.69"),
}


def run(task: Path, results: Path, **options: Any) -> Any:
    return suite.run(
        f"{task}:Task",
        "banel",
        budget=200,
        config={"batch": 50, "pool": 100},
        results=results,
        tracking="off",
        **options,
    )


@pytest.mark.parametrize("name", BROKEN)
def test_the_charge_is_kept_and_the_same_command_goes_on_from_there(tmp_path: Path, name: str) -> None:
    statement, message = BROKEN[name]
    task, mended = tmp_path / "my_task.py", tmp_path / "mended"
    task.write_text(TASK.replace("{statement}", statement).replace("{mended}", str(mended)))
    record = run(task, tmp_path / "results")
    assert record.status == "failed"
    assert record.result.error.type == "VerifierError"
    assert record.result.error.message.startswith(message)
    assert record.result.error.where.startswith("my_task.py:" if "the verifier raised" in message else "suite/task.py:")
    assert record.result.nre == 150  # three batches were charged, two answered
    assert len(record.result.curve) == 3  # the prior and two rounds
    batches = list(Ledger(record.folder / "ledger.sqlite").batches())
    assert [batch.rewards is not None for batch in batches] == [True, True, False]

    mended.touch()
    again = run(task, tmp_path / "results")
    assert again.status == "finished", again.result.error
    assert again.result.nre == 200
    assert [batch.x.tolist() for batch in Ledger(again.folder / "ledger.sqlite").batches()][:3] == [
        batch.x.tolist() for batch in batches
    ]


HELD_OUT = {
    "nan": ("return torch.full((len(x),), torch.nan)", "the verifier must answer 0 or 1, got nan"),
    "score": ("return torch.full((len(x),), 0.7)", "the verifier must answer 0 or 1, got 0.69"),
    "list": ("return [0] * len(x)", "the verifier must answer with a tensor of shape"),
}


@pytest.mark.parametrize("name", HELD_OUT)
def test_answers_of_held_out_measurement_are_checked_too(tmp_path: Path, name: str) -> None:
    statement, message = HELD_OUT[name]
    task, cheap = tmp_path / "my_task.py", "def verify_heldout(self, x):\n        "
    task.write_text(TASK.replace(f"{cheap}return x[:, 0] == 7", f"{cheap}{statement}").replace("{statement}", "pass"))
    record = run(task, tmp_path / "results")
    assert record.status == "failed"
    assert record.result.error.message.startswith(message)


@pytest.mark.parametrize(("rate", "status"), [("torch.tensor(0.25)", "finished"), ("2.0", "failed")])
def test_an_exact_rate_is_a_number_between_0_and_1(tmp_path: Path, rate: str, status: str) -> None:
    task = tmp_path / "my_task.py"
    task.write_text(TASK.replace("return None", f"return {rate}").replace("{statement}", "pass"))
    record = run(task, tmp_path / "results")
    assert record.status == status
    if status == "finished":
        assert record.result.final.success_rate == 0.25
    else:
        assert "exact success rate is 2, not between 0 and 1" in record.result.error.message


# -- the parts of a task that are no verifier --------------------------------------------------------------------------

PARTS = {
    "constructor": ("        self.config = config", "        raise KeyError('weights.bin')", "KeyError: 'weights.bin'"),
    "prior": ("        return Table(torch.zeros(64))", "        assert False", "AssertionError"),
    "exact": ("        return None", "        raise OSError('no\\n  table')", "OSError: no table"),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("command", ["run", "list"])
def test_a_task_that_cannot_be_built_is_one_line_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, command: str
) -> None:
    right, wrong, message = PARTS[part]
    task = tmp_path / "my_task.py"
    task.write_text(TASK.replace("{statement}", "pass").replace("{mended}", "").replace(right, wrong))
    line = task.read_text().splitlines().index(wrong) + 1
    words = {
        "run": ["run", "--task", f"{task}:Task", "--baseline", "pretrained", "--tracking", "off", "--quiet"],
        "list": ["list", "--measure", f"{task}:Task"],
    }[command]
    words += ["--results", str(tmp_path / "results")] if command == "run" else []
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"suite: task my_task.py:Task: {task}:{line}: {message}\n"
    assert not (tmp_path / "results").exists()


def test_measuring_a_task_with_a_broken_verifier_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = tmp_path / "my_task.py"
    task.write_text(TASK.replace("return x[:, 0] == 7", "raise ValueError").replace("{mended}", ""))
    assert cli.main(["list", "--measure", f"{task}:Task"]) == 2
    line = task.read_text().splitlines().index("        raise ValueError") + 1
    expected = f"suite: task my_task.py:Task: {task}:{line}: VerifierError: the verifier raised ValueError\n"
    assert capsys.readouterr().err == expected


WRONG = {
    "symbols": (
        "return Table(torch.zeros(64))",
        "prior = Table(torch.zeros(64)); prior.vocab_size = 8; return prior",
        "symbols must lie in 0..7, got 0..63",
    ),
    "few texts": ("return [str(code)", "return ['one'] or [str(code)", "a list of 8 strings, or with images float"),
    "numbers shown": ("return [str(code)", "return [code", "in [0, 1], got 8 of them in a list"),
    "one string shown": ("return [str(code)", "return 'samples!' or [str(code)", "in [0, 1], got str"),
    "flat images": (
        "return [str(code)",
        "return torch.rand(8)\n        [str(code)",
        "got a tensor torch.float32 (8,)",
    ),
    "bright images": (
        "return [str(code)",
        "return torch.full((8, 2, 2), 1.5)\n        [str(code)",
        "[0, 1], got a tensor torch.float32 (8, 2, 2)",
    ),
    "leaves in show": ("return [str(code)", "raise SystemExit(3) or [str(code)", "3"),
    "quantities": (
        "    def exact(self",
        "    def quantities(self, policy):\n        return {'a': 'b'}\n\n    def exact(self",
        "could not convert string to float",
    ),
    "valid": (
        "    def exact(self",
        "    def valid(self, x):\n        return x >= 0\n\n    def exact(self",
        "must answer with a bool tensor of shape (51,), got torch.bool (51, 1)",  # 51 different strings of 100
    ),
    "valid's type": (
        "    def exact(self",
        "    def valid(self, x):\n        return x[:, 0]\n\n    def exact(self",
        "must answer with a bool tensor of shape (51,), got torch.int64 (51,)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_measured_beside_the_rate_is_checked_too(tmp_path: Path, name: str) -> None:
    right, wrong, message = WRONG[name]
    task = tmp_path / "my_task.py"
    task.write_text(TASK.replace("{statement}", "pass").replace("{mended}", "").replace(right, wrong))
    record = run(task, tmp_path / "results", heldout="100")
    assert record.status == "failed"
    assert message in record.result.error.message
    assert not record.result.error.where.startswith("task.py")  # the engine's is suite/task.py


ENUMERATED = {
    "a row": ("torch.zeros(1, 4)", "must answer with floats of shape (S,), got torch.float32 (1, 4)"),
    "a list": ("[0.0]", "must answer with floats of shape (S,), got list"),
    "a number": ("torch.tensor(0.0)", "must answer with floats of shape (S,), got torch.float32 ()"),
    "too much": ("torch.zeros(2)", "the task's exact success rate is 2, not between 0 and 1"),
    "no number": ("torch.tensor([torch.nan])", "the task's exact success rate is nan, not between 0 and 1"),
}


@pytest.mark.parametrize("name", ENUMERATED)
def test_enumerated_successes_are_checked_by_runs_and_by_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    wrong, message = ENUMERATED[name]
    task = tmp_path / "my_task.py"
    source = TASK.replace("{statement}", "pass").replace("{mended}", "").replace("return None", "return 0.5")
    task.write_text(source + f"\n    def success_log_probs(self, policy):\n        return {wrong}\n")
    record = run(task, tmp_path / "results")
    assert record.status == "failed"
    assert message in record.result.error.message
    assert cli.main(["list", "--measure", f"{task}:Task"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "measured.json").exists()


def test_a_task_without_a_verifier_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tmp_path / "my_task.py"
    task.write_text(TASK.replace("def verify(self", "def check(self"))
    words = ["run", "--task", f"{task}:Task", "--baseline", "pretrained", "--tracking", "off", "--quiet"]
    assert cli.main([*words, "--results", str(tmp_path / "results")]) == 2
    assert "'Task' object has no attribute 'verify'" in capsys.readouterr().err


def test_verification_goes_on_after_a_verifier_that_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers during the run and breaks at the third batch when it is asked again."""
    monkeypatch.chdir(tmp_path)
    task, mended = tmp_path / "my_task.py", tmp_path / "mended"
    task.write_text(TASK.replace("{mended}", str(mended)).replace("{statement}", "raise OSError('laboratory closed')"))
    mended.touch()
    assert run(task, tmp_path / "results").status == "finished"
    suite.run("gaussian-v1", "pretrained", budget=500, results=tmp_path / "results", tracking="off")
    mended.unlink()
    verdicts = {verdict.task: verdict for verdict in verify(tmp_path / "results", trust=True)}
    assert verdicts["gaussian-v1"].verified
    assert verdicts["my_task.py:Task"].verified is None  # that it cannot be asked refutes nothing
    assert "the verifier raised OSError: laboratory closed" in verdicts["my_task.py:Task"].checks[-1].detail


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("raise OSError('laboratory closed')", "not checked"),
        ("return torch.zeros(len(x), 2)", "NOT VERIFIED"),
    ],
)
def test_a_verifier_that_cannot_be_reached_is_told_from_a_wrong_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], statement: str, word: str
) -> None:
    """Neither is a success: a verification that asked nobody must not read as one that found nothing."""
    task, mended = tmp_path / "my_task.py", tmp_path / "mended"
    task.write_text(TASK.replace("{mended}", str(mended)).replace("{statement}", statement))
    mended.touch()
    run(task, tmp_path / "results")
    mended.unlink()
    assert cli.main(["verify", "--trust", "--results", str(tmp_path / "results")]) == 1
    said = capsys.readouterr()
    assert f"my_task.py:Task banel seed 0: {word}" in said.err
    assert ("not reachable: the verifier raised OSError: laboratory closed" in said.err) == (word == "not checked")
    wrong = "0 of them wrong, 1 not checked" if word == "not checked" else "1 of them wrong"
    assert said.out.splitlines()[-1] == f"1 records, {wrong}"


def test_what_was_found_before_a_verifier_broke_is_kept(tmp_path: Path) -> None:
    """A forged count is found without the verifier."""
    task, mended = tmp_path / "my_task.py", tmp_path / "mended"
    task.write_text(TASK.replace("{mended}", str(mended)).replace("{statement}", "raise OSError('laboratory closed')"))
    mended.touch()
    path = run(task, tmp_path / "results").folder / "record.json"
    content = json.loads(path.read_text())
    content["result"]["nre"] = 100
    path.write_text(json.dumps(content))
    mended.unlink()
    (verdict,) = verify(tmp_path / "results", trust=True)
    assert verdict.verified is False
    assert [check.name for check in verdict.checks if not check.ok] == ["nre", "verifier"]
