"""The pre-trained model: spends its budget and learns nothing. Its success rate is the base rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from suite.config import setting
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "nothing"


@dataclass(frozen=True)
class Config:
    """Nothing to tune."""

    batch: int = setting(500, valid=(1, None), help="reward evaluations per round")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Evaluate batch after batch of the prior; there is nothing to remember."""
    while oracle.remaining:
        n = min(config.batch, oracle.remaining)
        if oracle.protocol == "all-rewards":
            oracle.evaluate(prior.sample(n, rng("policy")))
        else:
            oracle.collect(prior, n)
        yield Round(prior, {}, ())
