"""What a method or a task says reaches the terminal in one line and without control characters."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite import cli
from suite.errors import one_line, printable

METHOD = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Config:
    x: int = 1

def run(config: Config, prior, oracle, rng):
    raise RuntimeError("\\x1b[2J\\x1b]0;title\\x07 red\\r\\nsuite: all is well \\x9b31m")
    yield
"""
SHOWN = r"RuntimeError: \x1b[2J\x1b]0;title\x07 red suite: all is well \x9b31m"


def test_control_characters_are_spelled_out() -> None:
    assert printable("a\x1b[31mb\n c\u202ed é ≥") == r"a\x1b[31mb c\u202ed é ≥"
    assert one_line(ValueError("\x1b[2J")) == r"ValueError: \x1b[2J"


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_an_error_of_a_method_does_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quiet: list[str]
) -> None:
    (tmp_path / "mine.py").write_text(METHOD)
    words = ["--budget", "100", "--tracking", "off", "--results", str(tmp_path / "r"), *quiet]
    assert cli.main(["run", "--task", "gaussian-v1", "--baseline", f"{tmp_path}/mine.py:run", *words]) == 1
    said = "".join(capsys.readouterr())
    assert SHOWN in said
    assert "\x1b" not in said
    assert cli.main(["report", "--results", str(tmp_path / "r"), "--out", str(tmp_path / "report")]) == 2
    said = "".join(capsys.readouterr())
    assert SHOWN in said
    assert "\x1b" not in said
    assert cli.main(["verify", "--results", str(tmp_path / "r")]) == 1  # the one record failed: nothing to check
    assert "\x1b" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "..", ".hidden", "a b", "x" * 129, "a/b", "a\nb"])
def test_the_id_of_a_run_names_no_other_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", name)
    results = tmp_path / "a" / "b" / "results"
    words = ["--task=gaussian-v1", "--baseline=pretrained", "--budget=100", "--batch=50", "--seeds=1"]
    assert cli.main(["trial", *words, "--tracking", "off", "--results", str(results)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("suite: WANDB_RUN_ID=")
    assert not list(tmp_path.iterdir())
