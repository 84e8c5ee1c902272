"""Ten thousand records in a gigabyte: three thousand of them in the tests. Time is the benchmarks'."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = """
import sys, suite.cli
suite.cli.main(sys.argv[1:])
print(open("/proc/self/status").read())
"""
"""The peak in /proc is the program's own; that of a child in getrusage may be that of the test's process."""


@pytest.mark.slow
def test_three_thousand_records_take_little_memory(results: Any, tmp_path: Path) -> None:
    """244 MB on 2026-11-25."""
    results.add_many(3000)
    command = ["report", "--results", str(results.folder), "--out", str(tmp_path / "out"), "--tables-only"]
    ended = subprocess.run([sys.executable, "-c", RUN, *command], check=True, capture_output=True, text=True)
    peak = re.search(r"VmHWM:\s*(\d+) kB", ended.stdout)
    assert peak is not None
    assert int(peak[1]) < 400 * 1024
    assert len((tmp_path / "out" / "leaderboard.csv").read_text().splitlines()) == 101
