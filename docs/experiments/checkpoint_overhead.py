"""What ledger and checkpoints take of a BaNEL run, and how long it needs when it was stopped after its last round.

OMP_NUM_THREADS=1 python docs/experiments/checkpoint_overhead.py addition-v1 7500
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import suite
from suite.cells import checkpoint
from suite.cells.checkpoint import Checkpoints
from suite.cells.runner import Progress
from suite.store.ledger import Ledger

seconds: Counter[str] = Counter()
times: Counter[str] = Counter()


def timed(kind: type, name: str) -> None:
    """Count the time in a method."""
    inner = getattr(kind, name)

    @functools.wraps(inner)
    def method(*args: Any) -> Any:
        begun = time.perf_counter()
        try:
            return inner(*args)
        finally:
            seconds[kind.__name__] += time.perf_counter() - begun
            times[kind.__name__] += 1

    setattr(kind, name, method)


def main(task: str, budget: int) -> None:
    for name in ("charge", "answer", "hold_room", "replayed"):
        timed(Ledger, name)
    timed(Checkpoints, "write")
    last = {"round": 0}

    def stop(progress: Progress) -> None:
        last["round"] = progress.round
        if progress.nre == budget and not progress.done:
            raise KeyboardInterrupt

    with tempfile.TemporaryDirectory(dir=".") as folder:  # on a disk: they are synchronised
        options: dict[str, Any] = {"budget": budget, "results": folder, "tracking": "off"}
        begun = time.perf_counter()
        try:
            suite.run(task, "banel", progress=stop, **options)
        except KeyboardInterrupt:
            whole = time.perf_counter() - begun
        (cell,) = Path(folder).glob("cells/*")
        newest = checkpoint.files(cell)[0]
        begun = time.perf_counter()
        suite.run(task, "banel", **options)
        resumed = time.perf_counter() - begun
        size = newest.stat().st_size
    parts = {name: f"{seconds[name]:.2f} s in {times[name]} calls, {seconds[name] / whole:.2%}" for name in seconds}
    found = {
        "seconds": round(whole, 1),
        **parts,
        "last checkpoint": newest.name,
        "its bytes": size,
        "rounds": last["round"],
        "resumed after the last round, seconds": round(resumed, 1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
