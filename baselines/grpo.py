"""GRPO under full rewards: each sample against the mean of its group, in standard deviations of the group.

    A_i = (r_i − mean(r of the group)) / std(r of the group), 0 where all of a group fare alike
    ∇J = mean_i A_i ∇ log p(x_i) − κ · ∇ KL(p ‖ prior), KL estimated by prior/p − log(prior/p) − 1

A group of failures gives exactly nothing, which is why GRPO learns nothing before the first success. The task is the
one prompt; a batch is split into groups of G. A batch's advantages are fixed, and the clipped importance ratio of the
source, which is 1 in the first step, is left out.

Source: Shao et al., "DeepSeekMath", arXiv 2402.03300 (2024), equations 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.common.gradient import GradientConfig, ascend, network, shift_of
from suite.config import retuned, setting, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "rewards"


@dataclass(frozen=True)
class Config(GradientConfig):
    """The gradient's knobs, the group's size and the penalty."""

    lr: float = retuned(GradientConfig, "lr", 1e-3)
    group: int = setting(16, valid=(2, None), help="samples of a group, G")
    kl: float = tunable(0.04, 1e-3, 1.0, log=True, valid=(0, None), help="weight κ of the penalty")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """One policy-gradient step on each batch."""
    policy = network(prior) if state is None else state
    while oracle.remaining:
        x = policy.sample(min(config.batch, oracle.remaining), rng("samples"))  # (m, T)
        seen = oracle.evaluate(x)
        advantages = group_advantage(seen.reward, config.group)
        penalty = -torch.expm1(-shift_of(policy, prior, seen.x))  # 1 − prior/p: the estimator's ∇ over ∇ log p
        ascend(policy, seen.x, advantages - config.kl * penalty, config, rng("policy"))
        metrics = {
            "reward": float(seen.reward.double().mean()),
            "share_of_use": float((advantages != 0).double().mean()),
        }
        yield Round(policy, metrics, policy)


def group_advantage(reward: Tensor, group: int) -> Tensor:
    """A_i, float64 (B,), of rewards bool (B,), in groups of `group` in their order; the last may be smaller."""
    advantages = []
    for r in torch.split(reward.double(), group):
        std = r.std(correction=0)
        advantages.append((r - r.mean()) / std if std > 0 else torch.zeros_like(r))
    return torch.cat(advantages)
