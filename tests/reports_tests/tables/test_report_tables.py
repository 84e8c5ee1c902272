"""The files and the terminal table of the leaderboard."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reports.board import leaderboard, significance
from reports.page import words
from reports.tables import columns, terminal, text
from reports.tables import render as tables
from reports.tables import significance as significance_table
from suite.store import records

Rows = Callable[[], dict[str, Any]]

# what the issue demands of every row of leaderboard.json
DEMANDED = {
    *("task", "baseline", "protocol", "budget", "seeds", "base_rate", "verified"),
    *("success_final_mean", "success_final_median", "success_final_std", "success_best_mean"),
    *("improvement_final_mean", "improvement_best_mean", "improvement_over_control"),
    *("distinct_share", "effective_successes", "valid_share", "nre_mean", "seconds_mean"),
}


def printed(rows: list[leaderboard.Row]) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(terminal.to_console(rows))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def crowded(results: Any, rows: Rows) -> list[leaderboard.Row]:
    """Ten seeds of everything, tiny ratios, a control with nothing seen, a failed run, a name full of traps."""
    for seed in range(10):
        results.add("banel", seed, (4e-4, 0.01 * (seed + 1)), budget=7500)
        results.add("a|b\nc_[red]x[/red].py:Run", seed, (4e-4, 1.23e-4 * (seed + 1)), budget=7500)
        results.add("tail", seed, (4e-4, 0.1 + 0.0123 * seed), budget=7500)
        results.add("uniform", seed, (4e-4, 0.053), budget=7500)
    results.add("rnd", 0, error="boom", budget=7500)
    return list(rows().values())


def test_json_is_flat_and_has_the_demanded_fields(crowded: list[leaderboard.Row]) -> None:
    content = json.loads(tables.to_json(crowded))
    assert list(content) == ["rows"]
    for row in content["rows"]:
        assert set(row) >= DEMANDED
        assert not any(isinstance(value, dict) for value in row.values())


def test_json_has_null_for_what_is_unknown(crowded: list[leaderboard.Row]) -> None:
    written = tables.to_json(crowded)
    assert "NaN" not in written
    assert "Infinity" not in written
    rnd = next(row for row in json.loads(written)["rows"] if row["baseline"] == "rnd")
    assert rnd["success_final_mean"] is None
    assert rnd["failed"] == 1


def test_csv_reads_back(crowded: list[leaderboard.Row]) -> None:
    lines = list(csv.DictReader(io.StringIO(tables.to_csv(crowded))))
    assert [line["baseline"] for line in lines] == [row.baseline for row in crowded]
    banel = next(line for line in lines if line["baseline"] == "banel")
    assert [float(rate) for rate in banel["success_final_seeds"].split(";")][:3] == pytest.approx([0.01, 0.02, 0.03])
    assert next(line for line in lines if line["baseline"] == "rnd")["success_final_mean"] == ""


def test_rows_survive_the_csv(crowded: list[leaderboard.Row]) -> None:
    assert tables.from_csv(tables.to_csv(crowded)) == crowded
    with pytest.raises(ValueError, match="columns of another version: place, rank"):
        tables.from_csv(tables.to_csv(crowded).replace(",rank,", ",place,"))


def test_markdown_tables_keep_their_columns_whatever_the_names(crowded: list[leaderboard.Row]) -> None:
    lines = tables.to_markdown(crowded).splitlines()
    blocks = [list(group) for group in _runs(lines)]
    assert [len(block) for block in blocks] == [2 + 5] * 5  # a head of two lines, then five rows, five times
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1
    assert any("a\\|b c_[red]x[/red].py:Run" in line for line in lines)


def _runs(lines: list[str]) -> list[list[str]]:
    runs: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("|"):
            runs[-1].append(line)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def test_markdown_shows_each_seed_and_calls_the_best_oracle_selected(crowded: list[leaderboard.Row]) -> None:
    written = tables.to_markdown(crowded)
    assert "best (oracle-selected)" in written
    every = written[written.index("### Final success rate of every seed") :]
    banel = next(line for line in every.splitlines() if line.startswith("| banel"))
    rates = [float(cell) for cell in banel.strip("|").split("|")[1:]]
    assert rates == pytest.approx([0.01 * (seed + 1) for seed in range(10)])


def test_terminal_table_fits_eighty_columns(crowded: list[leaderboard.Row]) -> None:
    lines = printed(crowded).splitlines()
    assert max(map(len, lines)) <= 80
    banel = next(line for line in lines if line.startswith("banel"))
    assert banel.split()[:6] == ["banel", "2", "[2,", "3]", "0.055", "138"]  # (5 + 6) / 2 / 100 = 0.055, over 4e-4


def test_intervals_stay_on_one_line(crowded: list[leaderboard.Row]) -> None:
    assert re.search(r"\d \[0\.00\d\d, 0\.00\d\d\]", printed(crowded))


def test_terminal_table_sets_controls_apart_and_names_the_best(crowded: list[leaderboard.Row]) -> None:
    shown = printed(crowded)
    controls = shown[shown.index("controls:") :]
    assert "banel" in shown[: shown.index("controls:")]
    assert "uniform" in controls
    assert "Best oracle-free control: tail, at 0.15" in controls
    assert "interval below 1: worse than the control: banel" in controls
    assert "One that includes 1 is no evidence of a" in controls


def test_names_are_no_markup_and_end_no_line(crowded: list[leaderboard.Row]) -> None:
    assert "a|b c_[red]x[/" in printed(crowded)


def test_untestable_rows_show_no_interval(results: Any, rows: Rows) -> None:
    for seed in range(2):
        results.add(seed=seed, rates=(4e-4, 0.1 * (seed + 1)))
        results.add("tail", seed, (4e-4, 0.01 * (seed + 1)))
    shown = printed(list(rows().values()))
    assert "10 untestable" in shown
    assert "untestable, fewer than 8 seeds: banel" in shown


def test_what_was_not_seen_is_shown_as_a_bound(results: Any, rows: Rows) -> None:
    results.add(rates=(4e-4, 0.0), n=10000)
    # 1 - 0.025^1e-4 = 3.688e-4; over the lower end of 4 hits in 10,000, Clopper and Pearson's 1.090e-4
    assert "< 3.7e-4 < 3.38" in printed(list(rows().values()))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0, "0"),
        (1, "1"),
        (0.04234, "0.0423"),
        (12.34, "12.3"),
        (278.1, "278"),
        (1600, "1600"),
        (65802, "6.6e4"),
        (0.0004, "4.0e-4"),
        (0.001, "0.001"),
        (1.5e-21, "1.5e-21"),
        (9999.9, "1.0e4"),
        (0.99999, "1"),
    ],
)
def test_numbers_as_people_read_them(value: float | None, expected: str) -> None:
    assert text.number(value) == expected


TRAP = "a|b\nc\\input{x} <script>alert(1)</script> 5% _^~$&#"


def test_a_name_of_traps_is_text_in_every_format(results: Any, rows: Rows) -> None:
    for seed in range(2):
        results.add(TRAP, seed, task=TRAP, config={"note": TRAP})
    results.add("rnd", task=TRAP)
    made = list(rows().values())
    pairs = significance.tests(made)
    assert json.loads(tables.to_json(made))["rows"][0]["baseline"] in (TRAP, "rnd")
    assert {line["task"] for line in csv.DictReader(io.StringIO(tables.to_csv(made)))} == {TRAP}
    assert {line["task"] for line in csv.DictReader(io.StringIO(significance_table.to_csv(pairs)))} == {TRAP}
    for markdown in (tables.to_markdown(made), significance_table.to_markdown(made, pairs)):
        assert "<script" not in markdown
        assert "a\\|b c\\\\input{x} &lt;script>" in markdown
    latex = tables.to_latex(made)
    shown = [line for line in latex.splitlines() if not line.startswith("%")]
    assert not any("\\input" in line for line in shown)
    assert r"a|b c\textbackslash{}input\{x\} \ensuremath{<}script\ensuremath{>}alert(1)" in latex
    assert r"5\% \_\^{}\textasciitilde{}\$\&\#" in latex


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here")
def test_latex_with_names_of_traps_compiles(results: Any, rows: Rows, tmp_path: Path) -> None:
    for seed in range(2):
        results.add(TRAP, seed, task=TRAP, config={"note": TRAP})
        results.add("tail", seed, task=TRAP, rates=(4e-4, 0.0), n=10_000)
    (tmp_path / "tables.tex").write_text(tables.to_latex(list(rows().values())))
    frame = r"\documentclass{article}\usepackage{booktabs}\begin{document}\tiny \input{tables}\end{document}"
    (tmp_path / "frame.tex").write_text(frame)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "frame.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert (tmp_path / "frame.pdf").read_bytes().startswith(b"%PDF")


def test_latex_has_the_rows_of_the_markdown_table(crowded: list[leaderboard.Row]) -> None:
    latex = tables.to_latex(crowded)
    first = latex[latex.index("\\begin{tabular}") : latex.index("\\end{tabular}")]
    assert first.startswith("\\begin{tabular}{lrrrr}\n\\toprule")
    assert [line.split("&")[0].strip() for line in first.splitlines() if line.endswith("\\\\")] == [
        *("method", "banel", "a|b c\\_[red]x[/red].py:Run", "rnd", "control: tail", "control: uniform"),
    ]


def test_the_markdown_headline_fits_eighty_columns(crowded: list[leaderboard.Row]) -> None:
    plain_names = [row for row in crowded if "red" not in row.name]
    blocks = _runs(tables.to_markdown(plain_names).splitlines())
    assert max(map(len, blocks[0])) <= 80


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_no_cell_of_a_csv_file_is_a_formula(crowded: list[leaderboard.Row], start: str) -> None:
    """A spreadsheet runs what begins so; numbers are numbers, also below zero."""
    name = f'{start}HYPERLINK("http://x","y")'
    made = [dataclasses.replace(row, task=name, baseline=name) for row in crowded]
    text = tables.to_csv(made)
    for line in csv.reader(io.StringIO(text)):
        for cell in line:
            assert not cell.startswith(("=", "+", "@"))
            assert not cell.startswith("-") or float(cell) < 0
    assert tables.from_csv(text) == made


def test_what_the_evaluations_cost_stands_in_the_table_of_costs(results: Any, rows: Rows) -> None:
    """1,000 evaluations at 0.02 USD; the control spends none, and of the third nobody said."""
    results.add("banel", meta={"cost": (0.02, "USD")})
    results.add("tail", meta={"cost": (0.02, "USD")})
    results.add("rnd")
    made = rows()
    assert {name: row.cost for name, row in made.items()} == {"banel": (20.0, "USD"), "tail": (0.0, "USD"), "rnd": None}
    assert "| 20 USD |" in tables.to_markdown(list(made.values()))
    assert json.loads(tables.to_json(list(made.values())))["rows"][0]["cost"] == [20.0, "USD"]


def two_columns(results: Any) -> list[leaderboard.Row]:
    """Eight seeds: the control has 0.1 and 0.05; rnd 0.4 and 0.2, four times both; banel 0.5 and 0.01, collapsed."""
    for seed in range(8):
        results.add("uniform", seed, rates=(4e-4, 0.1), matches=(4e-4, 0.05))
        results.add("rnd", seed, rates=(4e-4, 0.4), matches=(4e-4, 0.2))
        results.add("banel", seed, rates=(4e-4, 0.5), matches=(4e-4, 0.01))
    return leaderboard.rows(records.scan(results.folder)[0])


def test_both_headline_columns_are_held_against_the_best_control(results: Any) -> None:
    rows = {row.baseline: row for row in two_columns(results)}
    rnd, banel = rows["rnd"], rows["banel"]
    assert (rnd.improvement_over_control, rnd.match_over_control) == (pytest.approx(4), pytest.approx(4))
    assert (banel.improvement_over_control, banel.match_over_control) == (pytest.approx(5), pytest.approx(0.2))
    assert (rnd.collapsed, banel.collapsed) == (False, True)
    text = tables.to_markdown(list(rows.values()))
    assert "- collapsed: above the best control in success rate, not in match: banel" in text


def test_the_page_says_both_columns_and_which_method_collapsed(results: Any) -> None:
    said = words.headline(two_columns(results))
    assert "banel ends highest" in said
    assert "In posterior match, how much of what succeeds is covered, rnd is highest at 0.2, 4" in said
    assert said.endswith("Collapsed, writing few successes often: banel.")


def test_no_column_of_the_page_hides_another_of_the_same_name() -> None:
    """The success rates' `geo. mean` once showed the match's."""
    groups = (columns.RATES, columns.MATCH, columns.COST, columns.DEPLOYED)
    names = [name for group in groups for name in group if name != "method"]
    assert len(names) == len(set(names))
