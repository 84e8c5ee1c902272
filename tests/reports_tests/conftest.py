"""A maker of result folders: records as the runner writes them, with the numbers a test asks for."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from suite.engine import ENGINE
from suite.measure import intervals
from suite.store import records

CONTROLS = ("uniform", "temperature", "tail", "blind", "rnd-filter")


clopper_pearson = functools.cache(intervals.clopper_pearson)


@dataclasses.dataclass(frozen=True)
class Results:
    """A results folder that grows by one record at each call of :meth:`add`."""

    folder: Path

    def add(
        self,
        baseline: str = "banel",
        seed: int = 0,
        rates: Sequence[float | None] = (4e-4, 0.1),
        *,
        task: str = "addition-v1",
        nre: Sequence[int] | None = None,
        n: int | None = None,
        best: float | None = None,
        matches: Sequence[float] | None = None,
        config: dict[str, Any] | None = None,
        task_config: dict[str, Any] | None = None,
        source: str = "aa",
        task_source: str = "bb",
        folder: str | None = None,
        error: str | None = None,
        meta: dict[str, Any] | None = None,
        result: dict[str, Any] | None = None,
        **identity: Any,
    ) -> records.Record:
        """Write a record; what it says is what the reader makes of the file.

        Args:
            rates: success rate at each point; exact, or hits / n where `n` is given; None is held-out off.
            nre: evaluations at each point; even steps up to the budget, and none for controls, if left out.
            best: the best rate; the largest if left out.
            matches: exact posterior match at each point; not measured if left out.
            folder: name below `cells/`, if not the cell's own.
            error: message of a failed run.
            meta, result, identity: fields that differ from the usual.
        """
        control = baseline in CONTROLS
        content: dict[str, Any] = {
            "task": {"id": task, "config": task_config or {}, "source_sha256": task_source, "assets": {}},
            "baseline": {"id": baseline, "config": config or {}, "source_sha256": source, "control": control},
            "seed": seed,
            "protocol": "failures-only",
            "duplicates": "charge",
            "budget": 1000,
            "heldout": "exact" if n is None else str(n),
            "points": "all",
            "device": "cpu",
            "threads": 1,
            "engine": ENGINE,
        } | identity
        steps = max(1, len(rates) - 1)
        spent = nre or [0 if control else content["budget"] * i // steps for i in range(len(rates))]
        curve = [point(i, used, rate, n) for i, (used, rate) in enumerate(zip(spent, rates, strict=True))]
        for at, match in zip(curve, matches or [], strict=False):
            at["posterior_match"] = dict.fromkeys(("value", "low", "high"), match) | {"estimator": "exact", "n": None}
        made = finished(curve, best, n) if error is None else failed(error)
        cell = records.cell_of(content)
        path = self.folder / "cells" / (folder or cell) / "record.json"
        path.parent.mkdir(parents=True)
        parts = {"identity": content, "result": made | (result or {}), "meta": usual_meta() | (meta or {})}
        path.write_text(json.dumps({"schema": 1, "cell": cell, **parts}))
        return records.read(path)

    def add_many(self, runs: int, points: int = 30) -> None:
        """Write `runs` records of `points` points: ten methods on ten tasks, half of them sampled, quickly."""
        rng = random.Random(0)
        names = ("banel", "rnd", "count", "pseudo-count", "pretrained", *CONTROLS)
        tasks = [f"task{i}-v1" for i in range(10)]
        places = list(itertools.product(tasks, names))
        for i in range(runs):
            seed, (task, name) = i // len(places), places[i % len(places)]
            n = 10_000 if tasks.index(task) % 2 else None
            rise = rng.uniform(0.1, 0.2)
            rates = [math.exp(rise * i) * 4e-4 for i in range(points)]
            made = finished([point(i, 250 * i, rate, n) for i, rate in enumerate(_counted(rates, n))], None, n)
            content = identity_of(task, name, seed, n) | {"budget": 7500}
            cell = records.cell_of(content)
            path = self.folder / "cells" / cell
            path.mkdir(parents=True)
            parts = {"identity": content, "result": made, "meta": usual_meta()}
            (path / "record.json").write_text(json.dumps({"schema": 1, "cell": cell, **parts}))

    def verify(self, record: records.Record, verdict: bool) -> None:
        """Leave the verdict of `suite verify` beside a record."""
        hashes = records.file_hashes(record.folder)
        content = {"verified": verdict, "hashes": hashes, "checks": [], "time": "2026-01-01"}
        (record.folder / "verify.json").write_text(json.dumps(content))


def identity_of(task: str, baseline: str, seed: int, n: int | None) -> dict[str, Any]:
    return {
        "task": {"id": task, "config": {}, "source_sha256": "bb", "assets": {}},
        "baseline": {"id": baseline, "config": {}, "source_sha256": "aa", "control": baseline in CONTROLS},
        "seed": seed,
        "protocol": "failures-only",
        "duplicates": "charge",
        "budget": 1000,
        "heldout": "exact" if n is None else str(n),
        "device": "cpu",
        "threads": 1,
        "engine": ENGINE,
    }


def _counted(rates: Sequence[float], n: int | None) -> list[float]:
    """The rates as hits / n, of few different hits, where they are sampled."""
    return list(rates) if n is None else [float(f"{rate * n:.1g}") / n for rate in rates]


def point(index: int, nre: int, rate: float | None, n: int | None) -> dict[str, Any]:
    low = high = rate
    if rate is not None and n is not None:
        low, high = clopper_pearson(round(rate * n), n)
    return {
        "round": index,
        "nre": nre,
        "success_rate": rate,
        "low": low,
        "high": high,
        "estimator": "none" if rate is None else "exact" if n is None else "monte-carlo",
        "n": n,
        "distinct_successes": None if rate is None else 10 * (index + 1),
        "distinct_share": None if rate is None else 0.9,
        "effective_successes": None if rate is None else 100.0 * (index + 1),
        "valid_share": None if rate is None else 0.75,
        "entropy": None if rate is None else 11.5,
        "kl_prior": None if rate is None else 0.5 * index,
        "metrics": {"failure_model_loss": 9.0} if index else {},
        "samples": [],
        "stream": index,
    }


def finished(curve: list[dict[str, Any]], best: float | None, n: int | None) -> dict[str, Any]:
    names = ("round", "nre", "success_rate", "low", "high", "estimator", "n", "stream")
    placed = [{k: p[k] for k in (*names, "posterior_match") if k in p} for p in curve]
    known = placed[-1]["success_rate"] is not None
    top = max(placed, key=lambda p: p["success_rate"]) if known else {}
    if best is not None:
        top = top | dict.fromkeys(("success_rate", "low", "high"), best)
    base = placed[0]["success_rate"]
    amounts = {"training": 3e12, "filtering": 2e12, "verifying": 1e12, "heldout": 9e12}
    return {
        "status": "finished",
        "error": None,
        "curve": curve,
        "base": placed[0] if known else None,
        "final": placed[-1] if known else None,
        "best": top | {"selected_on": "same" if n is None else "half"} if known else None,
        "improvement_final": placed[-1]["success_rate"] / base if base else None,
        "improvement_best": top["success_rate"] / base if base else None,
        "nre": placed[-1]["nre"],
        "first_success": None,
        "successes": 0,
        "withheld": 0,
        "heldout_evaluations": 0,
        "compute": {phase: {"tokens": 1000, "flops": flops} for phase, flops in amounts.items()},
    }


def failed(message: str) -> dict[str, Any]:
    error = {"type": "RuntimeError", "message": message, "where": "baselines/banel.py:12"}
    known = {"status": "failed", "error": error, "curve": []}
    return {**dict.fromkeys(finished([point(0, 0, None, None)], None, None)), **known}


def usual_meta() -> dict[str, Any]:
    seconds = {"training": 30.0, "filtering": 20.0, "verifying": 10.0, "heldout": 5.0, "total": 65.0}
    return {
        "seconds": seconds,
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        "host": "host",
        "platform": {"cpu": "some", "capability": "AVX2", "torch": "2.13.0", "threads": 1, "python": "3.11.7"},
        "commit": None,
        "dirty": None,
        "engine": ENGINE,
        "version": "0.1.0",
        "tuning": None,
        "attempt": 1,
        "tracking": "off",
    }


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


@pytest.fixture
def rows(results: Results) -> Callable[[], dict[str, Any]]:
    """The leaderboard of the results folder as {name of the row: row}."""
    from reports.board import leaderboard

    def read() -> dict[str, Any]:
        return {row.name: row for row in leaderboard.rows(records.scan(results.folder)[0])}

    return read
