"""What a person is told of a search: outcomes, and an estimate that counts whatever ends a trial."""

from __future__ import annotations

import itertools

import pytest
from optuna.trial import TrialState, create_trial

from suite.commands import progress
from suite.search.loop import TrialDone


def test_the_time_left_is_at_the_pace_of_all_processes_that_share_the_study(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """10 of 30 had ended before; 60 s later 14 have, one of them pruned here and three elsewhere: 16 x 15 s = 4 min."""
    seconds = itertools.count(0.0, 60.0)  # begun at 60, after the clock was made at 0
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    best = create_trial(value=0.5)
    pruned = create_trial(state=TrialState.PRUNED, intermediate_values={1000: -2.0, 1001: -3.0})
    pruned.number = 13
    with progress.of_sweep(quiet=False) as show:
        assert show is not None
        show(TrialDone(None, 10, 30, best))
        show(TrialDone(pruned, 14, 30, best))
    assert capsys.readouterr().out.splitlines() == [
        "[10/30] trials were there before, best 0.5",
        "[14/30, about 4 min left] trial 13: pruned after 2 runs; ",
    ]
