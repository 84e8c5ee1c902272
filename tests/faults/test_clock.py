"""A machine's clock that is set back while a run goes on changes nothing but the times that are written down."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import suite
from suite.cells.runner import Progress
from suite.cells.verify import verify
from suite.store.records import canonical

OPTIONS: dict[str, Any] = {"budget": 200, "config": {"batch": 50}, "tracking": "off"}


def stop(progress: Progress) -> None:
    if progress.round == 2:
        raise KeyboardInterrupt


@pytest.fixture
def backwards(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """An hour back at each look at it, from 2026 on."""

    def start() -> None:
        times = itertools.count(1.8e9, -3600)
        monkeypatch.setattr("time.time", lambda: next(times))

    return start


def test_a_run_under_a_clock_that_goes_backwards(tmp_path: Path, backwards: Callable[[], None]) -> None:
    calm = suite.run("gaussian-v1", "pretrained", results=tmp_path / "calm", **OPTIONS)
    backwards()
    with pytest.raises(KeyboardInterrupt):
        suite.run("gaussian-v1", "pretrained", results=tmp_path / "set back", progress=stop, **OPTIONS)
    record = suite.run("gaussian-v1", "pretrained", results=tmp_path / "set back", **OPTIONS)
    assert canonical(record.result) == canonical(calm.result)
    assert record.meta.seconds is not None
    assert all(getattr(record.meta.seconds, phase) >= 0 for phase in ("training", "filtering", "verifying", "heldout"))
    (verdict,) = verify(tmp_path / "set back")
    assert verdict.verified is True
