"""Control: distil, a few times over, the samples with the lowest likelihood under the prior. Spends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from baselines.common.filtering import keep_highest
from suite.config import setting, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round


@dataclass(frozen=True)
class Config:
    """How far into the tail."""

    rounds: int = tunable(4, 1, 15, valid=(1, None), help="distillations")
    filter_factor: float = tunable(2.57, 1.03, 16.0, log=True, valid=(1, None), help="1/f of the pool is kept")
    pool: int = setting(24_000, valid=(2, None), help="fresh samples that are filtered in a round")
    distil_lr: float = tunable(3.79e-3, 1e-4, 1e-2, log=True, valid=(0, None), help="learning rate of the distillation")
    distil_epochs: int = tunable(1, 1, 4, valid=(1, None), help="passes over the kept samples")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Callable[[str], torch.Generator]) -> Iterator[Round]:
    """`rounds` distillations of the least likely 1/f of the policy's samples."""
    policy = prior.clone()
    for _ in range(config.rounds):
        pool = policy.sample(config.pool, rng("pool"))  # (B, T)
        unlikely = keep_highest(pool, -prior.log_prob(pool), config.filter_factor)  # (⌈B / f⌉, T)
        loss = policy.fit(unlikely, epochs=config.distil_epochs, lr=config.distil_lr, generator=rng("distil"))
        yield Round(policy, {"distil_loss": loss})
