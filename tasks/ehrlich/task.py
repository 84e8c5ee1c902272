"""Ehrlich functions: every motif must stand somewhere in a sequence whose transitions are all feasible.

The closed-form benchmark of biological sequence design. A sequence is feasible where no transition is a forbidden one;
a motif is present where its symbols stand at given distances, anywhere. The function's value is the product of how
much of each motif is present, and the reward is 1 where that is 1: all motifs in full. Sparse because the motifs are
words of two rare symbols, of which the prior, a Markov chain over feasible sequences, writes few: base success rate
1.2e-4. Exact: the success rate of a Markov chain is a sum over the states of an automaton that looks for the motifs.

Source: Stanton et al., "Closed-Form Test Functions for Biophysical Sequence Design Benchmarking", arXiv 2407.00236
(2024). The function is theirs, held against values of their `pytorch-holo`; instance and prior are drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from suite.config import setting
from suite.generators import Markov
from suite.policy import Policy, Tempered
from suite.seeding import derive
from tasks.ehrlich.function import EhrlichFunction

LETTERS = "abcdefghijklmnopqrstuvwxyz"
FORBIDDEN = 0.2
"""Share of the symbols that may not follow one."""


@dataclass(frozen=True)
class Config:
    """The instance and how poor the prior is in motif symbols."""

    vocab: int = setting(5, valid=(2, 26), help="symbols V")
    length: int = setting(32, valid=(2, 256), help="symbols of a sequence L")
    motifs: int = setting(2, valid=(1, 8), help="motifs c")
    motif_length: int = setting(4, valid=(2, 8), help="symbols of a motif k")
    span: int = setting(8, valid=(2, 10), help="most places that a motif stretches over")
    rare: int = setting(2, valid=(1, 8), help="symbols that motifs are made of")
    weight: float = setting(0.4, valid=(0.01, 1), help="of a rare symbol in the prior, others have 1: the base rate")
    secret: int = setting(0, valid=(0, None), help="seed of the instance: transitions, motifs, distances")

    def __post_init__(self) -> None:
        if self.rare >= self.vocab:
            raise ValueError(f"rare must be below vocab {self.vocab}, got {self.rare}")
        if self.span < self.motif_length:
            raise ValueError(f"span must be at least motif_length {self.motif_length}, got {self.span}")
        if self.motifs * self.span > self.length:
            raise ValueError(
                f"{self.motifs} motifs of span {self.span} need a length of at least {self.motifs * self.span}, "
                f"got {self.length}"
            )


class Ehrlich:
    """Ehrlich functions: feasible sequences that hold all motifs, from a Markov chain poor in their symbols; exact."""

    config: Config
    stream: ClassVar[str] = "ehrlich-v1"
    """Name of the random stream: the reported task and its tune variant draw their instances independently."""

    def __init__(self, config: Config) -> None:
        self.config = config
        rng = torch.Generator().manual_seed(derive(self.stream, "instance", config.secret))
        self.rare, self.function = draw(config, rng)
        self.space = count(self.function.feasible, config.length)

    def prior(self) -> Markov:
        """The next symbol is drawn among the feasible ones; rare symbols have the configured weight, others 1."""
        weight = torch.ones(self.config.vocab, dtype=torch.float64)
        weight[self.rare] = self.config.weight
        after = self.function.feasible * weight  # (V, V)
        log_p = after.log().repeat(self.config.length, 1, 1)
        log_p[0, 0] = weight.log()  # a sequence may begin with every symbol
        return Markov(log_p)

    def verify(self, x: Tensor) -> Tensor:
        return self.function.value(x) == 1

    def valid(self, x: Tensor) -> Tensor:
        """Feasible sequences, bool (B,)."""
        return self.function.is_feasible(x)

    def show(self, x: Tensor) -> list[str]:
        return ["".join(LETTERS[symbol] for symbol in row) for row in x.tolist()]

    def exact(self, policy: Policy) -> float | None:
        """Computed with the automaton for Markov chains at any temperature; None for other policies."""
        return self.affinity(policy, policy)

    def affinity(self, policy: Policy, other: Policy) -> float | None:
        """The same sum over the products of √(p q) of each transition: a Markov chain but for the rows' sums."""
        chains = transitions(policy), transitions(other)
        if chains[0] is None or chains[1] is None:
            return None
        between = chains[0] if policy is other else (chains[0] * chains[1]).sqrt()
        return self.function.automaton.success_rate(between)

    def references(self) -> dict[str, Policy]:
        return {"uniform": self.prior().uniform()}


class EhrlichTune(Ehrlich):
    """Ehrlich functions of other instances: for tuning, never reported."""

    stream = "ehrlich-tune-v1"


def transitions(policy: Policy) -> Tensor | None:
    """Of a Markov chain at any temperature, float64 (T, V, V); None for another policy."""
    chain, temperature = (policy.net, policy.temperature) if isinstance(policy, Tempered) else (policy, 1.0)
    return chain.transitions(temperature) if isinstance(chain, Markov) else None


def draw(config: Config, rng: torch.Generator) -> tuple[Tensor, EhrlichFunction]:
    """The rare symbols, int64 (rare,), and an instance of which some sequence holds all motifs.

    Transitions along one cycle through all symbols, of a symbol to itself and among rare ones are never forbidden, and
    motifs are words of rare symbols: motif after motif, repeating symbols where there is a gap, is feasible.
    """
    v = config.vocab
    cycle = torch.randperm(v, generator=rng)
    rare = cycle[: config.rare]
    feasible = torch.ones(v, v, dtype=torch.bool)
    for symbol, following in zip(cycle.tolist(), cycle.roll(-1).tolist(), strict=True):
        kept = {symbol, following} | (set(rare.tolist()) if symbol in rare else set())
        others = [other for other in torch.randperm(v, generator=rng).tolist() if other not in kept]
        feasible[symbol, others[: round(FORBIDDEN * v)]] = False
    words = torch.randint(config.rare, (config.motifs, config.motif_length), generator=rng)
    offsets = torch.zeros_like(words)
    for row in offsets:
        row[1:] = 1 + torch.randperm(config.span - 1, generator=rng)[: config.motif_length - 1].sort().values
    return rare, EhrlichFunction(feasible, rare[words], offsets, config.motif_length)


def count(feasible: Tensor, length: int) -> int:
    """Feasible sequences of that length."""
    ways = [1] * len(feasible)
    for _ in range(length - 1):
        ways = [sum(w for w, onward in zip(ways, row, strict=True) if onward) for row in feasible.tolist()]
    return sum(ways)
