"""What the cells of a configuration have cost: from their records, or their ledgers where those are missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from suite.cells.identity import Identity, identify
from suite.search import objective
from suite.search.objective import configuration
from suite.search.sweep import Sweep
from suite.store import records
from suite.store.ledger import Ledger
from suite.store.records import Record


class Spent(NamedTuple):
    """The evaluations of one cell."""

    nre: int
    heldout: int
    cut_off: bool = False
    """No attempt came to its end. The ledger has all reward evaluations; of the held-out ones only those of the prior
    are sure, which is measured before anything is charged, so `heldout` is a lower bound."""


class Cell(NamedTuple):
    """One seed of a configuration, as far as it got."""

    seed: int
    cell: str
    record: Record | None
    spent: Spent | None
    """None where there is nothing of it in the results folder."""


def cells(sweep: Sweep, drawn: Mapping[str, Any], results: Path | None) -> Iterator[Cell]:
    """The cells of the configuration with the values `drawn`, one for each seed of the sweep."""
    for spec in configuration(sweep, dict(drawn)).specs():
        identity = identify(spec)
        path = identity.folder(results) / "record.json"
        record = records.read(path) if path.exists() else None
        if record is not None and record.result.nre is not None:
            nre, heldout = objective.spent(record)
            yield Cell(spec.seed, identity.cell, record, Spent(nre, heldout))
        else:  # its process died
            yield Cell(spec.seed, identity.cell, record, _by_ledger(identity, results))


def _by_ledger(identity: Identity, results: Path | None) -> Spent | None:
    from suite.measure.estimators import heldout_samples

    path = identity.folder(results) / "ledger.sqlite"
    if not path.exists():
        return None
    ledger = Ledger(path)
    try:
        nre, asked = ledger.nre, ledger.heldout_asked
    finally:
        ledger.close()
    least = heldout_samples(identity.content.heldout) if nre else 0
    return Spent(nre, max(least, asked), cut_off=True)


def total(found: Mapping[str, Spent]) -> dict[str, int]:
    """{nre, heldout, cut_off}: evaluations of cells, each once, and how many of them were cut off."""
    return {
        "nre": sum(spent.nre for spent in found.values()),
        "heldout": sum(spent.heldout for spent in found.values()),
        "cut_off": sum(spent.cut_off for spent in found.values()),
    }
