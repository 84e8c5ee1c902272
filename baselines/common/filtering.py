"""The filter that BaNEL and its controls share: score a pool of fresh samples, keep the highest 1/f."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.config import setting, tunable
from suite.counted import Counted, random_order


@dataclass(frozen=True)
class Filter:
    """The fields of every filter; a method takes over each with a default of its own."""

    filter_factor: float = tunable(2.0, 1.03, 16.0, log=True, valid=(1, None), help="1/f of the pool is kept")
    pool: int = setting(24_000, valid=(2, None), help="fresh samples that are filtered in a round")
    distil_lr: float = tunable(1e-3, 1e-4, 1e-2, log=True, valid=(0, None), help="learning rate of the distillation")
    distil_epochs: int = tunable(1, 1, 4, valid=(1, None), help="passes over the kept samples")


def log_ratio(log_prior: Tensor, log_failure: Tensor) -> Tensor:
    """log p_θ(x) − log p_φ(x), float (B,): low where x looks like a failure (arXiv 2510.09596, rejection region)."""
    return log_prior - log_failure


def threshold(score: Tensor, counts: Tensor, filter_factor: float) -> float:
    """The adaptive log τ: the least of the ⌈B / f⌉ highest scores of a pool of B samples, f = filter_factor ≥ 1.

    Where more samples share that score than may pass, because one outcome fills much of the pool, τ is the next
    higher score; otherwise that outcome would pass in every round.

    Args:
        score: of the different samples of the pool, float (D,).
        counts: how often each stands in the pool, int64 (D,).
    """
    k = kept(int(counts.sum()), filter_factor)
    log_tau = _edge(score, counts, k)
    higher = score[score > log_tau]
    if len(higher) and int(counts[score >= log_tau].sum()) > k:
        log_tau = higher.min()
    return float(log_tau)


def keep_highest(pool: Counted, score: Tensor, filter_factor: float, generator: torch.Generator) -> Counted:
    """The ⌈B / f⌉ samples of a pool with the highest score, float (D,); of the samples that tie at the edge, any.

    Args:
        generator: draws which of the samples that tie are kept.
    """
    k = kept(int(pool.counts.sum()), filter_factor)
    edge = _edge(score, pool.counts, k)
    counts = torch.where(score > edge, pool.counts, 0)
    tied = torch.where(score == edge, pool.counts, 0)
    drawn = random_order(tied, generator)[: k - int(counts.sum())]
    counts = counts + torch.bincount(drawn, minlength=len(counts))
    return pool._replace(counts=counts).rows(counts > 0)


def _edge(score: Tensor, counts: Tensor, k: int) -> Tensor:
    """The k-th highest score of the samples."""
    order = torch.argsort(score, descending=True)
    return score[order[torch.searchsorted(counts[order].cumsum(dim=0), k)]]


def kept(n: int, filter_factor: float) -> int:
    """⌈n / f⌉, at least 1: how many of n samples pass the filter."""
    return max(1, math.ceil(n / filter_factor))
