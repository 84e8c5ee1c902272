"""What the gradient methods share: a loss on a round's samples, followed by Adam in minibatches.

A table's logits follow the same gradient as a network's weights, so that outcomes which were not met move too. (Its own
`fit` is a natural gradient in probability space: there only what was met moves.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite import compute
from suite.config import setting, tunable
from suite.errors import UserError
from suite.generators import Neural
from suite.policy import Generator

LOGITS = 30.0
"""Factor on the learning rate of a table, whose parameters are logits: a step of Adam moves each by about the rate."""
MINIBATCH = 128


@dataclass(frozen=True)
class GradientConfig:
    """The fields of every gradient method; a method takes over each with a default of its own."""

    batch: int = setting(500, valid=(1, None), help="reward evaluations per round")
    lr: float = tunable(3e-4, 1e-5, 1e-2, log=True, valid=(0, None), help="learning rate; of a table 30 times as much")
    epochs: int = tunable(1, 1, 8, valid=(1, None), help="passes over a round's samples")


def network(prior: Generator) -> Neural:
    """A copy of the prior, to be trained.

    Raises:
        UserError: it has no parameters that a gradient could follow.
    """
    policy = prior.clone()
    if not isinstance(policy, Neural):
        raise UserError(f"a gradient method needs a generator of suite.generators, got {type(prior).__name__}")
    return policy


def descend(
    policy: Neural,
    x: Tensor,
    loss: Callable[[Tensor], Tensor],
    config: GradientConfig,
    generator: torch.Generator,
) -> float:
    """Lower the mean over x, int64 (B, T), of a loss per sample; the mean of the last pass, nan where x is empty.

    Args:
        loss: places of samples, int64 (b,) -> their losses, float (b,), with gradients.
        generator: draws the order of the minibatches.
    """
    if not len(x):
        return float("nan")
    parameters = list(policy.parameters())
    rate = config.lr * (LOGITS if policy.lr_scale > 1 else policy.lr_scale)
    optimizer = torch.optim.Adam(parameters, lr=rate, fused=True)
    total = 0.0
    with compute.phase("training"):
        for _ in range(config.epochs):
            total = 0.0
            for rows in torch.split(torch.randperm(len(x), generator=generator, device=x.device), MINIBATCH):
                losses = loss(rows)
                optimizer.zero_grad(set_to_none=True)
                losses.mean().backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
                optimizer.step()
                total += float(losses.detach().sum())
            tokens = policy.trained_tokens(x)
            compute.count(tokens, 3 * policy.flops_per_token * tokens)
    return total / len(x)


def ascend(policy: Neural, x: Tensor, weights: Tensor, config: GradientConfig, generator: torch.Generator) -> float:
    """A score-function step: raise the mean of weights (B,) · log p(x). Weights that are all zero change nothing."""
    if not bool(weights.any()):
        return 0.0
    fixed = weights.float()
    return descend(policy, x, lambda rows: -fixed[rows] * policy.log_likelihood(x[rows]), config, generator)


def shift_of(policy: Neural, prior: Generator, x: Tensor) -> Tensor:
    """log p(x) − log prior(x), float64 (B,); its mean over samples of the policy estimates KL(policy ‖ prior)."""
    return policy.log_prob(x) - prior.log_prob(x)
