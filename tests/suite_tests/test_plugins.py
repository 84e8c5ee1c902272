"""Plug-in files are modules that any process can import by name."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from suite import registry

TASK = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Config:
    pass

def double(x):
    return 2 * x

class Task:
    config: Config
"""


def in_a_new_process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_what_a_plug_in_defines_can_be_pickled_for_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "strange name.v2.py"
    path.write_text(TASK)
    module = sys.modules[registry.load("task", f"{path}:Task").target.__module__]
    data = pickle.dumps(module.double)
    done = in_a_new_process(f"import pickle; print(pickle.loads({data!r})(21))")
    assert (done.stdout, done.stderr) == ("42\n", "")


def test_a_file_that_was_edited_since_is_not_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(TASK)
    module = registry.load("task", f"{path}:Task").target.__module__
    path.write_text(TASK.replace("2 * x", "3 * x"))
    done = in_a_new_process(f"import {module}")
    assert done.stderr.splitlines()[-1] == f"ImportError: {path} was edited since it was loaded; start again"


def test_an_edit_of_the_same_length_in_the_same_second_counts(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    for factor in (2, 3):
        path.write_text(TASK.replace("2 * x", f"{factor} * x"))
        os.utime(path, (1e9, 1e9))
        module = sys.modules[registry.load("task", f"{path}:Task").target.__module__]
        assert module.double(7) == 7 * factor


@pytest.mark.parametrize("name", ["suite.plugins.no_such_thing", "suite.plugins.x_123456789012_zz"])
def test_other_names_are_no_modules(name: str) -> None:
    done = in_a_new_process(f"import {name}")
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: No module named '{name}'"
