"""A method whose search has a known answer: it spends its budget, learns nothing, and tempers the prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from suite.config import setting, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round


@dataclass(frozen=True)
class Config:
    temperature: float = tunable(3.0, 0.5, 10.0, log=True, valid=(1e-3, None))
    draws: int = tunable(2, 1, 4, valid=(1, None))
    broken: bool = tunable(False, choices=(False, True))
    pair: tuple[int, int] = setting((1, 2))
    label: str = setting("")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Callable[[str], torch.Generator]) -> Iterator[Round]:
    oracle.collect(prior, oracle.remaining)
    if config.broken:
        raise RuntimeError("broken on purpose")
    yield Round(prior.tempered(config.temperature), {})
