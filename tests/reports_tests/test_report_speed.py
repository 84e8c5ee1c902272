"""Ten thousand records in ten seconds and a gigabyte: a tenth of them in the tests."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = "import sys, suite.cli; sys.exit(suite.cli.main(sys.argv[1:]))"


@pytest.mark.slow
def test_a_thousand_records_take_seconds_and_little_memory(results: Any, tmp_path: Path) -> None:
    # bounded by processor time, which a busy machine stretches less than the clock
    results.add_many(1000)
    command = ["report", "--results", str(results.folder), "--out", str(tmp_path / "out"), "--tables-only"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", RUN, *command], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 8
    if after.ru_maxrss > before.ru_maxrss:  # else an earlier child was larger
        assert after.ru_maxrss < 500 * 1024
    assert len((tmp_path / "out" / "leaderboard.csv").read_text().splitlines()) == 101
