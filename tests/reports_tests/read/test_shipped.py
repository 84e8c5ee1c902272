"""Records that come with the suite: kept small, shown beside what was run here, and never in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from reports import cli
from reports.board import leaderboard
from reports.read import select, shipped
from reports.tables import render
from suite.store import records as store


def ship(results: Any, file: Path) -> list[shipped.ShippedRecord]:
    shipped.write(store.scan(results.folder)[0], file)
    return shipped.read(file)


def test_what_is_written_is_read_without_samples_and_machine(results: Any, tmp_path: Path) -> None:
    made = results.add(seed=3, rates=(4e-4, 0.25), meta={"host": "mine", "commit": "c21f1590"})
    results.add(seed=4, error="boom")
    (kept,) = ship(results, tmp_path / "file.xz")
    assert (kept.cell, kept.identity, kept.seed) == (made.cell, made.identity, 3)
    assert kept.final is not None
    assert kept.final.success_rate == 0.25
    assert kept.meta.host is None
    assert [point.samples for point in kept.result.curve] == [[], []]


def test_a_row_that_was_run_here_is_shown_in_place_of_the_shipped_one(results: Any, tmp_path: Path) -> None:
    """Shipped: banel and uniform at 0.1; here: banel at 0.5, under another source of task and method."""
    results.add(rates=(4e-4, 0.1))
    results.add("uniform", rates=(4e-4, 0.1))
    old = ship(results, tmp_path / "file.xz")
    mine = results.add(rates=(4e-4, 0.5), source="cc", task_source="dd", seed=1)
    kept, lines = select.current([mine, *old])
    rows = {row.baseline: row for row in leaderboard.rows(kept)}
    assert rows["banel"].success_final_median == 0.5
    assert rows["banel"].shipped is None
    assert rows["uniform"].success_final_median == 0.1  # not left out, though of an earlier source
    assert rows["uniform"].shipped == "unknown"
    assert lines == []


def test_the_report_says_which_rows_are_shipped_and_that_their_sources_are_older(results: Any, tmp_path: Path) -> None:
    results.add(rates=(4e-4, 0.1), meta={"commit": "c21f1590000"})
    records = ship(results, tmp_path / "file.xz")
    assert shipped.notices(records) == [
        "1 records of addition-v1 were not made here but come with the suite, of commit c21f159",
        "shipped records stand under earlier sources of addition-v1, banel, so results of today may differ: "
        "`suite bench` runs them again",
    ]
    assert (
        render.origin(leaderboard.rows(records)) == "Shipped with the suite, not run here: all rows of commit c21f159."
    )


def test_the_flag_adds_the_file_that_comes_with_the_suite(results: Any, tmp_path: Path) -> None:
    results.add("banel", task="decoys-v1", seed=1)
    there = shipped.read()
    assert there
    assert shipped.FILE.stat().st_size < 400_000
    given = ["--results", str(results.folder), "--out", str(tmp_path / "out"), "--tables-only"]
    assert CliRunner().invoke(cli.report, given).exit_code == 0
    assert "addition-v1" not in (tmp_path / "out/leaderboard.md").read_text()
    assert CliRunner().invoke(cli.report, [*given, "--shipped"]).exit_code == 0
    text = (tmp_path / "out/leaderboard.md").read_text()
    assert {record.task for record in there} == {"addition-v1"}
    assert f"Shipped with the suite, not run here: all rows of commit {shipped.commits(there)}." in text
