"""Control: BaNEL whose answers are ignored. Its own samples stand in for failures and no evaluation is spent.

Its success rate is what the likelihood ratio reaches by leaving the prior's bulk, without learning from a reward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from baselines import banel
from suite.config import retuned
from suite.oracle import Oracle
from suite.policy import Generator, Policy, Round
from suite.seeding import Streams

USES = "nothing"


@dataclass(frozen=True)
class Config(banel.Config):
    """BaNEL's knobs, tuned for themselves; `batch` samples of its own take the place of a round's failures."""

    epochs: int = retuned(banel.Config, "epochs", 48)
    filter_factor: float = retuned(banel.Config, "filter_factor", 10.0)
    failure_lr: float = retuned(banel.Config, "failure_lr", 3.51e-4)
    distil_lr: float = retuned(banel.Config, "distil_lr", 1.70e-4)
    distil_epochs: int = retuned(banel.Config, "distil_epochs", 1)


class Unanswered:
    """An oracle that calls every sample a failure, charges nothing, and ends where the budget would."""

    def __init__(self, budget: int, generator: torch.Generator) -> None:
        self.remaining = budget
        self._generator = generator

    def collect(self, policy: Policy, n: int) -> Tensor:
        """n samples of the policy, int64 (n, T)."""
        self.remaining -= n
        return policy.sample(n, self._generator)


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """As many rounds as the budget has batches."""
    drawn, inner = state or (0, None)
    unanswered = Unanswered(oracle.remaining - drawn, rng("unanswered"))
    for step in banel.run(config, prior, cast(Oracle, unanswered), rng, inner):
        yield step._replace(state=(oracle.remaining - unanswered.remaining, step.state))
