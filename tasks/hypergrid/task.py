"""The sparse hypergrid of the GFlowNet literature: rare modes in the corners that lie far from the origin.

A grid of 4 dimensions and side 8. The prior is a walk from the origin that increases one coordinate at random in every
step and stops with probability 0.1: a small transformer over coordinates, fitted to that walk's exact distribution.
Reward 1 in the highest plateau of the literature's reward, every coordinate in the band 0.3 < |x / 7 - 0.5| < 0.4, if
at least two coordinates lie on the far side: 11 of 4,096 cells. Sparse because the walk stops early and stays near
the diagonal: base success rate 2e-4, exact.

Source: Bengio et al., "Flow Network based Generative Models for Non-Iterative Diverse Candidate Generation", arXiv
2106.04399 (2021), section 4.1: R0 = R1 = 0, and modes with fewer than two far coordinates do not count.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor

from suite.generators import Forest, Transformer, log_prob_by_prefixes
from suite.policy import Policy
from suite.store.assets import read_manifest
from tasks.common import ASSETS
from tasks.hypergrid.pretrain import CELLS, SHAPE, SIDE, pretrain


@dataclass(frozen=True)
class Config:
    """Nothing to set: walk and modes are fixed, so that results are comparable."""


class Hypergrid:
    """Rare modes in the far corners of a grid, from a walk that stops early; exact."""

    config: Config
    name: ClassVar[str] = "hypergrid-v1"
    band: ClassVar[tuple[float, float]] = (0.3, 0.4)
    """Distance of a coordinate from the middle, as a share of the side, in which modes lie."""
    far: ClassVar[tuple[int, int]] = (2, 4)
    """Least and greatest number of a mode's coordinates on the far side."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.space = len(CELLS)
        self.folder = ASSETS / self.name
        self.manifest = read_manifest(self.folder, ("prior.safetensors",))
        self.assets: dict[str, str] = self.manifest["files"]

    def prior(self) -> Transformer:
        net = Transformer(SHAPE)
        net.load_state_dict(load_file(self.folder / "prior.safetensors"))
        return net

    def verify(self, x: Tensor) -> Tensor:
        offset = x.double() / (SIDE - 1) - 0.5
        low, high = self.band
        in_band = (offset.abs() > low) & (offset.abs() <= high)
        far = (offset > 0).sum(dim=1)  # (B,)
        return in_band.all(dim=1) & (far >= self.far[0]) & (far <= self.far[1])

    def valid(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), dtype=torch.bool, device=x.device)

    def show(self, x: Tensor) -> list[str]:
        return [f"({', '.join(map(str, row))})" for row in x.tolist()]

    @functools.cached_property
    def successes(self) -> Tensor:
        """All cells of the modes, int64 (S, 4)."""
        return CELLS[self.verify(CELLS)]

    @functools.cached_property
    def success_forest(self) -> Forest:
        return Forest(self.successes, SIDE, None)

    def success_log_probs(self, policy: Policy) -> Tensor:
        return log_prob_by_prefixes(policy, self.successes, self.success_forest)

    def references(self) -> dict[str, Policy]:
        return {"uniform": self.prior().uniform()}

    @classmethod
    def pretrain(cls, say: Callable[[str], None]) -> None:
        """Fit the prior to the walk."""
        pretrain(cls.name, ASSETS / cls.name, say)


class HypergridTune(Hypergrid):
    """The hypergrid with its modes in 14 of its corners, and another prior: for tuning, never reported."""

    name = "hypergrid-tune-v1"
    band = (0.4, 0.5)
    far = (1, 3)  # the farthest corner is where long walks end
