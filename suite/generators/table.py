"""A categorical distribution with one logit per outcome: the generator of the exact tasks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite import compute
from suite.generators.neural import Neural
from suite.policy import Policy, Tempered

MOST = 0.5
"""Largest share of a table that one epoch replaces: outcomes that a fit lacks are not lost at once."""


class Table(Neural):
    """p(x) = softmax(logits)[x] over V outcomes; samples are int64 (n, 1).

    Args:
        log_p: unnormalised log-probabilities, float (V,).
    """

    lr_scale = 300.0

    def __init__(self, log_p: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(log_p.detach().clone().float())
        self.vocab_size = len(log_p)
        self.length = 1

    @property
    def flops_per_token(self) -> int:
        return 2 * self.vocab_size

    @torch.no_grad()
    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """All V probabilities, float64 (V,)."""
        return torch.softmax(self.logits.double() / temperature, dim=0)

    def sample(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        self.meter(n)
        return torch.multinomial(self.probabilities(temperature), n, replacement=True, generator=generator)[:, None]

    @torch.no_grad()
    def log_prob(self, x: Tensor, temperature: float = 1.0) -> Tensor:
        self.meter(len(x))
        return torch.log_softmax(self.logits.double() / temperature, dim=0)[x[:, 0]]

    def log_likelihood(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.logits, dim=0)[x[:, 0]]

    @torch.no_grad()
    def fit(
        self,
        x: Tensor,
        *,
        generator: torch.Generator,
        epochs: int = 1,
        lr: float = 1e-3,
        batch_size: int = 128,
        weights: Tensor | None = None,
    ) -> float:
        """Natural-gradient ascent on the weighted log-likelihood, p ← p + η Σ_i w_i (e(x_i) − p) / B, once an epoch.

        Exact and without noise: outcomes that x lacks lose the share η = min(0.5, lr · lr_scale) of their probability
        in every epoch. Same arguments and return value as `Neural.fit`; `generator` and `batch_size` are not needed.
        """
        if not len(x) or not epochs:
            return float("nan")
        w = torch.ones(len(x), dtype=torch.float64) if weights is None else weights.double().cpu()
        pull = torch.bincount(x[:, 0].cpu(), w, minlength=self.vocab_size) / len(x)  # (V,)
        loss = float("nan")
        with compute.phase("training"):
            for _ in range(epochs):
                p = self.probabilities().cpu()
                loss = -float((pull * p.log()).sum())
                p = (p + min(MOST, lr * self.lr_scale) * (pull - pull.sum() * p)).clamp(min=1e-12)
                self.logits.copy_((p / p.sum()).log())
                compute.count(len(x), 3 * self.flops_per_token * len(x))
        return loss

    def tempered(self, temperature: float) -> Policy:
        return Tempered(self, temperature)

    def uniform(self) -> Policy:
        return Tempered(self, float("inf"))
