"""The filter that BaNEL and its controls share: score a pool of fresh samples, keep the highest 1/f."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.config import setting, tunable


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


def threshold(score: Tensor, filter_factor: float) -> float:
    """The adaptive log τ: the least of the ⌈B / f⌉ highest scores of a pool, float (B,), f = filter_factor ≥ 1.

    Where more samples share that score than may pass, because one outcome fills much of the pool, τ is the next
    higher score; otherwise that outcome would pass in every round.
    """
    k = kept(len(score), filter_factor)
    log_tau = torch.topk(score, k).values[-1]
    higher = score[score > log_tau]
    if len(higher) and int((score >= log_tau).sum()) > k:
        log_tau = higher.min()
    return float(log_tau)


def keep_highest(x: Tensor, score: Tensor, filter_factor: float) -> Tensor:
    """The ⌈B / f⌉ samples of x (B, T) with the highest score (B,); ties go to the earlier sample."""
    order = torch.argsort(score, descending=True, stable=True)
    return x[order[: kept(len(x), filter_factor)]]


def kept(n: int, filter_factor: float) -> int:
    """⌈n / f⌉, at least 1: how many of n samples pass the filter."""
    return max(1, math.ceil(n / filter_factor))
