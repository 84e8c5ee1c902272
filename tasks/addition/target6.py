"""The target of the 6-digit attack: an adder whose positions are place values.

It reads and writes every number from its last digit on, each in a field of its own, so that a position of the
transformer is a place (units, tens, …) of the first operand, of the second or of the sum. Its weights begin with places
that find each other at any length; a digit of the sum depends on two places alone, since whether a place carries is
seen from its operands' digits and the sum's. In plain order, with plain positions, such a transformer does not learn
six digits in thousands of steps. Operands are read as they are written. Leading zeros, which it never saw in training,
are read too; the right answer has none.

Source: arXiv 2405.17399 (Abacus embeddings), without its random offsets: no number is longer than those trained on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from suite.generators import Transformer
from suite.generators.network import Block
from tasks.addition.grammar import EQUALS, PLUS, STOP, Grammar
from tasks.addition.target import DOUBTFUL, Target, target_shape

SCALE = 0.5
"""Standard deviation of the embeddings at first: that of the symbols'."""
BLOCK = 512
"""Questions in one forward pass."""


class PlaceGrammar(Grammar):
    """Questions as in any grammar; only what the target reads and writes is laid out by place."""

    def with_answer(self, x: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Questions x (B, T) and their sums `total` (B,) by place: symbols (B, A), True (B, A) where the answer stands.

        With three digits `12+345=` becomes `21+`, `+`, `543`, `=`, `753` and stop symbols: what an operand leaves free
        of its field is filled with `+`.
        """
        plain, written = super().with_answer(x, total)
        steps = torch.arange(self.answer_length, device=x.device)
        start = plain.new_full((len(x), 1), -1)
        plus, equals = ((plain == bound).long().argmax(dim=1, keepdim=True) for bound in (PLUS, EQUALS))  # (B, 1)
        stop = equals + written.sum(dim=1, keepdim=True)

        def reversed_number(before: Tensor, after: Tensor, width: int, filler: int) -> Tensor:
            """The digits between two bounds from the last on, int64 (B, width)."""
            place = after - 1 - steps[:width]
            return torch.where(place > before, plain.gather(1, place.clamp(min=0)), filler)

        parts = [
            reversed_number(start, plus, self.digits + 1, PLUS),
            reversed_number(plus, equals, self.digits, PLUS),
            torch.full_like(plus, EQUALS),
            reversed_number(equals, stop, self.answer_length, STOP),
        ]
        answer = torch.zeros_like(written)
        answer[:, self.question_length :] = steps < stop - equals
        return torch.cat(parts, dim=1), answer


def place_net(grammar: Grammar, layers: int, width: int) -> Transformer:
    """An untrained target: an ordinary transformer whose first weights encode place values.

    The embedding of a position is a vector of a place plus one of a part: an operand's digit has its own place, the
    answer's positions, from `=` on, that of the digit to be written next. The first block's queries begin equal to its
    keys, so that places attend to themselves.
    """
    net = Transformer(target_shape(grammar, layers, width))
    d = grammar.digits
    # A position is that of the symbol read there, one after the symbol's own: the first reads the beginning.
    places = [0, *range(1, d + 1), 0, *range(1, d + 1), *range(1, d + 3)]
    parts = [0] * (d + 2) + [1] * d + [2] * (d + 2)
    block = net.blocks[0]
    assert isinstance(block, Block)
    with torch.no_grad():
        of_place, of_part = (torch.randn(n, width) * SCALE for n in (d + 3, 3))
        net.positions.copy_(of_place[places] + of_part[parts])
        block.qkv.weight[width : 2 * width] = block.qkv.weight[:width]
    return net


class PlaceTarget(Target):
    """A trained network and its greedy answers; numbers from the last digit on share too few prefixes for a walk."""

    @torch.no_grad()
    def margin(self, x: Tensor, total: Tensor) -> Tensor:
        full, answer = self.grammar.with_answer(x, total)
        least = _least(self.net, full, answer)
        doubtful = least.abs() < DOUBTFUL
        if doubtful.any():
            least[doubtful] = _least(self.exact_net, full[doubtful], answer[doubtful])
        return least


def _least(net: Transformer, full: Tensor, answer: Tensor) -> Tensor:
    """The least margin of a true symbol where `answer` is True, float64 (B,), of questions and answers (B, A)."""
    parts = [torch.zeros(0, dtype=torch.float64)]
    for symbols, held in zip(torch.split(full, BLOCK), torch.split(answer, BLOCK), strict=True):
        if not len(symbols):
            continue
        logits = net.logits(symbols).double()  # (b, A, V)
        true = symbols[..., None]
        other = logits.scatter(2, true, -torch.inf).amax(dim=2)
        parts.append((logits.gather(2, true).squeeze(2) - other).where(held, torch.inf).amin(dim=1))
    return torch.cat(parts)
