"""Single runs, packed so that ten thousand of them fit on a page.

Curves are numbers of three digits, grids of evaluations and configs stand once, and groups of runs are JSON in gzip in
base64 that the page unpacks when one of them is opened. Where that is still too much, the typical run of every row (the
seed with the median final rate) goes first, and the page says how many it holds.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from msgspec.structs import asdict

from reports.board.row import Row
from reports.figures import gallery
from reports.read import series
from suite.store.records import Record
from suite.store.schema import plain

GROUP = 100
"""Runs that are unpacked together."""
MOST_BYTES = 2_000_000
"""Of all packed runs, in base64."""
MOST_LETTERS = 400_000
"""Of all samples; the typical runs' come first."""
ROUNDS, SAMPLES, LETTERS = 6, 6, 400
"""Samples are shown for so many rounds, so many each, cut after so many letters."""


class Packed(NamedTuple):
    """What the page holds of single runs."""

    groups: list[str]
    """Base64 of gzip of a JSON object {place in the table: run}."""
    where: list[int]
    """The group of each run in the order of the table, -1 where it is left out."""
    sampled: int
    """Runs with samples."""
    total: int

    @property
    def kept(self) -> int:
        return sum(group >= 0 for group in self.where)


def pack(records: Sequence[Record], rows: Sequence[Row]) -> Packed:
    """All runs, or as many as fit; the typical run of every row first.

    Args:
        records: in the order of the page's table of runs.
        rows: those behind which the records stand.
    """
    order = _order(records, rows)
    sampled = _sampled(records, order)
    groups: list[str] = []
    where = [-1] * len(records)
    used = 0
    for start in range(0, len(order), GROUP):
        places = order[start : start + GROUP]
        content = {place: _run(records[place], samples=place in sampled) for place in places}
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
        if used + len(packed) > MOST_BYTES:
            break
        used += len(packed)
        for place in places:
            where[place] = len(groups)
        groups.append(packed)
    return Packed(groups, where, sum(where[place] >= 0 for place in sampled), len(records))


def _order(records: Sequence[Record], rows: Sequence[Row]) -> list[int]:
    places = {record.cell: i for i, record in enumerate(records)}
    of_rows = [[records[places[cell]] for cell in row.cells if cell in places] for row in rows]
    first = [places[run.cell] for own in of_rows if (run := series.typical(own)) is not None]
    return list(dict.fromkeys([*first, *range(len(records))]))


def _sampled(records: Sequence[Record], order: Iterable[int]) -> set[int]:
    chosen, letters = set(), 0
    for place in order:
        size = sum(len(text) for _, _, texts in _samples(records[place]) for text in texts)
        if size and letters + size <= MOST_LETTERS:
            chosen.add(place)
            letters += size
    return chosen


def _samples(record: Record) -> list[tuple[int, int, list[str]]]:
    """(round, NRE, samples) of some rounds."""
    shown = gallery.rounds(record.result.curve, ROUNDS)
    return [(p.round, p.nre, [text[:LETTERS] for text in p.samples[:SAMPLES]]) for p in shown if p.samples]


def _run(record: Record, *, samples: bool) -> dict[str, Any]:
    """What the drill-down of one run shows; keys are short because there may be ten thousand."""
    curve, identity, result, meta = record.result.curve, record.identity, record.result, record.meta
    facts = {
        "cell": record.cell,
        "status": record.status,
        "error": None if result.error is None else result.error.line()[:500],
        "protocol": identity.protocol,
        "duplicates": identity.duplicates,
        "budget": identity.budget,
        "held-out": identity.heldout,
        "evaluations charged": result.nre,
        "successes among them": result.successes,
        "first success at evaluation": result.first_success,
        "successes withheld from the method": result.withheld,
        "model FLOPs": None if result.compute is None else _short(result.compute.of_method().flops),
        "seconds": {} if meta.seconds is None else {k: _short(v) for k, v in asdict(meta.seconds).items()},
        "commit": (meta.commit or "unknown")[:12] + (" + uncommitted changes" if meta.dirty else ""),
        "engine": meta.engine,
        "started": meta.started,
        "tuning": None if meta.tuning is None else plain(meta.tuning),
    }
    run: dict[str, Any] = {
        "t": f"{record.task} · {record.baseline} · seed {record.seed}",
        "n": [point.nre for point in curve],
        "f": {name: value for name, value in facts.items() if value is not None},
        "c": identity.baseline.config,
        "k": identity.task.config,
        "r": [_short(point.success_rate) for point in curve],
    }
    if any(point.low != point.high for point in curve):  # else exact
        run |= {"l": [_short(point.low, 2) for point in curve], "h": [_short(point.high, 2) for point in curve]}
    none_kept = not any(point.samples for point in curve)
    return run | ({"s": _samples(record)} if samples or none_kept else {})


def _short(value: float | None, digits: int = 3) -> float | None:
    """So many significant digits."""
    return None if value is None else float(f"{value:.{digits}g}")
