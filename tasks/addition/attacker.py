"""The prior of the addition tasks: a transformer that writes questions, and the uniform distribution over them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from suite.generators import Shape, Transformer
from suite.policy import Policy
from tasks.addition.grammar import EQUALS, SYMBOLS, Grammar, offset


def attacker_shape(grammar: Grammar) -> Shape:
    """The architecture of an attacker that writes questions of this grammar."""
    return Shape(vocab_size=len(SYMBOLS), length=grammar.question_length, end=EQUALS, width=64, layers=2)


class UniformQuestions:
    """The uniform distribution over well-formed questions; with or without leading zeros."""

    saved_as = "uniform"

    def __init__(self, grammar: Grammar, leading_zeros: bool) -> None:
        index = torch.arange(grammar.operands)
        value, digits = grammar.operand(index)
        plain = (digits == 1) | (value >= 10 ** (digits - 1))
        self.operands = index if leading_zeros else index[plain]
        self.grammar = grammar
        self.leading_zeros = leading_zeros

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        pick = torch.randint(len(self.operands), (2, n), generator=generator, device=generator.device).cpu()
        x = self.grammar.write(self.operands[pick[0]] * self.grammar.operands + self.operands[pick[1]])
        return x.to(generator.device)

    def log_prob(self, x: Tensor) -> Tensor:
        inside = self.grammar.allowed(x, self.leading_zeros)
        log_p = -2 * torch.tensor(len(self.operands), dtype=torch.float64).log()
        return torch.where(inside, log_p, -torch.inf)


class QuestionsByLength:
    """Operands uniform in their number of digits, then in those digits, leading zeros among them.

    Short and mixed lengths, which operands uniform in value hardly ever have, are as likely as long ones.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        grammar, device = self.grammar, generator.device
        digits = torch.randint(1, grammar.digits + 1, (2, n), generator=generator, device=device).cpu()
        u = torch.rand(2, n, dtype=torch.float64, generator=generator, device=device).cpu()
        side = offset(digits) + (u * 10**digits).long()  # (2, n)
        return grammar.write(side[0] * grammar.operands + side[1]).to(device)

    def log_prob(self, x: Tensor) -> Tensor:
        index = self.grammar.read(x)[0]
        sides = torch.stack([index // self.grammar.operands, index % self.grammar.operands])
        digits = self.grammar.operand(sides.clamp(min=0))[1].double()  # (2, B)
        log_p = -(digits * math.log(10) + math.log(self.grammar.digits)).sum(dim=0)
        return torch.where(index >= 0, log_p, -torch.inf)


class Attacker(Transformer):
    """The prior: a transformer over questions that knows which strings are well formed."""

    def __init__(self, grammar: Grammar, leading_zeros: bool) -> None:
        super().__init__(attacker_shape(grammar))
        self.grammar = grammar
        self.leading_zeros = leading_zeros

    def uniform(self) -> Policy:
        return UniformQuestions(self.grammar, self.leading_zeros)
