"""Control: the uniform distribution over well-formed samples, where the prior declares one. Spends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "nothing"


@dataclass(frozen=True)
class Config:
    """Nothing to tune."""


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """One round: the uniform policy."""
    yield Round(prior.uniform(), {})
