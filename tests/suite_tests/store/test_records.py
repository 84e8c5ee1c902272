"""Records: canonical text, content-addressed names, and files that are not what they should be."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from suite.errors import NewerSchema, UserError
from suite.store import records, schema
from suite.store.records import FinishedRecord, Record
from suite.store.schema import SCHEMA, Error, Estimate, FailedResult, Placed

IDENTITY: dict[str, Any] = {
    "task": {"id": "t", "config": {}, "source_sha256": "a", "assets": {}},
    "baseline": {"id": "b", "config": {"batch": 3}, "source_sha256": "c", "control": False},
    "seed": 4,
    "protocol": "failures-only",
    "duplicates": "charge",
    "budget": 10,
    "heldout": "off",
    "points": "all",
    "device": "cpu",
    "threads": 1,
}
POINT: dict[str, Any] = {
    "round": 0,
    "nre": 0,
    "success_rate": 0.5,
    "low": 0.4,
    "high": 0.6,
    "estimator": "monte-carlo",
    "n": 100,
    "stream": 0,
    "metrics": {},
    "distinct_successes": 3,
    "distinct_share": None,
    "effective_successes": None,
    "valid_share": None,
    "entropy": 1.5,
    "kl_prior": 0.0,
    "samples": ["a"],
    "halves": [20, 50, 30, 50],
}
TALLY = {"tokens": 7, "flops": 0.5}
RESULT: dict[str, Any] = {
    "status": "finished",
    "error": None,
    "curve": [POINT],
    "base": None,
    "final": {name: POINT[name] for name in ("round", "nre", *Estimate.__struct_fields__, "stream")},
    "best": None,
    "improvement_final": None,
    "improvement_best": None,
    "nre": 10,
    "first_success": None,
    "successes": 0,
    "withheld": 0,
    "heldout_evaluations": 100,
    "compute": {"training": TALLY, "filtering": TALLY, "verifying": TALLY, "heldout": TALLY},
}


def content_of(seed: int = 4, **result: Any) -> dict[str, Any]:
    identity = IDENTITY | {"seed": seed}
    parts = {"identity": identity, "result": RESULT | result, "meta": {"host": "here"}}
    return {"schema": 1, "cell": records.cell_of(identity), **parts}


def make(folder: Path, seed: int = 4, **result: Any) -> Record:
    content = content_of(seed, **result)
    path = folder / "cells" / content["cell"] / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    return records.read(path)


def test_canonical_text_has_sorted_keys_and_no_blanks() -> None:
    assert records.canonical({"b": [1, 2.5, None], "a": {"é": True}}) == '{"a":{"\\u00e9":true},"b":[1,2.5,null]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.canonical({"x": value})


def test_a_cell_is_the_hash_of_its_identity() -> None:
    text = (
        '{"baseline":{"config":{"batch":3},"control":false,"id":"b","source_sha256":"c"},"budget":10,"device":"cpu",'
        '"duplicates":"charge","heldout":"off","points":"all","protocol":"failures-only","seed":4,'
        '"task":{"assets":{},"config":{},"id":"t","source_sha256":"a"},"threads":1}'
    )
    assert records.cell_of(schema.identity_of(IDENTITY)) == records.cell_of(IDENTITY)
    assert records.cell_of(IDENTITY) == hashlib.sha256(text.encode()).hexdigest()[:20]
    assert records.cell_of(dict(reversed(IDENTITY.items()))) == records.cell_of(IDENTITY)
    assert records.cell_of(IDENTITY | {"seed": 5}) != records.cell_of(IDENTITY)


def test_the_results_folder_is_the_argument_else_the_environment_else_results(monkeypatch: pytest.MonkeyPatch) -> None:
    assert records.results_folder(None) == Path("results")
    monkeypatch.setenv("SUITE_RESULTS", "/elsewhere")
    assert records.results_folder(None) == Path("/elsewhere")
    assert records.results_folder("here") == Path("here")


@pytest.mark.parametrize("seed", [4, 2**65])
def test_a_record_comes_back_as_it_was_written(tmp_path: Path, seed: int) -> None:
    """A seed beyond 64 bits too: many a fast JSON reader would round it, and the cell would no longer fit."""
    record = make(tmp_path, seed)
    records.write(record)
    again = records.read(record.folder / "record.json")
    assert again == record
    assert isinstance(again, FinishedRecord)
    assert (again.task, again.baseline, again.seed, again.status) == ("t", "b", seed, "finished")
    assert (again.final, again.best) == (Placed(0.5, 0.4, 0.6, "monte-carlo", 100, round=0, nre=0, stream=0), None)
    assert [path.name for path in record.folder.iterdir()] == ["record.json"]
    written = json.loads((record.folder / "record.json").read_text())
    assert {name: written[name] for name in ("schema", "cell", "identity", "result")} == {
        name: value for name, value in content_of(seed).items() if name != "meta"
    }
    assert records.canonical(again.result) == records.canonical(written["result"])


def test_a_failed_run_needs_neither_rates_nor_times(tmp_path: Path) -> None:
    folder = tmp_path / "cells" / "x"
    folder.mkdir(parents=True)
    result = {"status": "failed", "error": {"type": "E", "message": "too hot"}}
    (folder / "record.json").write_text(json.dumps(content_of() | {"result": result}))
    record = records.read(folder / "record.json")
    assert not isinstance(record, FinishedRecord)
    assert record.result == FailedResult(error=Error(type="E", message="too hot"))
    assert (record.result.nre, record.final, record.result.curve) == (None, None, [])
    assert records.finished([record]) == []


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    record = make(tmp_path)
    text = (record.folder / "record.json").read_text()
    broken = msgspec.structs.replace(record.result, improvement_final=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.write(dataclasses.replace(record, result=broken))
    assert (record.folder / "record.json").read_text() == text


BROKEN: dict[str, tuple[str, str]] = {
    "text": ("{oops", r"not a record \(JSON is malformed.*move the file away"),
    "list": ("[1, 2]", r"not a record \(Expected `object`, got `array`\)"),
    "empty": ("", r"not a record \(Input data was truncated"),
    "no schema": ("{}", r"not a record \(Object missing required field `schema`\)"),
    "no identity": ('{"schema": 1, "cell": "x"}', r"not a record \(Object missing required field `identity`\)"),
    "newer": (f'{{"schema": {SCHEMA + 1}}}', "record schema 2, this version reads up to 1; update the suite"),
    "newer, else like ours": (
        json.dumps(content_of() | {"schema": SCHEMA + 1}),
        "record schema 2, this version reads up to 1; update the suite",
    ),
    "text schema": ('{"schema": "one"}', r"not a record \(Expected `int`, got `str` - at `\$.schema`\)"),
    "identity without seed": (
        json.dumps(content_of() | {"identity": {name: IDENTITY[name] for name in IDENTITY if name != "seed"}}),
        r"not a record \(Object missing required field `seed` - at `\$.identity`\)",
    ),
    "other identity": (
        json.dumps(content_of() | {"cell": "x"}),
        "its identity does not hash to its cell x; move the file away",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_record_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        records.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "done"}, "Invalid value 'done' - at `$.result.status`"),
        ({"curve": []}, "Expected `array` of length >= 1 - at `$.result.curve`"),
        ({"nre": "many"}, "Expected `int`, got `str` - at `$.result.nre`"),
        ({"nre": None}, "Expected `int`, got `null` - at `$.result.nre`"),
        ({"curve": [POINT | {"n": None}]}, "monte-carlo without a number of samples `n` - at `$.result.curve[0]`"),
        (
            {"curve": [POINT | {"halves": [1, 2]}]},
            "Expected `array` of length 4, got 2 - at `$.result.curve[0].halves`",
        ),
    ],
)
def test_a_record_of_another_shape_is_named_with_the_place(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """The messages are msgspec's."""
    with pytest.raises(UserError) as caught:
        make(tmp_path, **change)
    path = next(tmp_path.glob("cells/*/record.json"))
    assert str(caught.value) == f"{path}: not a record ({said}); {records.AGAIN}"


