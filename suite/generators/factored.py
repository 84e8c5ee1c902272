"""A product of categorical distributions, one per position: the generator of the tasks that are known exactly."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite import compute
from suite.generators.neural import Neural

MOST = 0.5
"""Largest share of a distribution that one epoch replaces: outcomes that a fit lacks are not lost at once."""

NEVER = -1e9
"""The logit of a symbol without probability; fits leave it there."""


class Factored(Neural):
    """p(x) = Π_t softmax(logits_t)[x_t] over strings x of T symbols out of V; samples are int64 (n, T).

    Args:
        log_p: unnormalised log-probabilities, float (T, V); -inf, or `NEVER`, where a symbol cannot occur.
    """

    lr_scale = 300.0

    def __init__(self, log_p: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(log_p.detach().float().clamp(min=NEVER))
        self.length, self.vocab_size = log_p.shape

    @property
    def flops_per_token(self) -> int:
        return 2 * self.vocab_size

    @torch.no_grad()
    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """Each position's probabilities, float64 (T, V)."""
        return torch.softmax(self.logits.double() / temperature, dim=-1)

    def sample(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        self.meter(n * self.length)
        if not n:
            return torch.zeros(0, self.length, dtype=torch.long, device=self.logits.device)
        p = self.probabilities(temperature)
        return torch.multinomial(p, n, replacement=True, generator=generator).T.contiguous()

    @torch.no_grad()
    def log_prob(self, x: Tensor, temperature: float = 1.0) -> Tensor:
        self.meter(x.numel())
        return self._picked(torch.log_softmax(self.logits.double() / temperature, dim=-1), x)

    def log_likelihood(self, x: Tensor) -> Tensor:
        return self._picked(F.log_softmax(self.logits, dim=-1), x)

    def symbol_log_likelihood(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.logits, dim=-1).gather(1, x.T).T

    def _picked(self, log_p: Tensor, x: Tensor) -> Tensor:
        """Σ_t log_p[t, x_t], (B,), of strings x, int64 (B, T)."""
        return log_p.gather(1, x.T).sum(dim=0)

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
        counts: Tensor | None = None,
    ) -> float:
        """Natural-gradient ascent on the weighted log-likelihood, once an epoch.

        At every position p ← p + η Σ_i w_i (e(x_i) − p) / B. Exact and without noise: symbols that x lacks lose the
        share η = min(0.5, lr · lr_scale) of their probability in every epoch. Same arguments and return value as
        `Neural.fit`; `generator` and `batch_size` are not needed.
        """
        if not len(x) or not epochs:
            return float("nan")
        n = torch.ones(len(x), dtype=torch.float64) if counts is None else counts.double().cpu()
        w = n if weights is None else n * weights.double().cpu()
        pull = torch.stack([torch.bincount(at, w, minlength=self.vocab_size) for at in x.T.cpu()]) / n.sum()  # (T, V)
        loss = float("nan")
        with compute.phase("training"):
            for _ in range(epochs):
                p = self.probabilities().cpu()
                loss = -float(torch.xlogy(pull, p).sum())
                moved = p + min(MOST, lr * self.lr_scale) * (pull - pull.sum(dim=-1, keepdim=True) * p)
                p = torch.where(p > 0, moved.clamp(min=1e-12), 0)
                self.logits.copy_((p / p.sum(dim=-1, keepdim=True)).log().clamp(min=NEVER))
                compute.count(x.numel(), 3 * self.flops_per_token * x.numel())
        return loss


class Table(Factored):
    """p(x) = softmax(logits)[x] over V outcomes: one position, samples int64 (n, 1).

    Args:
        log_p: unnormalised log-probabilities, float (V,).
    """

    def __init__(self, log_p: Tensor) -> None:
        super().__init__(log_p[None])
