"""What a record says against its ledger and against itself, without asking a policy: pure functions of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor

from suite import task as tasks
from suite.measure import estimators
from suite.protocol import WITHHOLDING
from suite.store import ledger, records
from suite.store.ledger import Batch
from suite.store.records import FinishedRecord
from suite.store.schema import Estimate, Part, Placed, Point

RTOL = 1e-6
"""Relative difference that two processors' rounding may leave between equal measurements."""
ATOL = 1e-9
"""Absolute difference that it may leave where the measurement is near zero."""


class Check(NamedTuple):
    """One thing held against another."""

    name: str
    ok: bool
    detail: str


def equal(name: str, recorded: object, found: object) -> Check:
    return Check(name, recorded == found, f"record says {recorded}, ledger {found}")


def of_batches(batches: Sequence[Batch], symbols: int) -> list[Check]:
    """The ledger against itself: what was charged is what it holds.

    Args:
        symbols: size of the task's vocabulary.
    """
    numbers = [batch.k for batch in batches]
    changed = [batch.k for batch in batches if ledger.digest(batch.x) != batch.digest]
    outside = [batch.k for batch in batches if not in_range(batch.x, symbols)]
    priced = [batch.k for batch in batches if batch.charged != int(batch.priced.sum())]
    return [
        Check("batches", numbers == list(range(len(numbers))), f"{len(numbers)} of them, numbered {_some(numbers)}"),
        Check("digests", not changed, _in("the samples are not those of the digest", changed)),
        Check("symbols", not outside, _in(f"symbols outside of 0..{symbols - 1}", outside)),
        Check("charges", not priced, _in("the charge is not the number of priced samples", priced)),
    ]


def in_range(x: Tensor, symbols: int) -> bool:
    """Whether all symbols of x, int64 (B, T), are of the vocabulary."""
    return not x.numel() or (int(x.min()) >= 0 and int(x.max()) < symbols)


def _in(what: str, batches: Sequence[int]) -> str:
    return f"{what} in batch {_some(batches)}" if batches else "as charged"


def _some(numbers: Sequence[int]) -> str:
    """The first three of them."""
    return ", ".join(map(str, numbers[:3])) + (", …" if len(numbers) > 3 else "")


def of_counts(record: FinishedRecord, batches: Sequence[Batch]) -> list[Check]:
    """Budget, counts, first success and the verifier's compute."""
    summary = ledger.summarise(iter(batches))
    result, identity = record.result, record.identity
    withheld = summary.successes if identity.protocol in WITHHOLDING else 0
    tokens, flops = sum(batch.cost[0] for batch in batches), sum(batch.cost[1] for batch in batches)
    asked = result.compute.verifying
    return [
        Check("budget", summary.nre <= identity.budget, f"{summary.nre} of {identity.budget} charged"),
        equal("nre", result.nre, summary.nre),
        equal("successes", result.successes, summary.successes),
        equal("withheld", result.withheld, withheld),
        equal("first success", result.first_success, summary.first_success),
        Check(
            "verifier's compute",
            asked.tokens == tokens and math.isclose(asked.flops, flops, rel_tol=RTOL),
            f"record says {asked.tokens} tokens and {asked.flops:g} FLOPs, ledger {tokens} and {flops:g}",
        ),
    ]


def of_rewards(batches: Sequence[Batch], symbols: int, verify: Callable[[Tensor], Tensor]) -> Check:
    """Every reward asked for again.

    Args:
        symbols: size of the task's vocabulary; a batch that holds others is not shown to the verifier.
        verify: the task's verifier.

    Raises:
        VerifierError: it raised, or gave no answer.
    """
    differing = 0
    for batch in batches:
        if batch.rewards is None or not in_range(batch.x, symbols):
            differing += int(batch.priced.sum())
        else:
            differing += int((tasks.verified(verify, batch.x).cpu() != batch.rewards).sum())
    charged = ledger.summarise(iter(batches)).nre
    return Check("rewards", differing == 0, f"{differing} of {charged} answers differ when asked again")


