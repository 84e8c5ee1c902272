"""Learning where successes are from how many samples of known policies did not come back.

A batch of n samples of a policy π returns its failures F; m = n − |F| succeeded, nobody says which. For a model
s(x) = P(success | x) the log-likelihood of all batches is

    Σ_k [ Σ_{x ∈ F_k} log(1 − s(x)) + m_k · log E_{x ~ π_k}[s(x)] ],

which is learning from label proportions (Quadrianto et al., "Estimating Labels from Label Proportions", JMLR 2009) with
as many unlabelled samples as one likes: a policy can be sampled without an evaluation.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite import compute
from suite.counted import Counted, distinct_rows, merged
from suite.policy import Policy, sample_counts


@dataclasses.dataclass
class Source:
    """A policy that was sampled: its unlabelled samples, and what its batches brought."""

    policy: Policy
    unlabelled: Counted
    asked: int = 0
    """Evaluations of its samples, n."""
    missing: int = 0
    """Samples that did not come back as failures, m."""

    @classmethod
    def of(cls, policy: Policy, n: int, generator: torch.Generator) -> Source:
        """A policy that has not been asked yet, with n unlabelled samples."""
        return cls(policy, sample_counts(policy, n, generator))

    @property
    def state(self) -> tuple[object, ...]:
        """What :meth:`restored` makes it from."""
        return self.policy, tuple(self.unlabelled), self.asked, self.missing

    @classmethod
    def restored(cls, state: Any) -> Source:
        policy, unlabelled, asked, missing = state
        return cls(policy, Counted(*unlabelled), asked, missing)

    def exposures(self, x: Tensor) -> Tensor | float:
        """How often each of the strings was evaluated in expectation, n · π(x), float64 (B,).

        0 where no string of the policy is likely to have been met at all.
        """
        if self.asked * float(self.unlabelled.log_probs.max().exp()) < 0.01:
            return 0.0
        return self.asked * self.policy.log_prob(x).double().exp()


class Failures:
    """All failures of a run as different strings with counts."""

    def __init__(self, length: int, device: torch.device) -> None:
        self.strings = torch.zeros(0, length, dtype=torch.long, device=device)
        self.counts = torch.zeros(0, dtype=torch.long, device=device)

    def add(self, x: Tensor) -> None:
        """Failures of a batch, int64 (B, T)."""
        ones = torch.ones_like(x[:, 0])
        self.strings, self.counts = merged(torch.cat([self.strings, x]), torch.cat([self.counts, ones]))

    def hold(self, x: Tensor) -> Tensor:
        """Whether each of the strings, int64 (B, T), has failed; bool (B,)."""
        both, row = distinct_rows(torch.cat([self.strings, x]))
        failed = torch.zeros(len(both), dtype=torch.bool, device=x.device)
        failed[row[: len(self.strings)]] = True
        return failed[row[len(self.strings) :]]


class SuccessModel(nn.Module):
    """s(x) = σ(bias + Σ_t weight[t, x_t]), with a normal prior of standard deviation `scale` on the weights.

    Args:
        length, vocab_size: T and V of the strings.
        base: success probability that it starts with.
        scale: standard deviation of a weight a priori.
    """

    def __init__(self, length: int, vocab_size: int, *, base: float, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(length, vocab_size))
        self.bias = nn.Parameter(torch.logit(torch.tensor(base)))
        self.scale = scale

    def logits(self, x: Tensor) -> Tensor:
        """log s / (1 − s), float32 (B,), of strings int64 (B, T)."""
        compute.count(x.numel(), 2.0 * x.numel())
        at = torch.arange(x.shape[1], device=x.device)
        return self.bias + self.weight[at, x].sum(dim=1)

    def fit(self, failures: Failures, sources: list[Source], *, steps: int, lr: float) -> float:
        """Maximise the posterior with Adam on all data at once; the objective before the last step, in nats.

        E_π[s] is the mean over a source's unlabelled samples, in which strings that have failed count with s = 0.
        """
        parts = [
            (x[alive], counts[alive].log() - counts.sum().log(), source.missing)
            for source in sources
            if source.missing and (alive := ~failures.hold((counted := source.unlabelled).strings)).any()
            for x, counts, _ in [counted]
        ]
        optimizer = torch.optim.Adam(self.parameters(), lr=lr)
        objective = torch.zeros(())
        with compute.phase("training"):
            for _ in range(steps):
                objective = self.log_likelihood(failures.strings, failures.counts, parts) - self.penalty()
                optimizer.zero_grad(set_to_none=True)
                (-objective).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return float(objective.detach())

    def log_likelihood(self, failed: Tensor, counts: Tensor, parts: list[tuple[Tensor, Tensor, int]]) -> Tensor:
        """Σ_{x ∈ F} log(1 − s(x)) + Σ_k m_k log Σ_{x ∈ U_k} share(x) s(x), in nats, with gradients.

        Args:
            failed: different strings that failed, int64 (D, T).
            counts: how often each did, int64 (D,).
            parts: for each policy, strings int64 (D_k, T), the log of their shares of its samples, (D_k,), and m_k.
        """
        total = -(counts * F.softplus(self.logits(failed))).sum()
        for x, log_share, missing in parts:
            total = total + missing * torch.logsumexp(F.logsigmoid(self.logits(x)) + log_share, dim=0)
        return total

    def penalty(self) -> Tensor:
        """½ ‖weight‖² / scale²."""
        return 0.5 * self.weight.square().sum() / self.scale**2
