"""Which records count: plug-ins of one file name told apart, the version that ran last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import reports
import suite
from reports.read import select
from suite.store.records import Record


def placed(results: Any, place: str, source: str, **more: Any) -> Record:
    """A record of the task `task.py:Task` whose file lies at a place, from the folder above the results on."""
    files = {"task": f"../../../{place}"}
    meta = {"files": files, **({"finished": more.pop("finished")} if "finished" in more else {})}
    made: Record = results.add(task="task.py:Task", task_source=source, meta=meta, **more)
    return made


def names(records: list[Record]) -> list[str]:
    return [record.task for record in records]


def test_two_files_of_one_name_are_two_tasks(results: Any) -> None:
    placed(results, "easy/task.py", "e", rates=(0.02, 0.02))
    placed(results, "hard/task.py", "h", rates=(0.002, 0.002))
    kept, lines = select.current(select.read(results.folder)[0])
    assert sorted(names(kept)) == ["easy/task.py:Task", "hard/task.py:Task"]
    assert lines == []
    table = reports.load(results.folder)
    assert sorted(table["task"].unique()) == ["easy/task.py:Task", "hard/task.py:Task"]


def test_as_many_folders_are_named_as_tell_them_apart(results: Any) -> None:
    placed(results, "one/easy/task.py", "a")
    placed(results, "two/easy/task.py", "b")
    kept, _ = select.current(select.read(results.folder)[0])
    assert sorted(names(kept)) == ["one/easy/task.py:Task", "two/easy/task.py:Task"]


def test_a_file_that_changed_is_a_later_version_and_one_that_was_moved_is_the_same(results: Any) -> None:
    """`b` is what ran last at the first place; at the second it is still `b`."""
    placed(results, "old/task.py", "a", seed=0, finished="2026-01-01T00:00:00+00:00")
    placed(results, "old/task.py", "b", seed=1, finished="2026-01-02T00:00:00+00:00")
    placed(results, "new/task.py", "b", seed=2, finished="2026-01-03T00:00:00+00:00")
    kept, lines = select.current(select.read(results.folder)[0])
    assert sorted((record.task, record.seed) for record in kept) == [("task.py:Task", 1), ("task.py:Task", 2)]
    assert lines == ["1 records of an earlier version of the task's source or weights left out: task.py:Task"]


def test_records_that_say_no_place_keep_their_name(results: Any) -> None:
    """Those of before, and tasks of the project."""
    results.add(task="task.py:Task", task_source="a")
    results.add()
    kept, _ = select.current(select.read(results.folder)[0])
    assert sorted(names(kept)) == ["addition-v1", "task.py:Task"]


BASE = """
from dataclasses import dataclass
import torch
from suite.config import setting
from suite.generators import Table

@dataclass(frozen=True)
class Config:
    codes: int = setting(200)

class Lock:
    config: Config
    def __init__(self, config): self.config = config
    def prior(self): return Table(torch.zeros(self.config.codes))
    def verify(self, x): return x[:, 0] < 4
    def show(self, x): return [str(c) for c in x[:, 0].tolist()]
    def exact(self, policy): return float(policy.log_prob(torch.arange(4)[:, None]).exp().sum())
"""


def test_of_two_versions_that_ran_within_a_second_the_later_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a notebook makes them, one after the other; eight of 200 codes open the later lock, so 0.04."""
    monkeypatch.chdir(tmp_path)
    for i in range(4):
        for limit in (4, 8):
            source = BASE.replace("< 4", f"< {limit}").replace("arange(4)", f"arange({limit})")
            Path("t.py").write_text(f"# {i}{source}")
            for seed in range(2):
                suite.run("t.py:Lock", "uniform", seed=seed, budget=100, results=f"r{i}", tracking="off")
        kept, _ = select.current(select.read(f"r{i}")[0])
        assert [record.final and record.final.success_rate for record in kept] == [pytest.approx(0.04)] * 2
