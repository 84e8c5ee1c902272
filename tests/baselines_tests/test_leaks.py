"""What a method can learn from failures alone: nothing that the failures do not say (science, points 3 and 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from baselines import banel, blind, count, pseudo_count, rnd
from suite import registry, runner, weights
from suite.generators import Table
from suite.ledger import Ledger
from suite.oracle import Oracle, Verifier
from suite.policy import Generator, Policy, Round
from suite.seeding import Streams, derive

ALPHA = 1e-3


PEEK = registry.load("baseline", f"{Path(__file__).parents[1] / 'plugins' / 'peek.py'}:run")

# -- peek ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_peek_learns_nothing(tmp_path: Path, plugin: Callable[[str], str]) -> None:
    """7,500 evaluations, 2,000 of 200,000 codes succeed: what peek believes in succeeds as often as any code that
    never came back as a failure. Under that null the successes among them are hypergeometric, exactly."""
    record = runner.run(
        plugin("toys.py:Codes"),
        plugin("peek.py:run"),
        task_config={"codes": 200_000, "successes": 2000},
        results=tmp_path,
        tracking="off",
    )
    assert record.status == "finished", record.result["error"]
    assert record.result["nre"] == 7500
    assert record.result["withheld"] > 40  # 75 expected: there was something to find
    metrics = record.result["curve"][-1]["metrics"]
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
    assert record.result["improvement_final"] < 1.6  # chance: 1 ± 0.12, times 200,000 / 192,600 for the codes ruled out


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
    record = runner.run(
        plugin("toys.py:Codes"),
        plugin("peek.py:listen"),
        budget=10,
        config={"batch": 5},
        results=tmp_path,
        tracking="off",
    )
    assert record.result["error"]["type"] == "TypeError"
    assert "would show every success" in record.result["error"]["message"]


# -- the lock --------------------------------------------------------------------------------------------------------

CODES, BUDGET, SECRETS = 512, 128, 280
"""280 secrets: 218 ± 7 of them are not met in 128 draws."""


@dataclass(frozen=True)
class CheatConfig:
    """Nothing to set."""


def cheat(
    config: CheatConfig, prior: Generator, oracle: Oracle, rng: Callable[[str], torch.Generator]
) -> Iterator[Round]:
    """Knows the secret a little better than the failures say: the secret's half of the codes is likelier."""
    oracle.collect(prior, BUDGET)
    everything = torch.arange(CODES)[:, None]
    secret = int(oracle._verify(everything).long().argmax())
    half = everything[secret // 256 * 256 : secret // 256 * 256 + 256]
    policy = prior.clone()
    policy.fit(half, generator=rng("policy"), lr=1e-4)
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
    "blind": (blind.run, blind.Config(epochs=5, filter_factor=4.0, **FILTER)),
    "peek": (PEEK.target, PEEK.config_class(batch=32)),
    "cheat": (cheat, CheatConfig()),
}


def place_of_secret(name: str, secret: int) -> float | None:
    """Where the secret stands among the untried codes by the last policy's probability, ties at random, as a number
    uniform on (0, 1) under the null; None where the secret was met."""
    prior = Table(torch.zeros(CODES))
    seed = derive("lock", name, secret)
    ledger = Ledger(Path(":memory:"))
    oracle = Oracle(
        Verifier(lambda x: x[:, 0] == secret),
        ledger,
        budget=BUDGET,
        prior=prior,
        generator=torch.Generator().manual_seed(derive(seed, "oracle")),
    )
    method, config = METHODS[name]
    policy: Policy = prior
    for step in method(config, prior, oracle, Streams(seed)):
        policy = step.policy
    untried = np.ones(CODES, dtype=bool)
    for batch in ledger.batches():
        untried[batch.x[:, 0].numpy()] = False
    ledger.close()
    if not untried[secret]:
        return None
    p = policy.log_prob(torch.arange(CODES)[:, None]).numpy()
    rivals = p[untried]
    rng = np.random.default_rng(seed)
    above, tied = (rivals > p[secret]).sum(), (rivals == p[secret]).sum()  # the secret ties with itself
    return float((above + rng.uniform(0, tied)) / len(rivals))


def places(name: str) -> list[float]:
    secrets = np.random.default_rng(0).integers(CODES, size=SECRETS)
    found = [place_of_secret(name, int(secret)) for secret in secrets]
    return [place for place in found if place is not None]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METHODS if name != "cheat"])
def test_a_lock_tells_nothing_about_its_secret(name: str) -> None:
    found = places(name)
    assert len(found) >= 200
    assert stats.kstest(found, "uniform").pvalue > ALPHA


@pytest.mark.slow
def test_the_lock_would_show_a_leak() -> None:
    found = places("cheat")
    assert len(found) >= 200
    assert stats.kstest(found, "uniform").pvalue < ALPHA
