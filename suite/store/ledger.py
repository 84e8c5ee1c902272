"""The append-only ledger of one run: every charge before its evaluation, every answer after it.

One SQLite file with a rollback journal and full synchronisation (a write-ahead log does not work on network file
systems). A killed run never pays twice and never forgets an answer.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from suite.errors import LedgerDiverged, UserError

SCHEMA = 1

_TABLES = f"""
PRAGMA user_version = {SCHEMA};
CREATE TABLE batches (
    k INTEGER PRIMARY KEY,        -- 0, 1, 2, ...
    digest BLOB NOT NULL,         -- of the samples
    samples BLOB NOT NULL,        -- int64, row by row
    rows INTEGER NOT NULL,
    length INTEGER NOT NULL,
    priced BLOB NOT NULL,         -- one byte per row: 1 where the row was charged
    charged INTEGER NOT NULL,
    charged_at REAL NOT NULL
) STRICT;
CREATE TABLE answers (
    k INTEGER PRIMARY KEY REFERENCES batches (k),
    rewards BLOB NOT NULL,        -- one byte per row: 0 or 1
    tokens INTEGER NOT NULL,      -- the verifier's model compute, so that a replay counts it too
    flops REAL NOT NULL,
    answered_at REAL NOT NULL
) STRICT;
"""


class Batch(NamedTuple):
    """One batch as the ledger holds it."""

    k: int
    x: Tensor
    """The samples, int64 (B, T)."""
    priced: Tensor
    """True (B,) where the sample was charged."""
    rewards: Tensor | None
    """bool (B,); None where the run was killed before the answer."""
    cost: tuple[int, float] = (0, 0.0)
    """Tokens and FLOPs that the verifier's models spent on the answer."""


class Ledger:
    """The ledger at `path`, made if it does not exist.

    Raises:
        UserError: the file is no ledger, of another schema, or in a folder that is not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            self._db.execute("PRAGMA journal_mode = DELETE")
            self._db.execute("PRAGMA synchronous = FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                self._db.executescript(f"BEGIN; {_TABLES} COMMIT;")
                version = SCHEMA
        except sqlite3.Error as error:
            raise UserError(f"{path}: cannot be opened as a ledger ({error}); choose another --results") from error
        if version != SCHEMA:
            raise UserError(
                f"{path}: ledger schema {version}, this version reads {SCHEMA}; update the suite or change --results"
            )

    def close(self) -> None:
        self._db.close()

    @property
    def nre(self) -> int:
        """Reward evaluations charged so far."""
        return int(self._db.execute("SELECT coalesce(sum(charged), 0) FROM batches").fetchone()[0])

    def charge(self, k: int, x: Tensor, priced: Tensor) -> None:
        """Charge batch k, x int64 (B, T), for the rows where `priced` (B,) is true; on disk when it returns."""
        self._db.execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (k, digest(x), _bytes(x), *x.shape, _bytes(priced.to(torch.uint8)), int(priced.sum()), time.time()),
        )

    def answer(self, k: int, rewards: Tensor, cost: tuple[int, float] = (0, 0.0)) -> None:
        """Note the rewards of batch k, bool (B,), and what they cost; on disk when it returns."""
        self._db.execute(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?)", (k, _bytes(rewards.to(torch.uint8)), *cost, time.time())
        )

    def replayed(self, k: int, x: Tensor) -> Batch | None:
        """Batch k where an earlier attempt charged it, held against x; None where it is new.

        Raises:
            LedgerDiverged: the ledger's batch k holds other samples.
        """
        row = self._db.execute("SELECT digest FROM batches WHERE k = ?", (k,)).fetchone()
        if row is None:
            return None
        if row[0] != digest(x):
            raise LedgerDiverged(
                f"{self.path}: batch {k} of the resumed run differs from the one charged before; the code or the "
                "machine changed. Nothing was charged. Start anew with --force."
            )
        return next(self.batches(k))

    def batches(self, only: int | None = None) -> Iterator[Batch]:
        """All batches in the order of their charges, or the one asked for."""
        where = "" if only is None else "WHERE b.k = ?"
        query = (
            "SELECT b.k, samples, rows, length, priced, rewards, coalesce(tokens, 0), coalesce(flops, 0.0) "
            f"FROM batches b LEFT JOIN answers USING (k) {where} ORDER BY b.k"
        )
        found = self._db.execute(query, () if only is None else (only,))
        for k, samples, rows, length, priced, rewards, tokens, flops in found:
            yield Batch(
                k,
                torch.frombuffer(bytearray(samples), dtype=torch.int64).view(rows, length).clone(),
                torch.frombuffer(bytearray(priced), dtype=torch.uint8).bool(),
                None if rewards is None else torch.frombuffer(bytearray(rewards), dtype=torch.uint8).bool(),
                (tokens, flops),
            )


class Summary(NamedTuple):
    """What a ledger says of its run."""

    nre: int
    evaluated: int
    """Charged samples that were answered."""
    successes: int
    """Successes among them."""
    first_success: int | None
    """The first one's place among the charged samples, counted from 1; None where there is none."""


def summarise(batches: Iterator[Batch]) -> Summary:
    nre = evaluated = successes = 0
    first: int | None = None
    for batch in batches:
        if batch.rewards is not None:
            rewards = batch.rewards[batch.priced]
            evaluated += len(rewards)
            successes += int(rewards.sum())
            if first is None and rewards.any():
                first = nre + int(rewards.long().argmax()) + 1
        nre += int(batch.priced.sum())
    return Summary(nre, evaluated, successes, first)


def digest(x: Tensor) -> bytes:
    """A hash of samples int64 (B, T) and their shape."""
    return hashlib.sha256(repr(tuple(x.shape)).encode() + _bytes(x)).digest()


def _bytes(x: Tensor) -> bytes:
    return x.detach().cpu().contiguous().numpy().tobytes()
