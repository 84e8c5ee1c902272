"""A Markov chain whose transitions differ by position: for tasks where a symbol depends on the one before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite import compute
from suite.generators.factored import MOST, NEVER
from suite.generators.neural import Neural, draw
from suite.policy import Policy

DAMPING = 0.01
"""Added to the share of samples that stand at a symbol: where fewer do, a fit moves less than half as far."""


class Markov(Neural):
    """p(x) = Π_t softmax(logits[t, x_{t-1}])[x_t] over strings x of T symbols out of V; samples are int64 (n, T).

    Before the first symbol stands symbol 0: `logits[0, 0]` is the distribution that strings begin with.

    Args:
        log_p: unnormalised log-probabilities, float (T, V, V), of the next symbol at a position after the last one;
            -inf, or `NEVER`, where a symbol cannot follow. Kept in float64.
    """

    lr_scale = 300.0

    def __init__(self, log_p: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(log_p.detach().double().clamp(min=NEVER))
        self.length, self.vocab_size = log_p.shape[:2]

    @property
    def flops_per_token(self) -> int:
        return 2 * self.vocab_size

    @torch.no_grad()
    def transitions(self, temperature: float = 1.0) -> Tensor:
        """Probability of each symbol at each position after each other one, float64 (T, V, V)."""
        return torch.softmax(self.logits / temperature, dim=-1)

    def sample(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        self.meter(n * self.length)
        device = self.logits.device
        cdf = self.transitions(temperature).cumsum(dim=-1)  # (T, V, V)
        x = torch.zeros(n, self.length, dtype=torch.long, device=device)
        last = torch.zeros(n, dtype=torch.long, device=device)
        for t in range(self.length):
            last = draw(cdf[t, last], generator)
            x[:, t] = last
        return x

    @torch.no_grad()
    def log_prob(self, x: Tensor, temperature: float = 1.0) -> Tensor:
        self.meter(x.numel())
        return self._picked(torch.log_softmax(self.logits / temperature, dim=-1), x)

    def log_likelihood(self, x: Tensor) -> Tensor:
        return self._picked(torch.log_softmax(self.logits, dim=-1), x).float()

    def symbol_log_likelihood(self, x: Tensor) -> Tensor:
        log_p = torch.log_softmax(self.logits, dim=-1)
        return log_p[torch.arange(self.length, device=x.device), before(x), x].float()

    def _picked(self, log_p: Tensor, x: Tensor) -> Tensor:
        """Σ_t log_p[t, x_{t-1}, x_t], (B,), of strings x, int64 (B, T)."""
        return log_p[torch.arange(self.length, device=x.device), before(x), x].sum(dim=1)

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
        """Damped natural-gradient ascent on the weighted log-likelihood, once an epoch.

        At every position t and after every symbol u, p ← p + η Σ_{i: x_{t-1} = u} w_i (e(x_i) − p) / (n_u + κB), with
        n_u of the B samples there, η = min(0.5, lr · lr_scale) and κ = `DAMPING`. Exact and without noise. Same
        arguments and return value as `Neural.fit`; `generator` and `batch_size` are not needed.
        """
        if not len(x) or not epochs:
            return float("nan")
        n = torch.ones(len(x), dtype=torch.float64) if counts is None else counts.double().cpu()
        w = n if weights is None else n * weights.double().cpu()
        pull = self._counts(x.cpu(), w) / n.sum()  # (T, V, V)
        visits = self._counts(x.cpu(), n).sum(dim=-1, keepdim=True) / n.sum()
        rate = min(MOST, lr * self.lr_scale) / (visits + DAMPING)
        loss = float("nan")
        with compute.phase("training"):
            for _ in range(epochs):
                p = self.transitions().cpu()
                loss = -float(torch.xlogy(pull, p).sum())
                moved = p + rate * (pull - pull.sum(dim=-1, keepdim=True) * p)
                p = torch.where(p > 0, moved.clamp(min=1e-12), 0)
                self.logits.copy_((p / p.sum(dim=-1, keepdim=True)).log().clamp(min=NEVER))
                compute.count(x.numel(), 3 * self.flops_per_token * x.numel())
        return loss

    def _counts(self, x: Tensor, w: Tensor) -> Tensor:
        """Weight of the samples, float64 (B,), that make each transition, (T, V, V)."""
        t, v = self.length, self.vocab_size
        cell = (torch.arange(t) * v + before(x)) * v + x  # (B, T)
        return torch.bincount(cell.flatten(), w.repeat_interleave(t), minlength=t * v * v).view(t, v, v)

    def uniform(self) -> Policy:
        """Uniform over the strings that have probability: a symbol as likely as there are ways to go on after it."""
        allowed = self.logits > NEVER / 2
        log_p = torch.empty_like(self.logits)
        ways = torch.ones(self.vocab_size, dtype=torch.float64, device=self.logits.device)
        for t in range(self.length - 1, -1, -1):
            onward = allowed[t] * ways  # (V, V)
            log_p[t] = onward.log()
            ways = onward.sum(dim=-1)
            ways = ways / ways.max()
        return Markov(log_p)


def before(x: Tensor) -> Tensor:
    """The symbol before each symbol of x, int64 (B, T); 0 before the first."""
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)
