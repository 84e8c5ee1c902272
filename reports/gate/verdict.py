"""The gate: is what the code does now worse than what it did when the reference was written?

Three kinds of evidence. *Equality* of seeded results on the same platform: a difference is "changed", not red, and
calls for the test. The *test* for inferiority (reports/gate/evidence.py): one-sided, exact, at one family-wise level
over all quantities of the gate. *Invariants* (reports/gate/invariants.py): what must hold whatever the seeds.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from msgspec.structs import asdict

from reports.gate import evidence, invariants, quantities
from reports.gate import plan as plans
from reports.gate import reference as references
from reports.gate.evidence import Comparison
from reports.gate.invariants import Finding
from reports.gate.plan import GatedCell, Plan
from reports.gate.quantities import Subject
from reports.gate.reference import Reference
from suite.cells import runner
from suite.cells.identity import identify
from suite.errors import UserError
from suite.store import records
from suite.store.records import Record

Sameness = Literal["same", "changed", "not compared"]
Fresh = Mapping[str, Sequence[Record]]
"""Records by cell, one per seed in order."""
LONGEST = 20.0
"""Seconds that a run of a gated cell may take before the gate says so; time alone is never red."""


class Equality(NamedTuple):
    """Seeded results of one cell against the reference's, byte for byte."""

    cell: str
    seeds: int
    changed: int
    sameness: Sameness


class Cost(NamedTuple):
    """What the runs of one cell took, in seconds of wall time as their records have it."""

    cell: str
    runs: int
    total: float
    longest: float


class Verdict(NamedTuple):
    """All evidence of one gate."""

    mode: str
    equalities: list[Equality]
    comparisons: list[Comparison]
    findings: list[Finding]
    notices: list[str]
    costs: list[Cost]

    @property
    def worse(self) -> list[Comparison]:
        return [comparison for comparison in self.comparisons if comparison.red]

    @property
    def broken(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.ok]

    @property
    def red(self) -> bool:
        return bool(self.worse or self.broken)


# -- getting the records -------------------------------------------------------------------------------------------


def run_missing(plan: Plan, mode: str, results: Path, say: Callable[[str], None]) -> None:
    """Run the cells of a mode that the results folder lacks, one after the other in this process."""
    for cell in plan.gated(mode):
        started, made = time.perf_counter(), 0
        for seed in plan.seeds_of(mode):
            if identify(cell.spec(seed)).finished(results) is None:
                runner.run_cell(cell.spec(seed), results=results, tracking="off")
                made += 1
        took = f"{made} in {time.perf_counter() - started:.1f} s" if made else "all there"
        runs = f"{len(plan.seeds_of(mode))} runs of {cell.settings.baseline} on {_short(cell.settings.task)}"
        say(f"{cell.name}: {runs}, {took}")


def _short(ref: str) -> str:
    """A plug-in file without its folders."""
    return Path(ref).name if ".py:" in ref else ref


def costs_of(fresh: Fresh) -> tuple[list[Cost], list[str]]:
    """What the runs took, and a line for each cell with one that took longer than it should."""
    costs = []
    for name, found in fresh.items():
        seconds = [(record.meta.seconds.total if record.meta.seconds else None) or 0.0 for record in found]
        costs.append(Cost(name, len(seconds), sum(seconds), max(seconds, default=0.0)))
    return costs, [
        f"{cost.cell}: a run took {cost.longest:.0f} s; a gated cell should take at most {LONGEST:.0f}"
        for cost in costs
        if cost.longest > LONGEST
    ]


def collect(plan: Plan, mode: str, results: Path) -> tuple[dict[str, list[Record]], list[str]]:
    """The records that this code's gated cells have in a results folder, and a line for what else is there.

    Raises:
        UserError: a cell without a record, named with the command that makes it.
    """
    fresh: dict[str, list[Record]] = {}
    missing: list[str] = []
    for cell in plan.gated(mode):
        fresh[cell.name] = []
        for seed in plan.seeds_of(mode):
            identity = identify(cell.spec(seed))
            path = identity.folder(results) / "record.json"
            if path.exists():
                fresh[cell.name].append(records.read(path))
            else:
                missing.append(f"{cell.name} seed {seed}")
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise UserError(f"--results {results} lacks {shown}, by the sources of today; add --run to run what is missing")
    planned = {identify(cell.spec(seed)).cell for cell in plan.cells.values() for seed in plan.seeds_of("reference")}
    others, broken = records.scan(results)
    extra = [
        f"{r.baseline} on {r.task}, seed {r.seed}, is no gated cell and was left out"
        for r in others
        if r.cell not in planned
    ]
    more = [f"and {len(extra) - 5} more that are no gated cells"] if len(extra) > 5 else []
    taken = {record.cell for found in fresh.values() for record in found}
    spare = sum(r.cell in planned - taken for r in others)
    left = [f"{spare} records of the plan's other seeds were left out; mode {mode} takes {plan.seeds[mode]} a cell"]
    return fresh, [*broken, *extra[:5], *more, *(left if spare else [])]


def subjects_of(plan: Plan, fresh: Fresh) -> dict[str, list[Subject]]:
    """The finished records with their tasks."""
    return {
        name: [quantities.subject(record, plan.cells[name].settings.task) for record in records.finished(found)]
        for name, found in fresh.items()
    }


# -- judging -------------------------------------------------------------------------------------------------------


