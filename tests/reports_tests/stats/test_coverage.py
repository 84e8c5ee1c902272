"""A small sample of docs/experiments/coverage.py: no interval covers much less than it is said to."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from scipy import stats as reference

from suite.cli import main
from suite.measure import intervals

SCRIPT = Path(__file__).parents[3] / "docs" / "experiments" / "coverage.py"
REPETITIONS = 100


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_study", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-4, 1e-2])
def test_every_interval_covers_at_least_ninety_percent(study: ModuleType, rate: float) -> None:
    # 14 in a million samples of 100 from a coverage of 90 % hold fewer than this many
    least = reference.binom.ppf(1e-5, REPETITIONS, 0.9)
    shares = {name: study.coverage(trial, rate, 10, REPETITIONS) for name, trial in study.TRIALS.items()}
    assert {name: share for name, share in shares.items() if share * REPETITIONS < least} == {}


def test_the_studys_fast_interval_is_the_suites(study: ModuleType) -> None:
    for hits in (0, 1, 57, 9999, 10_000):
        assert study.clopper_pearson(hits, 10_000) == pytest.approx(intervals.clopper_pearson(hits, 10_000), rel=1e-8)


def test_every_interval_that_a_report_prints_is_documented(results: Any, tmp_path: Path) -> None:
    """The heads of all columns with an interval, in the files themselves, against docs/statistics.md's tables."""
    for task in ("addition-v1", "queens-v1"):
        for name in ("banel", "tail"):
            results.add(name, task=task)
    out = tmp_path / "out"
    assert main(["report", "--results", str(results.folder), "--out", str(out), "--tables-only"]) == 0
    printed = {
        head.strip()
        for path in out.glob("*.md")
        for line in path.read_text().splitlines()
        for head in line.split("|")
        if re.search(r"\[95 %\]\s*$", head)
    }
    assert {"final, median [95 %]", "ratio [95 %]", "mean rank [95 %]", "pass@10 [95 %]"} <= printed
    documented = [
        line.split("|")[1]
        for line in (SCRIPT.parents[1] / "statistics.md").read_text().splitlines()
        if line.startswith("|") and "[95 %]" in line.split("|")[1]
    ]
    missing = {head for head in printed if not any(head.removesuffix(" [95 %]") in line for line in documented)}
    assert missing == set()
