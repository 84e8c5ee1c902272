"""Point masses: an attack on the success rate. One sample at a time is tried, the first success is written for ever.

Under `failures-only` a batch that comes back empty says that all of it succeeded. So a policy that writes x alone,
asked for one sample, tells r(x) for one evaluation. The found policy has success rate 1 and a posterior match of p*(x):
it has found one success and knows nothing of the others. It is no method to use, but a test of what a number means.
Under `failures-padded` batches come back full, and the attack learns nothing (docs/protocol.md, "Failures only").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from suite.config import setting
from suite.oracle import Oracle
from suite.policy import Generator, Policy, Round
from suite.seeding import Streams

USES = "failures and counts"


@dataclass(frozen=True)
class Config:
    """How a point mass is made of a generator that only learns."""

    batch: int = setting(500, valid=(1, None), help="reward evaluations per round")
    epochs: int = setting(40, valid=(1, None), help="passes over the candidate with which it is learned by heart")
    lr: float = setting(1e-2, valid=(0, None), help="learning rate of these passes")
    temperature: float = setting(
        0.02, valid=(1e-6, 1), help="of the policy that has learned it; a low one leaves the candidate alone"
    )


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Candidates from the uniform distribution, one evaluation each, until one does not come back; then that one."""
    found: Policy | None = None if state is None else state[0]
    while oracle.remaining:
        after = oracle.remaining - min(config.batch, oracle.remaining)
        while found is None and oracle.remaining > after:
            x = prior.uniform().sample(1, rng("candidates"))[0]
            policy = by_heart(config, prior, x, rng)
            found = None if len(oracle.collect(policy, 1)) else policy
        if found is not None and oracle.remaining > after:
            oracle.collect(found, oracle.remaining - after)
        yield Round(found or prior, {"found": float(found is not None)}, (found,))


def by_heart(config: Config, prior: Generator, x: Tensor, rng: Streams) -> Policy:
    """A policy that writes x, int64 (T,), and hardly anything else."""
    net = prior.clone()
    net.fit(x.expand(32, -1), epochs=config.epochs, lr=config.lr, batch_size=32, generator=rng("point"))
    return net.tempered(config.temperature)
