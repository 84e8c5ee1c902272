"""`suite report` from the command line, with what it says on bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suite.cli import main

KINDS = ("pdf", "png", "svg")
FILES = [
    *(f"figures/{name}-addition-v1.{kind}" for name in ("compute", "curves", "improvement") for kind in KINDS),
    *(f"figures/profiles.{kind}" for kind in KINDS),
    *(f"leaderboard.{kind}" for kind in ("csv", "html", "json", "md", "tex")),
    *("overall.csv", "overall.md", "significance.csv", "significance.md"),
]

PLACE = {"round": 0, "nre": 0, "stream": 0}
PLATFORM = {"cpu": "some", "capability": "AVX2", "torch": "2.13.0", "threads": 1, "python": "3.11.7"}


def report(results: Any, out: Path, *more: str) -> int:
    """The tables alone: figures and page take seconds."""
    return whole_report(results, out, "--tables-only", *more)


def whole_report(results: Any, out: Path, *more: str) -> int:
    return main(["report", "--results", str(results.folder), "--out", str(out), *more])


def shown(out: Path) -> list[str]:
    return [row["baseline"] for row in json.loads((out / "leaderboard.json").read_text())["rows"]]


@pytest.mark.slow
def test_writes_the_files_and_prints_the_table(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results.add(rates=(4e-4, 1e-3, 0.1))
    results.add("tail", rates=(4e-4, 0.01))
    assert whole_report(results, tmp_path / "out") == 0
    files = (path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*"))
    assert sorted(map(str, files)) == FILES
    for kind, start in {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}.items():
        assert (tmp_path / "out" / "figures" / f"curves-addition-v1.{kind}").read_bytes().startswith(start)
    said = capsys.readouterr()
    assert "Best oracle-free control: tail, at 0.01." in said.out
    assert "one seed only, so no interval and no test: banel on addition-v1, tail on addition-v1" in said.err


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(results: Any, tmp_path: Path) -> None:
    results.add()
    results.add("tail")
    for name in ("one", "two"):
        assert whole_report(results, tmp_path / name) == 0
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_results_come_from_the_environment_and_files_go_beside_them(
    results: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.add()
    monkeypatch.setenv("SUITE_RESULTS", str(results.folder))
    assert main(["report", "--tables-only"]) == 0
    assert shown(results.folder / "report") == ["banel"]


def test_no_folder_is_bad_input(results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(results, tmp_path / "out") == 2
    assert f"no results folder {results.folder}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_records_are_bad_input(results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.folder.mkdir()
    assert report(results, tmp_path / "out") == 2
    assert "no records in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_records_of_a_newer_schema_are_bad_input(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a folder would mislead."""
    record = results.add()
    path = record.folder / "record.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 99', 1))
    results.add(seed=5)
    assert report(results, tmp_path / "out") == 2
    assert "record schema 99, this version reads up to 1; update the suite" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_broken_records_are_named_and_counted(results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.add()
    for name, content in {"aa": "{", "bb": '{"schema": 1}'}.items():
        (results.folder / "cells" / name).mkdir()
        (results.folder / "cells" / name / "record.json").write_text(content)
    record = results.add(seed=5)
    path = record.folder / "record.json"
    content = json.loads(path.read_text())
    del content["result"]["final"]
    path.write_text(json.dumps(content))
    assert report(results, tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert "3 broken files skipped" in said
    for name in ("aa", "bb", record.cell):
        assert str(results.folder / "cells" / name / "record.json") in said
    assert json.loads((tmp_path / "out" / "leaderboard.json").read_text())["rows"][0]["seeds"] == 1


def test_only_broken_records_are_bad_input(results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results.folder / "cells" / "aa").mkdir(parents=True)
    (results.folder / "cells" / "aa" / "record.json").write_text("{")
    assert report(results, tmp_path / "out") == 2
    assert "1 broken files, the first:" in capsys.readouterr().err


def test_only_failed_runs_are_bad_input_that_says_why(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their prior may have been measured before they failed, so they have a base and a final rate."""
    measured = {"success_rate": 4e-4, "low": 4e-4, "high": 4e-4, "estimator": "exact", "n": None, **PLACE}
    for seed in range(2):
        results.add(seed=seed, error="loss is nan\nat step 3", result={"base": measured, "final": measured})
    assert whole_report(results, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said == (
        "suite: nothing to report: all 2 runs failed; the first was banel on addition-v1, seed 0: RuntimeError: loss "
        "is nan at step 3; mend it and type the same `suite run` or `suite bench` again\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_failed_run_with_a_measured_prior_leaves_the_report_of_the_others(results: Any, tmp_path: Path) -> None:
    measured = {"success_rate": 1e-5, "low": 1e-5, "high": 1e-5, "estimator": "exact", "n": None, **PLACE}
    results.add(heldout="off", error="loss is nan", result={"base": measured, "final": measured})
    results.add("tail")
    assert whole_report(results, tmp_path / "out") == 0
    assert (tmp_path / "out" / "leaderboard.html").exists()


def test_mixtures_and_disagreeing_records_are_said_plainly(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results.add(rates=(4e-4, 0.1))
    results.add(rates=(4e-4, 0.2), folder="copy")
    results.add(budget=500, protocol="all-rewards")
    assert report(results, tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert "mixed budget: 500, 1000; nothing is averaged across them" in said
    assert "mixed protocol: all-rewards, failures-only" in said
    assert "two records of cell" in said


def test_folders_are_read_together_and_copies_that_disagree_are_named(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = type(results)(tmp_path / "other")
    results.add(seed=0, rates=(4e-4, 0.1), meta={"platform": PLATFORM | {"cpu": "a"}})
    later = {"platform": PLATFORM | {"cpu": "b"}, "finished": "2026-01-02T00:00:00+00:00"}
    other.add(seed=0, rates=(4e-4, 0.2), meta=later)
    results.add(seed=1, rates=(4e-4, 0.1))
    other.add(seed=1, rates=(4e-4, 0.1))  # an equal copy
    other.add(seed=2, rates=(4e-4, 0.3))
    assert report(results, tmp_path / "out", "--results", str(other.folder)) == 0
    (row,) = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["rows"]
    assert (row["seed_list"], row["success_final_seeds"]) == ([0, 1, 2], [0.1, 0.1, 0.3])
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "disagree" in line]
    assert "(banel on addition-v1, seed 0), made on different platforms" in said
    assert str(results.folder) in said
    assert str(other.folder) in said


@pytest.mark.parametrize(
    ("flag", "tasks"),
    [
        ("--tag=control,text", ["addition-v1", "sealed-v1"]),
        ("--protocol=all-rewards", ["gaussian-v1"]),
        ("--budget=500", ["sealed-v1"]),
        ("--task=addition-v1,gaussian-v1", ["addition-v1", "gaussian-v1"]),
    ],
)
def test_filters_pick_by_tag_protocol_budget_and_task(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, tasks: list[str]
) -> None:
    from suite import registry

    given = {"addition-v1": ("text",), "sealed-v1": ("control",)}
    monkeypatch.setattr(registry, "tags", lambda task: given.get(task, ()))
    results.add(task="addition-v1")
    results.add(task="gaussian-v1", protocol="all-rewards")
    results.add(task="sealed-v1", budget=500)
    assert report(results, tmp_path / "out", flag) == 0
    rows = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["rows"]
    assert [row["task"] for row in rows] == tasks


def test_filters_leave_the_comparison_as_it_was(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for task in ("addition-v1", "gaussian-v1"):
        results.add(task=task, rates=(4e-4, 0.1))
        results.add("rnd", task=task)
        results.add("tail", task=task, rates=(4e-4, 0.01))
    assert report(results, tmp_path / "out", "--task=addition-v1", "--baseline", "banel,rnd") == 0
    (banel, rnd) = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["rows"]
    assert (banel["task"], banel["baseline"], rnd["baseline"]) == ("addition-v1", "banel", "rnd")
    assert banel["improvement_over_control"] == pytest.approx(10)
    assert "Best oracle-free control: tail, at 0.01." in capsys.readouterr().out


@pytest.mark.parametrize(
    "flag", ["--task=adition-v1", "--baseline=banle", "--tag=papper", "--protocol=failure-only", "--budget=1001"]
)
def test_an_unknown_filter_is_bad_input(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    results.add()
    assert report(results, tmp_path / "out", flag) == 2
    said = capsys.readouterr().err
    assert flag.split("=")[1] in said
    assert "did you mean" in said


def test_a_folder_that_cannot_be_written_is_bad_input(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results.add()
    (tmp_path / "out").write_text("a file")
    assert report(results, tmp_path / "out") == 2
    assert "File exists; choose a folder that can be written to" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "a file"


def test_the_command_loads_no_plotting_before_it_runs() -> None:
    heavy = "{'pandas', 'seaborn', 'matplotlib', 'scipy', 'torch'}"
    code = f"import sys, reports, reports.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_table_without_figures_loads_no_plotting() -> None:
    heavy = "{'seaborn', 'matplotlib', 'pandas'}"
    code = f"import sys, reports.tables.render, reports.figures; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
