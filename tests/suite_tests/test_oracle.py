"""The oracle: a budget that nothing overruns, a charge before every evaluation, a protocol that holds."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from suite.errors import BudgetExhausted, LedgerDiverged, StorageError, UserError, VerifierError
from suite.generators import Table
from suite.oracle import Oracle, Verifier
from suite.policy import Tempered
from suite.protocol import DUPLICATES, PROTOCOLS
from suite.store.ledger import Ledger, summarise

Make = Callable[..., Oracle]

COLLECT = {"protocol": "failures-only"}
EVALUATE = {"protocol": "all-rewards"}


def odd(x: Tensor) -> Tensor:
    return x[:, 0] % 2 == 1


def codes(*values: int) -> Tensor:
    return torch.tensor(values)[:, None]


def spend(oracle: Oracle, n: int, uniform: Table) -> None:
    """n evaluations in the way of the protocol."""
    if oracle.protocol == "all-rewards":
        oracle.evaluate(torch.arange(n)[:, None])
    else:
        oracle.collect(uniform, n)


def drain(oracle: Oracle, uniform: Table, rounds: int) -> None:
    for _ in range(rounds):
        oracle.collect(uniform, 4)


def fresh(budget: int, protocol: str) -> tuple[Oracle, Verifier, Ledger]:
    ledger, verifier = Ledger(Path(":memory:")), Verifier(odd)
    generator = torch.Generator().manual_seed(0)
    oracle = Oracle(
        verifier, ledger, budget=budget, prior=Table(torch.zeros(64)), generator=generator, protocol=protocol
    )
    return oracle, verifier, ledger


# -- the budget -------------------------------------------------------------------------------------------------


@given(
    budget=st.integers(1, 60),
    sizes=st.lists(st.integers(-2, 40), max_size=12),
    protocol=st.sampled_from(PROTOCOLS),
)
def test_no_sequence_of_batches_overruns_the_budget(budget: int, sizes: list[int], protocol: str) -> None:
    oracle, verifier, ledger = fresh(budget, protocol)
    spent = 0
    for n in sizes:
        if n < 1:
            with pytest.raises((ValueError, RuntimeError)):
                spend(oracle, n, Table(torch.zeros(8)))
        elif n > budget - spent:
            with pytest.raises(
                BudgetExhausted,
                match=f"a batch of {n} does not fit into the {budget - spent} of {budget} evaluations left",
            ):
                spend(oracle, n, Table(torch.zeros(8)))
        else:
            spend(oracle, n, Table(torch.zeros(8)))
            spent += n
        assert spent == oracle.nre == verifier.calls == ledger.nre <= budget
        assert oracle.remaining == budget - spent
    ledger.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_eight_threads_do_not_overrun_it(
    protocol: str, uniform_table: Callable[[int], Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle, verifier, ledger = fresh(200, protocol)
    table, got, barrier = uniform_table(8), Counter[str](), threading.Barrier(8)
    charge = ledger.charge

    def slowly(k: int, x: Tensor, priced: Tensor) -> None:
        time.sleep(1e-3)  # the others run while this thread stands between the check and the charge
        charge(k, x, priced)

    monkeypatch.setattr(ledger, "charge", slowly)

    def hammer(worker: int) -> None:
        barrier.wait()
        for i in range(25):
            try:
                spend(oracle, 1 + (worker + i) % 5, table)
                got["served"] += 1
            except BudgetExhausted:
                got["refused"] += 1

    threads = [threading.Thread(target=hammer, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got.total() == 8 * 25  # nothing else was raised
    assert got["refused"] > 0  # 8 · 25 · 3 = 600 were asked for
    assert oracle.nre == verifier.calls == ledger.nre == summarise(ledger.batches()).evaluated
    assert 200 - 5 < oracle.nre <= 200
    ks = [batch.k for batch in ledger.batches()]
    assert ks == list(range(got["served"]))
    ledger.close()


def test_the_public_names_are_these_and_none_can_be_set(make_oracle: Make) -> None:
    """Nothing public evaluates without a charge, gives budget back or changes the rules."""
    oracle = make_oracle()
    public = {name for name in dir(oracle) if not name.startswith("_")}
    assert public == {"budget", "protocol", "duplicates", "nre", "remaining", "collect", "evaluate"}
    for name in ("budget", "protocol", "duplicates", "nre", "remaining"):
        with pytest.raises(AttributeError):
            setattr(oracle, name, 10**9)


@pytest.mark.parametrize("budget", [0, -5])
def test_a_budget_of_nothing_is_refused(make_oracle: Make, budget: int) -> None:
    with pytest.raises(UserError, match=f"--budget must be at least 1 reward evaluation, got {budget}"):
        make_oracle(budget=budget)


def test_an_empty_batch_is_refused(make_oracle: Make, uniform_table: Callable[[int], Table]) -> None:
    with pytest.raises(ValueError, match="a batch needs at least one sample, got 0"):
        make_oracle().collect(uniform_table(8), 0)
    with pytest.raises(ValueError, match="a batch needs at least one sample, got 0"):
        make_oracle(**EVALUATE).evaluate(torch.zeros(0, 1, dtype=torch.long))


@pytest.mark.parametrize(
    "x", [torch.zeros(3, 1), torch.zeros(3, dtype=torch.long), torch.zeros(3, 1, dtype=torch.int32)]
)
def test_samples_of_another_kind_are_refused_and_not_charged(make_oracle: Make, x: Tensor) -> None:
    oracle = make_oracle(**EVALUATE)
    with pytest.raises(ValueError, match=r"samples must be int64 \(B, T\)"):
        oracle.evaluate(x)
    assert oracle.nre == 0


# -- charge first, then evaluate -------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_charge_is_on_disk_before_its_evaluation(
    tmp_path: Path, make_oracle: Make, uniform_table: Callable[[int], Table], protocol: str
) -> None:
    path = tmp_path / "ledger.sqlite"
    seen: list[tuple[int, int]] = []

    def looking(x: Tensor) -> Tensor:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        charged = db.execute("SELECT sum(charged) FROM batches").fetchone()[0]
        answered = db.execute("SELECT count(*) FROM answers").fetchone()[0]
        db.close()
        seen.append((charged, answered))
        return odd(x)

    oracle = make_oracle(looking, path=path, protocol=protocol)
    for n in (5, 7, 1):
        spend(oracle, n, uniform_table(8))
    assert seen == [(5, 0), (12, 1), (13, 2)]


ANSWERS: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "raises": (lambda x: 1 // 0, "the verifier raised ZeroDivisionError: integer division or modulo by zero"),
    "nan": (lambda x: torch.full((len(x),), torch.nan), "must answer 0 or 1, got nan"),
    "half": (lambda x: torch.full((len(x),), 0.5), r"must answer 0 or 1, got 0\.5"),
    "two": (lambda x: torch.full((len(x),), 2), "must answer 0 or 1, got 2"),
    "column": (lambda x: torch.zeros(len(x), 1), r"a tensor of shape \(3,\), got \(3, 1\)"),
    "short": (lambda x: torch.zeros(len(x) - 1), r"a tensor of shape \(3,\), got \(2,\)"),
    "list": (lambda x: [0] * len(x), r"a tensor of shape \(3,\), got list"),
    "none": (lambda x: None, r"a tensor of shape \(3,\), got NoneType"),
}


def test_one_answer_that_is_no_reward_discards_no_other(tmp_path: Path, make_oracle: Make) -> None:
    """The second of four is nan; the next attempt asks for it alone."""
    path, asked, broken = tmp_path / "ledger.sqlite", list[list[int]](), [True]

    def verify(x: Tensor) -> Tensor:
        asked.append(x[:, 0].tolist())
        rewards = odd(x).double()
        rewards[1:2] = torch.nan if broken[0] else rewards[1:2]
        return rewards

    x = torch.tensor([[1], [3], [4], [5]])
    with pytest.raises(VerifierError, match="must answer 0 or 1, got nan"):
        make_oracle(verify, path=path, **EVALUATE).evaluate(x)
    broken[0] = False
    again = make_oracle(verify, path=path, **EVALUATE)
    assert again.evaluate(x).reward.tolist() == [True, True, False, True]
    assert (asked, again.nre, Ledger(path).nre) == ([[1, 3, 4, 5], [3]], 4, 4)
    (batch,) = Ledger(path).batches()
    assert batch.rewards is not None
    assert batch.rewards.tolist() == [True, True, False, True]


@pytest.mark.parametrize("duplicates", ["charge", "cache"])
def test_slices_are_on_disk_as_they_come_and_the_rest_alone_is_asked_again(
    tmp_path: Path, make_oracle: Make, duplicates: str
) -> None:
    path, asked, noted = tmp_path / "ledger.sqlite", list[list[int]](), list[int]()

    def verify(x: Tensor) -> Iterator[Tensor]:
        asked.append(x[:, 0].tolist())
        for i, part in enumerate(x.split(2)):
            if i == 2 and len(asked) == 1:
                raise ConnectionError("the service is gone")
            yield odd(part)
            db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            noted.append(db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'slices'").fetchone()[0])
            db.close()

    x = torch.arange(7)[:, None]
    options = EVALUATE | {"duplicates": duplicates}
    with pytest.raises(VerifierError, match="ConnectionError: the service is gone"):
        make_oracle(verify, path=path, **options).evaluate(x)
    again = make_oracle(verify, path=path, **options)
    assert again.evaluate(x).reward.tolist() == odd(x).tolist()
    assert (asked, again.nre) == ([[0, 1, 2, 3, 4, 5, 6], [4, 5, 6]], 7)
    assert noted[0] == 1


@pytest.mark.parametrize(
    ("parts", "message"),
    [([2, 2], "yielded 4 answers for 5 samples"), ([3, 3], r"a tensor of shape \(n,\) with n up to 2, got \(3,\)")],
)
def test_slices_must_be_as_many_as_the_samples(make_oracle: Make, parts: list[int], message: str) -> None:
    def verify(x: Tensor) -> Iterator[Tensor]:
        for n in parts:
            yield torch.zeros(n)

    with pytest.raises(VerifierError, match=message):
        make_oracle(verify, **EVALUATE).evaluate(torch.zeros(5, 1, dtype=torch.long))


def test_nothing_is_evaluated_where_its_answer_would_not_fit(
    tmp_path: Path, make_oracle: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def verify(x: Tensor) -> Tensor:
        asked.append(len(x))
        return odd(x)

    def full(handle: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    oracle = make_oracle(verify, path=tmp_path / "ledger.sqlite", **EVALUATE)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match="No space left on device; all that was charged and answered before is kept"):
        oracle.evaluate(torch.zeros(5, 1, dtype=torch.long))
    assert (asked, Ledger(tmp_path / "ledger.sqlite").nre) == ([], 0)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_verifier_that_answers_nonsense_is_an_error_and_the_charge_stays(
    tmp_path: Path, make_oracle: Make, name: str
) -> None:
    verify, message = ANSWERS[name]
    path = tmp_path / "ledger.sqlite"
    oracle = make_oracle(verify, path=path, **EVALUATE)
    with pytest.raises(VerifierError, match=message):
        oracle.evaluate(codes(1, 2, 3))
    assert oracle.nre == 3
    (batch,) = Ledger(path).batches()
    assert batch.x[:, 0].tolist() == [1, 2, 3]
    assert batch.rewards is None


@pytest.mark.parametrize("codes_", [(1, 64), (-1, 3)], ids=["above", "below"])
def test_symbols_outside_the_vocabulary_are_refused_and_not_charged(make_oracle: Make, codes_: tuple[int, int]) -> None:
    """Of the 64 codes of the default prior, 0 to 63 exist."""
    oracle = make_oracle(**EVALUATE)
    with pytest.raises(ValueError, match=rf"symbols must lie in 0\.\.63, got {min(codes_)}\.\.{max(codes_)}"):
        oracle.evaluate(codes(*codes_))
    assert oracle.nre == 0
    assert oracle.evaluate(codes(0, 7)).reward.tolist() == [False, False]


def test_after_a_verifier_error_the_same_batch_is_asked_again_without_a_charge(
    tmp_path: Path, make_oracle: Make
) -> None:
    path = tmp_path / "ledger.sqlite"
    with pytest.raises(VerifierError):
        make_oracle(lambda x: torch.full((len(x),), torch.nan), path=path, **EVALUATE).evaluate(codes(1, 2, 3))
    again = make_oracle(odd, path=path, budget=3, **EVALUATE)
    assert again.evaluate(codes(1, 2, 3)).reward.tolist() == [True, False, True]
    assert (again.nre, Ledger(path).nre) == (3, 3)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_zeros_and_ones_of_any_type_are_answers(make_oracle: Make, dtype: torch.dtype) -> None:
    feedback = make_oracle(lambda x: odd(x).to(dtype), **EVALUATE).evaluate(codes(1, 2, 3))
    assert feedback.reward.dtype == torch.bool
    assert feedback.reward.tolist() == [True, False, True]


def test_the_verifier_sees_a_copy(make_oracle: Make) -> None:
    """Neither a verifier that scribbles on its input nor a method that does afterwards changes the ledger."""
    x = codes(1, 2, 3)

    def scribble(batch: Tensor) -> Tensor:
        rewards = odd(batch)
        batch.zero_()
        return rewards

    oracle = make_oracle(scribble, **EVALUATE)
    feedback = oracle.evaluate(x)
    assert x[:, 0].tolist() == feedback.x[:, 0].tolist() == [1, 2, 3]
    x.zero_()
    (batch,) = oracle._ledger.batches()
    assert batch.x[:, 0].tolist() == feedback.x[:, 0].tolist() == [1, 2, 3]


def test_a_tensor_that_changes_while_it_is_evaluated_is_remembered_as_it_was_charged(make_oracle: Make) -> None:
    x = codes(1, 2, 3)

    def meanwhile(batch: Tensor) -> Tensor:
        x.zero_()
        return odd(batch)

    oracle = make_oracle(meanwhile, duplicates="cache", **EVALUATE)
    assert oracle.evaluate(x).reward.tolist() == [True, False, True]
    assert oracle.evaluate(codes(3, 2, 1)).reward.tolist() == [True, False, True]
    assert oracle.nre == 3  # known, all of them


# -- protocols -----------------------------------------------------------------------------------------------------


def test_failures_only_returns_the_failures_of_its_own_draws(
    make_oracle: Make, uniform_table: Callable[[int], Table], seeded: Callable[[int], torch.Generator]
) -> None:
    oracle = make_oracle(odd, seed=3)
    failures = oracle.collect(uniform_table(8), 50)
    drawn = uniform_table(8).sample(50, seeded(3))  # the same generator, which a method does not have
    kept = drawn[~odd(drawn)]
    assert sorted(failures[:, 0].tolist()) == sorted(kept[:, 0].tolist())
    assert failures[:, 0].tolist() != kept[:, 0].tolist()  # shuffled: places tell nothing
    (batch,) = oracle._ledger.batches()
    assert torch.equal(batch.x, drawn)


def test_all_rewards_returns_the_samples_and_their_rewards(make_oracle: Make) -> None:
    feedback = make_oracle(odd, **EVALUATE).evaluate(codes(4, 1, 1))
    assert feedback.x[:, 0].tolist() == [4, 1, 1]
    assert feedback.reward.tolist() == [False, True, True]


def test_each_protocol_has_its_own_call(make_oracle: Make, uniform_table: Callable[[int], Table]) -> None:
    with pytest.raises(
        UserError, match=r"evaluate belongs to --protocol all-rewards; under failures-only call oracle.collect"
    ):
        make_oracle(**COLLECT).evaluate(codes(1))
    with pytest.raises(
        UserError, match=r"collect belongs to --protocol failures-only; under all-rewards call oracle.evaluate"
    ):
        make_oracle(**EVALUATE).collect(uniform_table(8), 1)


def test_failures_only_draws_from_engine_parts_alone(make_oracle: Make, uniform_table: Callable[[int], Table]) -> None:
    class Recorder:
        def sample(self, n: int, generator: torch.Generator) -> Tensor:
            raise AssertionError("asked")

        log_prob = sample

    oracle = make_oracle(odd)
    for policy in (Recorder(), Tempered(Recorder(), 1.0)):
        with pytest.raises(
            TypeError, match=r"draws only from the task's own classes \(Table\).*use --protocol all-rewards"
        ):
            oracle.collect(policy, 3)  # type: ignore[arg-type]
    assert oracle.nre == 0
    failures = oracle.collect(Tempered(uniform_table(8), 2.0), 64)
    assert oracle.nre == 64
    assert 0 < len(failures) < 64
    assert not odd(failures).any()


# -- duplicates ----------------------------------------------------------------------------------------------------


def counting() -> tuple[Callable[[Tensor], Tensor], list[int]]:
    asked: list[int] = []

    def verify(x: Tensor) -> Tensor:
        asked.extend(x[:, 0].tolist())
        return odd(x)

    return verify, asked


def test_charge_pays_for_every_repetition(make_oracle: Make) -> None:
    verify, asked = counting()
    oracle = make_oracle(verify, duplicates="charge", **EVALUATE)
    oracle.evaluate(codes(1, 1, 2))
    oracle.evaluate(codes(1))
    assert oracle.nre == 4
    assert asked == [1, 1, 2, 1]


def test_cache_pays_once_and_answers_the_rest_from_the_ledger(make_oracle: Make) -> None:
    verify, asked = counting()
    oracle = make_oracle(verify, duplicates="cache", budget=3, **EVALUATE)
    assert oracle.evaluate(codes(1, 1, 2)).reward.tolist() == [True, True, False]
    assert oracle.nre == 2
    assert oracle.evaluate(codes(2, 3, 1, 3)).reward.tolist() == [False, True, True, True]
    assert oracle.nre == 3
    assert asked == [1, 2, 3]
    assert oracle.evaluate(codes(3, 2)).reward.tolist() == [True, False]  # free when the budget is spent
    with pytest.raises(BudgetExhausted):
        oracle.evaluate(codes(1, 4))
    assert [batch.priced.tolist() for batch in oracle._ledger.batches()] == [
        [True, False, True],
        [False, True, False, False],
        [False, False],
    ]


def test_cache_ends_where_nothing_new_is_left(make_oracle: Make, uniform_table: Callable[[int], Table]) -> None:
    """8 codes cannot spend a budget of 20, and `while oracle.remaining` must end."""
    oracle = make_oracle(odd, duplicates="cache", budget=20)
    with pytest.raises(BudgetExhausted):
        drain(oracle, uniform_table(8), 1000)


def test_reject_refuses_repetitions_of_the_method(make_oracle: Make) -> None:
    oracle = make_oracle(odd, duplicates="reject", **EVALUATE)
    oracle.evaluate(codes(1, 2))
    for repeated in (codes(3, 2), codes(4, 4)):
        with pytest.raises(ValueError, match="duplicates=reject: the batch holds samples that were evaluated before"):
            oracle.evaluate(repeated)
    assert oracle.nre == 2
    oracle.evaluate(codes(3, 4))
    assert oracle.nre == 4


def test_reject_draws_others_in_the_place_of_repetitions(
    make_oracle: Make, uniform_table: Callable[[int], Table]
) -> None:
    oracle = make_oracle(odd, duplicates="reject", budget=8)
    for _ in range(2):
        oracle.collect(uniform_table(8), 4)
    drawn = [code for batch in oracle._ledger.batches() for code in batch.x[:, 0].tolist()]
    assert sorted(drawn) == list(range(8))


def test_reject_gives_up_where_nothing_new_is_left(make_oracle: Make, uniform_table: Callable[[int], Table]) -> None:
    oracle = make_oracle(odd, duplicates="reject", budget=20)
    with pytest.raises(RuntimeError, match="duplicates=reject: only 8 new samples in 900 draws, wanted 9"):
        oracle.collect(uniform_table(8), 9)
    assert oracle.nre == 0


@pytest.mark.parametrize("duplicates", DUPLICATES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_resumed_oracle_pays_only_what_was_not_paid(
    tmp_path: Path, make_oracle: Make, uniform_table: Callable[[int], Table], protocol: str, duplicates: str
) -> None:
    def go(oracle: Oracle, batches: int) -> list[list[int]]:
        got = []
        for k in range(batches):
            if protocol != "all-rewards":
                got.append(oracle.collect(uniform_table(64), 6)[:, 0].tolist())
            else:
                got.append(oracle.evaluate(torch.arange(6)[:, None] + 6 * k).reward.tolist())
        return got

    options = {"protocol": protocol, "duplicates": duplicates, "budget": 30, "seed": 5}
    path = tmp_path / "ledger.sqlite"
    undisturbed = go(make_oracle(odd, path=tmp_path / "other.sqlite", **options), 4)
    go(make_oracle(odd, path=path, **options), 2)
    verify, asked = counting()
    resumed = make_oracle(verify, path=path, **options)
    assert go(resumed, 4) == undisturbed
    paid = [code for b in list(Ledger(path).batches())[2:] for code in b.x[b.priced][:, 0].tolist()]
    assert asked == paid
    assert resumed.nre == Ledger(path).nre == Ledger(tmp_path / "other.sqlite").nre


def test_a_run_that_draws_otherwise_is_stopped_before_it_pays(
    tmp_path: Path, make_oracle: Make, uniform_table: Callable[[int], Table]
) -> None:
    path = tmp_path / "ledger.sqlite"
    make_oracle(odd, path=path, seed=1).collect(uniform_table(8), 10)
    other = make_oracle(odd, path=path, seed=2)
    with pytest.raises(LedgerDiverged, match="batch 0 of the resumed run differs"):
        other.collect(uniform_table(8), 10)
    assert other.nre == 0
    assert Ledger(path).nre == 10


# -- the verifier's counter ----------------------------------------------------------------------------------------


def test_heldout_calls_are_counted_apart() -> None:
    verifier = Verifier(odd)
    verifier(codes(1, 2))
    with contextlib.suppress(KeyError), verifier.heldout():
        verifier(codes(1, 2, 3))
        raise KeyError
    verifier(codes(1))
    assert (verifier.calls, verifier.heldout_calls) == (3, 3)


# -- failures-padded ---------------------------------------------------------------------------------------------------


def test_a_padded_batch_is_full_of_failures() -> None:
    """Half of the codes succeed: 40 come back of 40 each time, all even, and the ledger knows better."""
    oracle, uniform = fresh(200, "failures-padded")[0], Table(torch.zeros(64))
    for _ in range(5):
        back = oracle.collect(uniform, 40)
        assert len(back) == 40
        assert not odd(back).any()


def test_what_is_padded_with_are_failures_of_the_run() -> None:
    """A second policy that always succeeds comes back as what the first one met."""
    oracle = fresh(200, "failures-padded")[0]
    first = oracle.collect(Table(torch.zeros(64)), 20)
    winner = Table(torch.full((64,), -1e9).index_fill(0, torch.tensor([7]), 0.0))
    second = oracle.collect(winner, 100)
    assert len(second) == 100
    assert set(second[:, 0].tolist()) <= set(first[:, 0].tolist())
    assert len(set(second[:, 0].tolist())) > 3  # drawn at random, not one of them again and again


def test_before_the_first_failure_there_is_nothing_to_pad_with() -> None:
    winner = Table(torch.full((64,), -1e9).index_fill(0, torch.tensor([7]), 0.0))
    assert len(fresh(10, "failures-padded")[0].collect(winner, 5)) == 0
