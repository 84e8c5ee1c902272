"""How often the gate is red where nothing got worse: unchanged code, other seeds than the reference's.

    python tests/planted/false_alarms.py --runs 240 --evaluations 10000 [--cells tail,rnd] > false-alarms.json

Makes `runs` independent runs of every cell with seeds that are no reference's. Each evaluation takes as many of them,
at random, as the mode has seeds, cell by cell, and tests all quantities; equality is off. `disjoint` evaluations share
no run and are independent: with none of 299 red the rate lies below 1 % at 95 % (Clopper-Pearson, one-sided); the
resampled ones say how often the gate would be red on runs like these. Invariants are checked on all runs.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from reports import gate_evidence, gate_invariants, gate_plan, gate_reference
from reports import gate_quantities as quantities
from reports.gate_plan import GatedCell, Plan
from reports.gate_reference import Reference
from suite import runner
from suite.intervals import clopper_pearson

REFERENCE = Path(__file__).parents[2] / "reports/reference/suite"
FIRST = 1000
"""Seeds from here on are no reference's."""
Pool = dict[tuple[str, str], list[float]]
"""Values of (cell, quantity), one per run."""


def pool_of(cell: GatedCell, runs: int, base_rate: float | None) -> tuple[Pool, list[str]]:
    """The quantities of so many fresh runs of a cell, and the invariants that they break."""
    with tempfile.TemporaryDirectory() as folder:
        made = [runner.run(**cell.call(FIRST + i), results=folder, tracking="off") for i in range(runs)]
        subjects = [quantities.subject(record, cell.task) for record in made]
        pool = {(cell.name, name): [measured(of, name) for of in subjects] for name in cell.quantities}
        findings = gate_invariants.of_cell(cell, made, subjects, base_rate)
    print(f"{cell.name}: {runs} runs", file=sys.stderr, flush=True)
    return pool, [f"{f.cell} {f.invariant}: {f.detail}" for f in findings if not f.ok]


def measured(of: quantities.Subject, name: str) -> float:
    value = quantities.measure(of, name)
    assert value is not None, (of.record.seed, name)
    return value


def is_red(plan: Plan, reference: Reference, pool: Pool, chosen: dict[str, Sequence[int]]) -> bool:
    """One gate on the chosen runs of each cell."""
    comparisons = [
        gate_evidence.compare(
            cell,
            name,
            plan.cells[cell].quantities[name],
            reference.values(cell, name),
            [values[i] for i in chosen[cell]],
        )
        for (cell, name), values in pool.items()
    ]
    return any(comparison.red for comparison in gate_evidence.adjusted(comparisons))


def study(folder: Path, mode: str, runs: int, evaluations: int, names: Sequence[str] = ()) -> dict[str, Any]:
    """Alarms among disjoint and among resampled evaluations of the named cells (all if none), and the mode's power."""
    plan = gate_plan.read(folder)
    reference = gate_reference.read(folder, plan, mode)
    pool: Pool = {}
    broken: list[str] = []
    gated = [cell for cell in plan.gated(mode) if not names or cell.name in names]
    for cell in gated:
        own, wrong = pool_of(cell, runs, reference.base_rate(cell.name))
        pool |= own
        broken += wrong
    m, n, cells = plan.seeds[mode], plan.seeds["reference"], [cell.name for cell in gated]
    blocks = [range(i, i + m) for i in range(0, runs - m + 1, m)]
    disjoint = sum(is_red(plan, reference, pool, dict.fromkeys(cells, block)) for block in blocks)
    draw = random.Random(0)
    resampled = sum(
        is_red(plan, reference, pool, {cell: draw.sample(range(runs), m) for cell in cells}) for _ in range(evaluations)
    )
    return {
        "mode": mode,
        "cells": cells,
        "runs_of_each_cell": runs,
        "tests": len(pool),
        "invariants_broken": broken,
        "disjoint": {"red": disjoint, "of": len(blocks), "upper_95": clopper_pearson(disjoint, len(blocks), 0.9)[1]},
        "resampled": {"red": resampled, "of": evaluations, "upper_95": clopper_pearson(resampled, evaluations, 0.9)[1]},
        "power": {f"{d:g} SD": gate_evidence.power(m, n, len(pool), d) for d in (1, 1.5, 2, 2.5, 3, 4)},
        "detectable_90": gate_evidence.detectable(m, n, len(pool)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=240)
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--mode", default="pr", choices=("pr", "nightly"))
    parser.add_argument("--cells", default="", help="names, comma-separated; all without it")
    parser.add_argument("--reference", type=Path, default=REFERENCE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [name for name in options.cells.split(",") if name]
    print(json.dumps(study(options.reference, options.mode, options.runs, options.evaluations, names), indent=1))
