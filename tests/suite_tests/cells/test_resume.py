"""A run that was killed goes on: equal to an undisturbed one, and nothing is paid twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import suite
from suite.store.records import canonical

Go = Callable[..., int]


@pytest.fixture
def go(plugin: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Run the cell of `learner` on `Deadly` in a process of its own, forked or fresh; its exit status."""
    monkeypatch.setenv("KILL_FLAG", str(tmp_path / "killed"))

    def in_a_process(results: Path, *, at: int, where: str, fresh: bool = False, **options: str) -> int:
        monkeypatch.setenv("KILL_AT", str(at))
        monkeypatch.setenv("KILL_WHERE", where)
        references = plugin("toys.py:Deadly"), plugin("methods.py:learner")
        options = {"budget": 100, "results": str(results), "tracking": "off", **options}  # type: ignore[dict-item]
        options["task_config"] = {"codes": 500}  # type: ignore[assignment]
        if fresh:
            code = f"import suite; suite.run(*{references!r}, **{options!r})"
            return subprocess.run([sys.executable, "-c", code], env=os.environ, timeout=100).returncode
        process = multiprocessing.get_context("fork").Process(target=suite.run, args=references, kwargs=options)
        process.start()
        process.join(100)
        assert process.exitcode is not None
        return process.exitcode

    return in_a_process


def ledger(results: Path) -> list[tuple[Any, ...]]:
    """(k, samples, charged, rewards) of the one cell below a folder."""
    (path,) = results.glob("cells/*/ledger.sqlite")
    query = "SELECT k, samples, charged, rewards FROM batches LEFT JOIN answers USING (k) ORDER BY k"
    db = sqlite3.connect(path)  # not read-only: a hot journal is rolled back here, as the engine would
    rows = db.execute(query).fetchall()
    db.close()
    return rows


def record(results: Path) -> dict[str, Any]:
    (path,) = results.glob("cells/*/record.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


# `verify`: the charge is written, the answer is not. `valid`: called while a point is measured, so after the answer
# and before the next charge (its first call measures the prior, before any charge). Then: batches charged, answered.
CASES = {
    "first batch before its answer": ("verify", 1, (1, 0)),
    "third batch before its answer": ("verify", 3, (3, 2)),
    "before any charge": ("valid", 1, (0, 0)),
    "after the second answer": ("valid", 3, (2, 2)),
    "after the last answer": ("valid", 6, (5, 5)),
}


@pytest.mark.parametrize(
    ("case", "options"),
    [
        *((case, {}) for case in CASES),
        ("third batch before its answer", {"protocol": "all-rewards"}),
        ("third batch before its answer", {"duplicates": "cache"}),
        ("after the second answer", {"duplicates": "reject"}),
        pytest.param("third batch before its answer", {"fresh": True}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_kill_9_and_again(tmp_path: Path, go: Go, case: str, options: dict[str, Any]) -> None:
    where, at, (charged, answered) = CASES[case]
    disturbed, calm = tmp_path / "disturbed", tmp_path / "calm"
    assert go(disturbed, at=at, where=where, **options) == -signal.SIGKILL
    rows = ledger(disturbed)
    assert len(rows) == charged
    assert len([row for row in rows if row[3] is not None]) == answered
    assert not list(disturbed.glob("cells/*/record.json"))

    assert go(disturbed, at=at, where=where, **options) == 0
    assert ledger(disturbed)[:answered] == rows[:answered]
    assert go(calm, at=at, where=where, **options) == 0
    assert ledger(disturbed) == ledger(calm)
    assert sum(row[2] for row in ledger(disturbed)) == 100
    assert record(disturbed)["cell"] == record(calm)["cell"]
    assert canonical(record(disturbed)["result"]) == canonical(record(calm)["result"])
    # what the killed process put to the verifier is counted as if it had not been killed
    assert record(disturbed)["result"]["compute"]["verifying"]["tokens"] == sum(row[2] for row in ledger(calm))
    assert record(disturbed)["meta"]["attempt"] == 1  # killed, not failed
