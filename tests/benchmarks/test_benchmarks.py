"""Absolute times, for people: `pytest tests/benchmarks --benchmark-enable`. The gate on speed is speed.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import speed
from tests.benchmarks.subjects import SUBJECTS
from tests.gate.planted import planted
from tests.gate.planted.plants import SLOW_SAMPLER

IDENTITY = ["-c", "user.name=test", "-c", "user.email=test@example.org"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_time(benchmark: Any, name: str) -> None:
    benchmark(SUBJECTS[name]())


def test_a_missing_baseline_is_made_and_said(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    lines, red = speed.judge({"nothing": lambda: None}, path)
    assert not red
    assert "no baseline" in lines[0]
    assert "nothing is compared" in lines[0]
    assert set(speed.read(path)[0]) == {"nothing"}


def test_a_baseline_of_another_processor_is_not_compared_with(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    speed.judge({"nothing": lambda: None}, path)
    path.write_text(path.read_text().replace('"cpu": "', '"cpu": "another '))
    lines, red = speed.judge({"nothing": lambda: None}, path)
    assert not red
    assert "another platform" in lines[0]


@pytest.mark.slow
def test_half_as_much_again_is_slower_and_the_same_is_not() -> None:
    """Work that is the kernel itself has ratio 1; three kernels against an earlier two are 1.5 times slower."""

    def times(n: int) -> Any:
        return lambda: [speed.kernel() for _ in range(n)]

    assert speed.twice(lambda: speed.ratio(times(3)) / 2.0)[1]
    assert not speed.twice(lambda: speed.ratio(times(2)) / 2.0)[1]


def test_only_a_ratio_that_is_red_twice_is_slower() -> None:
    for found, expected in (([1.2], (1.2, False)), ([1.4, 1.1], (1.1, False)), ([1.4, 1.3], (1.3, True))):
        measurements = iter(found)
        assert speed.twice(measurements.__next__) == expected
        assert not list(measurements)


def test_an_unknown_commit_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["speed", "--against", "no-such-branch", "--only", "sampling"])
    assert speed.main() == 2
    assert "--against no-such-branch: no commit that HEAD shares with it" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_slower_sampler_is_red_against_the_commit_before_it(tmp_path: Path) -> None:
    """The plant samples half as much again, so 1.5 times the work; the commit against itself is not red."""
    tree = planted.copied(tmp_path / "tree")
    for words in (["init", "-q"], ["add", "-A"], [*IDENTITY, "commit", "-qm", "before"]):
        subprocess.run(["git", "-C", str(tree), *words], check=True)
    words = ["-m", "tests.benchmarks.speed", "--against", "HEAD", "--only", "sampling"]
    same = planted.python(tree, *words)
    assert (same.returncode, same.stdout.count("times its time at")) == (0, 1), same.stderr
    planted.planted(SLOW_SAMPLER, tree)
    slower = planted.python(tree, *words)
    assert (slower.returncode, slower.stdout.count("SLOWER")) == (1, 1), slower.stdout + slower.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_commit_that_cannot_import_the_subjects_of_today_is_timed_by_its_own(tmp_path: Path) -> None:
    tree = planted.copied(tmp_path / "tree")
    subjects = tree / "tests/benchmarks/subjects.py"
    one = "SUBJECTS = {'old': lambda: lambda: sum(range(10_000))}\n"
    subjects.write_text(one)
    for words in (["init", "-q"], ["add", "-A"], [*IDENTITY, "commit", "-qm", "before"]):
        subprocess.run(["git", "-C", str(tree), *words], check=True)
    (tree / "suite/brand_new.py").write_text("")
    subjects.write_text("import suite.brand_new\n" + one.replace("}", ", 'new': lambda: lambda: None}"))
    done = planted.python(tree, "-m", "tests.benchmarks.speed", "--against", "HEAD")
    assert done.returncode == 0, done.stderr
    assert "it is timed by its own" in done.stdout
    assert "old: " in done.stdout
    assert "new: new since" in done.stdout
    done = planted.python(tree, "-m", "tests.benchmarks.speed", "--against", "HEAD", "--only", "new")
    assert (done.returncode, "nothing could be compared" in done.stderr) == (2, True)
