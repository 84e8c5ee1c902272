"""docs/experiments/sweep_overhead.py runs; what it measures is for the benchmarks and the log."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "docs" / "experiments" / "sweep_overhead.py"


@pytest.mark.slow
def test_both_loops_wait_for_the_objective() -> None:
    """Seconds of a trial, under `suite sweep` and in a bare loop: no shorter than the objective, which sleeps."""
    spec = importlib.util.spec_from_file_location("sweep_overhead", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    ours, theirs = script.measure(seconds=0.1, trials=3, rounds=1)
    assert min(ours, theirs) > 0.1
