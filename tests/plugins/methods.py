"""Baselines for tests: one that behaves, and ones that do not."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from suite.config import setting
from suite.oracle import Oracle, Verifier
from suite.policy import Generator, Round, Tempered

Streams = Callable[[str], torch.Generator]


@dataclass(frozen=True)
class Config:
    """One batch."""

    batch: int = setting(20, valid=(1, None))


def learner(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """Fits the policy to what it gets, under either protocol, at a rate drawn from a stream of its own."""
    policy = prior.clone()
    while oracle.remaining:
        n = min(config.batch, oracle.remaining)
        if oracle.protocol == "failures-only":
            x = oracle.collect(policy, n)
        else:
            x, reward = oracle.evaluate(policy.sample(n, rng("own")))
            x = x[reward] if reward.any() else x
        extra = torch.rand((), generator=rng("rate"))
        loss = policy.fit(x, generator=rng("policy"), lr=1e-4 * (1 + float(extra)))
        yield Round(policy, {"loss": loss, "nothing": float("nan"), "tensor": extra})  # type: ignore[dict-item]


def failing(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """Raises after one round."""
    oracle.collect(prior, config.batch)
    yield Round(prior, {})
    oracle.collect(prior, config.batch)
    raise KeyError("a thing that is not there")


def greedy(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """Never looks at what remains."""
    while True:
        oracle.collect(prior, config.batch)
        yield Round(prior, {})


def silent(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """Spends one batch and yields nothing."""
    oracle.collect(prior, config.batch)
    yield from ()


def unsteady(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """Asks for $BATCH samples, so that a second attempt can differ from the first; raises in the end."""
    oracle.collect(prior, int(os.environ["BATCH"]))
    yield Round(prior, {})
    raise RuntimeError("not today")


def restless(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """Goes on training the policies that it has yielded, plain and tempered."""
    policy = prior.clone()
    while oracle.remaining:
        x = oracle.collect(policy, config.batch)
        policy.fit(x, generator=rng("policy"), lr=1e-4)
        yield Round(Tempered(policy, 2.0), {})
        policy.fit(x[:1], generator=rng("policy"), lr=3e-3)


def hidden_verifier(oracle: Oracle) -> Verifier:
    """Python hides nothing."""
    return next(thing for thing in gc.get_referents(vars(oracle)) if type(thing) is Verifier)


def behind(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """Digs the counted verifier out of the oracle and asks it."""
    oracle.collect(prior, config.batch)
    hidden_verifier(oracle)(prior.sample(3, rng("behind")))
    yield Round(prior, {})


def through_task(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """Digs the task out of its verifier and asks that."""
    oracle.collect(prior, config.batch)
    method = next(thing for thing in gc.get_referents(vars(hidden_verifier(oracle))) if hasattr(thing, "__self__"))
    method.__self__.verify(prior.sample(3, rng("behind")))
    yield Round(prior, {})


class Mixture:
    """Half one policy, half another: no part of the engine."""

    def __init__(self, a: Generator, b: Generator) -> None:
        self.a, self.b = a, b

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.cat([self.a.sample(n - n // 2, generator), self.b.sample(n // 2, generator)])

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.logaddexp(self.a.log_prob(x), self.b.log_prob(x)) - torch.tensor(2.0).log()


def mixed(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """Yields a policy of its own kind."""
    policy = prior.clone()
    while oracle.remaining:
        x = oracle.collect(policy, min(config.batch, oracle.remaining))
        policy.fit(x, generator=rng("policy"))
        yield Round(Mixture(prior, policy), {})


def diverging(config: Config, prior: Any, oracle: Oracle, rng: Streams) -> Iterator[Round]:
    """Its weights end as nan."""
    oracle.collect(prior, config.batch)
    prior.logits.data.fill_(float("nan"))
    yield Round(prior, {})
