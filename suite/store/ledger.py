"""The append-only ledger of one run: every charge before its evaluation, every answer after it.

One SQLite file with a rollback journal (a write-ahead log does not work on network file systems), synchronised with
its folder: without that a journal whose removal a power cut undid would take the last charge or answer back. A run that
was killed, or whose machine lost its power, never pays twice and never forgets an answer.

An answer is never lost to a full disk: room for it is held before its evaluation. What a verifier answers in slices is
noted slice by slice, and held-out measurements that the task's costly verifier makes are kept beside the answers.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from suite.attempts import Attempt
from suite.errors import BrokenCell, LedgerDiverged, StorageError, UserError
from suite.store import disk

SCHEMA = 1

ROOM = 128 * 1024
"""Bytes held for an answer beside those of its rows: the pages of both files that one insertion touches."""
ROOM_PER_ROW = 64
"""Bytes held for each row's answer, were each noted by itself."""

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
_LATER = """
CREATE TABLE IF NOT EXISTS slices (   -- answers to a part of a batch, from before its last answer
    k INTEGER NOT NULL REFERENCES batches (k),
    places BLOB NOT NULL,         -- int64: which rows of the batch
    rewards BLOB NOT NULL,        -- one byte per place: 0 or 1
    tokens INTEGER NOT NULL,
    flops REAL NOT NULL,
    answered_at REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS heldout (  -- held-out measurements by the costly verifier, never charged
    round INTEGER NOT NULL,
    policy TEXT NOT NULL,         -- fingerprint of what was measured
    samples INTEGER NOT NULL,     -- put to the verifier
    begun_at REAL NOT NULL,
    point TEXT,                   -- JSON of what was found; NULL where the run was killed before
    tokens INTEGER,
    flops REAL
) STRICT;
CREATE TABLE IF NOT EXISTS attempts ( -- requests to a verifier outside of the process (suite.attempts), never charged
    k INTEGER,                    -- of the batch; NULL for a held-out measurement
    place TEXT NOT NULL,
    request TEXT NOT NULL,
    number INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    begun_at REAL NOT NULL,
    seconds REAL NOT NULL,
    error TEXT                    -- NULL where it was answered
) STRICT;
"""
"""Made when they are first needed, so that a ledger of an earlier version goes on."""


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
    """Tokens and FLOPs that the verifier's models spent on the answer, or on the slices of it."""
    slices: tuple[Tensor, Tensor] | None = None
    """Of a batch that was answered in part: the places int64 (P,) and their rewards bool (P,)."""
    charged: int = 0
    """How many samples were charged, as the ledger says beside `priced`."""
    digest: bytes = b""
    """:func:`digest` of the samples, when they were charged."""


