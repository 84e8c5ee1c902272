"""What happens to a cell's files while it runs is one line and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite import cli

METHOD = """
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from suite.policy import Round

@dataclass(frozen=True)
class Config:
    how: str = ""

def run(config: Config, prior, oracle, rng):
    oracle.collect(prior, 50)
    yield Round(prior, {})
    (cell,) = Path('RESULTS').glob("cells/*")
    ledger = cell / "ledger.sqlite"
    match config.how:
        case "folder removed": shutil.rmtree(cell)
        case "garbage": ledger.write_bytes(b"garbage" * 1000)
        case "cut to nothing": os.truncate(ledger, 0)
        case "cut": os.truncate(ledger, 9000)
        case "a folder for the ledger": ledger.unlink(); ledger.mkdir()
        case "a folder for a policy": (cell / "policy-final.safetensors").mkdir()
        case "a folder for the record": (cell / "record.json").mkdir()
    oracle.collect(prior, 50)
    yield Round(prior, {})
"""


@pytest.mark.parametrize(
    ("how", "file"),
    [
        ("folder removed", "ledger.sqlite"),
        ("garbage", "ledger.sqlite"),
        ("cut to nothing", "ledger.sqlite"),
        ("cut", "ledger.sqlite"),
        ("a folder for the ledger", "ledger.sqlite"),
        ("a folder for a policy", "policy-final.safetensors"),
        ("a folder for the record", "record.json"),
    ],
)
def test_files_that_break_in_the_middle_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str, file: str
) -> None:
    results = tmp_path / "results"
    (tmp_path / "mine.py").write_text(METHOD.replace("RESULTS", str(results)))
    words = ["run", "--task", "gaussian-v1", "--baseline", f"{tmp_path / 'mine.py'}:run", "--budget", "100"]
    assert cli.main([*words, f"--how={how}", "--results", str(results), "--tracking", "off", "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"suite: {results}/cells/")
    assert f"/{file}: " in line
