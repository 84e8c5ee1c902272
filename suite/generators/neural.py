"""What the generators with parameters share: maximum-likelihood fitting, copying, counting of compute."""

from __future__ import annotations

import abc
import copy
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite import compute
from suite.counted import distinct_rows, random_order
from suite.errors import UserError
from suite.policy import Policy, Tempered


class Neural(nn.Module, abc.ABC):
    """A generator with parameters. Subclasses give `sample`, `log_prob` and `log_likelihood`."""

    vocab_size: int
    """Number of symbols V."""
    length: int
    """Symbols of a sample, T."""
    lr_scale: float = 1.0
    """Factor on every learning rate: a table's logits need larger steps than a network's weights."""

    @property
    @abc.abstractmethod
    def flops_per_token(self) -> int:
        """Floating point operations of one symbol's forward pass."""

    @abc.abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n samples, int64 (n, T)."""

    @abc.abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), float64 (B,), without gradients."""

    @abc.abstractmethod
    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x), float32 (B,), with gradients."""

    def symbol_log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x_t | x_<t), (B, T), with gradients; −∞ at symbols behind an end, which carry no probability.

        Raises:
            UserError: this generator does not give it.
        """
        raise UserError(f"{type(self).__name__} gives no probability of single symbols, which this method needs")

    def weighted_log_likelihood(self, x: Tensor, weights: Tensor) -> tuple[Tensor, int]:
        """Σ_i weights[i] log p(x_i), with gradients, and the symbols put through the network for it.

        Args:
            x: samples in lexicographic order, int64 (b, T): neighbours that are equal are put through once.
            weights: float (b,).
        """
        new = F.pad((x[1:] != x[:-1]).any(dim=1), (1, 0), value=True)
        once = x[new]
        total = torch.zeros(len(once), dtype=weights.dtype, device=x.device)
        total.index_add_(0, new.cumsum(dim=0) - 1, weights)
        return (self.log_likelihood(once) * total).sum(), self.trained_tokens(once)

    def trained_tokens(self, x: Tensor) -> int:
        """Symbols that one training pass over x puts through the network."""
        return x.numel()

    def meter(self, tokens: int) -> None:
        """Count a forward pass of so many symbols."""
        compute.count(tokens, self.flops_per_token * tokens)

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
        """Raise the weighted log-likelihood of x with Adam.

        With `weights` None this is maximum likelihood. With advantages as weights one epoch is a
        score-function (REINFORCE) policy-gradient step per minibatch.

        Args:
            x: samples, int64 (B, T).
            generator: draws the order of the minibatches.
            epochs: passes over x.
            lr: learning rate, times `lr_scale`.
            batch_size: samples of a minibatch.
            weights: float (B,), one factor on each log-likelihood.
            counts: int64 (B,), for how many equal samples each row stands; one each where it is left out.

        Returns:
            Mean loss of the last epoch in nats per sample; nan where x is empty or no epoch is asked for.
        """
        if not len(x) or not epochs:
            return float("nan")
        parameters = list(self.parameters())
        optimizer = torch.optim.Adam(parameters, lr=lr * self.lr_scale, fused=True)
        distinct, string = distinct_rows(x)
        counts = torch.ones_like(x[:, 0]) if counts is None else counts
        weights = torch.ones(len(x), device=x.device) if weights is None else weights
        samples = int(counts.sum())
        total = torch.zeros((), device=x.device)
        with compute.phase("training"):
            for _ in range(epochs):
                order = random_order(counts, generator)
                total, tokens = torch.zeros((), device=x.device), 0
                for rows in torch.split(order, batch_size):
                    strings, place = torch.sort(string[rows])
                    log_p, evaluated = self.weighted_log_likelihood(distinct[strings], weights[rows[place]])
                    loss = -log_p / len(rows)
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
                    optimizer.step()
                    total = total - log_p.detach()
                    tokens += evaluated
                compute.count(tokens, 3 * self.flops_per_token * tokens)
        return float(total) / samples

    def clone(self) -> Self:
        """An independent copy with the same weights."""
        return copy.deepcopy(self)

    def tempered(self, temperature: float) -> Policy:
        """The same generator with every conditional probability raised to 1 / temperature."""
        return Tempered(self, temperature)

    def uniform(self) -> Policy:
        """Uniform over symbols, one by one; a subclass with malformed strings overrides it."""
        return Tempered(self, float("inf"))


def draw(cdf: Tensor, generator: torch.Generator) -> Tensor:
    """One symbol from each row of cumulative probabilities, float64 (n, V), normalised or not; int64 (n,)."""
    u = torch.rand(len(cdf), 1, dtype=torch.float64, generator=generator, device=cdf.device) * cdf[:, -1:]
    return (cdf <= u).sum(dim=-1).clamp(max=cdf.shape[1] - 1)
