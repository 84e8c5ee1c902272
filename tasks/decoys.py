"""Decoys: a bulk that always fails and 40 equally likely clusters, of which one always succeeds. Failures tell which.

The positive control. A sample names its cluster and then a member, three symbols of 41. Cluster 0 is the bulk, 98.4 %
of the prior, and always fails; the 40 others have mass 4e-4 each, and every member of one of them, drawn uniformly,
succeeds. Sparse because the prior seldom leaves the bulk: base success rate 4e-4, exact. The prior's likelihood tells a
method to leave the bulk and nothing else, so a policy that follows novelty alone ends near 1/40. One failure rules out
its whole cluster, so the Bayesian posterior (:meth:`Decoys.posterior`) has only the successful cluster left after a few
hundred failures.

Source: our own, made to test what can be learnt from failures; its mixture of a bulk and rare modes is a discrete form
of the paper's picture (arXiv 2510.09596, figure 1).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from suite.config import setting
from suite.generators import Factored
from suite.policy import Policy
from suite.seeding import derive


@dataclass(frozen=True)
class Config:
    """The clusters and which of them succeeds."""

    clusters: int = setting(40, valid=(2, 100), help="clusters beside the bulk, equally likely")
    mass: float = setting(4e-4, valid=(1e-6, 1e-2), help="prior probability of a cluster: the base rate")
    members: int = setting(3, valid=(1, 3), help="symbols of a sample after its cluster")
    secret: int = setting(0, valid=(0, None), help="seed that the successful cluster is drawn from")

    def __post_init__(self) -> None:
        if self.clusters * self.mass >= 1:
            raise ValueError(
                f"{self.clusters} clusters of mass {self.mass:g} leave nothing for the bulk; use clusters * mass < 1"
            )


class Decoys:
    """Positive control: a bulk that fails and 40 rare clusters, one successful; failures tell which."""

    config: Config
    stream: ClassVar[str] = "decoys-v1"
    """Name of the random stream: the reported task and its tune variant draw their clusters independently."""

    def __init__(self, config: Config) -> None:
        self.config = config
        rng = torch.Generator().manual_seed(derive(self.stream, "secret", config.secret))
        self.space = (1 + config.clusters) ** (1 + config.members)
        self.cluster = 1 + int(torch.randint(config.clusters, (), generator=rng))

    def prior(self) -> Factored:
        bulk = 1 - self.config.clusters * self.config.mass
        return self._over([bulk] + [self.config.mass] * self.config.clusters)

    def _over(self, mass: list[float]) -> Factored:
        """The distribution with the given masses of bulk and clusters, uniform over members."""
        log_p = torch.zeros(1 + self.config.members, len(mass))
        log_p[0] = torch.tensor(mass, dtype=torch.float64).log()
        return Factored(log_p)

    @functools.cached_property
    def successes(self) -> Tensor:
        """All members of the successful cluster, int64 (S, 1 + members)."""
        symbol = torch.arange(1 + self.config.clusters)
        members = torch.cartesian_prod(*[symbol] * self.config.members).view(-1, self.config.members)
        return torch.cat([members.new_full((len(members), 1), self.cluster), members], dim=1)

    def verify(self, x: Tensor) -> Tensor:
        return x[:, 0] == self.cluster

    def valid(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), dtype=torch.bool, device=x.device)

    def show(self, x: Tensor) -> list[str]:
        return [f"{'bulk' if row[0] == 0 else f'c{row[0]:02d}'} {' '.join(map(str, row[1:]))}" for row in x.tolist()]

    def success_log_probs(self, policy: Policy) -> Tensor:
        return policy.log_prob(self.successes)

    def posterior(self, failures: Tensor) -> Factored:
        """Bayes: the prior over which cluster succeeds, given failures, int64 (B, 1 + members), with its policy.

        A cluster of which a member failed is ruled out; the others stay equally likely.
        """
        failed = set(failures[:, 0].tolist()) | {0}
        return self._over([0.0 if cluster in failed else 1.0 for cluster in range(1 + self.config.clusters)])

    def references(self) -> dict[str, Policy]:
        """`novelty`: the prior outside the bulk, 1/40; `bayes`: the posterior when every other cluster has failed."""
        others = torch.tensor([[c] for c in range(1 + self.config.clusters) if c != self.cluster])
        return {"novelty": self.posterior(others[:1]), "bayes": self.posterior(others)}


class DecoysTune(Decoys):
    """Decoys with other successful clusters: for tuning, never reported."""

    stream = "decoys-tune-v1"
