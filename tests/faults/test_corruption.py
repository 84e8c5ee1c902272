"""Damaged cells: a sample of what `python tests/faults/corruption.py --count 500` does, and what it has found."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults import corruption


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = corruption.make(tmp_path_factory.mktemp("made"))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "ledger.sqlite is a folder",
        "policy-final.safetensors is a folder",
        "verify.json is a folder",
        "record.json is a folder",
        "record nested 100000 deep",
        "metrics nested 100000 deep",
        "ledger.sqlite cut to 0 bytes",
        "record of bytes",
    ],
)
def test_what_was_found_stays_mended(made: Path, tmp_path: Path, name: str) -> None:
    every = corruption.damages(corruption.cell_of(made, 0), 1, random.Random(0))
    damage = next(damage for damage in every if damage.name == name)
    assert list(corruption.judge(made, damage, tmp_path)) == []


@pytest.mark.slow
def test_no_damage_to_one_cell_stops_a_command(made: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    every = list(corruption.damages(corruption.cell_of(made, 0), 10, rng))
    assert len(every) > 100
    for damage in rng.sample(every, 30):
        assert list(corruption.judge(made, damage, tmp_path)) == []


def test_the_harness_finds_what_is_wrong(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("suite.store.records.file_hashes", broken)
    damage = corruption.Damage("none", lambda cell: None)
    found = list(corruption.judge(made, damage, tmp_path))
    assert "verify" in [finding.command for finding in found]
    assert all("RuntimeError: a fault" in finding.what for finding in found)
