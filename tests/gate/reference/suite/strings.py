"""A toy of the gate: strings of a small network, fast enough to be run in every pull request.

Prior: a transformer with fixed random weights over a, b, c, d and a full stop, at most five symbols. Reward 1 for a
string of two to four letters that begins and ends with b: 21 strings, which are enumerated. A string that does not
come to its full stop is invalid. Not sparse, on purpose: what is judged is the code, and rare successes make noisy
numbers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.generators import Shape, Transformer
from suite.policy import Policy

END = 4
SHAPE = Shape(vocab_size=5, length=5, end=END, width=16, layers=2, heads=2)


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class Strings:
    """Strings over a, b, c, d and a full stop that begin and end with b."""

    config: Config

    def __init__(self, config: Config) -> None:
        self.config = config
        words = [word for n in range(2, 5) for word in itertools.product(range(4), repeat=n)]
        won = [[*word, *[END] * (5 - len(word))] for word in words if word[0] == word[-1] == 1]
        self.successes = torch.tensor(won)  # (S, 5)

    def prior(self) -> Transformer:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Transformer(SHAPE)

    def valid(self, x: Tensor) -> Tensor:
        return x[:, -1] == END

    def verify(self, x: Tensor) -> Tensor:
        length = (x != END).sum(dim=1)
        last = x.gather(1, (length - 1).clamp(min=0)[:, None]).squeeze(1)
        return self.valid(x) & (length >= 2) & (x[:, 0] == 1) & (last == 1)

    def show(self, x: Tensor) -> list[str]:
        return ["".join("abcd."[symbol] for symbol in row).rstrip(".") for row in x.tolist()]

    def success_log_probs(self, policy: Policy) -> Tensor:
        return policy.log_prob(self.successes)

    def exact(self, policy: Policy) -> float:
        return float(self.success_log_probs(policy).exp().sum())
