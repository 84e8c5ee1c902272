"""n queens on a board, none attacking another, from a Mallows prior around the identity permutation.

A sample is a permutation, written by its Lehmer code: symbol i counts the later rows whose queen stands further left,
0 to n - 1 - i. Mallows' distribution p(σ) ∝ dispersion^inversions(σ) is then exactly a product of truncated geometric
distributions, every sample is a permutation, and success rates are exact: all solutions are known, 724 at n = 10,
14,200 at n = 12. Sparse because the identity has all queens on one diagonal, and no permutation with fewer than 15 of
the 45 inversions of n = 10 is a solution: base success rate 1.45e-5 at dispersion 0.6. A uniform prior (dispersion 1)
has 724 / 10! = 2e-4, but no bulk that a method could leave: it would be a second lock.

Sources: Mallows, "Non-null ranking models I", Biometrika 1957, for the prior and its product form; OEIS A000170 for
the numbers of solutions.
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


@dataclass(frozen=True)
class Config:
    """The board and how tightly the prior holds to the identity."""

    n: int = setting(10, valid=(4, 12), help="queens, and rows and columns of the board")
    dispersion: float = setting(0.6, valid=(0.05, 1), help="p(σ) ∝ dispersion^inversions; sets the base rate")


@dataclass(frozen=True)
class TuneConfig(Config):
    """A smaller board."""

    n: int = retuned(Config, "n", 8)
    dispersion: float = retuned(Config, "dispersion", 0.55)


class Mallows(Factored):
    """The prior over Lehmer codes, all of which are permutations.

    Args:
        n: length of the permutation.
        dispersion: factor on the probability for every inversion; 1 is uniform.
    """

    def __init__(self, n: int, dispersion: float) -> None:
        inversions = torch.arange(n)
        log_p = (inversions * math.log(dispersion)).expand(n, n).clone()
        log_p[inversions[None, :] >= n - inversions[:, None]] = -torch.inf  # symbol i is at most n - 1 - i
        super().__init__(log_p)

    def uniform(self) -> Policy:
        """Uniform over permutations."""
        return Mallows(self.length, 1.0)


class Queens:
    """n queens, none attacking another, from a prior around the main diagonal; exact."""

    config: Config

    def __init__(self, config: Config) -> None:
        self.config = config
        self.space = math.factorial(config.n)

    def prior(self) -> Mallows:
        return Mallows(self.config.n, self.config.dispersion)

    def verify(self, x: Tensor) -> Tensor:
        columns = decode(x)
        rows = torch.arange(x.shape[1], device=x.device)
        peaceful = self.valid(x)
        for diagonal in (columns - rows, columns + rows):
            met = diagonal.sort(dim=1).values
            peaceful &= (met[:, 1:] != met[:, :-1]).all(dim=1)
        return peaceful

    def valid(self, x: Tensor) -> Tensor:
        """Lehmer codes of permutations, bool (B,)."""
        return (x < torch.arange(x.shape[1], 0, -1, device=x.device)).all(dim=1)

    def show(self, x: Tensor) -> list[str]:
        """The columns of the queens, row by row, from 0 on."""
        return [" ".join(map(str, row)) for row in decode(x).tolist()]

    @functools.cached_property
    def successes(self) -> Tensor:
        """All solutions as Lehmer codes, int64 (S, n)."""
        return encode(solutions(self.config.n))

    def success_log_probs(self, policy: Policy) -> Tensor:
        return policy.log_prob(self.successes)

    def references(self) -> dict[str, Policy]:
        return {"uniform": self.prior().uniform()}


class QueensTune(Queens):
    """Queens on another board: for tuning, never reported."""

    config: TuneConfig


def encode(permutations: Tensor) -> Tensor:
    """Lehmer codes, int64 (B, n), of permutations of 0 .. n-1, int64 (B, n)."""
    smaller = permutations[:, None, :] < permutations[:, :, None]  # (B, i, j): σ(j) < σ(i)
    return torch.triu(smaller.long(), diagonal=1).sum(dim=2)


def decode(codes: Tensor) -> Tensor:
    """The permutations of Lehmer codes, int64 (B, n); an invalid code gives a row that is no permutation."""
    out = codes.clone()
    for i in range(codes.shape[1] - 2, -1, -1):  # later entries that are not smaller move up by one
        later = out[:, i + 1 :]
        out[:, i + 1 :] = later + (later >= out[:, i : i + 1])
    return out


def solutions(n: int) -> Tensor:
    """All placements of n queens that attack none of each other, int64 (S, n): row by row, all partial ones at once.

    Bit c of three words per placement says that column c of the next row is attacked along a column or a diagonal.
    """
    placed = torch.zeros(1, 0, dtype=torch.long)  # (S, rows)
    straight = left = right = torch.zeros(1, dtype=torch.long)  # (S,)
    for _ in range(n):
        attacked = straight | left | right
        board, column = ((attacked[:, None] >> torch.arange(n) & 1) == 0).nonzero().T
        queen = 1 << column
        placed = torch.cat([placed[board], column[:, None]], dim=1)
        straight = straight[board] | queen
        left, right = (left[board] | queen) << 1, (right[board] | queen) >> 1
    return placed
