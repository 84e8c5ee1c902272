"""A baseline that tries to learn successes under failures-only, with all that a method is handed.

It wraps policies to write samples down, replays every random stream that it can name, takes the differences between
what it drew and what came back, and learns from what it thinks are successes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from suite.config import setting
from suite.oracle import Oracle
from suite.policy import Acceptance, Filtered, Generator, Policy, Round, Tempered
from suite.seeding import Streams, derive

PURPOSES = ("draw", "oracle", "collect", "sample", "policy", "pool", "method", "heldout", "torch", "failure_model")
SEEDS = range(12)


@dataclass(frozen=True)
class Config:
    """One batch."""

    batch: int = setting(500, valid=(1, None))


class Recorder:
    """Samples as asked, and keeps them."""

    def __init__(self, inner: Policy) -> None:
        self.inner = inner
        self.seen: list[Tensor] = []

    def sample(self, n: int, generator: torch.Generator, *rest: Any) -> Tensor:
        self.seen.append(self.inner.sample(n, generator))
        return self.seen[-1]

    def log_prob(self, x: Tensor, *rest: Any) -> Tensor:
        return self.inner.log_prob(x)


def spies(prior: Generator) -> list[tuple[Any, Recorder]]:
    """Policies that would record, and their recorders."""
    recorders = [Recorder(prior.clone()) for _ in range(6)]
    on_instance, subclass_of = prior.clone(), type("Subclass", (type(prior),), {})
    on_instance.sample = recorders[3].sample  # type: ignore[method-assign]
    derived = prior.clone()
    derived.__class__ = subclass_of
    derived.sample = recorders[4].sample  # type: ignore[method-assign]
    hot = Tempered(prior.clone(), 1.0)
    hot.sample = recorders[5].sample  # type: ignore[method-assign]
    wrapped: list[Any] = [
        recorders[0],
        Tempered(recorders[1], 1.0),
        Filtered(recorders[2], [], Acceptance(1, 1)),
        on_instance,
        derived,
        hot,
    ]
    return list(zip(wrapped, recorders, strict=True))


def streams(rng: Callable[[str], torch.Generator]) -> list[torch.Generator]:
    """Every generator that the oracle's could be, as far as a method can name it."""
    seeds = [*SEEDS, *(derive(seed, name) for seed in SEEDS for name in PURPOSES)]
    seeds += [derive(derive(seed, "oracle"), "draw") for seed in SEEDS]
    seeds += [rng(name).initial_seed() for name in PURPOSES]
    seeds += [derive(rng(name).initial_seed(), "draw") for name in PURPOSES]
    seeds += [Streams(rng("policy").initial_seed())(name).initial_seed() for name in PURPOSES]
    found = [torch.Generator().manual_seed(seed) for seed in seeds]
    for source in (torch.default_generator, *(rng(name) for name in PURPOSES)):
        found.append(torch.Generator())
        found[-1].set_state(source.get_state())
    return found


def codes(x: Tensor) -> Counter[int]:
    return Counter(x[:, 0].tolist())


def run(config: Config, prior: Generator, oracle: Oracle, rng: Callable[[str], torch.Generator]) -> Iterator[Round]:
    """Peek as long as the budget lasts; then believe."""
    believed: set[int] = set()
    failed: set[int] = set()
    refused = replayed = 0
    suspects = streams(rng)
    while oracle.remaining:
        n = min(config.batch, oracle.remaining)
        for spy, recorder in spies(prior):
            try:
                failures = oracle.collect(spy, n)
                believed |= set(codes(torch.cat(recorder.seen))) - set(codes(failures))
                break
            except TypeError:
                refused += 1
        if not oracle.remaining:
            break
        failures = oracle.collect(prior, n)
        got = codes(failures)
        failed |= set(got)
        guesses = []
        for suspect in suspects:  # each goes on as the oracle would: the draw, then the shuffle
            guesses.append(codes(prior.sample(n, suspect)))
            torch.randperm(len(failures), generator=suspect)
        best = max(guesses, key=lambda guess: (guess & got).total())
        replayed += best >= got
        believed |= set(best - got)
    believed -= failed
    policy = prior.clone()
    if believed:
        policy.fit(torch.tensor(sorted(believed))[:, None], generator=rng("policy"), lr=1e-3, epochs=10)
    yield Round(policy, {"refused": refused, "replayed": replayed, "believed": len(believed)})


class Listener(Recorder):
    """Keeps what it is asked the probability of."""

    def log_prob(self, x: Tensor, *rest: Any) -> Tensor:
        self.seen.append(x)
        return self.inner.log_prob(x)

    def sample(self, n: int, generator: torch.Generator, *rest: Any) -> Tensor:
        return self.inner.sample(n, generator)


def listen(config: Config, prior: Generator, oracle: Oracle, rng: Callable[[str], torch.Generator]) -> Iterator[Round]:
    """Yields a policy that listens while it is measured, and believes in the smallest batch that it was asked about."""
    oracle.collect(prior, config.batch)
    listener = Listener(prior)
    yield Round(listener, {})
    policy = prior.clone()
    if listener.seen:
        policy.fit(min(listener.seen, key=len), generator=rng("policy"), lr=1.0, epochs=5)
    yield Round(policy, {})
