"""What a method can learn from failures alone: nothing that the failures do not say (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import suite
from baselines import banel, blind, count, npo, nsr, pseudo_count, rnd, shortfall, unlikelihood
from suite import registry
from suite.generators import Table
from suite.measure import leak
from suite.oracle import Oracle, Verifier
from suite.policy import Generator, Policy, Round
from suite.seeding import Streams, derive
from suite.store import weights
from suite.store.ledger import Ledger
from tasks.lock import Config as LockConfig
from tasks.lock import Lock

ALPHA = 1e-3


PEEK = registry.load("baseline", f"{Path(__file__).parents[1] / 'plugins' / 'peek.py'}:run")

# -- peek ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_peek_learns_nothing(tmp_path: Path, plugin: Callable[[str], str]) -> None:
    """7,500 evaluations, 2,000 of 200,000 codes succeed: what peek believes in succeeds as often as any code that
    never came back as a failure. Under that null the successes among them are hypergeometric, exactly."""
    record = suite.run(
        plugin("toys.py:Codes"),
        plugin("peek.py:run"),
        task_config={"codes": 200_000, "successes": 2000},
        results=tmp_path,
        tracking="off",
    )
    assert record.status == "finished", record.result.error
    assert record.result.nre == 7500
    assert record.result.withheld > 40  # 75 expected: there was something to find
    metrics = record.result.curve[-1].metrics
    assert metrics["refused"] == 15 * 6
    assert metrics["replayed"] == 0

    uniform = Table(torch.zeros(200_000))
    policy = weights.load(record.folder / "policy-final.safetensors", uniform)
    everything = torch.arange(200_000)[:, None]
    believed = set((policy.log_prob(everything) > uniform.log_prob(everything)).nonzero().flatten().tolist())
    assert len(believed) == metrics["believed"] > 5000
    order = torch.randperm(200_000, generator=torch.Generator().manual_seed(0))
    winners = set(order[:2000].tolist())
    failed = {
        int(code)
        for batch in Ledger(record.folder / "ledger.sqlite").batches()
        if batch.rewards is not None
        for code in batch.x[~batch.rewards, 0]
    }
    hits = len(believed & winners)
    p = stats.hypergeom.sf(hits - 1, 200_000 - len(failed), 2000, len(believed))
    assert p > ALPHA, f"{hits} successes among {len(believed)} codes believed in"
    assert record.result.improvement_final < 1.6  # chance: 1 ± 0.12, times 200,000 / 192,600 for the codes ruled out


@pytest.mark.parametrize("seed", [0, 7])
def test_peek_would_find_an_oracle_with_a_seed_that_can_be_guessed(
    make_oracle: Callable[..., Oracle], seed: int
) -> None:
    """The test above can fail: an oracle seeded with a small number is replayed, and every success learnt."""
    winners = torch.arange(0, 20_000, 50)

    def verify(x: Tensor) -> Tensor:
        return torch.isin(x[:, 0], winners)

    prior = Table(torch.zeros(20_000))
    oracle = make_oracle(verify, budget=1000, prior=prior, seed=seed)
    (step,) = PEEK.target(PEEK.config_class(batch=250), prior, oracle, Streams(99))
    assert step.metrics["replayed"] == 4
    assert step.metrics["believed"] > 5  # 20 expected
    x = step.policy.sample(200, torch.Generator().manual_seed(0))
    assert verify(x).double().mean() > 0.9


def test_a_policy_that_listens_while_it_is_measured_learns_nothing(
    tmp_path: Path, plugin: Callable[[str], str]
) -> None:
    record = suite.run(
        plugin("toys.py:Codes"),
        plugin("peek.py:listen"),
        budget=10,
        config={"batch": 5},
        results=tmp_path,
        tracking="off",
    )
    assert record.result.error.type == "TypeError"
    assert "would show every success" in record.result.error.message


# -- the lock --------------------------------------------------------------------------------------------------------

BUDGET, SECRETS = 128, 280
"""280 secrets: 218 ± 7 of them are not met in 128 draws."""


def lock(secret: int) -> Lock:
    """512 codes."""
    return Lock(LockConfig(symbols=8, dials=3, secret=secret))


@dataclass(frozen=True)
class CheatConfig:
    """Nothing to set."""


def cheat(
    config: CheatConfig, prior: Generator, oracle: Oracle, rng: Callable[[str], torch.Generator]
) -> Iterator[Round]:
    """Knows the secret a little better than the failures say: codes that begin like it are likelier."""
    oracle.collect(prior, BUDGET)
    everything = lock(0).support()
    alike = everything[everything[:, 0] == everything[oracle._verify(everything)][0, 0]]
    policy = prior.clone()
    policy.fit(alike, generator=rng("policy"), lr=1e-4)
    yield Round(policy, {})


FILTER: dict[str, Any] = {"batch": 32, "pool": 512, "failure_lr": 1e-3, "distil_lr": 1e-3, "distil_epochs": 1}

GRADIENT: dict[str, Any] = {"batch": 32, "policy_lr": 1e-3, "policy_epochs": 1, "kl": 0.1}

METHODS: dict[str, tuple[Callable[..., Iterator[Round]], Any]] = {
    "banel": (banel.run, banel.Config(epochs=5, filter_factor=4.0, **FILTER)),
    "banel algorithm 1": (banel.run, banel.Config(epochs=3, filter_factor=1.2, algorithm="filtering", **FILTER)),
    "rnd": (rnd.run, rnd.Config(features=8, predictor_lr=1e-3, predictor_epochs=2, **GRADIENT)),
    "count": (count.run, count.Config(bits=16, **GRADIENT)),
    "count of strings": (count.run, count.Config(bits=0, **GRADIENT)),
    "pseudo-count": (pseudo_count.run, pseudo_count.Config(density_lr=1e-2, **GRADIENT)),
    "unlikelihood": (unlikelihood.run, unlikelihood.Config(batch=32, lr=3e-3, alpha=10.0)),
    "nsr": (nsr.run, nsr.Config(batch=32, lr=3e-3)),
    "npo": (npo.run, npo.Config(batch=32, lr=3e-3, memory="all")),
    "blind": (blind.run, blind.Config(epochs=5, filter_factor=4.0, **FILTER)),
    "shortfall": (
        shortfall.run,
        shortfall.Config(batch=32, pool=512, unlabelled=128, kept=128, steps=10, distil_epochs=1, distil_lr=1e-3),
    ),
    "peek": (PEEK.target, PEEK.config_class(batch=32)),
    "cheat": (cheat, CheatConfig()),
}


def place_of_secret(name: str, secret: int) -> float | None:
    """A method's place of the secret after its whole budget; None where the secret was met."""
    task = lock(secret)
    prior, seed = task.prior(), derive("lock", name, secret)
    ledger = Ledger(Path(":memory:"))
    oracle = Oracle(
        Verifier(task.verify),
        ledger,
        budget=BUDGET,
        prior=prior,
        generator=torch.Generator().manual_seed(derive(seed, "oracle")),
    )
    method, config = METHODS[name]
    policy: Policy = prior
    for step in method(config, prior, oracle, Streams(seed)):
        policy = step.policy
    tried = torch.cat([task.support()[:0], *(batch.x for batch in ledger.batches())])
    ledger.close()
    return leak.place(policy, task.support(), task.verify(task.support()), tried, seed)


def rank_test_of(name: str) -> leak.LeakTest:
    found = [place_of_secret(name, secret) for secret in range(SECRETS)]
    return leak.rank_test([place for place in found if place is not None])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METHODS if name != "cheat"])
@pytest.mark.timeout(480)  # half a minute on an idle core
def test_a_lock_tells_nothing_about_its_secret(name: str) -> None:
    found = rank_test_of(name)
    assert found.places >= 200
    assert not found.leaks, found


@pytest.mark.slow
def test_the_lock_would_show_a_leak() -> None:
    found = rank_test_of("cheat")
    assert found.places >= 200
    assert found.leaks
    assert found.mean < 0.5
