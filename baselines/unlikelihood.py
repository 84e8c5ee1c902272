"""Unlikelihood training: each symbol of a failure is made less likely where it stands, samples of the prior are kept.

    L = − mean_{y ~ prior} log p(y) − α · mean_{x ∈ failures} Σ_t log(1 − p(x_t | x_<t))

The second term is that of each symbol and not of the string, whose probability is so small that log(1 − p(x)) has no
gradient. Its gradient is p_t / (1 − p_t) · ∇ log p_t: symbols that are sure to come are pushed hardest.

Source: Welleck et al., "Neural Text Generation with Unlikelihood Training", arXiv 1908.04319 (2019): the sequence-level
loss with all symbols of a failure as negative candidates. There the likelihood term is on the training data; here fresh
samples of the prior stand for it, as many as the failures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.common.gradient import GradientConfig, descend, network
from suite.config import tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "failures"
LEAST = 1e-6
"""Least 1 − p of a symbol: one that is certain has a finite loss."""


@dataclass(frozen=True)
class Config(GradientConfig):
    """The gradient's knobs and α."""

    alpha: float = tunable(1.0, 0.1, 100.0, log=True, valid=(0, None), help="weight α of the failures")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Train on a batch's failures and as many samples of the prior."""
    policy = network(prior) if state is None else state
    while oracle.remaining:
        x = oracle.collect(policy, min(config.batch, oracle.remaining))  # (B ≤ m, T)
        y = prior.sample(len(x), rng("prior"))  # (B, T)

        def loss(rows: Tensor, x: Tensor = x, y: Tensor = y) -> Tensor:
            log_p = policy.symbol_log_likelihood(x[rows])  # (b, T)
            return config.alpha * unlikelihood(log_p) - policy.log_likelihood(y[rows])

        last = descend(policy, x, loss, config, rng("policy"))
        yield Round(policy, {"loss": last}, policy)


def unlikelihood(log_p: Tensor) -> Tensor:
    """− Σ_t log(1 − p_t), float (B,), of log p_t, float (B, T); symbols behind an end have log p_t = −∞ and add 0."""
    return -torch.log((-torch.expm1(log_p)).clamp(min=LEAST)).sum(dim=1)
