"""The schema of records: what earlier versions wrote is read, what users wrote against dicts still runs."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

import reports
from suite.cells.checks import of_summary
from suite.cells.spec import SETTINGS
from suite.compute import PHASES
from suite.errors import UserError
from suite.store import records, schema
from suite.store.records import FinishedRecord
from suite.store.schema import Tuning

OLD = sorted((Path(__file__).parent / "old").glob("*.json"))
"""Records of `suite run --task gaussian-v1 --baseline banel --budget 500`, as they were written on that day."""


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """An old record's content, and a results folder with it."""
    content = json.loads(request.param.read_text())
    folder = tmp_path / "cells" / content["cell"]
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(request.param.read_text())
    return content, tmp_path


def test_old_records_are_there() -> None:
    assert {path.stem for path in OLD} == {"2026-11-23", "2026-11-23-counted", "2026-11-26"}


def test_an_old_record_says_what_it_said(old: tuple[dict[str, Any], Path]) -> None:
    content, folder = old
    (record,), broken = records.scan(folder)
    assert not broken
    assert isinstance(record, FinishedRecord)
    assert (record.cell, record.identity.points) == (content["cell"], "all")
    read = json.loads(records.canonical(record.result))
    assert read["curve"] == content["result"]["curve"]
    for which in ("base", "final", "best"):  # the oldest do not say estimator and sample size
        assert read[which] | content["result"][which] == read[which]
    rest = read.keys() - {"curve", "base", "final", "best"}
    assert {name: read[name] for name in rest} == {name: content["result"][name] for name in rest}
    assert json.loads(records.canonical(record.meta)) | content["meta"] == json.loads(records.canonical(record.meta))


def test_an_old_record_holds_what_its_curve_says(old: tuple[dict[str, Any], Path]) -> None:
    """Where it was chosen on one half, the best has the samples of the other: 1,000 of 2,000."""
    (record,) = records.finished(records.scan(old[1])[0])
    assert [check for check in of_summary(record) if not check.ok] == []
    assert record.best is not None
    halved = record.best.selected_on == "half"
    assert (record.best.estimator, record.best.n) == (("monte-carlo", 1000) if halved else ("exact", None))


def test_reports_load_an_old_record(old: tuple[dict[str, Any], Path]) -> None:
    content, folder = old
    table = reports.load(folder)
    assert table["success_rate"].tolist() == [point["success_rate"] for point in content["result"]["curve"]]
    assert set(table["points"]) == {"all"}


def test_an_old_name_is_that_of_what_was_hashed(old: tuple[dict[str, Any], Path]) -> None:
    """A field that is filled in is no part of the name."""
    content, _ = old
    assert records.cell_of(content["identity"]) == content["cell"]
    identity = schema.identity_of(content["identity"])
    assert (records.cell_of(identity) == content["cell"]) == ("points" in content["identity"])


@pytest.mark.parametrize(
    "content",
    [[], 3, {}, {"result": 3}, {"result": {"curve": 3, "base": {}}}, {"result": {"base": 3, "curve": [3], "best": {}}}],
)
def test_migration_leaves_what_is_no_record_to_the_reader(content: Any) -> None:
    before = json.dumps(content)
    schema.migrated(content)
    assert json.dumps(content) == before


# -- one schema --------------------------------------------------------------------------------------------------------


def test_phases_are_those_of_the_meter() -> None:
    assert schema.Compute.__struct_fields__ == PHASES
    assert schema.Seconds.__struct_fields__ == (*PHASES, "total")


def test_an_identity_has_every_setting_of_a_cell() -> None:
    assert set(schema.Identity.__struct_fields__) == {"task", "baseline", "engine", *(spec.name for spec in SETTINGS)}


def test_a_table_of_points_has_fields_that_points_have() -> None:
    assert set(reports.POINT) < set(schema.Point.__struct_fields__)


# -- what users wrote --------------------------------------------------------------------------------------------------


def test_looking_up_a_field_as_in_a_dict_still_works_with_a_hint(old: tuple[dict[str, Any], Path]) -> None:
    """`record.final["success_rate"]` stood in the README."""
    content, folder = old
    record: Any = records.scan(folder)[0][0]
    with pytest.warns(DeprecationWarning, match=r"records have attributes now: write \.success_rate for"):
        assert record.final["success_rate"] == content["result"]["final"]["success_rate"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert record.result["status"] == "finished"
        assert record.result["curve"][-1]["metrics"]["log_tau"] == content["result"]["curve"][-1]["metrics"]["log_tau"]
        with pytest.raises(KeyError):
            record.final["counted"]  # a method


def test_a_tuning_block_is_checked() -> None:
    assert schema.tuning_of({"study": "s", "nre": 5}) == Tuning(study="s", nre=5)
    assert schema.plain(Tuning(study="s", nre=0)) == {"study": "s", "nre": 0}
    with pytest.raises(UserError, match=r"\"tuning\" has no 'heldput'; did you mean 'heldout'\?"):
        schema.tuning_of({"heldput": 5})
    for value in (-1, True, None, "many", 2.5):
        with pytest.raises(
            UserError, match=rf"has nre {value!r}: expected a whole number of evaluations; `suite sweep"
        ):
            schema.tuning_of({"nre": value})
    with pytest.raises(UserError, match=r'^"tuning": Expected `array \| null`, got `int` - at `\$.seeds`; `suite'):
        schema.tuning_of({"seeds": 3})


def test_a_study_and_its_trial_are_checked() -> None:
    assert schema.study_trial_of({"study": "s", "trial": 3}) == schema.StudyTrial(study="s", trial=3)
    with pytest.raises(UserError, match=r"Object missing required field `trial`; give study and trial"):
        schema.study_trial_of({"study": "s"})


def test_what_is_no_part_of_a_record_is_not_written() -> None:
    with pytest.raises(TypeError, match="set is no part of a record"):
        records.canonical({"x": {1, 2}})
