"""A report runs no code that only a record names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import suite
from reports.figures import gallery, sweeps
from suite.store import records

EVIL = """
from pathlib import Path
Path(__file__).with_name("RAN").write_text("")
from tasks.gaussian import Gaussian as Task
from baselines.banel import run as method
"""


def test_a_report_runs_no_code_that_only_a_record_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text(EVIL)
    record = suite.run("gaussian-v1", "pretrained", budget=500, results=tmp_path, tracking="off")
    content = json.loads((record.folder / "record.json").read_text())
    content["identity"]["task"]["id"] = "evil.py:Task"
    content["cell"] = records.cell_of(content["identity"])
    (record.folder / "record.json").write_text(json.dumps(content))
    assert gallery.images(records.read(record.folder / "record.json")) == {}
    assert sweeps._declared("evil.py:method", "lr") == (None, None, False)
    assert not Path("RAN").exists()
