"""The only way to the verifier: a hard budget, a ledger, and a protocol that says what a method may see."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from suite import attempts, compute, guard
from suite.errors import BudgetExhausted, UserError
from suite.global_state import restored
from suite.policy import Generator, Policy, check_samples, made_of_engine_parts, own_types
from suite.protocol import WITHHOLDING
from suite.store.ledger import Batch, Ledger, digest
from suite.task import answers

FREE_BATCHES = 50
"""Batches in a row that may be answered from the ledger alone (`cache`) before the run is taken to be over."""


class Feedback(NamedTuple):
    """What `evaluate` returns under `all-rewards`."""

    x: Tensor
    """The samples, int64 (B, T)."""
    reward: Tensor
    """Their rewards, bool (B,)."""


class Verifier:
    """A task's verifier with a counter and a check of its answers.

    Args:
        verify: int64 (B, T) -> one 0 or 1 per sample.
    """

    def __init__(self, verify: Callable[[Tensor], Tensor]) -> None:
        self._verify = verify
        self.calls = 0
        """Samples put to the verifier outside held-out measurement, by whomever."""
        self.heldout_calls = 0
        """Samples put to the verifier by held-out measurement."""
        self._measuring = False

    @contextlib.contextmanager
    def heldout(self) -> Iterator[None]:
        """Count the calls of the block as held-out measurement."""
        self._measuring = True
        try:
            with compute.phase("heldout"):
                yield
        finally:
            self._measuring = False

    def __call__(self, x: Tensor) -> Tensor:
        """Rewards, bool (B,).

        Raises:
            VerifierError: the verifier raised, or its answer is not one 0 or 1 per sample.
        """
        rewards = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for places, known in self.slices(x):
            rewards[places] = known.to(x.device)
        return rewards

    def slices(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """(places int64 (P,), rewards bool (P,)) as the verifier answers; as :func:`suite.task.answers`."""
        if self._measuring:
            self.heldout_calls += len(x)
        else:
            self.calls += len(x)
        found = answers(self._verify, x)
        while True:
            with compute.phase("verifying"), restored():  # the time between two slices is not the verifier's
                part = next(found, None)
            if part is None:
                return
            yield part


class Oracle:
    """A budget of reward evaluations.

    The whole batch is charged, on disk, before it is evaluated. A batch that does not fit is neither charged nor
    evaluated. Nothing resets the count. Answers are on disk before the method sees anything of them. Where one answer
    of a batch is no reward, or a verifier that yields slices breaks off, the good answers are kept, and a later attempt
    asks only for the rest. It guards against mistakes, not against malice: Python hides nothing, and who knows seed,
    task and baseline can compute its randomness.

    Args:
        verifier: the counted verifier.
        ledger: where charges and answers go; batches already in it are replayed, not paid again.
        budget: most evaluations that may be charged, NRE.
        prior: the task's prior; tells which policies the oracle may draw from.
        generator: the oracle's own randomness, unknown to the method.
        protocol: `failures-only`: the oracle draws, the method sees failures; `failures-padded`: the same, with copies
            of the run's failures in place of successes; `all-rewards`: the method draws and sees every reward.
        duplicates: samples met before in the run are charged again (`charge`), answered free from the ledger
            (`cache`), or refused (`reject`: `collect` draws others in their place, `evaluate` raises ValueError).
    """

    def __init__(
        self,
        verifier: Verifier,
        ledger: Ledger,
        *,
        budget: int,
        prior: Generator,
        generator: torch.Generator,
        protocol: str = "failures-only",
        duplicates: str = "charge",
    ) -> None:
        if budget < 1:
            raise UserError(f"--budget must be at least 1 reward evaluation, got {budget}")
        self._budget = budget
        self._protocol = protocol
        self._duplicates = duplicates
        self._verify = verifier
        self._ledger = ledger
        self._own = own_types(prior)
        self._kinds = guard.kinds(prior)
        self._symbols = prior.vocab_size
        self._generator = generator
        self._lock = threading.Lock()
        self._batch = 0
        self._spent = 0
        self._chain = b""
        """A hash over all batches and their answers."""
        self._free = 0
        self._known: dict[bytes, bool] = {}
        self._failures: list[Tensor] = []
        """Every failure of the run, under `failures-padded`."""

    @property
    def budget(self) -> int:
        """Most reward evaluations that may be charged."""
        return self._budget

    @property
    def protocol(self) -> str:
        return self._protocol

    @property
    def duplicates(self) -> str:
        return self._duplicates

    @property
    def nre(self) -> int:
        """Reward evaluations charged."""
        return self._spent

    @property
    def remaining(self) -> int:
        """Reward evaluations left."""
        return self.budget - self._spent

    def collect(self, policy: Policy, n: int) -> Tensor:
        """Draw n samples from the policy, evaluate them, return the failures in random order, int64 (≤ n, T).

        The samples are drawn here, with randomness that the method does not have, so that a method never holds
        the batch whose failures it gets back. How many are missing tells it how many succeeded. Under
        `failures-padded` as many failures of the run, drawn at random, are returned in their place: n samples, of
        which nothing tells the copies; none while the run has not met a failure.

        Raises:
            BudgetExhausted: the batch does not fit; nothing was charged.
            TypeError: the policy is not made of the engine's parts, or something of the method's is inside or around
                it, so that it could record withheld successes.
        """
        if self.protocol not in WITHHOLDING:
            raise UserError(
                "oracle.collect belongs to --protocol failures-only; under all-rewards call oracle.evaluate"
            )
        if not made_of_engine_parts(policy, self._own):
            own = ", ".join(sorted(kind.__name__ for kind in self._own))
            raise TypeError(
                f"{self.protocol}: the oracle draws only from the task's own classes ({own}) and from Tempered, "
                f"Mixture or Filtered ones, got {type(policy).__name__}; use --protocol all-rewards for your own"
            )
        guard.check(policy, self._kinds)
        with self._lock:
            self._fits(n if self.duplicates == "charge" else 1)
            x = policy.sample(n, self._generator) if self.duplicates != "reject" else self._draw_new(policy, n)
            failures = x[~self._answer(x)]
            if self.protocol == "failures-padded":
                failures = self._padded(failures, len(x) - len(failures))
            order = torch.randperm(len(failures), generator=self._generator, device=self._generator.device)
            return failures[order]

    def _padded(self, failures: Tensor, missing: int) -> Tensor:
        """The failures of a batch with `missing` of the run's, drawn at random, in place of its successes."""
        self._failures.append(failures)
        met = torch.cat(self._failures)
        if not missing or not len(met):
            return failures
        device = self._generator.device
        at = torch.randint(len(met), (missing,), generator=self._generator, device=device)
        return torch.cat([failures, met[at.to(met.device)]])

    def evaluate(self, x: Tensor) -> Feedback:
        """Evaluate samples of the method's own, int64 (B, T) (`all-rewards`).

        Raises:
            BudgetExhausted: the batch does not fit; nothing was charged.
        """
        if self.protocol != "all-rewards":
            raise UserError(
                "oracle.evaluate belongs to --protocol all-rewards; under failures-only call oracle.collect"
            )
        with self._lock:
            if self.duplicates == "reject" and not self._is_new(x).all():
                raise ValueError(
                    "duplicates=reject: the batch holds samples that were evaluated before or stand in it twice"
                )
            return Feedback(x.clone(), self._answer(x))

    def _fits(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"a batch needs at least one sample, got {n}")
        if n > self.remaining:
            raise BudgetExhausted(
                f"a batch of {n} does not fit into the {self.remaining} of {self.budget} evaluations left"
            )

    def _answer(self, x: Tensor) -> Tensor:
        """Charge, evaluate and note a batch, or replay it from the ledger: bool (B,)."""
        check_samples(x, self._symbols)
        x = x.clone()  # what is charged is what is evaluated, whatever the caller does to its tensor
        priced = torch.ones(len(x), dtype=torch.bool) if self.duplicates == "charge" else self._is_new(x)
        k, price = self._batch, int(priced.sum())
        if not len(x) or price > self.remaining:
            self._fits(price if len(x) else 0)
        self._free = 0 if price else self._free + 1
        if self._free > FREE_BATCHES:
            raise BudgetExhausted(f"{FREE_BATCHES} batches in a row held nothing new; the policy has stopped exploring")
        earlier = self._ledger.replayed(k, x)
        if earlier is None or earlier.rewards is None:
            self._ledger.hold_room(len(x))  # before the charge: what is charged and evaluated can be noted
        if earlier is None:
            self._ledger.charge(k, x, priced)
        self._spent += price
        self._batch += 1
        if earlier is not None and earlier.rewards is not None:
            rewards = earlier.rewards.to(x.device)
            with compute.phase("verifying"):
                compute.count(*earlier.cost)
        else:
            tokens, flops = compute.spent("verifying")
            rewards = self._evaluate(k, x, priced, earlier)
            after = compute.spent("verifying")
            self._ledger.answer(k, rewards, (after[0] - tokens, after[1] - flops))
        if self.duplicates != "charge":
            self._known |= {_key(row): bool(r) for row, r in zip(x, rewards.tolist(), strict=True)}
        self._chain = _linked(self._chain, x, priced, rewards)
        return rewards

    def _evaluate(self, k: int, x: Tensor, priced: Tensor, earlier: Batch | None) -> Tensor:
        """Rewards of batch k, bool (B,): the verifier's of the paid rows that no earlier attempt has."""
        rewards = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        missing = priced.clone()
        if earlier is not None and earlier.slices is not None:
            places, known = earlier.slices
            rewards[places.to(x.device)], missing[places] = known.to(x.device), False
            with compute.phase("verifying"):
                compute.count(*earlier.cost)
        asked = missing.nonzero().flatten()
        if len(asked):
            self._ask(k, x, asked, rewards)
        fresh = {_key(x[i]): bool(rewards[i]) for i in priced.nonzero().flatten().tolist()} if not priced.all() else {}
        for i in (~priced).nonzero().flatten().tolist():
            key = _key(x[i])
            rewards[i] = self._known[key] if key in self._known else fresh[key]
        return rewards

    def _ask(self, k: int, x: Tensor, asked: Tensor, rewards: Tensor) -> None:
        """Put the rows at `asked` to the verifier, and note each slice of its answers as it comes.

        An answer that comes whole is left to the caller, who notes it with the batch.
        """
        before = compute.spent("verifying")
        with attempts.noted(functools.partial(self._ledger.attempt, k)):
            for places, known in self._verify.slices(x[asked.to(x.device)]):
                rows = asked[places.cpu()]
                rewards[rows.to(x.device)] = known.to(x.device)
                if len(rows) < len(asked):
                    after = compute.spent("verifying")
                    self._ledger.answer_part(k, rows, known, (after[0] - before[0], after[1] - before[1]))
                    self._ledger.hold_room(len(x))
                    before = after

    def _is_new(self, x: Tensor) -> Tensor:
        """True (B,) at the first occurrence of samples that the run has not met."""
        met = set(self._known)
        new = torch.zeros(len(x), dtype=torch.bool)
        for i, row in enumerate(x):
            key = _key(row)
            new[i] = key not in met
            met.add(key)
        return new

    def _draw_new(self, policy: Policy, n: int) -> Tensor:
        """n samples, each different and new to the run; gives up after 100 n draws."""
        found = policy.sample(n, self._generator)
        found = found[self._is_new(found)]
        for _ in range(100):
            if len(found) >= n:
                break
            found = torch.cat([found, policy.sample(n, self._generator)])
            found = found[self._is_new(found)]
        if len(found) < n:
            raise RuntimeError(f"duplicates=reject: only {len(found)} new samples in {100 * n} draws, wanted {n}")
        return found[:n]


