"""A laboratory for tests: tests/suite_tests/verifiers/lab.py."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def lab_script() -> Any:
    spec = importlib.util.spec_from_file_location("lab", Path(__file__).with_name("lab.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lab"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def open_lab(lab_script: Any) -> Iterator[Callable[..., Any]]:
    """Starts laboratories, and closes them after the test."""
    opened: list[Any] = []

    def start(*args: Any, **options: Any) -> Any:
        opened.append(lab_script.Lab(*args, **options).start())
        return opened[-1]

    yield start
    for one in opened:
        if not one.killed:
            one.kill()
