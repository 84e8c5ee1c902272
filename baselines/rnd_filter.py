"""Control: BaNEL's loop with RND's score in place of the likelihood ratio; same pool, same filter, no evaluation.

The predictor is trained on the policy's own samples, as many in a round as other methods have evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from baselines.common.filtering import Filter, keep_highest
from baselines.common.novelty_net import RandomNetworkDistillation
from suite.config import retuned, setting, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round, fit_counts, sample_counts
from suite.seeding import Streams

USES = "nothing"


@dataclass(frozen=True)
class Config:
    """BaNEL's filter and RND's predictor."""

    batch: int = setting(500, valid=(1, None), help="samples that the predictor visits in a round")
    filter_factor: float = retuned(Filter, "filter_factor", 1.36)
    pool: int = retuned(Filter, "pool", 24_000)
    distil_lr: float = retuned(Filter, "distil_lr", 7.38e-4)
    distil_epochs: int = retuned(Filter, "distil_epochs", 3)
    features: int = setting(64, valid=(1, None), help="outputs of the two networks")
    predictor_lr: float = tunable(6.7e-3, 1e-4, 1e-2, log=True, valid=(0, None), help="learning rate of the predictor")
    predictor_epochs: int = tunable(86, 1, 100, log=True, valid=(1, None), help="passes of the predictor over a batch")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """As many rounds as the budget has batches."""
    policy, first, learned = state or (prior.clone(), 0, None)
    net = RandomNetworkDistillation(
        prior, rng, features=config.features, lr=config.predictor_lr, epochs=config.predictor_epochs, state=learned
    )
    for i in range(first, math.ceil(oracle.remaining / config.batch)):
        visited = policy.sample(config.batch, rng("visited"))  # (m, T)
        net.normalise(visited)
        loss = net.visit(visited)
        pool = sample_counts(policy, config.pool, rng("pool"))  # D different samples
        novel = keep_highest(pool, net.novelty(pool.strings), config.filter_factor, rng("ties"))
        fit_counts(policy, novel, epochs=config.distil_epochs, lr=config.distil_lr, generator=rng("distil"))
        yield Round(policy, {"predictor_loss": loss}, (policy, i + 1, net.state()))
