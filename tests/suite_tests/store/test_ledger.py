"""The ledger: append-only, on disk at once, replayed byte for byte."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from suite.errors import BrokenCell, LedgerDiverged, UserError
from suite.store import ledger
from suite.store.ledger import Batch, Ledger

X = torch.tensor([[1, 2], [3, 4], [5, 6]])
PRICED = torch.tensor([True, False, True])
REWARDS = torch.tensor([False, False, True])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def read_only(path: Path, query: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def test_a_charge_and_its_answer_are_on_disk_at_once(path: Path) -> None:
    """Read by another connection, decoded by numpy."""
    book = Ledger(path)
    before = time.time()
    book.charge(0, X, PRICED)
    ((k, samples, rows, length, priced, charged, charged_at),) = read_only(
        path, "SELECT k, samples, rows, length, priced, charged, charged_at FROM batches"
    )
    assert (k, rows, length, charged) == (0, 3, 2, 2)
    assert np.frombuffer(samples, np.int64).reshape(3, 2).tolist() == X.tolist()  # type: ignore[call-overload]
    assert (priced, before <= charged_at <= time.time()) == (b"\1\0\1", True)  # type: ignore[operator]
    assert read_only(path, "SELECT * FROM answers") == []
    book.answer(0, REWARDS)
    assert read_only(path, "SELECT k, rewards FROM answers") == [(0, b"\0\0\1")]
    assert book.nre == 2
    book.close()


def test_the_file_has_a_rollback_journal_and_is_synchronised_with_its_folder(path: Path) -> None:
    book = Ledger(path)
    assert book._db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert book._db.execute("PRAGMA synchronous").fetchone() == (3,)  # EXTRA, sqlite.org/pragma.html
    book.close()


def test_a_batch_comes_back_as_it_went_in(path: Path) -> None:
    book = Ledger(path)
    book.charge(0, X, PRICED)
    book.answer(0, REWARDS)
    book.charge(1, X + 10, torch.ones(3, dtype=torch.bool))
    book.close()
    again = Ledger(path)
    first, second = again.batches()
    assert torch.equal(first.x, X)
    assert torch.equal(first.priced, PRICED)
    assert first.rewards is not None
    assert torch.equal(first.rewards, REWARDS)
    assert torch.equal(second.x, X + 10)
    assert second.rewards is None
    again.close()


def test_replay_finds_equal_batches_and_refuses_others(path: Path) -> None:
    book = Ledger(path)
    book.charge(0, X, PRICED)
    assert book.replayed(1, X) is None
    found = book.replayed(0, X)
    assert found is not None
    assert found.rewards is None
    for other in (X + 1, X[:2], X.view(2, 3)):
        with pytest.raises(LedgerDiverged, match=r"batch 0 of the resumed run differs.*Nothing was charged.*--force"):
            book.replayed(0, other)
    assert book.nre == 2
    book.close()


def test_a_batch_is_charged_and_answered_once(path: Path) -> None:
    book = Ledger(path)
    book.charge(0, X, PRICED)
    book.answer(0, REWARDS)
    with pytest.raises(sqlite3.IntegrityError):
        book.charge(0, X + 1, PRICED)
    with pytest.raises(sqlite3.IntegrityError):
        book.answer(0, ~REWARDS)
    (batch,) = book.batches()
    assert batch.rewards is not None
    assert torch.equal(batch.rewards, REWARDS)
    book.close()


def test_a_file_that_is_no_ledger_is_refused(path: Path) -> None:
    path.write_text("a shopping list, long enough to be read as a page of something else " * 20)
    with pytest.raises(UserError, match=r"cannot be read as a ledger .*--force, which sets the file aside"):
        Ledger(path)
    assert path.read_text().startswith("a shopping list")


@pytest.mark.parametrize("left", [0, 5000])
def test_a_ledger_that_was_cut_off_is_never_begun_anew(path: Path, left: int) -> None:
    book = Ledger(path)
    book.charge(0, torch.arange(4000)[:, None], torch.ones(4000, dtype=torch.bool))
    book.close()
    with path.open("rb+") as file:
        file.truncate(left)
    with pytest.raises(BrokenCell, match=r"ledger\.sqlite: .*put it back from a copy, or start anew with --force"):
        list(Ledger(path).batches())
    assert path.stat().st_size == left


def test_a_ledger_is_never_there_without_its_tables(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed while it makes the file leaves none in its place."""

    class Killed(BaseException):
        pass

    def killed(path: Path, to: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ledger.disk, "rename", killed)
        with pytest.raises(Killed):
            Ledger(path)
    assert not path.exists()
    book = Ledger(path)
    assert (book.nre, path.with_name("ledger.sqlite.tmp").exists()) == (0, False)
    book.close()


