"""RAFT under full rewards: of each group of K samples the best is kept, and the policy is fine-tuned on those.

Rewards are 0 or 1, so a group gives one of its successes, drawn at random, or nothing: a failure, which the source
would keep where all of a group fail, would only repeat the policy. A group of many successes gives no more than a group
of one, so what is found often crowds out the rest more slowly than in the cross-entropy method.

Source: Dong et al., "RAFT: Reward rAnked FineTuning for Generative Foundation Model Alignment", arXiv 2304.06767
(2023).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from suite.config import setting, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "rewards"


@dataclass(frozen=True)
class Config:
    """Groups, and how the policy is fine-tuned."""

    batch: int = setting(500, valid=(1, None), help="reward evaluations per round")
    group: int = setting(8, valid=(1, None), help="samples of which one is kept, K")
    lr: float = tunable(1e-3, 1e-5, 1e-2, log=True, valid=(0, None), help="learning rate")
    epochs: int = tunable(4, 1, 16, log=True, valid=(1, None), help="passes over what was kept")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Fine-tune the policy on the best of each group."""
    policy = prior.clone() if state is None else state
    while oracle.remaining:
        x = policy.sample(min(config.batch, oracle.remaining), rng("samples"))  # (m, T)
        seen = oracle.evaluate(x)
        kept = seen.x[best_of_groups(seen.reward, config.group, rng("ties"))]
        if len(kept):
            policy.fit(kept, epochs=config.epochs, lr=config.lr, generator=rng("policy"))
        yield Round(policy, {"kept": float(len(kept))}, policy)


def best_of_groups(reward: Tensor, group: int, generator: torch.Generator) -> Tensor:
    """Places, int64, of one success of each group that has any, at random; rewards bool (B,), groups in their order."""
    places = []
    for at in torch.split(torch.arange(len(reward), device=reward.device), group):
        won = at[reward[at]]
        if len(won):
            drawn = torch.randint(len(won), (1,), generator=generator, device=generator.device)
            places.append(won[drawn.to(won.device)])
    return torch.cat(places) if places else reward.new_zeros(0, dtype=torch.long)
