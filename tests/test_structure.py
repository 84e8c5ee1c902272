"""No module imports one that imports it, directly or not; import-linter keeps the order of the rooms."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "experiments" / "structure.py"


def test_there_is_no_circle() -> None:
    spec = importlib.util.spec_from_file_location("structure", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = script.structure(*script.PACKAGES)
    assert found.modules > 150
    assert found.circles == []
