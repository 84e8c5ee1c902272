"""Runs of every baseline, killed with -9 at random moments and begun again until they end: the record of a calm run.

    OMP_NUM_THREADS=1 python tests/faults/kills.py --kills 200
    OMP_NUM_THREADS=1 python tests/faults/kills.py --kills 20 --through bench    workers of `suite bench --jobs 2`

Each run writes a checkpoint after every round. Exits with 1 if a record or a ledger differs from the undisturbed one,
if more or less than the budget was charged, or if a round was computed again after its checkpoint.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import suite
from baselines import BASELINES
from suite import config as configs
from suite import registry
from suite.cells import checkpoint
from suite.cells.runner import Progress
from suite.protocol import WORKS_UNDER
from suite.store.records import canonical

TASKS = (f"{Path(__file__).parents[1] / 'plugins' / 'toys.py'}:Strings", "gaussian-v1")
SMALL: dict[str, Any] = {"batch": 50, "pool": 1000, "features": 8, "predictor_epochs": 5, "epochs": 5}
BUDGET = 250
LEDGER = "SELECT k, samples, charged, rewards FROM batches LEFT JOIN answers USING (k) ORDER BY k"


class Outcome(NamedTuple):
    """One run that was killed and begun again until it ended."""

    task: str
    baseline: str
    kills: int
    faults: list[str]
    """What differs from the undisturbed run."""


class Calm(NamedTuple):
    """What the undisturbed run left."""

    result: str
    ledger: list[tuple[Any, ...]]
    seconds: float


def options(baseline: str, seed: int) -> dict[str, Any]:
    entry = registry.load("baseline", baseline)
    fields = {spec.name for spec in configs.specs(entry.config_class)}
    return {
        "seed": seed,
        "budget": BUDGET,
        "tracking": "off",
        "protocol": WORKS_UNDER[registry.uses(entry) or "rewards"][0],
        "config": {name: value for name, value in SMALL.items() if name in fields},
    }


def begin(task: str, baseline: str, seed: int, results: Path) -> int:
    """The process of a run, forked so that it need not import torch again."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        checkpoint.SHARE = math.inf
        begun: list[int] = []

        def told(progress: Progress) -> None:
            if begun and not progress.done:
                with (results / "rounds").open("a") as file:
                    file.write(f"{progress.round}\n")
            begun.append(progress.round)

        record = suite.run(task, baseline, results=results, progress=told, **options(baseline, seed))
        code = 0 if record.status == "finished" else 1
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def left(results: Path) -> tuple[str, list[tuple[Any, ...]]]:
    """Result and ledger of the one cell below a folder."""
    (cell,) = results.glob("cells/*")
    with closing(sqlite3.connect(cell / "ledger.sqlite")) as db:
        return canonical(json.loads((cell / "record.json").read_text())["result"]), db.execute(LEDGER).fetchall()


def calm_run(task: str, baseline: str, seed: int, folder: Path) -> Calm:
    begun = time.monotonic()
    folder.mkdir(parents=True)
    assert ended(begin(task, baseline, seed, folder)) == 0, f"{baseline} fails undisturbed"
    return Calm(*left(folder), time.monotonic() - begun)


def killed_run(task: str, baseline: str, seed: int, folder: Path, calm: Calm, rng: random.Random) -> Outcome:
    """Kill a run at random moments until it ends by itself: early ones at first, then later and later."""
    folder.mkdir(parents=True)
    kills = 0
    while True:
        pid = begin(task, baseline, seed, folder)
        deadline = time.monotonic() + rng.uniform(0, (1 + kills) * calm.seconds / 2)
        while (found := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.002)
        if found[0] == 0:
            os.kill(pid, signal.SIGKILL)
            found = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(found[1])
        if code != -signal.SIGKILL:
            break
        kills += 1
    return Outcome(task, baseline, kills, list(faults_of(folder, code, calm)))


