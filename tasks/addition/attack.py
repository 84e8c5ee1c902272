"""What the attacks on an adder share: a committed pair of networks, the verifier that asks the target, the display."""

from __future__ import annotations

import abc
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from safetensors.torch import load_file
from torch import Tensor

from suite.policy import Generator, Policy
from suite.store.assets import read_manifest
from tasks.addition.attacker import Attacker
from tasks.addition.pretrain import Recipe
from tasks.addition.target import Target
from tasks.common import ASSETS


@dataclass(frozen=True)
class Config:
    """Nothing to set: target and attacker are fixed, so that results are comparable."""


class Attack(abc.ABC):
    """Questions of the recipe's grammar that its target answers wrongly; subclasses say which rates are exact."""

    config: Config
    recipe: ClassVar[Recipe]
    """What fixed the pair."""
    files: ClassVar[tuple[str, ...]] = ("attacker.safetensors", "target.safetensors")
    leading_zeros: ClassVar[bool] = True
    """Whether questions with leading zeros are valid."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.grammar = self.recipe.grammar
        self.folder = self.home()
        self.manifest = read_manifest(self.folder, self.files)
        self.assets: dict[str, str] = self.manifest["files"]
        self.space = self.grammar.questions if self.leading_zeros else self.grammar.questions_without_zeros

    @classmethod
    def home(cls) -> Path:
        """Where the pair's networks lie."""
        return ASSETS / cls.recipe.name

    def prior(self) -> Attacker:
        net = Attacker(self.grammar, self.leading_zeros)
        net.load_state_dict(load_file(self.folder / "attacker.safetensors"))
        return net

    @functools.cached_property
    def target(self) -> Target:
        net = self.recipe.target_net()
        net.load_state_dict(load_file(self.folder / "target.safetensors"))
        return self.recipe.target(net)

    @abc.abstractmethod
    def proposal(self, prior: Generator) -> Policy:
        """Where importance sampling looks for successes besides the policy."""

    def valid(self, x: Tensor) -> Tensor:
        """Well formed, and without leading zeros where they are not allowed, bool (B,)."""
        return self.grammar.allowed(x.cpu(), self.leading_zeros)

    def verify(self, x: Tensor) -> Tensor:
        """Ask the target: True (B,) where its greedy answer to a valid question is wrong."""
        x = x.cpu()
        return self.target.errs(x, self.valid(x))

    def show(self, x: Tensor) -> list[str]:
        return self.grammar.text(x)
