"""The paper's 1-D illustration: a discretised Gaussian whose rewards lie in two bins of its tail.

Bins of width 0.2 centred at -3, -2.8, ..., 3; the prior is N(0, 0.5²) on them; reward 1 in the bins at -2 and +2.
Sparse because both lie four standard deviations out: base success rate 1.07e-4, exact.

Under failures-only the novelty bonuses stay at the base rate here: the update of a table changes only outcomes that the
method was shown, and successes are withheld.

Source: arXiv 2510.09596, the introductory figure; σ = 0.5, because at σ = 1 the base rate is 2 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from suite.config import retuned, setting
from suite.generators import Table
from suite.policy import Generator, Policy

CENTRES = torch.arange(-15, 16, dtype=torch.float64) / 5


@dataclass(frozen=True)
class Config:
    """The prior's width."""

    sigma: float = setting(0.5, valid=(0.1, 3), help="standard deviation of the prior; sets the base rate")


@dataclass(frozen=True)
class TuneConfig(Config):
    """A wider prior."""

    sigma: float = retuned(Config, "sigma", 0.55)


class Gaussian:
    """The paper's 1-D illustration: 31 bins of a Gaussian, two in its tail are successes."""

    config: Config
    space: ClassVar[int] = len(CENTRES)
    bins: ClassVar[tuple[int, int]] = (5, 25)
    """The successes, at -2 and +2."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def prior(self) -> Table:
        return Table(-0.5 * (CENTRES / self.config.sigma) ** 2)

    def verify(self, x: Tensor) -> Tensor:
        return torch.isin(x[:, 0], torch.tensor(self.bins, device=x.device))

    def valid(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), dtype=torch.bool, device=x.device)

    def show(self, x: Tensor) -> list[str]:
        return [f"{CENTRES[i]:+.1f}" for i in x[:, 0].tolist()]

    def success_log_probs(self, policy: Policy) -> Tensor:
        return policy.log_prob(torch.tensor(self.bins)[:, None])

    def proposal(self, prior: Generator) -> Policy:
        """The bins at random, two of 31 being successes."""
        return prior.uniform()

    def references(self) -> dict[str, Policy]:
        log_p = torch.full((len(CENTRES),), -1e9)
        log_p[list(self.bins)] = 0.0
        return {"optimal": Table(log_p)}


class GaussianTune(Gaussian):
    """The illustration with its successes at -2.2 and +2.2: for tuning, never reported."""

    config: TuneConfig
    bins = (4, 26)