def faults_of(folder: Path, code: int, calm: Calm) -> Iterator[str]:
    if code != 0:
        yield f"it ended with exit code {code}"
        return
    result, ledger = left(folder)
    charged, wanted = (sum(row[2] for row in rows) for rows in (ledger, calm.ledger))
    if charged != wanted:
        yield f"{charged} charged, undisturbed {wanted}"
    if result != calm.result:
        yield "the result differs"
    if ledger != calm.ledger:
        yield "the ledger differs"
    log = folder / "rounds"
    rounds = Counter(log.read_text().split() if log.exists() else ())
    if twice := [number for number, times in rounds.items() if times > 1]:
        yield f"rounds {', '.join(twice)} were computed again after their checkpoint"


def search(kills: int, seed: int, names: tuple[str, ...] = tuple(BASELINES)) -> Iterator[Outcome]:
    """Killed runs of all baselines in turn until there were so many kills."""
    rng = random.Random(seed)
    calm: dict[tuple[str, str, int], Calm] = {}
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        for i, (place, name) in enumerate(itertools.cycle(itertools.product(TASKS, names))):
            if done >= kills:
                return
            key = place, name, rng.randrange(3)
            if key not in calm:
                calm[key] = calm_run(*key, Path(folder) / f"calm-{i}")
            outcome = killed_run(*key, Path(folder) / f"killed-{i}", calm[key], rng)
            done += outcome.kills
            yield outcome


def search_bench(kills: int, seed: int) -> Iterator[Outcome]:
    """Grids of three methods and two seeds with --jobs 2, one of whose workers is killed now and then."""
    rng = random.Random(seed)
    names = ("banel", "rnd", "tail")
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        for first in itertools.count(0, 2):
            if done >= kills:
                return
            calm: dict[str, Calm] = {}
            for name, own in itertools.product(names, (first, first + 1)):
                place = Path(folder) / f"calm-{name}-{own}"
                found = calm_run(TASKS[0], name, own, place)
                (path,) = place.glob("cells/*")
                calm[path.name] = found
            results = Path(folder) / f"bench-{first}"
            code, killed = 1, 0
            while code:
                process = subprocess.Popen([sys.executable, "-m", "suite", *_bench(names, first, results)])
                while (ended_with := process.poll()) is None:
                    time.sleep(rng.uniform(3, 12))  # a worker needs some seconds to begin
                    workers = children(process.pid)
                    if workers and process.poll() is None and rng.random() < 0.7:
                        os.kill(rng.choice(workers), signal.SIGKILL)
                        killed += 1
                code = ended_with
            done += killed
            faults = []
            for cell, wanted in calm.items():
                content = json.loads((results / "cells" / cell / "record.json").read_text())
                with closing(sqlite3.connect(results / "cells" / cell / "ledger.sqlite")) as db:
                    rows = db.execute(LEDGER).fetchall()
                if (canonical(content["result"]), rows) != (wanted.result, wanted.ledger):
                    faults.append(f"{cell}: record or ledger differs")
            yield Outcome(TASKS[0], "bench", killed, faults)


def _bench(names: tuple[str, ...], first: int, results: Path) -> list[str]:
    """The command line; every method of `names` takes its fields of SMALL."""
    fields = [f"--{name}={value}" for name, value in SMALL.items()]
    grid = ["--tasks", TASKS[0], "--baselines", ",".join(names), "--seeds", f"{first},{first + 1}", "--jobs", "2"]
    common = ["--budget", str(BUDGET), "--protocol", "failures-padded", "--tracking", "off", "--quiet"]
    return ["bench", *grid, *common, *fields, "--results", str(results)]


def children(pid: int) -> list[int]:
    """The workers that a process has spawned (Linux); not multiprocessing's tracker of resources."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:  # one has ended
        return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--through", choices=("run", "bench"), default="run")
    given = parser.parse_args()
    outcomes = search if given.through == "run" else search_bench
    runs: Counter[str] = Counter()
    kills: Counter[str] = Counter()
    faults = 0
    for outcome in outcomes(given.kills, given.seed):
        runs[outcome.baseline] += 1
        kills[outcome.baseline] += outcome.kills
        for fault in outcome.faults:
            faults += 1
            print(f"{outcome.baseline} on {outcome.task}, killed {outcome.kills} times: {fault}", flush=True)
    for name, count in kills.items():
        print(f"{name}: {runs[name]} runs, {count} kills")
    print(f"{sum(runs.values())} runs, {sum(kills.values())} kills, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
