"""RNA inverse folding: a sequence whose minimum-energy fold is the target structure.

A sample fills the target: one of six base pairs at every pair of the target, one of four bases elsewhere, so that every
sequence could fold as wanted, but another fold may have less energy. Reward 1 when ViennaRNA's minimum free energy
structure is the target. Sparse because the prior is rich in A and U, while two short hairpins are held by G·C pairs:
AU-rich stems melt or pair across. Base success rate 5e-4.

Needs `pip install 'sparse-reward-suite[bio]'`. There are 1.1e11 fillings: success rates are counted, or
estimated by importance sampling (`--heldout is:N`).

Source: Hofacker et al., "Fast Folding and Comparison of RNA Secondary Structures", Monatshefte für Chemie 1994, for
the problem and its fillings; Lorenz et al., "ViennaRNA Package 2.0", 2011, for the fold. Target and prior are our own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from suite.config import retuned, setting
from suite.generators import Factored
from suite.policy import Generator, Policy
from tasks.common.extras import library

BASES = "ACGU"
PAIRS = tuple(zip("AUCGGU", "UAGCUG", strict=True))
"""Base pairs: Watson and Crick's, and G with U."""
PROPOSAL = 0.7
"""Share of A and U in the stems of the proposal: 0.65 and 0.75 have fewer effective hits than its 74 of 20,000."""
LONGEST = 200
"""The most bases that a target may have."""
LOOP = 3
"""The fewest bases between the two of a pair."""


@dataclass(frozen=True)
class Config:
    """The structure and the bases of the prior."""

    target: str = setting("((((....))))((((....))))", help="structure in dot-bracket notation")
    au: float = setting(0.88, valid=(0.05, 0.99), help="share of A and U among the prior's bases; sets the base rate")

    def __post_init__(self) -> None:
        pairs(self.target)


@dataclass(frozen=True)
class TuneConfig(Config):
    """Another structure: its hairpins stand apart."""

    target: str = retuned(Config, "target", ".((((....)))).((((....)))).")
    au: float = retuned(Config, "au", 0.9)


class Fillings(Factored):
    """The prior: every base on its own, and a pair in proportion to the product of its two bases.

    Args:
        target: dot-bracket structure.
        au: share of A and U among bases, half each; C and G share the rest. 1/2 is uniform over fillings.
        au_paired: the same for the bases of pairs, where it differs.
    """

    def __init__(self, target: str, au: float, au_paired: float | None = None) -> None:
        single = bases(au)
        unpaired = torch.full((len(PAIRS),), -torch.inf)
        unpaired[: len(BASES)] = torch.tensor([single[base] for base in BASES]).log()
        within = bases(au if au_paired is None else au_paired)
        paired = torch.tensor([within[a] * within[b] for a, b in PAIRS]).log()
        self.target = target
        super().__init__(torch.stack([unpaired if place == "." else paired for place in target if place != ")"]))

    def uniform(self) -> Policy:
        """Uniform over fillings."""
        return Fillings(self.target, 0.5)


class Rna:
    """RNA inverse folding: sequences that fold into two short hairpins, from an AU-rich prior."""

    config: Config
    extra: ClassVar[str] = "bio"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.rna = library("RNA", self.extra)
        self.pairs = pairs(config.target)
        openings = [place for place in config.target if place != ")"]
        self.sizes = torch.tensor([len(BASES) if place == "." else len(PAIRS) for place in openings])
        self.space = len(BASES) ** openings.count(".") * len(PAIRS) ** openings.count("(")

    def prior(self) -> Fillings:
        return Fillings(self.config.target, self.config.au)

    def verify(self, x: Tensor) -> Tensor:
        """Fold every distinct sequence: True (B,) where the fold of least energy is the target."""
        distinct, row = torch.unique(x, dim=0, return_inverse=True)
        well_formed = self.valid(distinct)
        right = torch.zeros(len(distinct), dtype=torch.bool)
        right[well_formed] = torch.tensor(
            [self.rna.fold(sequence)[0] == self.config.target for sequence in self.show(distinct[well_formed])],
            dtype=torch.bool,
        )
        return right[row]

    def valid(self, x: Tensor) -> Tensor:
        """Fillings of the target, bool (B,)."""
        return (x < self.sizes).all(dim=1)

    def show(self, x: Tensor) -> list[str]:
        """Sequences of bases."""
        return [self.sequence(row) for row in x.tolist()]

    def sequence(self, symbols: list[int]) -> str:
        """The bases of one filling: a symbol says a pair at the place where it opens, and nothing where it closes."""
        bases = [""] * len(self.config.target)
        for place, symbol in zip((i for i, c in enumerate(self.config.target) if c != ")"), symbols, strict=True):
            if place in self.pairs:
                bases[place], bases[self.pairs[place]] = PAIRS[symbol]
            else:
                bases[place] = BASES[symbol]
        return "".join(bases)

    def proposal(self, prior: Generator) -> Policy:
        """The prior with stems richer in G·C, where most successes lie."""
        return Fillings(self.config.target, self.config.au, min(self.config.au, PROPOSAL))


class RnaTune(Rna):
    """RNA inverse folding of another structure: for tuning, never reported."""

    config: TuneConfig


def bases(au: float) -> dict[str, float]:
    """Probability of each base."""
    return {"A": au / 2, "C": (1 - au) / 2, "G": (1 - au) / 2, "U": au / 2}


def pairs(target: str) -> dict[int, int]:
    """Where each pair of a dot-bracket structure opens and closes.

    Raises:
        ValueError: other symbols, brackets that do not match, or a hairpin loop of less than three bases.
    """
    if not re.fullmatch(rf"[().]{{1,{LONGEST}}}", target):
        raise ValueError(f"target must be 1 to {LONGEST} of the symbols ( ) and ., got {target!r}")
    opened: list[int] = []
    found = {}
    for place, symbol in enumerate(target):
        if symbol == "(":
            opened.append(place)
        elif symbol == ")":
            if not opened:
                raise ValueError(f"target has a ) without a ( at position {place + 1}: {target}")
            found[opened.pop()] = place
    if opened:
        raise ValueError(f"target has a ( without a ) at position {opened[-1] + 1}: {target}")
    if any(close - start <= LOOP for start, close in found.items()):
        raise ValueError(f"a hairpin loop needs at least {LOOP} bases: {target}")
    return found
