"""Control: distil, a few times over, the samples with the lowest likelihood under the prior. Spends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from baselines.common.filtering import Filter, keep_highest
from suite.config import retuned, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round, fit_counts, sample_counts
from suite.seeding import Streams

USES = "nothing"


@dataclass(frozen=True)
class Config:
    """How far into the tail."""

    rounds: int = tunable(4, 1, 15, valid=(1, None), help="distillations")
    filter_factor: float = retuned(Filter, "filter_factor", 2.57)
    pool: int = retuned(Filter, "pool", 24_000)
    distil_lr: float = retuned(Filter, "distil_lr", 3.79e-3)
    distil_epochs: int = retuned(Filter, "distil_epochs", 1)


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """`rounds` distillations of the least likely 1/f of the policy's samples."""
    policy, first = state or (prior.clone(), 0)
    for i in range(first, config.rounds):
        pool = sample_counts(policy, config.pool, rng("pool"))  # D different samples
        unlikely = keep_highest(pool, -prior.log_prob(pool.strings), config.filter_factor, rng("ties"))
        loss = fit_counts(policy, unlikely, epochs=config.distil_epochs, lr=config.distil_lr, generator=rng("distil"))
        yield Round(policy, {"distil_loss": loss}, (policy, i + 1))
