"""Ehrlich functions: which transitions are feasible, what motifs are worth, and an automaton that finds them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

FOUND = -1
"""State of a motif that was found."""


@dataclass(frozen=True, eq=False)
class EhrlichFunction:
    """f(x) = Π_i q(h_i(x)) for feasible x, −inf for others (Stanton et al., arXiv 2407.00236, section 4).

    Attributes:
        feasible: bool (V, V), whether a symbol may follow another.
        motifs: int64 (c, k), the symbols of each motif.
        offsets: int64 (c, k), their distances from the motif's first symbol, which ascend from 0.
        quantization: levels that the number of symbols in place is rounded down to; k counts each of them.
    """

    feasible: Tensor
    motifs: Tensor
    offsets: Tensor
    quantization: int

    def is_feasible(self, x: Tensor) -> Tensor:
        """True (B,) where every symbol of x, int64 (B, T), may follow the one before it."""
        return self.feasible[x[:, :-1], x[:, 1:]].all(dim=1)

    def quality(self, x: Tensor) -> Tensor:
        """q(h_i(x)), float64 (B, c): the share of a motif's symbols in place where most of them are, in levels of
        ⌈k / quantization⌉ symbols."""
        k, step = self.motifs.shape[1], math.ceil(self.motifs.shape[1] / self.quantization)
        found = []
        for motif, offset in zip(self.motifs, self.offsets, strict=True):
            in_place = x.unfold(1, int(offset[-1]) + 1, 1)[:, :, offset] == motif  # (B, places, k)
            found.append(in_place.sum(dim=2).amax(dim=1))  # (B,)
        return torch.stack(found, dim=1) // step * step / k

    def value(self, x: Tensor) -> Tensor:
        """f(x), float64 (B,)."""
        return torch.where(self.is_feasible(x), self.quality(x).double().prod(dim=1), -torch.inf)

    @functools.cached_property
    def automaton(self) -> Automaton:
        return Automaton(self)


class Automaton:
    """Reads a string and knows whether all motifs were found: for exact success rates of Markov chains.

    A state is the last symbol and, for each motif, the set of its beginnings that the symbols so far agree with, as
    bits: bit d for a beginning d places ago (the shift-and algorithm of Baeza-Yates and Gonnet, 1992, with gaps).
    Once a motif was found, only that is kept.

    Attributes:
        last: the last symbol in each state, int64 (S,); in state 0 nothing was read, and it is 0.
        next: the state after each symbol, int64 (S, V); S where all motifs are found.
    """

    def __init__(self, function: EhrlichFunction) -> None:
        symbols = len(function.feasible)
        agree = [
            [mask(motif, offset, v) for v in range(symbols)]
            for motif, offset in zip(function.motifs.tolist(), function.offsets.tolist(), strict=True)
        ]
        ends = [1 << offset[-1] for offset in function.offsets.tolist()]
        start = (0, (0,) * len(ends))
        success = (0, (FOUND,) * len(ends))
        index, states, table = {start: 0}, [start], []
        for _, bits in states:  # grows while it is read
            row = []
            for v in range(symbols):
                moved = tuple(advance(b, masks[v], end) for b, masks, end in zip(bits, agree, ends, strict=True))
                state = (v, moved)
                if moved != success[1] and state not in index:
                    index[state] = len(states)
                    states.append(state)
                row.append(-1 if moved == success[1] else index[state])
            table.append(row)
        self.last = torch.tensor([symbol for symbol, _ in states])
        self.next = torch.tensor(table)
        self.next[self.next < 0] = len(states)

    def success_rate(self, transitions: Tensor) -> float:
        """Σ over sequences that hold all motifs of the product of their transitions, float64 (T, V, V).

        P(all motifs found) under a Markov chain; rows need not sum to one.
        """
        transitions = transitions.cpu()
        states, symbols = self.next.shape
        after = [torch.ones(symbols, dtype=torch.float64)]  # what follows each symbol, from the end
        for step in transitions.flip(0):
            after.append(step @ after[-1])
        mass = torch.zeros(states + 1, dtype=torch.float64)
        mass[0] = 1.0
        total = 0.0
        for step, rest in zip(transitions, after[-2::-1], strict=True):
            moved = mass[:states, None] * step[self.last]  # (S, V)
            total += float((moved * (self.next == states)).sum(dim=0) @ rest)
            mass = torch.zeros_like(mass).index_add_(0, self.next.flatten(), moved.flatten())
        return total


def mask(motif: list[int], offsets: list[int], symbol: int) -> int:
    """Bit d is set where a motif that began d places ago agrees with the symbol read now."""
    wanted = dict(zip(offsets, motif, strict=True))
    return sum(1 << d for d in range(offsets[-1] + 1) if wanted.get(d, symbol) == symbol)


def advance(bits: int, agree: int, end: int) -> int:
    """The beginnings that still agree after one more symbol; `FOUND` when the motif is complete."""
    if bits == FOUND:
        return FOUND
    bits = ((bits << 1) | 1) & agree
    return FOUND if bits & end else bits
