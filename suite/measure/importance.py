"""Importance sampling of a success rate too small to count.

Half of the samples come from the policy p, half from a proposal r that is fixed before anything is drawn. Each has the
weight p / q under their mixture q = (p + r) / 2, the balance heuristic (Veach and Guibas, 1995): at most 2, so that no
sample from outside p's bulk can dominate unseen. It still fails silently where p has collapsed onto a few strings; so
the effective sample size of the hits and the largest share of one hit are part of the estimate, and where they are poor
the samples from p alone are counted instead.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from suite.store.schema import Evenness

LEAST_ESS = 100.0
"""Least effective sample size of the hits."""
LARGEST_SHARE = 0.1
"""Largest share that one hit may have of the estimate."""
Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""


class Weighted(NamedTuple):
    """Samples from the policy and from the proposal, in this order within each tensor; all of n rows."""

    weight: Tensor
    """p / q, float64 (n,)."""
    reward: Tensor
    """bool (n,)."""
    from_policy: Tensor
    """True where the policy drew it, bool (n,)."""

    def rows(self, keep: slice) -> Weighted:
        """Some of the policy's samples and as many of the proposal's."""
        return Weighted(*(torch.cat([t[self.from_policy][keep], t[~self.from_policy][keep]]) for t in self))


def mixture_weights(log_p: Tensor, log_r: Tensor) -> Tensor:
    """p / q with q = (p + r) / 2, float64 (B,), from log p and log r; 0 where p is 0."""
    log_q = torch.logaddexp(log_p.double(), log_r.double()) - math.log(2)
    return torch.where(torch.isneginf(log_p), 0.0, (log_p.double() - log_q).exp())


def diagnostics(weighted: Weighted) -> Evenness:
    """Effective sample size (Σ w)² / Σ w² of the hits and the largest share w / Σ w of one; 0 and 1 without hits."""
    w = weighted.weight[weighted.reward]
    total = float(w.sum())
    if total <= 0:
        return Evenness(ess=0.0, largest_share=1.0)
    return Evenness(ess=total**2 / float(w.square().sum()), largest_share=float(w.max()) / total)


def is_sound(found: Evenness) -> bool:
    """Whether the weights are even enough for the estimate to be believed."""
    return found.ess >= LEAST_ESS and found.largest_share <= LARGEST_SHARE


def weighted_rate(weighted: Weighted) -> tuple[float, float, float]:
    """(success rate, low, high): the weighted mean of both halves, with a 95 % interval on the logarithm.

    The standard error is that of two independent halves; on the logarithm by the delta method, so that the interval
    is positive.
    """
    value = weighted.weight * weighted.reward
    halves = [value[weighted.from_policy], value[~weighted.from_policy]]
    rate = float(sum(half.mean() for half in halves)) / 2
    error = math.sqrt(sum(float(half.var()) / len(half) for half in halves)) / 2
    ratio = math.exp(Z * error / rate)
    return rate, rate / ratio, min(1.0, rate * ratio)
