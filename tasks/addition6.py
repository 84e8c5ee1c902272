"""The attack with operands of up to 6 digits: too many questions to enumerate, as in the paper.

Prior: a small transformer pre-trained to write questions such as `123456+98765=`, both operands uniform in value, so
that 81 % have six digits each and short and mixed lengths lie in the tail. Reward 1 when the question is well formed
and the target's greedy answer is wrong. Sparse because the target was trained on the same questions. What fails:
lengths that it hardly saw, leading zeros, which it never saw, and carry chains. In `addition6-nozeros-v1`, where the
paper's figure on the compute of the failure model lives, questions with leading zeros are invalid.

There are 1.2e12 questions: success rates are counted, or estimated by importance sampling (`--heldout is:N`).

Source: arXiv 2510.09596, sections on adversarial attack; there with operands of up to about 10 digits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from safetensors.torch import load_file
from torch import Tensor

from suite.assets import read_manifest
from suite.generators import Transformer
from suite.policy import Generator, Policy
from tasks.addition6_pretrain import RECIPE, pretrain
from tasks.addition_attacker import Attacker, QuestionsByLength, UniformQuestions
from tasks.addition_target import Target, target_shape

ASSETS = Path(__file__).parent / "assets"
GRAMMAR = RECIPE.grammar


@dataclass(frozen=True)
class Config:
    """Nothing to set: target and attacker are fixed, so that numbers compare."""


class Addition6:
    """The attack with operands of up to 6 digits: questions that a toy language model answers wrongly."""

    config: Config
    pair: ClassVar[str] = "addition6-v1"
    leading_zeros: ClassVar[bool] = True

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = ASSETS / self.pair
        self.manifest = read_manifest(self.folder, ("attacker.safetensors", "target.safetensors"))
        self.assets: dict[str, str] = self.manifest["files"]

    def prior(self) -> Attacker:
        net = Attacker(GRAMMAR, self.leading_zeros)
        net.load_state_dict(load_file(self.folder / "attacker.safetensors"))
        return net

    @functools.cached_property
    def target(self) -> Target:
        net = Transformer(target_shape(GRAMMAR, RECIPE.target_layers))
        net.load_state_dict(load_file(self.folder / "target.safetensors"))
        return Target(net, GRAMMAR)

    def valid(self, x: Tensor) -> Tensor:
        return GRAMMAR.allowed(x.cpu(), self.leading_zeros)

    def verify(self, x: Tensor) -> Tensor:
        """Ask the target: True (B,) where its greedy answer to a valid question is wrong."""
        x = x.cpu()
        return self.target.errs(x, self.valid(x))

    def show(self, x: Tensor) -> list[str]:
        return GRAMMAR.text(x)

    def exact(self, policy: Policy) -> None:
        """There are too many questions."""
        return

    def proposal(self, prior: Generator) -> Policy:
        """Questions of all lengths alike, where the target errs most."""
        return QuestionsByLength(GRAMMAR)

    def references(self) -> dict[str, Policy]:
        return {"uniform": UniformQuestions(GRAMMAR, self.leading_zeros)}

    @classmethod
    def pretrain(cls, say: Callable[[str], None]) -> None:
        """Train target and attacker and measure the base rate."""
        pretrain(cls.pair, ASSETS / cls.pair, say)


class Addition6NoZeros(Addition6):
    """The attack with up to 6 digits without leading zeros: odd lengths and carry chains are what is left."""

    leading_zeros = False


class Addition6Tune(Addition6):
    """The 6-digit attack on another target, by another attacker: for tuning, never reported."""

    pair = "addition6-tune-v1"


class Addition6NoZerosTune(Addition6NoZeros):
    """The pair for tuning without leading zeros: never reported."""

    pair = "addition6-tune-v1"
