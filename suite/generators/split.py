"""Draws shared out over outcomes: exact multinomial counts of many distributions at once."""

from __future__ import annotations

import torch
from torch import Tensor

from suite.generators.neural import draw

FEW = 16
"""Up to so many draws of one distribution are drawn one by one; more are split outcome by outcome."""


def split(counts: Tensor, p: Tensor, generator: torch.Generator) -> Tensor:
    """How many of counts[i] independent draws from p[i] have each outcome, int64 (P, V).

    Multinomial, exactly: outcome by outcome a binomial share of what is left (the conditional method of Devroye,
    "Non-Uniform Random Variate Generation", 1986, XI.1.4).

    Args:
        counts: int64 (P,), each at least 0.
        p: probabilities, float64 (P, V), each row's sum 1.
    """
    places, outcomes = p.shape
    few = counts <= FEW
    row = few.nonzero().squeeze(1)
    row = row.repeat_interleave(counts[row])
    drawn = row * outcomes + draw(p.cumsum(dim=1)[row], generator)
    out = torch.bincount(drawn, minlength=places * outcomes).view(places, outcomes)
    many = (~few).nonzero().squeeze(1)
    if len(many):
        p = p[many]
        tail = p.flip(1).cumsum(dim=1).flip(1)  # probability of each outcome or a later one
        left = counts[many].double()
        for v in range(outcomes):
            share = torch.where(tail[:, v] > 0, p[:, v] / tail[:, v], 0.0).clamp(max=1.0)
            taken = torch.binomial(left, share, generator=generator)
            out[many, v] = taken.long()
            left = left - taken
    return out
