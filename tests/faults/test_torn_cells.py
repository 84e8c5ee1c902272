"""One cell whose files are torn stops neither a grid nor a search: the others run, it is named and left as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import suite
from suite import cli
from suite.cells.identity import identify
from suite.cells.spec import CellSpec
from suite.errors import BrokenCell
from suite.search.objective import Configuration, TrialFailed
from suite.search.sweep import Settings
from suite.store import records

SPECS = [CellSpec("gaussian-v1", "pretrained", seed=seed, budget=100, config={"batch": 50}) for seed in range(4)]
OPTIONS: dict[str, Any] = {"budget": 100, "config": {"batch": 50}, "tracking": "off"}


def folder_of(seed: int, results: Path) -> Path:
    return identify(SPECS[seed]).folder(results)


def cut_record(cell: Path) -> Path:
    record = cell / "record.json"
    record.write_bytes(record.read_bytes()[:300])
    return record


def cut_ledger(to: int) -> Callable[[Path], Path]:
    def cut(cell: Path) -> Path:
        (cell / "record.json").unlink()
        ledger = cell / "ledger.sqlite"
        ledger.write_bytes(ledger.read_bytes()[:to])
        return ledger

    return cut


def folder_instead_of(name: str) -> Callable[[Path], Path]:
    def replace(cell: Path) -> Path:
        (cell / "record.json").unlink()
        (cell / name).unlink(missing_ok=True)
        (cell / name).mkdir()
        return cell / name

    return replace


def file_instead_of_cell(cell: Path) -> Path:
    for path in cell.iterdir():
        path.unlink()
    cell.rmdir()
    cell.write_text("")
    return cell


WAYS = {
    "record cut": cut_record,
    "ledger cut": cut_ledger(5000),
    "ledger cut to nothing": cut_ledger(0),
    "folder record.json": folder_instead_of("record.json"),
    "folder ledger.sqlite": folder_instead_of("ledger.sqlite"),
    "folder policy-final.safetensors": folder_instead_of("policy-final.safetensors"),
    "folder .lock": folder_instead_of(".lock"),
    "file for a cell": file_instead_of_cell,
}


@pytest.mark.parametrize("tear", WAYS.values(), ids=WAYS.keys())
def test_a_torn_cell_is_named_and_the_others_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tear: Callable[[Path], Path]
) -> None:
    suite.bench(["gaussian-v1"], ["pretrained"], seeds=1, results=tmp_path, **OPTIONS)
    torn = tear(folder_of(0, tmp_path))
    before = torn.read_bytes() if torn.is_file() else sorted(torn.iterdir())
    words = ["bench", "--tasks", "gaussian-v1", "--baselines", "pretrained", "--seeds", "3", "--budget", "100"]
    words += ["--batch", "50", "--tracking", "off", "--quiet", "--results", str(tmp_path)]
    for _ in range(2):  # the second time the others are there
        assert cli.main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        start = "suite: 1 of 3 cells cannot be read and were left as they are; the other 2 have their records: "
        assert line.startswith(start + str(torn))
    found = [folder_of(seed, tmp_path) / "record.json" for seed in (1, 2)]
    assert [records.read(path).status for path in found] == ["finished"] * 2
    assert (torn.read_bytes() if torn.is_file() else sorted(torn.iterdir())) == before


@pytest.mark.slow
def test_the_same_in_processes(tmp_path: Path) -> None:
    suite.bench(["gaussian-v1"], ["pretrained"], seeds=2, results=tmp_path, **OPTIONS)
    cut_record(folder_of(0, tmp_path))
    cut_ledger(0)(folder_of(1, tmp_path))
    with pytest.raises(BrokenCell, match=r"^2 of 4 cells cannot be read .* the other 2 have their records"):
        suite.bench(["gaussian-v1"], ["pretrained"], seeds=4, jobs=2, results=tmp_path, **OPTIONS)
    assert all(records.read(folder_of(seed, tmp_path) / "record.json").status == "finished" for seed in (2, 3))


def test_a_torn_record_of_an_earlier_engine_stops_nothing(tmp_path: Path) -> None:
    earlier = identify(SPECS[0])._of_engine(0).folder(tmp_path)
    earlier.mkdir(parents=True)
    (earlier / "record.json").write_text("{")
    (record,) = suite.bench(["gaussian-v1"], ["pretrained"], seeds=1, results=tmp_path, **OPTIONS)
    assert record.status == "finished"


def test_a_trial_with_a_torn_cell_has_failed(tmp_path: Path) -> None:
    """A search catches TrialFailed and goes on; UserError ends it."""
    suite.bench(["gaussian-v1"], ["pretrained"], seeds=1, results=tmp_path, **OPTIONS)
    torn = cut_record(folder_of(0, tmp_path))
    with pytest.raises(TrialFailed, match=f"seed 0: {torn}: not a record"):
        list(Configuration(Settings(seeds=1, first_seed=0), SPECS[0]).cells(tmp_path, None))


def test_an_attempt_with_a_name_of_another_kind_is_passed_over(tmp_path: Path) -> None:
    cell = folder_of(0, tmp_path)
    cell.mkdir(parents=True)
    (cell / "attempt-of mine.json").write_text("")
    (cell / "attempt-3.json").write_text("")
    record = suite.run("gaussian-v1", "pretrained", results=tmp_path, **OPTIONS)
    assert record.meta.attempt == 4
