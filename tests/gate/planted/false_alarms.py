r"""How often the gate is red where nothing got worse: unchanged code, other seeds than the reference's.

    python tests/gate/planted/false_alarms.py --runs 240 --evaluations 10000 \
        [--cells tail,rnd] [--pool FOLDER] > alarms.json

Makes `runs` independent runs of every cell with seeds that are no reference's. Each evaluation takes as many of them,
at random, as the mode has seeds, cell by cell, and tests all quantities; equality is off. `disjoint` evaluations share
no run and are independent: with none of 299 red the rate lies below 1 % at 95 % (Clopper-Pearson, one-sided); the
resampled ones say how often the gate would be red on runs like these. Invariants are checked on all runs. With --pool
the runs' values are kept, a file for each cell, so that another mode, or a new reference, is judged without new runs.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from reports.gate import evidence as gate_evidence
from reports.gate import invariants as gate_invariants
from reports.gate import plan as gate_plan
from reports.gate import quantities
from reports.gate import reference as gate_reference
from reports.gate.plan import GatedCell, Plan
from reports.gate.reference import Reference
from suite.cells import runner
from suite.cells.identity import identify
from suite.config import nearest
from suite.errors import UserError
from suite.measure.intervals import clopper_pearson
from suite.store import disk

REFERENCE = Path(__file__).parents[3] / "tests/gate/reference/suite"
FIRST = 1000
"""Seeds from here on are no reference's."""
Pool = dict[tuple[str, str], list[float]]
"""Values of (cell, quantity), one per run."""


class Runs(NamedTuple):
    """What is kept of a cell's runs."""

    values: dict[str, list[float]]
    """By quantity, one per run; the worst where a run has no such number, as the gate has it."""
    broken: list[str]
    """Invariants that do not hold."""


def made(cell: GatedCell, runs: int, base_rate: float | None) -> Runs:
    """So many fresh runs of a cell."""
    with tempfile.TemporaryDirectory() as folder:
        records = [runner.run_cell(cell.spec(FIRST + i), results=folder, tracking="off") for i in range(runs)]
        subjects = [quantities.subject(record, cell.settings.task) for record in records]
        values = {
            name: [quantities.value(of, name, better) for of in subjects] for name, better in cell.quantities.items()
        }
        findings = gate_invariants.of_cell(cell, records, subjects, base_rate)
    print(f"{cell.name}: {runs} runs", file=sys.stderr, flush=True)
    return Runs(values, [f"{f.cell} {f.invariant}: {f.detail}" for f in findings if not f.ok])


def kept(cell: GatedCell, runs: int, base_rate: float | None, pool: Path | None) -> Runs:
    """The runs of a cell, from the pool's folder if they are there, of the same code of task and method."""
    if pool is None:
        return made(cell, runs, base_rate)
    path = pool / f"{cell.name}-{runs}-{identify(cell.spec(FIRST)).cell}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write(path, json.dumps(made(cell, runs, base_rate)._asdict()))
    return Runs(**json.loads(path.read_text()))


def is_red(plan: Plan, reference: Reference, pool: Pool, taken: dict[str, Sequence[int]]) -> bool:
    """One gate on the chosen runs of each cell."""
    comparisons = [
        gate_evidence.compare(
            cell,
            name,
            plan.cells[cell].quantities[name],
            reference.values(cell, name),
            [values[i] for i in taken[cell]],
        )
        for (cell, name), values in pool.items()
    ]
    return any(comparison.red for comparison in gate_evidence.adjusted(comparisons))


def chosen(plan: Plan, mode: str, runs: int, names: Sequence[str]) -> list[GatedCell]:
    """The named cells, all if none.

    Raises:
        UserError: an unknown cell, none that is tested, or fewer runs than one evaluation takes.
    """
    gated = {cell.name: cell for cell in plan.gated(mode)}
    for name in names:
        if name not in gated:
            raise UserError(f"--cells {name}: mode {mode} has no such cell{nearest(name, gated)}")
    cells = [gated[name] for name in names] or list(gated.values())
    if not any(cell.quantities for cell in cells):
        raise UserError(f"--cells {','.join(names)}: no quantity of theirs is tested, so none can be a false alarm")
    if runs < plan.seeds[mode]:
        raise UserError(f"--runs {runs}: one evaluation of mode {mode} takes {plan.seeds[mode]} runs of each cell")
    return cells


def study(
    folder: Path, mode: str, runs: int, evaluations: int, names: Sequence[str] = (), kept_in: Path | None = None
) -> dict[str, Any]:
    """Alarms among disjoint and among resampled evaluations of the named cells (all if none), and the mode's power."""
    plan = gate_plan.read(folder)
    reference = gate_reference.read(folder, plan, mode)
    pool: Pool = {}
    broken: list[str] = []
    gated = chosen(plan, mode, runs, names)
    for cell in gated:
        own = kept(cell, runs, reference.base_rate(cell.name), kept_in)
        pool |= {(cell.name, name): values for name, values in own.values.items()}
        broken += own.broken
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
    parser.add_argument("--pool", type=Path, help="folder in which the runs' values are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [name for name in options.cells.split(",") if name]
    try:
        found = study(options.reference, options.mode, options.runs, options.evaluations, names, options.pool)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(found, indent=1))
