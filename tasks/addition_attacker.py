"""The prior of the addition tasks: a transformer that writes questions, and the uniform distribution over them."""

from __future__ import annotations

import torch
from torch import Tensor

from suite.generators import Shape, Transformer
from suite.policy import Policy
from tasks.addition_grammar import EQUALS, SYMBOLS, Grammar


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


class Attacker(Transformer):
    """The prior: a transformer over questions that knows which strings are well formed."""

    def __init__(self, grammar: Grammar, leading_zeros: bool) -> None:
        super().__init__(attacker_shape(grammar))
        self.grammar = grammar
        self.leading_zeros = leading_zeros

    def uniform(self) -> Policy:
        return UniformQuestions(self.grammar, self.leading_zeros)
