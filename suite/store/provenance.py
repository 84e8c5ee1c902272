"""Where and how a record was made."""

from __future__ import annotations

import functools
import platform
import socket
import subprocess
import traceback
from datetime import UTC, datetime
from pathlib import Path

import torch

from suite._version import __version__
from suite.engine import ENGINE
from suite.store.schema import Error, Meta, Platform, StudyTrial, Tuning


def meta(attempt: int, started: float, tuning: Tuning | None, sweep: StudyTrial | None = None) -> Meta:
    """The part of a record that differs between equal runs, as far as it is known when the run starts."""
    commit, dirty = _commit()
    now = datetime.fromtimestamp(started, UTC) if started else datetime.now(UTC)
    return Meta(
        started=now.isoformat(timespec="seconds"),
        finished=now.isoformat(timespec="microseconds"),
        host=socket.gethostname(),
        platform=Platform(
            cpu=_cpu(),
            capability=torch.backends.cpu.get_cpu_capability(),
            torch=str(torch.__version__),
            threads=torch.get_num_threads(),
            python=platform.python_version(),
        ),
        commit=commit,
        dirty=dirty,
        engine=ENGINE,
        version=__version__,
        tuning=tuning,
        sweep=sweep,
        attempt=attempt,
        tracking="off",
    )


def describe(error: BaseException) -> Error:
    """Type, message and place of an exception; the place is that of its first cause."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    frames = traceback.extract_tb(first.__traceback__)
    where = f"{_named(Path(frames[-1].filename))}:{frames[-1].lineno}" if frames else None
    return Error(type=type(error).__name__, message=str(error), where=where)


def _named(path: Path) -> str:
    """The name of a file; with its folder where it is the engine's, which has a task.py like anyone else."""
    engine = Path(__file__).resolve().parents[1]
    return path.relative_to(engine.parent).as_posix() if path.is_relative_to(engine) else path.name


@functools.cache
def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def _commit() -> tuple[str | None, bool | None]:
    """The commit of the checkout that this file lies in, and whether it has uncommitted changes."""

    def git(*words: str) -> str:
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != Path(__file__).resolve().parents[2]:
            return None, None
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None, None
