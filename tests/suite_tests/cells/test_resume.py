"""A run that was killed resumes from its ledger: equal to an undisturbed one, and nothing is charged twice."""

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
from torch import Tensor

import suite
from suite.cells.runner import Progress
from suite.oracle import Verifier
from suite.search.objective import spent
from suite.store.records import Record, canonical

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


def test_held_out_measurements_of_a_costly_verifier_are_not_paid_again(
    tmp_path: Path, plugin: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the third of six points: the other three alone are measured, each with 50 samples.

    The verifier answers for each different string once.
    """
    asked: list[int] = []
    verified = Verifier.__call__

    def counting(self: Verifier, x: Tensor) -> Tensor:
        asked.append(len(x))
        return verified(self, x)

    monkeypatch.setattr(Verifier, "__call__", counting)

    def stop(at: int) -> Callable[[Progress], None]:
        def told(progress: Progress) -> None:
            if progress.round == at:
                raise KeyboardInterrupt

        return told

    def run(results: Path, at: int) -> Record:
        options = {"budget": 100, "heldout": 50, "tracking": "off", "progress": stop(at)}
        return suite.run(plugin("toys.py:Codes"), plugin("methods.py:learner"), results=results, **options)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "disturbed", 2)
    assert len(asked) == 3
    disturbed, undisturbed = run(tmp_path / "disturbed", -1), run(tmp_path / "calm", -1)
    assert len(asked) == 6 + 6
    assert asked[:6] == asked[6:]
    assert all(0 < n < 50 for n in asked)
    assert canonical(disturbed.result) == canonical(undisturbed.result)
    assert disturbed.result.heldout_evaluations == disturbed.meta.heldout_asked == 300


def test_held_out_samples_of_a_measurement_that_was_cut_off_are_counted(
    tmp_path: Path, plugin: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service dies in the second of six points: 300 samples belong to the record, 350 were asked for."""
    verified, calls = Verifier.__call__, [0]

    def dying(self: Verifier, x: Tensor) -> Tensor:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        return verified(self, x)

    monkeypatch.setattr(Verifier, "__call__", dying)
    options = {"budget": 100, "heldout": 50, "tracking": "off", "results": tmp_path}
    references = plugin("toys.py:Codes"), plugin("methods.py:learner")
    with pytest.raises(KeyboardInterrupt):
        suite.run(*references, **options)  # type: ignore[arg-type]
    record = suite.run(*references, **options)  # type: ignore[arg-type]
    assert (record.result.heldout_evaluations, record.meta.heldout_asked) == (300, 350)
    assert spent(record) == [100, 350]
