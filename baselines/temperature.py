"""Control: the prior sampled at a higher temperature. Spends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from suite.config import tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "nothing"


@dataclass(frozen=True)
class Config:
    """How hot."""

    temperature: float = tunable(3.0, 1.0, 10.0, log=True, valid=(1e-3, None), help="divides every logit")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """One round: the tempered prior."""
    yield Round(prior.tempered(config.temperature), {})
