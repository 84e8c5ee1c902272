"""Records: canonical text, content-addressed names, and files that are not what they should be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from suite.errors import NewerSchema, UserError
from suite.store import records
from suite.store.records import Record

IDENTITY: dict[str, Any] = {
    "task": {"id": "t", "config": {}},
    "baseline": {"id": "b", "config": {"batch": 3}},
    "seed": 4,
    "budget": 10,
}


def make(folder: Path, seed: int = 4, **result: Any) -> Record:
    identity = IDENTITY | {"seed": seed}
    cell = records.cell_of(identity)
    place = folder / "cells" / cell
    place.mkdir(parents=True)
    content = {"status": "finished", "final": {"success_rate": 0.5}, "best": None} | result
    record = Record(cell, identity, content, {"host": "here"}, place)
    records.write(record)
    return record


def test_canonical_text_has_sorted_keys_and_no_blanks() -> None:
    assert records.canonical({"b": [1, 2.5, None], "a": {"é": True}}) == '{"a":{"\\u00e9":true},"b":[1,2.5,null]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.canonical({"x": value})


def test_a_cell_is_the_hash_of_its_identity() -> None:
    text = '{"baseline":{"config":{"batch":3},"id":"b"},"budget":10,"seed":4,"task":{"config":{},"id":"t"}}'
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
    again = records.read(record.folder / "record.json")
    assert again == record
    assert (again.task, again.baseline, again.seed, again.status) == ("t", "b", seed, "finished")
    assert (again.final, again.best) == ({"success_rate": 0.5}, None)
    assert [path.name for path in record.folder.iterdir()] == ["record.json"]


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    record = make(tmp_path)
    text = (record.folder / "record.json").read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.write(Record(record.cell, record.identity, {"x": float("nan")}, {}, record.folder))
    assert (record.folder / "record.json").read_text() == text


BROKEN: dict[str, tuple[str, str]] = {
    "text": ("{oops", r"not a record \(DecodeError: .*move the file away"),
    "list": ("[1, 2]", r"not a record \(TypeError"),
    "empty": ("", r"not a record \(DecodeError"),
    "no schema": ("{}", r"not a record \(KeyError: 'schema'\)"),
    "no identity": ('{"schema": 1, "cell": "x"}', r"not a record \(KeyError: 'identity'\)"),
    "newer": (f'{{"schema": {records.SCHEMA + 1}}}', "record schema 2, this version reads up to 1; update the suite"),
    "text schema": ('{"schema": "one"}', r"not a record \(TypeError"),
    "other identity": (
        '{"schema": 1, "cell": "x", "identity": {}, "result": {}, "meta": {}}',
        "its identity does not hash to its cell x",
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
        if name == "newer":
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
