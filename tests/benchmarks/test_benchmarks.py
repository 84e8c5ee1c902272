"""Absolute times, for people: `pytest tests/benchmarks --benchmark-enable`. The gate on speed is speed.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import speed
from tests.benchmarks.subjects import SUBJECTS


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

    assert speed.compare(times(3), earlier=2.0)[1]
    assert not speed.compare(times(2), earlier=2.0)[1]
