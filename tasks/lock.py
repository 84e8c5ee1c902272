"""A combination lock: one of N codes opens it, and a code that failed says nothing about the others.

The control for leaks. Prior: exactly uniform over the codes of `dials` dials with `symbols` positions each, N =
symbols^dials = 100,000 by default. Reward 1 for one code, drawn uniformly. Sparse because it is one code of N: base
success rate 1 / N. Averaged over secrets no method can beat sampling without repetition, whatever it learns from the
codes that failed; given that the secret was not met, its rank by the policy among the untried codes is uniform, and
:mod:`suite.measure.leak` tests that. A method that beats this has a leak.

Source: the combination lock of the exploration literature (Koenig and Simmons, "The effect of representation and
knowledge on goal-directed exploration with reinforcement-learning algorithms", 1996), without its chain of rewards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from suite.config import setting
from suite.generators import Factored
from suite.policy import Policy
from suite.seeding import derive

MOST_CODES = 10_000_000
"""The most codes that a lock may have: the test for leaks holds all of them in memory."""


@dataclass(frozen=True)
class Config:
    """The number of codes and the secret."""

    symbols: int = setting(10, valid=(2, 36), help="positions of a dial; the base rate is symbols^-dials")
    dials: int = setting(5, valid=(1, 20), help="dials of the lock")
    secret: int = setting(0, valid=(0, None), help="seed that the opening code is drawn from")

    def __post_init__(self) -> None:
        if self.symbols**self.dials > MOST_CODES:
            raise ValueError(f"symbols^dials is {self.symbols**self.dials:,}; at most {MOST_CODES:,} codes")


class Lock:
    """Control: a combination lock, whose failures tell nothing; a method that wins has a leak."""

    config: Config
    stream: ClassVar[str] = "lock-v1"
    """Name of the random stream: the reported task and its tune variant draw their secrets independently."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.space = config.symbols**config.dials
        rng = torch.Generator().manual_seed(derive(self.stream, "secret", config.secret))
        self.secret = torch.randint(config.symbols, (config.dials,), generator=rng)

    def prior(self) -> Factored:
        return Factored(torch.zeros(self.config.dials, self.config.symbols))

    def support(self) -> Tensor:
        """All codes, int64 (N, dials)."""
        dial = torch.arange(self.config.symbols)
        return torch.cartesian_prod(*[dial] * self.config.dials).view(-1, self.config.dials)

    def verify(self, x: Tensor) -> Tensor:
        return (x == self.secret.to(x.device)).all(dim=1)

    def valid(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), dtype=torch.bool, device=x.device)

    def show(self, x: Tensor) -> list[str]:
        return ["-".join(map(str, row)) for row in x.tolist()]

    def success_log_probs(self, policy: Policy) -> Tensor:
        return policy.log_prob(self.secret[None])


class LockTune(Lock):
    """The lock with other secrets: for tuning, never reported."""

    stream = "lock-tune-v1"
