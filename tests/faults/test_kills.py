"""A sample of what `python tests/faults/kills.py --kills 200` does, and that it finds what is wrong."""

from __future__ import annotations

import pytest

from suite.cells.checkpoint import Checkpoints
from tests.faults import kills


@pytest.mark.slow
def test_killed_runs_leave_the_records_of_calm_ones() -> None:
    outcomes = list(kills.search(3, 0, ("pretrained", "tail")))
    assert sum(outcome.kills for outcome in outcomes) >= 3
    assert [outcome.faults for outcome in outcomes] == [[]] * len(outcomes)


@pytest.mark.slow
def test_the_harness_finds_rounds_that_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With checkpoints that nobody reads a killed run begins at its first round."""
    monkeypatch.setattr(Checkpoints, "read", lambda self: iter(()))
    for outcome in kills.search(30, 0, ("pretrained",)):
        if outcome.faults:
            assert all("computed again after their checkpoint" in fault for fault in outcome.faults)
            return
    raise AssertionError("30 kills, and nothing was found")