def check(folder: Path, results: Path, mode: str, *, equality: bool = True) -> Verdict:
    """Judge the records in `results` by the reference in `folder`.

    Args:
        mode: `pr` or `nightly`, the seeds and cells of the plan.
        equality: whether seeded results are compared byte for byte; off, every quantity is tested.

    Raises:
        UserError: a reference or results that cannot be judged by; nothing was compared.
    """
    plan = plans.read(folder)
    reference = references.read(folder, plan, mode)
    fresh, notices = collect(plan, mode, results)
    subjects = subjects_of(plan, fresh)
    for cell in plan.gated(mode):
        if subjects[cell.name]:
            _same_task(folder, reference, subjects[cell.name][0].record, cell)
            kept = plan.seeds_of("pr") if "pr" in cell.modes else range(0)
            references.check_ledgers(folder, reference, cell, kept)
    equalities, why = judged_equal(reference, fresh, equality)
    verdict = judge(plan, reference, fresh, subjects, equalities, mode)
    costs, slow = costs_of(fresh)
    return verdict._replace(notices=[*why, *slow, *notices], costs=costs)


def _same_task(folder: Path, reference: Reference, record: Record, cell: GatedCell) -> None:
    """UserError where the task's assets are others than the reference's: its numbers are of another task."""
    then, now = reference.cells[cell.name].identity.task.assets, record.identity.task.assets
    if then != now:
        changed = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        raise UserError(
            f"{folder}: the reference's {record.task} has other assets ({', '.join(changed)}); {references.AGAIN}"
        )


def judged_equal(reference: Reference, fresh: Fresh, wanted: bool = True) -> tuple[list[Equality], list[str]]:
    """Equality by cell, and a line that says why it was not looked at."""
    there = asdict(reference.manifest.platform)
    own = asdict(references.platform_of(next(iter(fresh.values()))[0]))
    here = {name: own[name] for name in there}
    why = []
    if not wanted:
        why.append("equality of seeded results was switched off; every quantity is tested")
    elif here != there:
        parts = [f"{name} {there[name]}, here {here[name]}" for name in here if here[name] != there[name]]
        why.append(f"the reference is of another platform ({'; '.join(parts)}): equality skipped, all is tested")
    return [_equality(reference, name, found, not why) for name, found in fresh.items()], why


def _equality(reference: Reference, name: str, found: Sequence[Record], looked_at: bool) -> Equality:
    kept = reference.seeds(name)
    if not looked_at:
        return Equality(name, len(found), 0, "not compared")
    changed = sum(references.result_sha256(r) != kept[r.seed].result_sha256 for r in found)
    return Equality(name, len(found), changed, "changed" if changed else "same")


def judge(
    plan: Plan,
    reference: Reference,
    fresh: Fresh,
    subjects: Mapping[str, Sequence[Subject]],
    equalities: Sequence[Equality],
    mode: str,
) -> Verdict:
    """All tests and invariants of a mode's cells.

    Raises:
        UserError: nothing to compare, or too few seeds for a test that could ever be red.
    """
    same = {equality.cell for equality in equalities if equality.sameness == "same"}
    comparisons: list[Comparison] = []
    findings: list[Finding] = []
    for cell in plan.gated(mode):
        found = subjects[cell.name]
        findings += invariants.of_cell(cell, fresh[cell.name], found, reference.base_rate(cell.name))
        for quantity, better in cell.quantities.items() if found else ():
            values = [quantities.value(of, quantity, better) for of in found]
            comparison = evidence.compare(cell.name, quantity, better, reference.values(cell.name, quantity), values)
            comparisons.append(dataclasses.replace(comparison, p=1.0) if cell.name in same else comparison)
    if not comparisons and not any(not finding.ok for finding in findings):
        raise UserError(f"mode {mode} compared nothing: no cell of the plan names a quantity; see docs/ci.md")
    _testable(comparisons)
    return Verdict(mode, list(equalities), evidence.adjusted(comparisons), findings, [], [])


def _testable(comparisons: Sequence[Comparison]) -> None:
    """UserError where even the worst outcome could not reach the family's level."""
    for c in comparisons:
        least = evidence.least_p(len(c.fresh), len(c.reference)) * len(comparisons)
        if least > evidence.LEVEL:
            raise UserError(
                f"{c.cell}, {c.quantity}: {len(c.fresh)} seeds against {len(c.reference)} can never be red among "
                f"{len(comparisons)} tests (least p {least:.2g} > {evidence.LEVEL}); raise the seeds in plan.yaml"
            )


# -- updating ------------------------------------------------------------------------------------------------------


def update(folder: Path, results: Path) -> int:
    """Write the reference of a plan from records of all its cells and seeds; the number of runs behind it.

    Raises:
        UserError: a cell that is missing or failed, an invariant that does not hold; nothing was written.
    """
    plan = plans.read(folder)
    fresh, _ = collect(plan, "reference", results)
    subjects = subjects_of(plan, fresh)
    findings = [f for n, c in plan.cells.items() for f in invariants.of_cell(c, fresh[n], subjects[n], None)]
    broken = [f"{f.cell}, {f.invariant}: {f.detail}" for f in findings if not f.ok]
    if broken:
        raise UserError(f"no reference can be written from broken runs: {broken[0]} ({len(broken)} findings)")
    try:
        references.write(folder, plan, subjects)
    except OSError as error:
        raise UserError(
            f"--reference {folder}: {error.strerror or error}; choose one that can be written to"
        ) from error
    return sum(map(len, fresh.values()))