def of_curve(record: FinishedRecord, batches: Sequence[Batch]) -> list[Check]:
    """The curve's rounds and evaluations against the ledger's batches, its intervals, its held-out evaluations."""
    curve = record.result.curve
    spent = torch.tensor([0, *(int(batch.priced.sum()) for batch in batches)]).cumsum(0).tolist()
    places = [point.nre for point in curve]
    rounds = [point.round for point in curve]
    foreign = [nre for nre in places if nre not in spent]
    ordered = places == sorted(places) and places[0] == 0
    numbered = rounds == sorted(set(rounds)) and rounds[0] == 0
    if record.identity.points == "all":
        numbered = rounds == list(range(len(rounds)))
    bad = [point.round for point in curve if not sound(point, record.identity.heldout)]
    checks = [
        Check("rounds of the curve", numbered, f"they are {_some(rounds)}"),
        Check(
            "evaluations of the curve",
            ordered and not foreign,
            f"{_some(foreign or places)} are not what the ledger's batches sum to",
        ),
        Check("intervals of the curve", not bad, f"rate and interval do not belong together in round {_some(bad)}"),
    ]
    if record.result.heldout_evaluations is not None:  # records of the first days do not count them
        measured = sum(point.stream == point.round for point in curve)  # else it is that of an earlier round
        found = measured * estimators.heldout_samples(record.identity.heldout)
        recorded = record.result.heldout_evaluations
        ok = recorded == found
        checks.append(Check("held-out evaluations", ok, f"record says {recorded}, its curve {found}"))
    return checks


def sound(point: Point, heldout: str) -> bool:
    """Whether a point's rate, interval and counts belong together."""
    rate, low, high, estimator, n = point.fields()
    if rate is None or low is None or high is None:
        return heldout == "off" and (rate, low, high, estimator, n) == estimators.UNKNOWN.fields()
    if not 0 <= low <= rate <= high <= 1 + tasks.ROUNDING:
        return False
    match estimator:
        case "exact":
            return rate == low == high and n is None
        case "monte-carlo":
            hits, samples = point.counted() or (0, 0)
            whole = samples > 0 and alike(Estimate(*point.fields()), estimators.monte_carlo(hits, samples))
            first = point.halves
            return whole and (first is None or (first[0] + first[2], first[1] + first[3]) == (hits, samples))
        case "none":
            return False
    return True


def of_summary(record: FinishedRecord) -> list[Check]:
    """What the record's summary says against its own curve, and its seconds against their sum."""
    seconds = record.meta.seconds
    checks = []
    if seconds is not None and seconds.total is not None:
        parts = seconds.of_method() + seconds.heldout
        detail = f"{seconds.total:g} in all, {parts:g} by phase"
        checks.append(Check("seconds", math.isclose(seconds.total, parts, rel_tol=RTOL, abs_tol=ATOL), detail))
    if record.identity.heldout == "off":
        return checks
    result, curve = record.result, record.result.curve
    base, final, best = estimators.placed(curve[0]), estimators.placed(curve[-1]), estimators.best(curve)
    points: list[tuple[str, Placed | None, Placed]] = [
        ("base", result.base, base),
        ("final", result.final, final),
        ("best", result.best, best),
    ]
    quotients = [
        ("final", result.improvement_final, estimators.improvement(final, base)),
        ("best", result.improvement_best, estimators.improvement(best, base)),
    ]
    return [
        *checks,
        *(Check(f"{name} of the curve", a == b, f"summary {_shown(a)}, curve {_shown(b)}") for name, a, b in points),
        *(Check(f"{name} improvement", a == b, f"summary {a}, quotient {b}") for name, a, b in quotients),
    ]


def _shown(point: Placed | None) -> str:
    return records.canonical(point)


PLACE = ("round", "nre", "stream", "metrics")
"""What of a point is its place and the method's own numbers, which its policy does not say."""


def of_point(name: str, recorded: Point, found: Point) -> Check:
    """All that was measured of a policy against what is measured of it now."""
    a, b = msgspec.structs.asdict(recorded), msgspec.structs.asdict(found)
    differing = [field for field in a if field not in PLACE and not alike(a[field], b[field])]
    detail = "; ".join(f"{field}: record says {_brief(a[field])}, policy {_brief(b[field])}" for field in differing)
    return Check(f"{name} measurements", not differing, detail or "equal")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def alike(a: object, b: object) -> bool:
    """Whether two measurements are equal up to rounding, part by part."""
    if isinstance(a, Part) and isinstance(b, Part):
        return alike(msgspec.structs.asdict(a), msgspec.structs.asdict(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) or isinstance(b, float):
        numbers = isinstance(a, int | float) and isinstance(b, int | float)
        return numbers and math.isclose(a, b, rel_tol=RTOL, abs_tol=ATOL)  # type: ignore[arg-type]
    return a == b
