"""`make install` chooses where torch comes from; pip is a script that writes down its arguments."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CPU = "--index-url https://download.pytorch.org/whl/cpu"


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def torch_installs(
    folder: Path, *variables: str, system: str = "Linux", driver: bool = False, unreachable: str = "nowhere"
) -> list[str]:
    """The index options of each installation of torch, in order; pip fails where its arguments hold `unreachable`."""
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    tools = folder / "tools"
    script(tools / "uname", f"echo {system}")
    if driver:
        script(tools / "nvidia-smi", "exit 0")
    for tool in ("grep", "touch"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    script(folder / ".venv/bin/python", "exit 0")
    script(folder / ".venv/bin/pip", f'echo "$@" >> pip.log\ncase "$*" in *{unreachable}*) exit 1;; esac')
    subprocess.run(
        [str(shutil.which("make")), "install", *variables], cwd=folder, env={"PATH": str(tools)}, capture_output=True
    )
    lines = [line for line in (folder / "pip.log").read_text().splitlines() if " torch==" in line]
    return [line[line.index("--index-url") :] if "--index-url" in line else "" for line in lines]


@pytest.mark.parametrize(
    ("variables", "situation", "expected"),
    [
        ((), {}, [CPU]),
        ((), {"driver": True}, [""]),
        ((), {"system": "Darwin"}, [""]),
        ((), {"unreachable": "pytorch.org"}, [CPU, ""]),
        (("TORCH_INDEX=",), {}, [""]),
        (("TORCH_INDEX=https://a.example/cu",), {"driver": True}, ["--index-url https://a.example/cu"]),
        (("TORCH_INDEX=https://a.example/cu",), {"unreachable": "a.example"}, ["--index-url https://a.example/cu"]),
    ],
)
def test_torch_comes_from(tmp_path: Path, variables: tuple[str, ...], situation: dict, expected: list[str]) -> None:
    assert torch_installs(tmp_path, *variables, **situation) == expected
