"""REINFORCE under full rewards: the score-function gradient with the batch's mean reward as baseline.

    ∇J = mean_x (r(x) − r̄) ∇ log p(x) − κ · ∇ KL(p ‖ prior)

A batch without a success has r = r̄ = 0 for every sample: the policy stays the prior.

Source: Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", Machine
Learning 8 (1992), section 4, with the mean as reinforcement baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from baselines.common.gradient import GradientConfig, ascend, network, shift_of
from suite.config import retuned, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "rewards"


@dataclass(frozen=True)
class Config(GradientConfig):
    """The gradient's knobs and the penalty's."""

    lr: float = retuned(GradientConfig, "lr", 1e-3)
    kl: float = tunable(0.01, 1e-3, 1.0, log=True, valid=(0, None), help="weight κ of the penalty log p/prior")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """One policy-gradient step on each batch."""
    policy = network(prior) if state is None else state
    while oracle.remaining:
        x = policy.sample(min(config.batch, oracle.remaining), rng("samples"))  # (m, T)
        seen = oracle.evaluate(x)
        advantages = advantage(seen.reward, shift_of(policy, prior, seen.x), config.kl)
        ascend(policy, seen.x, advantages, config, rng("policy"))
        yield Round(policy, {"reward": float(seen.reward.double().mean())}, policy)


def advantage(reward: Tensor, shift: Tensor, kl: float) -> Tensor:
    """r − r̄ − κ · (shift − its mean), float64 (B,), of rewards bool (B,) and log p/prior float (B,)."""
    r = reward.double()
    return r - r.mean() - kl * (shift - shift.mean())