class Ledger:
    """The ledger at `path`, made if it does not exist.

    Raises:
        BrokenCell: the file is no ledger, or holds none: it is never begun anew.
        UserError: it is of another schema, or in a folder that is not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        in_memory = str(path) == ":memory:"
        self._room = None if in_memory else disk.Room(path.with_name(path.stem + ".room"))
        self._attempts: list[tuple[int | None, Attempt]] = []
        """Those that were answered, until their answer is written."""
        try:
            if not in_memory and not path.exists():
                _make(path)
            with self._failures_named():
                self._db = _connect(path)
                if in_memory:
                    self._db.executescript(f"BEGIN; {_TABLES} COMMIT;")
                version = self._db.execute("PRAGMA user_version").fetchone()[0]
                empty = not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        except (sqlite3.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StorageError(f"{path}: cannot be made ({reason}); choose another --results") from error
        if version == 0 and empty:
            raise BrokenCell(
                f"{path}: holds no ledger ({path.stat().st_size} bytes), though a run was begun here; put it back "
                "from a copy, or start anew with --force, which sets the file aside"
            )
        if version != SCHEMA:
            raise UserError(
                f"{path}: ledger schema {version}, this version reads {SCHEMA}; update the suite or change --results"
            )

    @contextlib.contextmanager
    def _failures_named(self) -> Iterator[None]:
        """Around reads and writes: what a broken file, or a full or failing disk, makes SQLite say, in one line."""
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except (sqlite3.OperationalError, OSError) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:  # a table or column is not there
                raise self._broken(error) from error
            raise StorageError(
                disk.failure_message(str(self.path), getattr(error, "strerror", None) or str(error))
            ) from error
        except (sqlite3.DatabaseError, ValueError, TypeError, RuntimeError) as error:  # of SQLite, or of its blobs
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> BrokenCell:
        return BrokenCell(
            f"{self.path}: cannot be read as a ledger ({error}); put it back from a copy, or start anew with --force, "
            "which sets the file aside"
        )

    def close(self) -> None:
        if self._attempts:  # whose answers were all that they are not known yet
            with contextlib.suppress(UserError), self._failures_named(), self._transaction(later=True):
                pass
        self._db.close()
        if self._room is not None:
            self._room.close()

    @property
    def nre(self) -> int:
        """Reward evaluations charged so far."""
        with self._failures_named():
            return int(self._db.execute("SELECT coalesce(sum(charged), 0) FROM batches").fetchone()[0])

    def charge(self, k: int, x: Tensor, priced: Tensor) -> None:
        """Charge batch k, x int64 (B, T), for the rows where `priced` (B,) is true; on disk when it returns."""
        with self._failures_named():
            self._db.execute(
                "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (k, digest(x), _bytes(x), *x.shape, _bytes(priced.to(torch.uint8)), int(priced.sum()), time.time()),
            )

    def hold_room(self, rows: int) -> None:
        """Hold the room on the disk that the answers to so many rows will need; call it before they are evaluated.

        Raises:
            StorageError: there is no such room.
        """
        if self._room is not None:
            with self._failures_named():
                self._room.take(ROOM + ROOM_PER_ROW * rows)

    def answer(self, k: int, rewards: Tensor, cost: tuple[int, float] = (0, 0.0)) -> None:
        """Note the rewards of batch k, bool (B,), and what they cost; on disk when it returns."""
        with self._writing():
            self._db.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?)", (k, _bytes(rewards.to(torch.uint8)), *cost, time.time())
            )

    def answer_part(self, k: int, places: Tensor, rewards: Tensor, cost: tuple[int, float] = (0, 0.0)) -> None:
        """Note the rewards, bool (P,), of some rows of batch k, int64 (P,); on disk when it returns."""
        with self._writing(later=True):
            self._db.execute(
                "INSERT INTO slices VALUES (?, ?, ?, ?, ?, ?)",
                (k, _bytes(places), _bytes(rewards.to(torch.uint8)), *cost, time.time()),
            )

    def attempt(self, k: int | None, attempt: Attempt) -> None:
        """Note an attempt at a request: one that was answered with its answer, another at once.

        Args:
            k: the batch; None for a held-out measurement.
        """
        self._attempts.append((k, attempt))
        if attempt.error is not None:
            with self._failures_named(), self._transaction(later=True):
                pass

    @contextlib.contextmanager
    def _writing(self, *, later: bool = False) -> Iterator[None]:
        """Around the writing of an answer: the room that was held for it is free; attempts are written with it."""
        with self._failures_named():
            if self._room is not None:
                self._room.free()
            with self._transaction(later=later or bool(self._attempts)):
                yield

    @contextlib.contextmanager
    def _transaction(self, *, later: bool) -> Iterator[None]:
        """Around what is written with the attempts, all of it or nothing; on disk at its end."""
        if later:
            self._later()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            rows = [(k, *attempt) for k, attempt in self._attempts]
            if rows:
                self._db.executemany("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._attempts.clear()

    def attempts(self) -> list[tuple[int | None, Attempt]]:
        """All that were noted, with their batches, in their order."""
        with self._failures_named():
            if not self._has("attempts"):
                return []
            rows = self._db.execute("SELECT * FROM attempts ORDER BY rowid").fetchall()
        return [(row[0], Attempt(*row[1:])) for row in rows]

    def _later(self) -> None:
        """Make the tables that a ledger does not have from the beginning."""
        if not self._has("attempts"):
            self._db.executescript(f"BEGIN; {_LATER} COMMIT;")

    def _has(self, table: str) -> bool:
        query = "SELECT count(*) FROM sqlite_master WHERE name = ?"
        return bool(self._db.execute(query, (table,)).fetchone()[0])

    def begin_heldout(self, round_: int, policy: str, samples: int) -> None:
        """Note that the costly verifier is about to be asked for a held-out measurement; on disk when it returns."""
        with self._failures_named():
            self._later()
            self._db.execute(
                "INSERT INTO heldout (round, policy, samples, begun_at) VALUES (?, ?, ?, ?)",
                (round_, policy, samples, time.time()),
            )
        self.hold_room(samples)

    def end_heldout(self, round_: int, policy: str, point: str, cost: tuple[int, float]) -> None:
        """Note what was measured, as JSON, and what it cost the models; on disk when it returns."""
        with self._writing():
            self._db.execute(
                "UPDATE heldout SET point = ?, tokens = ?, flops = ? WHERE rowid = "
                "(SELECT max(rowid) FROM heldout WHERE round = ? AND policy = ?)",
                (point, *cost, round_, policy),
            )

    def heldout(self, round_: int, policy: str) -> tuple[str, tuple[int, float]] | None:
        """What an earlier attempt measured of this policy in this round, and its cost; None where it did not."""
        with self._failures_named():
            if not self._has("heldout"):
                return None
            row = self._db.execute(
                "SELECT point, tokens, flops FROM heldout WHERE round = ? AND policy = ? AND point IS NOT NULL",
                (round_, policy),
            ).fetchone()
        return None if row is None else (row[0], (row[1], row[2]))

    @property
    def heldout_asked(self) -> int:
        """Samples put to the costly verifier by held-out measurement in all attempts."""
        with self._failures_named():
            if not self._has("heldout"):
                return 0
            return int(self._db.execute("SELECT coalesce(sum(samples), 0) FROM heldout").fetchone()[0])

    def replayed(self, k: int, x: Tensor) -> Batch | None:
        """Batch k where an earlier attempt charged it, held against x; None where it is new.

        Raises:
            LedgerDiverged: the ledger's batch k holds other samples.
        """
        with self._failures_named():
            row = self._db.execute("SELECT digest FROM batches WHERE k = ?", (k,)).fetchone()
        if row is None:
            return None
        if row[0] != digest(x):
            raise LedgerDiverged(
                f"{self.path}: batch {k} of the resumed run differs from the one charged before; the code or the "
                "machine changed. Nothing was charged. --force starts anew and sets this ledger aside."
            )
        return next(self.batches(k))

    def batches(self, only: int | None = None) -> Iterator[Batch]:
        """All batches in the order of their charges, or the one asked for."""
        where = "" if only is None else "WHERE b.k = ?"
        query = (
            "SELECT b.k, samples, rows, length, priced, rewards, coalesce(tokens, 0), coalesce(flops, 0.0), "
            "charged, digest "
            f"FROM batches b LEFT JOIN answers USING (k) {where} ORDER BY b.k"
        )
        with self._failures_named():
            for k, samples, rows, length, priced, rewards, tokens, flops, charged, mark in self._db.execute(
                query, () if only is None else (only,)
            ):
                batch = Batch(
                    k,
                    torch.frombuffer(bytearray(samples), dtype=torch.int64).view(rows, length).clone(),
                    _flags(priced, rows),
                    None if rewards is None else _flags(rewards, rows),
                    (tokens, flops),
                    charged=charged,
                    digest=bytes(mark),
                )
                yield batch if batch.rewards is not None else self._with_slices(batch)

    def _with_slices(self, batch: Batch) -> Batch:
        """A batch without an answer, with those of its slices."""
        if not self._has("slices"):
            return batch
        query = "SELECT places, rewards, tokens, flops FROM slices WHERE k = ? ORDER BY rowid"
        found = self._db.execute(query, (batch.k,)).fetchall()
        if not found:
            return batch
        places = torch.cat([torch.frombuffer(bytearray(row[0]), dtype=torch.int64) for row in found])
        rewards = torch.cat([_flags(row[1], len(row[0]) // 8) for row in found])
        cost = sum(row[2] for row in found), sum(row[3] for row in found)
        return batch._replace(slices=(places, rewards), cost=cost)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA synchronous = EXTRA")  # FULL, and the folder after the journal's removal
    return db


def _make(path: Path) -> None:
    """An empty ledger, in its place whole or not at all: a file without tables is always a broken one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    with contextlib.closing(_connect(temporary)) as db:
        db.executescript(f"BEGIN; {_TABLES} COMMIT;")
    disk.rename(temporary, path)


