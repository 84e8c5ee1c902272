"""Whether the memory of a tracked search grows with its trials.

    python docs/experiments/sweep_memory.py [TRIALS]

The search of `sweep_overhead.py` with an objective that takes no time: four seeds a trial, SQLite, tracked offline,
one process. Prints the resident memory in MiB of that process and of W&B's helper at every tenth part of the trials.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from sweep_overhead import SWEEP, asleep

from suite import search
from suite.search import objective

MIB = 2**20


def resident(pid: int) -> int:
    """Bytes of a process that lie in memory, from Linux's /proc."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def helpers() -> Iterator[int]:
    """The processes of W&B's that this one has started."""
    for children in Path("/proc/self/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            if b"wandb-core" in Path(f"/proc/{child}/cmdline").read_bytes():
                yield child


def main(trials: int) -> None:
    content = search.read(SWEEP).content
    content["parameters"]["p_threshold"]["value"] = 0
    ended = 0

    def progress(_: object) -> None:
        nonlocal ended
        ended += 1
        if ended % max(1, trials // 10) == 0:
            helper = sum(map(resident, helpers())) / MIB
            print(f"{ended} trials: {resident(os.getpid()) / MIB:.0f} and {helper:.0f} MiB", flush=True)

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(objective.Configuration, "cells", asleep(0.0)):
        sweep = search.sweep.parse(content)
        search.tune(sweep, trials=trials, results=Path(folder), tracking="offline", progress=progress)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
