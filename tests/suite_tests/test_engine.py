"""The engine's number: bumped whenever results may change, part of a cell's name, and said where it differs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import grimp
import msgspec
import pytest

import suite
from suite import cli
from suite import engine as engines
from suite.cells.identity import identify
from suite.cells.spec import CellSpec
from suite.cells.verify import verify
from suite.engine import ENGINE
from suite.store import records
from suite.store.records import Record
from suite.store.schema import plain

sys.path.insert(0, str(Path(__file__).parents[1] / "gate"))

import engine as accepted

WHAT_TO_DO = (
    "Run `make engine`: it compares the gate's cells with those of the accepted sources, and accepts these if no cell "
    "changed; else, or if in doubt, add 1 to ENGINE in suite/engine.py first (docs/decisions/009)."
)


# -- the number is bumped --------------------------------------------------------------------------------------------


def test_what_changes_results_comes_with_a_number_or_was_accepted() -> None:
    was, now = accepted.accepted(), accepted.sources()
    changed = sorted(path for path in {*was["sources"], *now} if was["sources"].get(path) != now.get(path))
    assert not changed, f"results may have changed: {', '.join(changed)}. {WHAT_TO_DO}"
    assert was["engine"] == ENGINE, f"ENGINE is {ENGINE}, accepted is {was['engine']}: run `make engine`"


def test_everything_that_the_runner_imports_is_numerics_or_known_to_change_no_result() -> None:
    """Of the modules that tasks and baselines import from the engine too, the generators."""
    graph = grimp.build_graph("suite", exclude_type_checking_imports=True)
    imported = graph.find_upstream_modules("suite.cells.runner") | graph.find_descendants("suite.generators")
    files = {f"{name.replace('.', '/')}.py" for name in imported}
    unknown = sorted(files - accepted.sources().keys() - accepted.NO_NUMBERS.keys())
    assert not unknown, f"can {unknown} change a result? say it in NUMERICS or NO_NUMBERS of tests/gate/engine.py"
    assert accepted.NO_NUMBERS.keys() <= files | {"suite/engine.py"}


SOURCE = '''"""What it is."""

def rate(hits, n):
    """A rate."""
    for i in range(n):
        hits += 1  # one more
        hits += 2
    return hits / n
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("What it is", "What it was", True),
        ("A rate.", "A share,\n    of all.", True),
        ("# one more", "# another", True),
        ("    return", "\n    return", True),
        ("hits / n", "hits / (n + 1)", False),
        ("        hits += 2", "    hits += 2", False),
        ("+= 1", "+= 1.0", False),
    ],
)
def test_prose_does_not_count_and_code_does(old: str, new: str, same: bool) -> None:
    assert (accepted.digest(SOURCE.replace(old, new)) == accepted.digest(SOURCE)) is same


# -- it is in the name, and another one is said ------------------------------------------------------------------------


@pytest.fixture
def go(tmp_path: Path, plugin: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], Record]:
    """A short run, from the folder of its plug-in files, where `suite verify` finds them."""
    monkeypatch.chdir(Path(plugin("toys.py")).parent)
    return lambda: suite.run("toys.py:Codes", "methods.py:learner", budget=40, results=tmp_path, tracking="off")


def of_engine(record: Record, number: int) -> Record:
    """The record as an earlier engine wrote it; 0 had no number."""
    identity = msgspec.structs.replace(record.identity, engine=number)
    cell = records.cell_of(identity)
    assert ("engine" in plain(identity)) == (number > 0)
    older = dataclasses.replace(record, cell=cell, identity=identity, folder=record.folder.with_name(cell))
    record.folder.rename(older.folder)
    records.write(older)
    return older


def test_another_engine_is_another_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = CellSpec("gaussian-v1", "pretrained")
    before = identify(spec)
    monkeypatch.setattr(engines, "ENGINE", ENGINE + 1)
    after = identify(spec)
    assert after.cell != before.cell
    assert after.content == msgspec.structs.replace(before.content, engine=ENGINE + 1)


def test_a_record_says_engine_version_commit_and_dirty(go: Callable[[], Record]) -> None:
    record = go()
    assert record.meta.engine == record.identity.engine == ENGINE
    assert record.meta.version == suite.__version__
    assert {"commit", "dirty"} <= plain(record.meta).keys()


@pytest.mark.parametrize("number", [0, 1])
def test_a_run_that_an_earlier_engine_finished_is_run_again_with_a_warning(
    go: Callable[[], Record], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    monkeypatch.setattr(engines, "ENGINE", 2)
    older = of_engine(go(), number)
    assert older.identity.engine == number
    again = go()
    assert capsys.readouterr().err == (
        f"warning: engine {number} has finished 1 of these cells; this is engine 2, whose results may differ, so they "
        "run again (the old records stay)\n"
    )
    assert again.cell != older.cell
    assert again.result == older.result
    assert records.read(older.folder / "record.json") == older


def test_a_run_of_this_engine_warns_of_nothing(go: Callable[[], Record], capsys: pytest.CaptureFixture[str]) -> None:
    assert go() == go()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "command", ["run --task gaussian-v1 --baseline", "bench --seeds 1 --tasks gaussian-v1 --baselines"]
)
def test_the_command_line_warns_too(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*command.split(), "uniform", "--budget=100", "--tracking=off", f"--results={tmp_path}"]
    assert cli.main(words) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(engines, "ENGINE", ENGINE + 1)
    assert cli.main(words) == 0
    assert f"engine {ENGINE} has finished 1 of these cells; this is engine {ENGINE + 1}" in capsys.readouterr().err


# -- verify ------------------------------------------------------------------------------------------------------------


def test_other_numbers_of_another_engine_refute_nothing(go: Callable[[], Record], tmp_path: Path) -> None:
    older = of_engine(go(), 0)
    (verdict,) = verify(tmp_path, trust=True)
    assert verdict.verified is True  # the same numbers are evidence, whichever engine made them
    content = json.loads((older.folder / "record.json").read_text())
    result = content["result"]
    for point in (result["final"], result["curve"][-1]):
        point.update({name: point[name] * 1.01 for name in ("success_rate", "low", "high")})
    result["improvement_final"] = result["final"]["success_rate"] / result["base"]["success_rate"]
    (older.folder / "record.json").write_text(json.dumps(content))
    (verdict,) = verify(tmp_path, trust=True)
    wrong = {check.name: check.detail for check in verdict.checks if not check.ok}
    assert verdict.verified is None
    assert wrong["engine"] == f"the record is of engine 0, this is {ENGINE}"
    assert "final success rate" in wrong


def test_a_wrong_count_refutes_a_record_of_any_engine(go: Callable[[], Record], tmp_path: Path) -> None:
    older = of_engine(go(), 0)
    records.write(dataclasses.replace(older, result=msgspec.structs.replace(older.result, nre=39)))
    (verdict,) = verify(tmp_path, trust=True)
    assert verdict.verified is False
