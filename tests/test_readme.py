"""The README's code runs as it stands there, and it stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def test_it_is_short_and_what_it_links_to_is_there() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 120
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text)
    assert len(links) > 15
    assert [link for link in links if not (README.parent / link).exists()] == []


@pytest.mark.slow
def test_the_call_from_python_prints_a_rate_and_an_improvement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.setenv("SUITE_RESULTS", str(tmp_path / "results"))
    exec(compile(block.replace("budget=2000", 'budget=2000, tracking="off"'), "README", "exec"), {})
    rate, improvement = map(float, capsys.readouterr().out.split())
    assert 0 < rate <= 1
    assert improvement == pytest.approx(rate / 1.0706418e-4, rel=1e-6)
