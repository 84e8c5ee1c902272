"""What the generators with parameters share: maximum-likelihood fitting, copying, counting of compute."""

from __future__ import annotations

import abc
import copy
from typing import Self

import torch
from torch import Tensor, nn

from suite import compute
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

        Returns:
            Mean loss of the last epoch in nats per sample; nan where x is empty or no epoch is asked for.
        """
        if not len(x) or not epochs:
            return float("nan")
        optimizer = torch.optim.Adam(self.parameters(), lr=lr * self.lr_scale, fused=True)
        distinct, string = torch.unique(x, dim=0, return_inverse=True)
        total = torch.zeros(())
        with compute.phase("training"):
            for _ in range(epochs):
                order = torch.randperm(len(x), generator=generator, device=generator.device)
                total, tokens = torch.zeros(()), 0
                for rows in torch.split(order, batch_size):
                    once, again = torch.unique(string[rows], return_inverse=True)
                    log_p = self.log_likelihood(distinct[once])[again]  # (b,)
                    tokens += self.trained_tokens(distinct[once])
                    loss = -(log_p if weights is None else log_p * weights[rows]).mean()
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    nn.utils.clip_grad_norm_(self.parameters(), 1.0)
                    optimizer.step()
                    total = total + loss.detach().cpu() * len(rows)
                compute.count(tokens, 3 * self.flops_per_token * tokens)
        return float(total) / len(x)

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
