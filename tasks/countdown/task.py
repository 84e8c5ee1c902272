"""Countdown: an expression over all six given numbers that equals the target, from a prior that adds and subtracts.

A sample is an expression: the order of the numbers as a Lehmer code, five operators and one of the 42 ways to bracket
them, so that every sample is well formed and all 30,965,760 can be enumerated. Reward 1 when the value is the target;
a division must leave no remainder. Sparse because the prior writes + or − 95 % of the time, while the target lies
beyond every sum of the numbers and every product of two sums, 10 · 11: at least two × are needed. Base success rate
4.2e-5, exact.

Source: the television game; as a task for language models, Gandhi et al., "Stream of Search", arXiv 2404.03683 (2024).
Prior and encoding are our own.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.config import retuned, setting
from suite.generators import Factored
from suite.policy import Policy
from tasks.countdown.expressions import OPERATORS, infix, shapes, values, with_value
from tasks.queens import Mallows, decode

NUMBERS = 6
SHAPES = shapes(NUMBERS)
SIZES = torch.tensor([*range(NUMBERS, 0, -1), *[len(OPERATORS)] * (NUMBERS - 1), len(SHAPES)])
"""Symbols that may stand at each position: of the Lehmer code, of the operators, of the shape."""


@dataclass(frozen=True)
class Config:
    """The numbers, the target, and how often the prior writes + or −."""

    numbers: tuple[int, ...] = setting((1, 2, 3, 4, 5, 6), help="six numbers from 1 to 100, each used once")
    target: int = setting(120, valid=(1, None), help="value that succeeds")
    plain: float = setting(0.95, valid=(0.5, 0.999), help="probability that an operator is + or -: the base rate")

    def __post_init__(self) -> None:
        if len(self.numbers) != NUMBERS or not all(1 <= number <= 100 for number in self.numbers):
            raise ValueError(f"numbers must be {NUMBERS} from 1 to 100, got {self.numbers}")


@dataclass(frozen=True)
class TuneConfig(Config):
    """Other numbers and another target."""

    numbers: tuple[int, ...] = retuned(Config, "numbers", (1, 2, 3, 4, 5, 7))
    target: int = retuned(Config, "target", 140)


class Expressions(Factored):
    """The prior: orders and brackets uniform, every operator on its own.

    Args:
        plain: probability of + or −, half each; × and ÷ share the rest. 1/2 is uniform over expressions.
    """

    def __init__(self, plain: float) -> None:
        log_p = torch.full((len(SIZES), len(SHAPES)), -torch.inf)
        log_p[:NUMBERS, :NUMBERS] = Mallows(NUMBERS, 1.0).logits.detach()
        log_p[NUMBERS:-1, : len(OPERATORS)] = torch.tensor([plain, plain, 1 - plain, 1 - plain]).log()
        log_p[-1] = 0.0
        super().__init__(log_p)

    def uniform(self) -> Policy:
        """Uniform over expressions."""
        return Expressions(0.5)


class Countdown:
    """Expressions over six numbers with a target that needs ×, from a prior that mostly writes + and -; exact."""

    config: Config
    space = math.prod(SIZES.tolist())

    def __init__(self, config: Config) -> None:
        self.config = config

    def prior(self) -> Expressions:
        return Expressions(self.config.plain)

    def values(self, x: Tensor) -> Tensor:
        """Values of expressions, float64 (B,); nan where there is none."""
        return values(x[:, -1], self.ordered(x), x[:, NUMBERS:-1])

    def ordered(self, x: Tensor) -> Tensor:
        """The numbers in the order that their Lehmer code says, int64 (B, 6)."""
        return torch.tensor(self.config.numbers)[decode(x[:, :NUMBERS])]

    def verify(self, x: Tensor) -> Tensor:
        right, well_formed = torch.zeros(len(x), dtype=torch.bool), self.valid(x)
        right[well_formed] = self.values(x[well_formed]) == self.config.target
        return right

    def valid(self, x: Tensor) -> Tensor:
        """Codes of expressions, bool (B,)."""
        return (x < SIZES).all(dim=1)

    def show(self, x: Tensor) -> list[str]:
        """The expression and its value; ? where it has none."""
        rows = zip(x.tolist(), self.ordered(x).tolist(), self.values(x).tolist(), strict=True)
        return [
            f"{infix(SHAPES[row[-1]], numbers, row[NUMBERS:-1])} = {'?' if math.isnan(value) else int(value)}"
            for row, numbers, value in rows
        ]

    @functools.cached_property
    def successes(self) -> Tensor:
        """All expressions that equal the target, int64 (S, 12)."""
        codes = torch.cartesian_prod(*[torch.arange(size) for size in SIZES[:NUMBERS]])  # (720, 6)
        shape, order, operators = with_value(self.config.target, self.ordered(codes))
        return torch.cat([codes[order], operators, shape[:, None]], dim=1)

    def success_log_probs(self, policy: Policy) -> Tensor:
        return policy.log_prob(self.successes)

    def references(self) -> dict[str, Policy]:
        return {"uniform": self.prior().uniform()}


class CountdownTune(Countdown):
    """Countdown with other numbers and another target: for tuning, never reported."""

    config: TuneConfig
