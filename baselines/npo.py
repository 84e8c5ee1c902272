"""NPO: negative preference optimization. Failures are unlearned, each only until it is unlikely enough.

    L = 2/β · mean_{x ∈ failures} log(1 + (p(x) / prior(x))^β)

Its gradient is that of gradient ascent on the loss of the failures times w(x) = 2 p^β / (p^β + prior^β): 1 where p is
still the prior, 0 where x is forgotten. So failures can be trained on again and again, where plain ascent diverges.
β → 0 is plain ascent.

Source: Zhang, Lin, Bai, Mei, "Negative Preference Optimization: From Catastrophic Collapse to Effective Unlearning",
arXiv 2404.05868 (2024). Its forget set is fixed; here it is the last batch's failures, or all so far (`memory`), with
which the policy collapses on addition (docs/log, 2026-12-01).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.common.gradient import GradientConfig, descend, network
from suite.config import setting, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "failures"


@dataclass(frozen=True)
class Config(GradientConfig):
    """The gradient's knobs and β."""

    beta: float = tunable(0.1, 1e-2, 1.0, log=True, valid=(1e-6, None), help="inverse temperature β of the log-ratio")
    memory: Literal["round", "all"] = setting("round", help="failures that are unlearned: this round's or all")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Unlearn the failures; one round per batch."""
    policy, met = (network(prior), prior.sample(0, rng("policy"))) if state is None else state
    while oracle.remaining:
        x = oracle.collect(policy, min(config.batch, oracle.remaining))  # (≤ m, T)
        met = torch.cat([met, x]) if config.memory == "all" else x  # (n, T)
        reference = prior.log_prob(met).float()  # (n,)

        def loss(rows: Tensor, met: Tensor = met, reference: Tensor = reference) -> Tensor:
            return npo_loss(policy.log_likelihood(met[rows]) - reference[rows], config.beta)

        last = descend(policy, met, loss, config, rng("policy"))
        yield Round(policy, {"loss": last}, (policy, met))


def npo_loss(log_ratio: Tensor, beta: float) -> Tensor:
    """2/β · log(1 + (p / prior)^β), float (B,), of log p(x) − log prior(x)."""
    return 2 / beta * F.softplus(beta * log_ratio)