def test_slices_come_back_until_the_whole_answer_is_there(path: Path) -> None:
    book = Ledger(path)
    book.charge(0, X, PRICED)
    book.answer_part(0, torch.tensor([2]), torch.tensor([True]), (7, 1.5))
    (part,) = book.batches()
    assert (part.rewards, part.cost) == (None, (7, 1.5))
    assert part.slices is not None
    assert [column.tolist() for column in part.slices] == [[2], [True]]
    # rows 0 and 2 were charged: the success is the second charged sample, the only one that was answered
    assert ledger.summarise(book.batches()) == ledger.Summary(2, 1, 1, first_success=2, batches=1, smallest=None)
    book.answer(0, REWARDS, (9, 2.5))
    (whole,) = book.batches()
    assert (whole.slices, whole.cost) == (None, (9, 2.5))
    book.close()


def test_held_out_measurements_are_kept_and_counted_over_all_attempts(path: Path) -> None:
    book = Ledger(path)
    assert (book.heldout(0, "a"), book.heldout_asked) == (None, 0)
    book.begin_heldout(0, "a", 500)  # killed before its end
    book.close()
    book = Ledger(path)
    assert (book.heldout(0, "a"), book.heldout_asked) == (None, 500)
    book.begin_heldout(0, "a", 500)
    book.end_heldout(0, "a", '{"success_rate":0.1}', (3, 2.0))
    assert (book.heldout(0, "a"), book.heldout_asked) == (('{"success_rate":0.1}', (3, 2.0)), 1000)
    assert (book.heldout(1, "a"), book.heldout(0, "b")) == (None, None)
    book.close()


def test_a_newer_schema_is_refused(path: Path) -> None:
    Ledger(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {ledger.SCHEMA + 1}")
    db.close()
    with pytest.raises(UserError, match=f"ledger schema {ledger.SCHEMA + 1}, this version reads {ledger.SCHEMA}"):
        Ledger(path)


def test_a_ledger_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be made .*choose another --results"):
        Ledger(tmp_path / "nowhere" / "ledger.sqlite")


def batch(rewards: list[int] | None, priced: list[int]) -> Batch:
    known = None if rewards is None else torch.tensor(rewards).bool()
    return Batch(0, torch.zeros(len(priced), 1, dtype=torch.long), torch.tensor(priced).bool(), known)


def test_a_summary_counts_charged_samples_alone() -> None:
    batches = [
        batch([0, 0], [1, 1]),  # places 1 and 2
        batch([1, 0, 1], [0, 1, 1]),  # the first was free: places 3 and 4, the success is the 4th
        batch(None, [1]),  # charged, never answered
        batch([1], [1]),
    ]
    assert ledger.summarise(iter(batches)) == ledger.Summary(6, 5, 2, first_success=4, batches=4, smallest=1)


def test_a_first_success_after_an_unanswered_batch_keeps_its_place() -> None:
    assert ledger.summarise(iter([batch(None, [1, 1]), batch([0, 1], [1, 1])])).first_success == 4


def test_an_empty_ledger_has_no_first_success() -> None:
    assert ledger.summarise(iter([])) == ledger.Summary(0, 0, 0, None, 0, None)


@given(st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=5), max_size=6))
def test_a_summary_is_a_walk_over_the_charged_samples(rows: list[list[tuple[bool, bool]]]) -> None:
    made = [batch([reward for _, reward in one], [priced for priced, _ in one]) for one in rows]
    flat = [reward for one in rows for priced, reward in one if priced]
    first = flat.index(True) + 1 if True in flat else None
    assert ledger.summarise(iter(made))[:4] == (len(flat), len(flat), sum(flat), first)


def test_a_digest_is_of_the_values_and_the_shape() -> None:
    values: dict[bytes, Tensor] = {}
    for x in (X, X + 1, X.view(2, 3), X[:2], torch.zeros(2, 1, dtype=torch.long), torch.zeros(1, 2, dtype=torch.long)):
        assert ledger.digest(x) not in values
        values[ledger.digest(x)] = x
    assert ledger.digest(X.t().contiguous().t()) == ledger.digest(X)  # strides do not count
