"""What must hold in every gated cell, whatever its seeds: one broken invariant turns the gate red."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from scipy import stats

from reports.gate.plan import GatedCell
from reports.gate.quantities import Subject
from suite import task as tasks
from suite.cells import checks as against
from suite.cells import verify
from suite.measure import leak
from suite.measure.estimators import SAMPLES
from suite.policy import Policy
from suite.store import ledger
from suite.store.ledger import Batch, Ledger
from suite.store.records import Record
from suite.store.schema import rate_of
from suite.store.weights import load

AGREEMENT = 1e-5
"""Level, for each cell, below which counted and exact success rates disagree."""
RTOL = against.RTOL
Books = Sequence[tuple[Subject, list[Batch]]]


class Finding(NamedTuple):
    """One invariant of one cell."""

    cell: str
    invariant: str
    ok: bool
    detail: str


def of_cell(
    cell: GatedCell, records: Sequence[Record], subjects: Sequence[Subject], base_rate: float | None
) -> list[Finding]:
    """All invariants of a cell.

    Args:
        records: one per seed, failed ones too.
        subjects: the finished ones with their task.
        base_rate: the reference's exact base rate; None where it has none.
    """
    failed = [(record.seed, error) for record in records if (error := record.result.error) is not None]
    wrong = [f"seed {seed}: {error.line()}" for seed, error in failed]
    findings = [_found(cell, "finished", wrong, f"{len(records)} runs")]
    books = [(of, _batches(of.record)) for of in subjects]
    findings.append(_found(cell, "budget", _over_budget(books), f"NRE within {cell.settings.budget}"))
    findings.append(_found(cell, "charges", _uncharged(cell, books), "every sample priced, controls spend nothing"))
    findings.append(_found(cell, "seeds differ", _equal_seeds(books), "no two seeds share their samples"))
    wrong = [f"seed {of.record.seed}: {line}" for of in subjects for line in _unverified(of)]
    findings.append(_found(cell, "ledgers verify", wrong, "rewards, counts and saved policies as recorded"))
    findings.append(_found(cell, "estimators agree", _disagreement(subjects), "counted and exact success rates"))
    if cell.lock:
        test = leak.leak_test(of.record for of in subjects)
        place = f"mean place of the secret {test.mean:.2f} in {test.places} runs, p = {test.p_value:.2g}"
        findings.append(Finding(cell.name, "secret unknown", not test.leaks, place))
    if base_rate is not None:
        findings.append(_found(cell, "base rate", _other_base(subjects, base_rate), f"{base_rate:.8g} as it was"))
    return findings


def _found(cell: GatedCell, invariant: str, wrong: Sequence[str], right: str) -> Finding:
    return Finding(cell.name, invariant, not wrong, "; ".join(wrong[:3]) or right)


def _batches(record: Record) -> list[Batch]:
    path = record.folder / "ledger.sqlite"
    if not path.exists():
        return []
    book = Ledger(path)
    try:
        return list(book.batches())
    finally:
        book.close()


def _over_budget(books: Books) -> list[str]:
    """The budget of the identity against what the ledger charged and what the record says."""
    wrong = []
    for (record, _), batches in books:
        most = max(ledger.summarise(iter(batches)).nre, record.result.nre)
        if most > record.identity.budget:
            wrong.append(f"seed {record.seed}: {most} of {record.identity.budget} evaluations")
    return wrong


def _uncharged(cell: GatedCell, books: Books) -> list[str]:
    """Samples that were evaluated free, held-out ones that were charged, controls that spent."""
    wrong = []
    for (record, _), batches in books:
        rows, charged = sum(len(b.x) for b in batches), sum(int(b.priced.sum()) for b in batches)
        if cell.settings.duplicates == "charge" and rows != charged:
            wrong.append(f"seed {record.seed}: {rows - charged} of {rows} evaluations were free")
        last = record.result.curve[-1].nre
        if charged != last:
            wrong.append(f"seed {record.seed}: {charged} charged, the method's rounds end at {last}")
        if record.identity.baseline.control and charged:
            wrong.append(f"seed {record.seed}: a control spent {charged} evaluations")
    return wrong


def _equal_seeds(books: Books) -> list[str]:
    seen: dict[bytes, int] = {}
    wrong = []
    for (record, _), batches in books:
        if batches:
            mark = b"".join(ledger.digest(batch.x) for batch in batches)
            if mark in seen:
                wrong.append(f"seeds {seen[mark]} and {record.seed} drew the same samples")
            seen.setdefault(mark, record.seed)
    return wrong


def _unverified(of: Subject) -> Iterable[str]:
    """What :mod:`suite.cells.verify` finds wrong with a record."""
    checks = [
        *verify.check_ledger(of.record, of.task, of.posterior.prior),
        *against.of_summary(of.record),
        *verify.check_policies(of.record, of.posterior),
    ]
    return [f"{check.name}: {check.detail}" for check in checks if not check.ok]


def _disagreement(subjects: Sequence[Subject]) -> list[str]:
    """Successes counted in held-out samples against the exact rates of the same policies: one binomial test.

    Over points of different rates the count varies less than the binomial of their mean, so the test errs towards
    agreement (Hoeffding, Annals of Mathematical Statistics 27, 1956).
    """
    points = [point for of in subjects for point in _counted(of)]
    if not points:
        return []
    hits, n = sum(hits for hits, _, _ in points), sum(n for _, n, _ in points)
    expected = sum(n * rate for _, n, rate in points)
    p = float(stats.binomtest(hits, n, min(1.0, expected / n)).pvalue)
    return [f"{hits} of {n} counted, {expected:.6g} expected, p = {p:.1g}"] if p < AGREEMENT else []


def _counted(of: Subject) -> Iterable[tuple[int, int, float]]:
    """(hits, draws, exact rate) wherever a record has both."""
    curve = of.record.result.curve
    for point in curve:
        rate, distinct = point.success_rate, point.distinct_successes
        if point.estimator == "exact" and rate is not None and point.distinct_share and distinct is not None:
            yield round(distinct / point.distinct_share), SAMPLES, rate
    counted = curve[-1].counted()
    if counted is not None:
        policy = _final(of)
        rate = None if policy is None else tasks.exact(of.task, policy)
        if rate is not None:
            yield *counted, rate


def _final(of: Subject) -> Policy | None:
    path = of.record.folder / "policy-final.safetensors"
    return load(path, of.task.prior()) if path.exists() else None


def _other_base(subjects: Sequence[Subject], base_rate: float) -> list[str]:
    """The prior and its exact rate are constants of a task."""
    rates = {of.record.seed: rate_of(of.record.result.base) for of in subjects}
    return [
        f"seed {seed}: {'not measured' if rate is None else f'{rate:.8g}'}, the reference has {base_rate:.8g}"
        for seed, rate in rates.items()
        if rate is None or abs(rate - base_rate) > RTOL * base_rate
    ]
