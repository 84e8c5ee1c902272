"""Pseudo-counts: policy gradient on the bonus of a density model's prediction gain. The paper's count-based method.

PG_n(x) = log ρ'_n(x) − log ρ_n(x), the gain in log-likelihood from one update of the density model ρ on x itself;
N̂_n(x) = 1 / (exp(c · n^{−1/2} · max(PG_n(x), 0)) − 1); bonus = N̂_n(x)^{−1/2}.

Source: Ostrovski, Bellemare, van den Oord, Munos, "Count-Based Exploration with Neural Density Models",
arXiv 1703.01310 (2017), section 3. ρ is a copy of the prior, updated online on every sample met, in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.common.novelty import NoveltyConfig, policy_gradient
from suite import compute
from suite.config import retuned, setting, tunable
from suite.generators import Neural
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "failures"


@dataclass(frozen=True)
class Config(NoveltyConfig):
    """The policy gradient's knobs and the density model's."""

    policy_lr: float = retuned(NoveltyConfig, "policy_lr", 7.01e-5)
    policy_epochs: int = retuned(NoveltyConfig, "policy_epochs", 6)
    kl: float = retuned(NoveltyConfig, "kl", 0.0716)
    density_lr: float = tunable(5.64e-4, 1e-4, 1e-1, log=True, valid=(0, None), help="step of the density model (SGD)")
    scale: float = setting(0.1, valid=(0, None), help="c, the source's 0.1")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Each sample updates the density model once; its gain in log-likelihood gives the bonus."""
    if not isinstance(prior, Neural):
        raise TypeError(
            f"pseudo-count needs a prior with gradients (suite.generators.Neural), got {type(prior).__name__}"
        )
    density, seen = (prior.clone(), 0) if state is None else state[1]
    optimizer = torch.optim.SGD(density.parameters(), lr=config.density_lr * density.lr_scale)

    def bonus(x: Tensor) -> Tensor:
        nonlocal seen
        gains = prediction_gain(density, optimizer, x)
        n = torch.arange(seen + 1, seen + len(x) + 1, device=x.device)
        seen += len(x)
        return pseudo_count(gains, n, config.scale).rsqrt()

    yield from policy_gradient(config, prior, oracle, rng, bonus, lambda: (density, seen), state)


def prediction_gain(density: Neural, optimizer: torch.optim.Optimizer, x: Tensor) -> Tensor:
    """log ρ'(x_i) − log ρ(x_i), float64 (B,): ρ is updated once on each row of x (B, T), in order."""
    before, after = [], []
    with compute.phase("training"):
        log_p = density.log_likelihood(x[:1])[0]
        for i in range(len(x)):
            optimizer.zero_grad(set_to_none=True)
            (-log_p).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(density.parameters(), 10.0)
            optimizer.step()
            before.append(log_p.detach())
            pair = density.log_likelihood(x[i : i + 2])  # this row after its update, the next one before its own
            after.append(pair[0].detach())
            log_p = pair[-1]
        tokens = density.trained_tokens(x)
        compute.count(tokens, 4.0 * density.flops_per_token * tokens)
    return (torch.stack(after) - torch.stack(before)).double()


def pseudo_count(gain: Tensor, n: Tensor, scale: float) -> Tensor:
    """N̂ = 1 / (exp(c · n^{−1/2} · max(PG, 0)) − 1), float64 (B,); capped at 1e12, its value where PG ≤ 0.

    Args:
        gain: prediction gains PG in nats, float (B,).
        n: samples met up to and with each, int (B,).
        scale: c.
    """
    exponent = scale * n.double().rsqrt() * gain.double().clamp(min=0)
    return (1 / torch.expm1(exponent)).clamp(max=1e12)