def state_of(oracle: Oracle) -> dict[str, Any]:
    """Where an oracle stands, for a checkpoint: what :func:`restore` needs beside the ledger. Not for methods."""
    return {
        "batches": oracle._batch,
        "ledger": oracle._chain.hex(),
        "free": oracle._free,
        "generator": oracle._generator.get_state(),
    }


def restore(oracle: Oracle, state: dict[str, Any]) -> None:
    """Have a fresh oracle go on behind the batches that were answered when `state` was taken; all else is the ledger's.

    Raises:
        ValueError: the ledger does not hold these batches, or the oracle has begun; nothing was restored.
    """
    if oracle._batch:
        raise ValueError("the oracle has begun")
    chain, spent = b"", 0
    known: dict[bytes, bool] = {}
    failures: list[Tensor] = []
    for batch in itertools.islice(oracle._ledger.batches(), state["batches"]):
        if batch.rewards is None:
            break
        chain = _linked(chain, batch.x, batch.priced, batch.rewards)
        spent += int(batch.priced.sum())
        if oracle.duplicates != "charge":
            known |= {_key(row): bool(r) for row, r in zip(batch.x, batch.rewards.tolist(), strict=True)}
        if oracle.protocol == "failures-padded":
            failures.append(batch.x[~batch.rewards].to(oracle._generator.device))
    if chain.hex() != state["ledger"]:
        raise ValueError("the ledger is another one")
    oracle._batch, oracle._spent, oracle._free, oracle._chain = state["batches"], spent, state["free"], chain
    oracle._known, oracle._failures = known, failures
    oracle._generator.set_state(state["generator"])


def _linked(chain: bytes, x: Tensor, priced: Tensor, rewards: Tensor) -> bytes:
    """The hash of a ledger with one batch more."""
    flags = torch.stack([priced.cpu(), rewards.cpu()]).numpy().tobytes()
    return hashlib.sha256(chain + digest(x) + flags).digest()


def _key(row: Tensor) -> bytes:
    return row.cpu().numpy().tobytes()
