"""`suite reproduce`: the paper's numbers beside ours, running what is missing and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import suite
from reports.figures import illustration
from reports.paper import reproduce
from reports.paper import table as paper
from suite.cells import identity
from suite.cells.spec import CellSpec
from suite.cli import main
from suite.errors import UserError


def run(tmp_path: Path, *args: str) -> int:
    return main(["reproduce", *args, "--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plans with a task of milliseconds."""
    plans = {
        "attack-table": [
            CellSpec("gaussian-v1", baseline, budget=1000) for baseline in ("banel", "pretrained", "uniform")
        ],
        "compute-scaling": [
            *(CellSpec("gaussian-v1", "banel", budget=1000, config={"epochs": epochs}) for epochs in (1, 2, 5)),
            CellSpec("gaussian-v1", "uniform", budget=1000),
        ],
        "reasoning-curves": [CellSpec("word-problems-v9", "banel", budget=1000)],
        "illustration": [],
    }
    monkeypatch.setattr(reproduce, "PLANS", plans)


@pytest.mark.slow
def test_the_table_holds_the_papers_numbers_and_ours(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0.0645 is 2 of 31 bins, what `uniform` reaches; the paper's row is that of paper.md."""
    assert run(tmp_path, "attack-table", "--seeds", "2") == 0
    said = capsys.readouterr().out
    assert "to run: 2 runs of banel on gaussian-v1, 2 runs of pretrained on gaussian-v1" in said
    lines = {cells[0]: cells for cells in table(tmp_path / "out" / "attack-table.md")}
    assert lines["banel"][2] == "0.111"
    assert lines["banel"][4] == "0.0488"
    assert lines["banel"][8] == "278.1"
    assert lines["control: uniform"][3] == "0.0645"
    assert "278 x stands for anything from 247 x to 318 x" in (tmp_path / "out" / "attack-table.md").read_text()
    for kind in ("svg", "pdf", "png"):
        assert (tmp_path / "out" / f"attack-table.{kind}").exists()
    assert run(tmp_path, "attack-table", "--seeds", "2") == 0
    assert "everything is recorded, nothing to run" in capsys.readouterr().out


def table(path: Path) -> list[list[str]]:
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
def test_compute_scaling_draws_the_papers_curve(small: None, tmp_path: Path) -> None:
    assert run(tmp_path, "compute-scaling", "--seeds", "2") == 0
    lines = {cells[0]: cells for cells in table(tmp_path / "out" / "compute-scaling.md")}
    assert lines["10"] == ["10", "not run", "–", "–", "90"]
    assert len(lines["5"][1].split(", ")) == 2
    assert lines["5"][4] == "12.5"


@pytest.mark.parametrize("part", ["illustration", "all"])
def test_a_dry_run_of_what_needs_no_record_does_not_call_it_recorded(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce, "PLANS", {"illustration": []})
    assert run(tmp_path, part, "--dry-run") == 0
    assert capsys.readouterr().out == "no run of it is recorded or needed: illustration is made anew\n"


def test_a_dry_run_runs_nothing(small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "attack-table", "--seeds", "3", "--dry-run") == 0
    assert "3 runs of banel on gaussian-v1" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_is_not_registered_is_bad_input(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "reasoning-curves") == 2
    assert (
        "reproduce reasoning-curves: it needs the task word-problems-v9, which is not registered here"
        in capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


def test_nothing_recorded_is_bad_input(small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "attack-table", "--recorded") == 2
    said = "reproduce attack-table: no finished run of it is recorded; leave --recorded away to run it"
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("unencoded")
def test_all_makes_what_can_be_made_and_names_the_rest(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that is not trained is no failure of what could be done: exit code 0."""
    known = identity.identify

    def untrained(spec: CellSpec) -> identity.Identity:
        if spec.task == "lock-v1":
            raise UserError("its network is not trained here: run `suite pretrain lock-v1`")
        return known(spec)

    monkeypatch.setattr(identity, "identify", untrained)
    monkeypatch.setitem(reproduce.PLANS, "compute-scaling", [CellSpec("lock-v1", "banel", budget=1000)])
    assert run(tmp_path, "all", "--seeds", "1") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.md")) == ["attack-table.md", "illustration.md"]
    lock, unknown = capsys.readouterr().err.splitlines()[-2:]
    assert lock == (
        "left out: compute-scaling: it needs lock-v1: its network is not trained here: run `suite pretrain lock-v1`"
    )
    assert unknown.startswith("left out: reasoning-curves: it needs the task word-problems-v9")


@pytest.mark.usefixtures("unencoded")
def test_all_that_is_recorded_leaves_out_the_rest(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The illustration has no records and is made in any case."""
    assert run(tmp_path, "all", "--recorded", "--seeds", "1") == 0
    assert [path.name for path in (tmp_path / "out").glob("*.md")] == ["illustration.md"]
    said = capsys.readouterr().err
    assert "left out: attack-table: no finished run of it is recorded" in said
    assert not (tmp_path / "results" / "cells").exists()


FAILING = """
import dataclasses

@dataclasses.dataclass(frozen=True)
class Config:
    pass

def run(config: Config, prior, oracle, rng):
    raise RuntimeError("as it was told to")
    yield
"""


@pytest.mark.usefixtures("unencoded")
def test_a_run_that_failed_makes_all_fail(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.py").write_text(FAILING)
    plan = CellSpec("gaussian-v1", f"{tmp_path / 'bad.py'}:run", budget=1000)
    monkeypatch.setitem(reproduce.PLANS, "attack-table", [plan])
    monkeypatch.setitem(reproduce.PLANS, "compute-scaling", [])
    monkeypatch.setitem(reproduce.MAKERS, "compute-scaling", lambda found, seeds: ("# made", None))
    assert run(tmp_path, "all", "--seeds", "2") == 1
    said = capsys.readouterr()
    assert "2 runs failed; the same command runs them again" in said.err
    assert "# The 1-D illustration" in said.out  # what came after it was made all the same


@pytest.mark.slow
def test_the_illustration_shows_the_run_that_suite_run_makes(tmp_path: Path) -> None:
    """Watching changes nothing: rates of every round equal those of the record, whose runner does not watch."""
    record = suite.run("gaussian-v1", "banel", seed=3, budget=1500, results=tmp_path, tracking="off")
    steps = illustration.watch(3, budget=1500)
    assert [step.success_rate for step in steps.rounds] == [p.success_rate for p in record.result.curve[1:]]
    assert [sum(step.sampled) for step in steps.rounds] == [500, 500, 500]
    assert [steps.labels[place] for place in steps.successes] == ["-2.0", "+2.0"]
    for step in steps.rounds:
        assert sum(step.failure_model) == pytest.approx(1)
        assert sum(step.posterior) == pytest.approx(1)
    axes = illustration.figure(steps).axes
    assert len(axes) == 9
    assert [bar.get_height() for bar in axes[2].patches if bar.get_width() == 0.9] == pytest.approx(
        steps.rounds[0].posterior
    )


def test_the_papers_numbers_agree_with_themselves() -> None:
    """mean / base = improvement, within the one digit of the base and of the rounding."""
    rows: dict[str, Any] = paper.PAPER["attack-table"]["rows"]
    for row in rows.values():
        assert row["mean"] / paper.PAPER["attack-table"]["base"] == pytest.approx(row["improvement"], rel=0.01)
