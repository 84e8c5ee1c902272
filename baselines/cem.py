"""The cross-entropy method under full rewards: the policy is refitted to the elite, those that succeeded.

    p ← argmax_q Σ_{x ∈ elite} log q(x), smoothed: of a table, the elite's frequencies get the share lr · 300 a pass

The elite of the source is the best share ρ of a batch. Of a reward that is 0 or 1 that is the successes, where there
are fewer than ρ of them: failures that fill it up would only repeat the policy. A batch without a success changes
nothing. Each batch's elite replaces the one before, which `memory` can keep.

Source: Rubinstein, "The cross-entropy method for combinatorial and continuous optimization" (1999); de Boer et al., "A
tutorial on the cross-entropy method" (2005), with its smoothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch

from suite.config import setting, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "rewards"


@dataclass(frozen=True)
class Config:
    """How the policy is refitted."""

    batch: int = setting(500, valid=(1, None), help="reward evaluations per round")
    lr: float = tunable(1e-3, 1e-5, 1e-2, log=True, valid=(0, None), help="learning rate, the smoothing of a table")
    epochs: int = tunable(4, 1, 16, log=True, valid=(1, None), help="passes over the elite")
    memory: Literal["round", "all"] = setting("round", help="the elite: this round's successes or all")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Fit the policy to each batch's successes."""
    policy, elite = (prior.clone(), prior.sample(0, rng("samples"))) if state is None else state
    while oracle.remaining:
        x = policy.sample(min(config.batch, oracle.remaining), rng("samples"))  # (m, T)
        seen = oracle.evaluate(x)
        found = seen.x[seen.reward]
        elite = torch.cat([elite, found]) if config.memory == "all" else found
        if len(elite):
            policy.fit(elite, epochs=config.epochs, lr=config.lr, generator=rng("policy"))
        yield Round(policy, {"elite": float(len(elite))}, (policy, elite))
