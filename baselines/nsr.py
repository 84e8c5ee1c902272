"""NSR: negative sample reinforcement. A failure has reward −1, a success 0, and no baseline is subtracted.

    ∇J = −a · mean_{x ∈ failures} ∇ log p(x) − κ · ∇ KL(p ‖ prior)

a = 1. With `group` = G it is 1 / √G, what NGRPO gives a group of G samples that all fail: it adds one imagined success
to the group, whose mean is then 1 / (G + 1) and whose standard deviation √G / (G + 1).

While every sample fails, E[∇ log p(x)] = 0: the gradient is noise about the penalty. What is missing among the failures
is what gives it a direction.

Sources: Zhu et al., "The Surprising Effectiveness of Negative Reinforcement in LLM Reasoning", arXiv 2506.01347 (2025);
Nan et al., "NGRPO: Negative-enhanced Group Relative Policy Optimization", arXiv 2509.18851 (2025), for `group`. The
penalty is ours, as in baselines/common/novelty.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.common.gradient import GradientConfig, ascend, network, shift_of
from suite.config import setting, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "failures"


@dataclass(frozen=True)
class Config(GradientConfig):
    """The gradient's knobs and the penalty's."""

    kl: float = tunable(0.1, 1e-3, 1.0, log=True, valid=(0, None), help="weight κ of the penalty log p/prior")
    group: int = setting(0, valid=(0, None), help="samples of a group of NGRPO; 0: a failure weighs 1")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Lower the likelihood of each batch's failures."""
    policy = network(prior) if state is None else state
    while oracle.remaining:
        x = oracle.collect(policy, min(config.batch, oracle.remaining))  # (≤ m, T)
        shift = shift_of(policy, prior, x)  # (B,)
        loss = ascend(policy, x, weights(shift, config.kl, config.group), config, rng("policy"))
        yield Round(policy, {"loss": loss}, policy)


def weights(shift: Tensor, kl: float, group: int) -> Tensor:
    """The factor on each failure's ∇ log p, float (B,): −a − κ · shift, where E[shift · ∇ log p] = ∇ KL(p ‖ prior)."""
    return -torch.full_like(shift, group**-0.5 if group else 1.0) - kl * shift
