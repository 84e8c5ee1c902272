"""Settings of the process that code of a user changes are put back behind it."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import suite
from suite import global_state, registry
from suite.global_state import restored

CHANGES: dict[str, tuple[Callable[[], Any], Callable[[], object]]] = {
    "dtype": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
    "device": (torch.get_default_device, lambda: torch.set_default_device("meta")),
    "gradients": (torch.is_grad_enabled, lambda: torch.set_grad_enabled(False)),
    "threads": (torch.get_num_threads, lambda: torch.set_num_threads(3)),
    "precision": (torch.get_float32_matmul_precision, lambda: torch.set_float32_matmul_precision("medium")),
    "deterministic": (
        torch.are_deterministic_algorithms_enabled,
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    ),
    "numpy": (np.geterr, lambda: np.seterr(all="raise")),
    "folder": (os.getcwd, lambda: os.chdir("/")),
    "interrupts": (lambda: signal.getsignal(signal.SIGINT), lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)),
    "stdout": (lambda: sys.stdout, lambda: setattr(sys, "stdout", sys.__stdout__)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_setting_is_put_back_also_after_an_error(name: str) -> None:
    read, change = CHANGES[name]
    before = read()

    def block() -> None:
        with restored():
            change()
            assert read() != before
            raise KeyError(name)

    with pytest.raises(KeyError):
        block()
    assert read() == before


def test_the_default_device_is_none_again() -> None:
    """Put back to "cpu" by name, torch would pass every call that makes a tensor through Python."""
    with restored():
        torch.set_default_device("meta")
    assert torch.zeros(2).device.type == "cpu"
    assert torch.overrides._len_torch_function_stack() == 0


def test_the_owner_is_named_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(global_state, "_said", set())
    for _ in range(2):
        with restored("wide.py"):
            torch.set_default_dtype(torch.float64)
    assert capsys.readouterr().err == (
        "warning: wide.py sets torch's default dtype to torch.float64, not torch.float32; it was put back\n"
    )


TASK = """
from dataclasses import dataclass
import os, signal, warnings
import numpy as np
import torch
from suite.generators import Table

{at_import}

@dataclass(frozen=True)
class Config:
    pass

class Task:
    config: Config

    def __init__(self, config):
        {in_init}

    def prior(self):
        return Table(torch.zeros(64))

    def verify(self, x):
        {in_verify}
        return x[:, 0] < 4

    def show(self, x):
        return [str(code) for code in x[:, 0].tolist()]
"""
PARTS = ("at_import", "in_init", "in_verify")


def task_with(path: Path, part: str, statement: str) -> str:
    path.write_text(TASK.format(**dict.fromkeys(PARTS, "pass") | {part: statement}))
    return f"{path}:Task"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("statement", ["torch.set_default_dtype(torch.float64)", 'np.seterr(all="raise")'])
def test_a_task_leaves_the_results_of_other_cells_alone(tmp_path: Path, part: str, statement: str) -> None:
    """The nets of `rnd` do not train in two dtypes at once: it failed on every later cell of the process."""
    options = {"budget": 500, "tracking": "off"}
    alone = suite.run("lock-v1", "rnd", results=tmp_path / "alone", **options)
    task = task_with(tmp_path / "wide.py", part, statement)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        records = suite.bench([task, "lock-v1"], ["rnd"], seeds=1, results=tmp_path / "both", **options)
    assert [record.status for record in records] == ["finished", "finished"]
    assert records[1].cell == alone.cell
    assert records[1].result == alone.result


def test_a_method_that_changes_the_folder_finds_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "import os\nfrom dataclasses import dataclass\nfrom suite.policy import Round\n\n"
        "@dataclass(frozen=True)\nclass Config:\n    pass\n\n"
        "def run(config: Config, prior, oracle, rng):\n    os.chdir('/')\n    yield Round(prior, {})\n"
    )
    record = suite.run("lock-v1", "mine.py:run", budget=10, results="results", tracking="off")
    assert record.folder == Path("results/cells") / record.cell
    assert sorted(path.name for path in record.folder.glob("*.safetensors")) == [
        "policy-best.safetensors",
        "policy-final.safetensors",
    ]
    assert Path.cwd() == tmp_path


def test_what_a_plug_in_prints_at_import_is_no_output_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.load("task", task_with(tmp_path / "loud.py", "at_import", 'print("loading")'))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "loading\n")
