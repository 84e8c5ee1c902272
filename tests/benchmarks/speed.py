"""Is a piece of code slower than it was? By its time over a reference kernel's, interleaved in one process.

Absolute times say more of the machine than of the code. Here a subject and a fixed kernel of similar operations run in
turn, and the ratio of their medians is compared with the ratio in a baseline file. Red is a ratio above 1.25 times the
baseline's, and again so when it is measured once more.

    python -m tests.benchmarks.speed [--baseline FILE | --against REF] [--only PART-OF-NAME]

A baseline that is missing, or of another processor, is made and said; that is no error, and nothing is compared then.
With --against the earlier ratio is that of a commit, measured now and in turn (tests/benchmarks/against.py): where the
machine is another each time, as in CI, no file can tell a slower sampler.
"""

from __future__ import annotations

import argparse
import functools
import json
import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

SLOWER = 1.25
"""A ratio above this, twice in a row, is red: far outside the ratio's own spread, well below 1.5."""
PAIRS = 25
WARM = 3


def kernel() -> None:
    """The reference: small matrix products, a softmax, sorting and Python calls, what samplers are made of."""
    x = torch.linspace(-1, 1, 256 * 64).view(256, 64)
    for _ in range(20):
        x = torch.softmax(x @ x.T, dim=-1) @ x
        x = x - torch.unique((x[:, 0] * 1000).long()).double().mean().float() * 1e-6


def ratio(subject: Callable[[], object], pairs: int = PAIRS, warm: int = WARM) -> float:
    """Median processor time of the subject over the kernel's, the two run in turn.

    Processor time, because another process that takes the core away hits the longer of the two more often.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(warm + pairs):
        for kept, work in zip(times, (kernel, subject), strict=True):
            start = time.process_time()
            work()
            if i >= warm:
                kept.append(time.process_time() - start)
    return statistics.median(times[1]) / statistics.median(times[0])


def twice(change: Callable[[], float], limit: float = SLOWER) -> tuple[float, bool]:
    """(ratio over the earlier one, whether it is slower): the better of two measurements where the first is red."""
    found = change()
    if found > limit:
        found = min(found, change())
    return found, found > limit


def platform() -> dict[str, Any]:
    from suite.store import provenance

    about = provenance.meta(1, 0.0, None).platform
    assert about is not None
    return {"cpu": about.cpu, "capability": about.capability, "torch": about.torch}


def read(path: Path) -> tuple[dict[str, float], str]:
    """The ratios of a baseline file that can be compared with, and why there are none."""
    if not path.exists():
        return {}, f"no baseline {path}"
    content = json.loads(path.read_text())
    if content.get("platform") != platform():
        return {}, f"{path} is of another platform ({content.get('platform')})"
    return content["ratios"], ""


def write(path: Path, ratios: dict[str, float]) -> None:
    content = {"platform": platform(), "ratios": {name: round(value, 4) for name, value in ratios.items()}}
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _over(subject: Callable[[], object], earlier: float) -> float:
    return ratio(subject) / earlier


def judge(subjects: dict[str, Callable[[], object]], path: Path) -> tuple[list[str], bool]:
    """One line for each subject, and whether any is slower; subjects that the baseline lacks are added to it."""
    known, why = read(path)
    lines, red, made = ([f"{why}: it is made now and nothing is compared"] if why else []), False, dict(known)
    for name, subject in subjects.items():
        if name in known:
            change, slower = twice(functools.partial(_over, subject, known[name]))
            lines.append(f"{name}: {change:.2f} times its baseline{' SLOWER' if slower else ''}")
            red = red or slower
        else:
            made[name] = ratio(subject)
            lines.append(f"{name}: {made[name]:.3g} times the kernel, noted as its baseline")
    if made != known:
        write(path, made)
    return lines, red


def main() -> int:
    from tests.benchmarks.subjects import SUBJECTS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    earlier = parser.add_mutually_exclusive_group()
    earlier.add_argument("--baseline", type=Path, default=Path(".speed.json"), help="file of earlier ratios")
    earlier.add_argument("--against", metavar="REF", help="time the commit shared with this git reference too")
    parser.add_argument("--only", default="", help="subjects whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {name: make for name, make in SUBJECTS.items() if options.only in name}
    if not chosen:
        parser.error(f"--only {options.only}: no such subject; there are {', '.join(SUBJECTS)}")
    if options.against:
        return _against(options.against, chosen)
    lines, red = judge({name: make() for name, make in chosen.items()}, options.baseline)
    print("\n".join(lines))
    return 1 if red else 0


def _against(ref: str, names: Iterable[str]) -> int:
    from suite.errors import UserError
    from tests.benchmarks import against

    try:
        return int(against.judge(ref, names, functools.partial(print, flush=True)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