def copy(path: Path, to: Path) -> None:
    """A copy of a ledger, in its place whole or not at all."""
    temporary = to.with_name(to.name + ".tmp")
    temporary.unlink(missing_ok=True)
    with contextlib.closing(_connect(path)) as source, contextlib.closing(_connect(temporary)) as db:
        source.backup(db)
    disk.rename(temporary, to)


def _flags(blob: Any, rows: int) -> Tensor:
    """Bool (rows,) from one byte each. ValueError where there are more or fewer."""
    if len(blob) != rows:
        raise ValueError(f"{len(blob)} bytes for {rows} rows")
    return torch.frombuffer(bytearray(blob), dtype=torch.uint8).bool() if rows else torch.zeros(0, dtype=torch.bool)


class Summary(NamedTuple):
    """What a ledger says of its run."""

    nre: int
    evaluated: int
    """Charged samples that were answered."""
    successes: int
    """Successes among them."""
    first_success: int | None
    """The first one's place among the charged samples, counted from 1; None where there is none."""
    batches: int
    smallest: int | None
    """Samples of the smallest batch but the last one, which takes what is left; None below two batches."""


def summarise(batches: Iterator[Batch]) -> Summary:
    """Counts over a ledger's batches; of one that was answered in part, over that part."""
    nre = evaluated = successes = 0
    first: int | None = None
    sizes = []
    for batch in batches:
        sizes.append(len(batch.x))
        place = nre + batch.priced.long().cumsum(0)  # of each row among the charged samples, from 1
        known = batch.priced.clone()
        rewards = batch.rewards
        if rewards is None:
            known, rewards = torch.zeros_like(known), torch.zeros_like(known)
            if batch.slices is not None:
                known[batch.slices[0]] = batch.priced[batch.slices[0]]
                rewards[batch.slices[0]] = batch.slices[1]
        evaluated += int(known.sum())
        hits = rewards & known
        successes += int(hits.sum())
        if first is None and hits.any():
            first = int(place[hits][0])
        nre += int(batch.priced.sum())
    return Summary(nre, evaluated, successes, first, len(sizes), min(sizes[:-1], default=None))


def digest(x: Tensor) -> bytes:
    """A hash of samples int64 (B, T) and their shape."""
    return hashlib.sha256(repr(tuple(x.shape)).encode() + _bytes(x)).digest()


def _bytes(x: Tensor) -> bytes:
    return x.detach().cpu().contiguous().numpy().tobytes()
