"""Ten thousand records in ten seconds and a gigabyte: three thousand of them in the tests."""

from __future__ import annotations

import re
import resource
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
"""The peak in /proc is the program's own; getrusage's may be that of the test's process, from which it was forked."""


@pytest.mark.slow
def test_three_thousand_records_take_seconds_and_little_memory(results: Any, tmp_path: Path) -> None:
    """Bounded by processor time, which a busy machine stretches less than the clock: 2.6 s, 244 MB on 2026-11-25.

    Ten seconds for ten thousand records, 1.3 s of them to start, are 3.9 s for three thousand.
    """
    results.add_many(3000)
    command = ["report", "--results", str(results.folder), "--out", str(tmp_path / "out"), "--tables-only"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run([sys.executable, "-c", RUN, *command], check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3.9
    peak = re.search(r"VmHWM:\s*(\d+) kB", ended.stdout)
    assert peak is not None
    assert int(peak[1]) < 400 * 1024
    assert len((tmp_path / "out" / "leaderboard.csv").read_text().splitlines()) == 101