def test_a_field_of_a_later_version_is_passed_over(tmp_path: Path) -> None:
    assert make(tmp_path, later=7).result == make(tmp_path / "other").result


def test_a_missing_or_binary_file_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a record"):
        records.read(tmp_path / "record.json")
    (tmp_path / "record.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a record"):
        records.read(tmp_path / "record.json")


def test_a_scan_gives_records_by_cell_and_one_line_for_every_broken_file(tmp_path: Path) -> None:
    good = [make(tmp_path, seed) for seed in range(3)]
    lines = []
    for name, (content, _) in BROKEN.items():
        if name.startswith("newer"):
            continue
        folder = tmp_path / "cells" / name
        folder.mkdir()
        (folder / "record.json").write_text(content)
        lines.append(str(folder / "record.json"))
    (tmp_path / "cells" / "running").mkdir()  # no record yet: neither
    found, broken = records.scan(tmp_path)
    assert found == sorted(good, key=lambda record: record.cell)
    assert sorted(line.split(": ")[0] for line in broken) == sorted(lines)


def test_a_scan_stops_at_a_newer_schema(tmp_path: Path) -> None:
    """Half a folder would mislead."""
    make(tmp_path, 0)
    folder = tmp_path / "cells" / "newer"
    folder.mkdir()
    (folder / "record.json").write_text(BROKEN["newer"][0])
    with pytest.raises(NewerSchema, match="update the suite"):
        records.scan(tmp_path)


def test_a_scan_of_nothing_finds_nothing(tmp_path: Path) -> None:
    assert records.scan(tmp_path / "nowhere") == ([], [])


def test_verified_is_what_was_found_while_nothing_changed(tmp_path: Path) -> None:
    record = make(tmp_path)
    for name in ("ledger.sqlite", "policy-final.safetensors", "policy-best.safetensors"):
        (record.folder / name).write_text(name)
    assert records.verified(record) is None  # not checked
    hashes = records.file_hashes(record.folder)
    assert hashes["ledger.sqlite"] == hashlib.sha256(b"ledger.sqlite").hexdigest()
    assert set(hashes) == {"record.json", "ledger.sqlite", "policy-final.safetensors", "policy-best.safetensors"}
    for verdict in (True, False):
        (record.folder / "verify.json").write_text(json.dumps({"verified": verdict, "hashes": hashes}))
        assert records.verified(record) is verdict


@pytest.mark.parametrize("name", ["record.json", "ledger.sqlite", "policy-best.safetensors", "policy-new.safetensors"])
def test_a_change_of_any_file_makes_it_unknown(tmp_path: Path, name: str) -> None:
    record = make(tmp_path)
    for known in ("ledger.sqlite", "policy-best.safetensors"):
        (record.folder / known).write_text(known)
    verdict = {"verified": True, "hashes": records.file_hashes(record.folder)}
    (record.folder / "verify.json").write_text(json.dumps(verdict))
    assert records.verified(record) is True
    with (record.folder / name).open("a") as file:
        file.write(" ")
    assert records.verified(record) is None


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", '{"hashes": 1}'])
def test_a_verdict_that_cannot_be_read_is_unknown(tmp_path: Path, text: str) -> None:
    record = make(tmp_path)
    (record.folder / "verify.json").write_text(text)
    assert records.verified(record) is None
