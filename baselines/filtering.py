"""The filter that BaNEL and its controls share: score a pool, keep the highest, fit the policy to what is kept."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from suite.policy import Generator, Policy


def log_ratio(log_prior: Tensor, log_failure: Tensor) -> Tensor:
    """log p_θ(x) − log p_φ(x), float (B,): low where x looks like a failure (arXiv 2510.09596, rejection region)."""
    return log_prior - log_failure


def threshold(score: Tensor, filter_factor: float) -> float:
    """The adaptive log τ: the least of the ⌈B / f⌉ highest scores of a pool, float (B,), f = filter_factor ≥ 1."""
    return float(torch.topk(score, kept(len(score), filter_factor)).values[-1])


def keep_highest(x: Tensor, score: Tensor, filter_factor: float) -> Tensor:
    """The ⌈B / f⌉ samples of x (B, T) with the highest score (B,); ties go to the earlier sample."""
    order = torch.argsort(score, descending=True, stable=True)
    return x[order[: kept(len(x), filter_factor)]]


def kept(n: int, filter_factor: float) -> int:
    """⌈n / f⌉, at least 1: how many of n samples pass the filter."""
    return max(1, math.ceil(n / filter_factor))


def distil(
    policy: Generator,
    score: Callable[[Tensor], Tensor],
    *,
    source: Policy,
    pool: int,
    filter_factor: float,
    epochs: int,
    lr: float,
    rng: Callable[[str], torch.Generator],
) -> dict[str, float]:
    """Draw a pool, keep the highest scores, fit the policy to them (Algorithm 2's distillation).

    Args:
        policy: fitted in place.
        score: samples (B, T) -> float (B,), high is kept.
        source: what the pool is drawn from.
        pool: fresh samples drawn, B.

    Returns:
        log_tau, the score at the edge of the filter; distil_loss, nats per sample; pool_distinct, the share of
        different samples in the pool.
    """
    x = source.sample(pool, rng("pool"))  # (B, T)
    scores = score(x)  # (B,)
    loss = policy.fit(keep_highest(x, scores, filter_factor), epochs=epochs, lr=lr, generator=rng("distil"))
    return {
        "log_tau": threshold(scores, filter_factor),
        "distil_loss": loss,
        "pool_distinct": len(torch.unique(x, dim=0)) / len(x),
    }
