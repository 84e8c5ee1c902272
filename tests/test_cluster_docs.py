"""docs/cluster.md: commands that need one machine run as they stand there, all others have only flags that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from suite import cli
from suite.store import records

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "cluster.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line.split() for block in BLOCKS for line in block.splitlines() if line.startswith("suite ")]


def test_every_suite_flag_exists() -> None:
    assert {words[1] for words in COMMANDS} == {"bench", "sweep", "sync"}
    for _, name, *rest in COMMANDS:
        command = cli.group.get_command(click.Context(cli.group), name)
        assert command is not None
        known = {flag for parameter in command.params for flag in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scheduler", "worker"])
def test_every_dask_flag_exists(name: str) -> None:
    flags = {flag for line in re.findall(rf"dask {name} .*", PAGE) for flag in re.findall(r"--\w[\w-]*", line)}
    assert flags
    done = subprocess.run([sys.executable, "-m", "dask", name, "--help"], capture_output=True, text=True, check=True)
    assert flags - set(re.findall(r"--\w[\w-]*", done.stdout)) <= {"--device"}  # of `suite bench`, in the same line


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS[:2], ids=["processes", "two commands"])
def test_the_commands_of_one_machine_run(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeds that they name times two methods, one record each."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    subprocess.run(["bash", "-ec", block], cwd=tmp_path, check=True, timeout=100)
    found, broken = records.scan(tmp_path / "results")
    assert not broken
    seeds = int(block.split("--seeds ")[1].split()[0])
    expected = [(method, seed) for method in ("pretrained", "uniform") for seed in range(seeds)]
    assert sorted((record.baseline, record.seed) for record in found) == expected
    assert {(record.status, record.meta.attempt) for record in found} == {("finished", 1)}
