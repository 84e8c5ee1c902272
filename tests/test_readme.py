"""The README's code runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import suite

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.fixture
def blocks(tmp_path: Path) -> list[str]:
    """The README's Python blocks: a call from Python, a task, a baseline."""
    found = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(found) == 3
    (tmp_path / "lock.py").write_text(found[1])
    (tmp_path / "method.py").write_text(found[2])
    return found


def test_the_call_from_python_prints_a_rate_and_an_improvement(
    blocks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUITE_RESULTS", str(tmp_path / "results"))
    exec(compile(blocks[0].replace("budget=2000", 'budget=2000, tracking="off"'), "README", "exec"), {})
    rate, improvement = map(float, capsys.readouterr().out.split())
    assert 0 < rate <= 1
    assert improvement == pytest.approx(rate / 1.0706418e-4, rel=1e-6)


def test_the_task_and_the_baseline_run_without_touching_the_repository(blocks: list[str], tmp_path: Path) -> None:
    record = suite.run(
        f"{tmp_path}/lock.py:Lock",
        f"{tmp_path}/method.py:run",
        budget=1000,
        results=tmp_path / "results",
        tracking="off",
    )
    assert record.result["error"] is None
    assert record.result["nre"] == 1000
    assert record.result["base"]["success_rate"] == pytest.approx(1e-3)
