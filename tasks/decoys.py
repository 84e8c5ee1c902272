"""Decoys: a bulk that always fails and equally likely clusters, one of them wholly successful. Failures matter here.

The positive control. A sample names its cluster and then a member, three symbols of 41. Cluster 0 is the bulk, 98.4 %
of the prior, and always fails; the 40 others have mass 4e-4 each, and every member of one of them, drawn uniformly,
succeeds. Sparse because the bulk is: base success rate 4e-4, exact. Likelihood under the prior says to leave the
bulk and no more, so whoever moves by novelty alone ends near 1/40; a cluster of which a member failed is ruled out
whole, so the Bayesian posterior (:meth:`Decoys.posterior`) is alone with the right one after a few hundred failures.

Source: our own, after the question what failures can tell; the mixture of bulk and rare modes is the paper's picture
(arXiv 2510.09596, figure 1) made discrete.
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
            raise ValueError(f"{self.clusters} clusters of mass {self.mass:g} leave nothing for the bulk")


class Decoys:
    """Positive control: a bulk that fails and 40 rare clusters, one successful; failures tell which."""

    config: Config
    stream: ClassVar[str] = "decoys-v1"
    """Successful clusters of the reported task and of its tune variant are drawn apart."""

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

    def exact(self, policy: Policy) -> float:
        return float(self.success_log_probs(policy).exp().sum())

    def posterior(self, failures: Tensor) -> Factored:
        """Bayes: the prior over which cluster succeeds, given failures, int64 (B, 1 + members), with its policy.

        A cluster of which a member failed is ruled out; the others, equally likely before, still are.
        """
        failed = set(failures[:, 0].tolist()) | {0}
        return self._over([0.0 if cluster in failed else 1.0 for cluster in range(1 + self.config.clusters)])

    def references(self) -> dict[str, Policy]:
        """`novelty`: what leaving the bulk is worth, 1/40; `bayes`: a member of every other cluster has failed."""
        others = torch.tensor([[c] for c in range(1 + self.config.clusters) if c != self.cluster])
        return {"novelty": self.posterior(others[:1]), "bayes": self.posterior(others)}


class DecoysTune(Decoys):
    """Decoys with other successful clusters: for tuning, never reported."""

    stream = "decoys-tune-v1"
