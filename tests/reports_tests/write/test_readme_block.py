"""`suite report --readme`: table, curves and commit between two marks of a Markdown file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.read import origin
from reports.write import readme
from suite.cli import main
from suite.store import records


def report(results: Any, tmp_path: Path, *more: str) -> int:
    out = tmp_path / "docs" / "results"
    call = ["report", "--results", str(results.folder), "--out", str(out), "--readme", str(tmp_path / "README.md")]
    return main([*call, *more])


@pytest.mark.usefixtures("unencoded")
def test_the_block_is_filled_anew_and_nothing_else_is_touched(results: Any, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n{readme.BEGIN}\nstale words\n{readme.END}\nbelow\n")
    results.add(rates=(4e-4, 0.1), meta={"commit": "0123456789abcdef"})
    results.add("tail", rates=(4e-4, 0.01), meta={"commit": "0123456789abcdef"})
    assert report(results, tmp_path) == 0
    text = path.read_text()
    assert text.startswith(f"# Title\n{readme.BEGIN}\n")
    assert text.endswith(f"{readme.END}\nbelow\n")
    assert "stale words" not in text
    assert "Best oracle-free control: tail" in text
    assert "![curves-addition-v1](docs/results/figures/curves-addition-v1.png)" in text
    assert (tmp_path / "docs/results/figures/curves-addition-v1.png").exists()
    assert "2 records of commit 0123456, 2026-01-01" in text
    assert max(map(len, text.splitlines())) <= 100
    assert report(results, tmp_path) == 0
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["no marks", f"{readme.END}\n{readme.BEGIN}", readme.BEGIN])
def test_a_file_without_the_marks_is_bad_input_before_anything_is_written(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    results.add()
    (tmp_path / "README.md").write_text(text)
    assert report(results, tmp_path, "--tables-only") == 2
    assert "mark the place once" in capsys.readouterr().err
    assert not (tmp_path / "docs").exists()


def test_the_origin_names_commits_by_how_much_comes_from_them(results: Any) -> None:
    for seed, commit in enumerate(["aaaaaaaaaa", "bbbbbbbbbb", "bbbbbbbbbb"]):
        results.add(seed=seed, meta={"commit": commit, "dirty": seed == 0, "finished": f"2026-01-0{seed + 1}T00:00"})
    said = origin.describe(records.scan(results.folder)[0])
    assert said == (
        "2 records of commit bbbbbbb, 1 record of commit aaaaaaa (1 of them with uncommitted changes), "
        "2026-01-01 to 2026-01-03"
    )
