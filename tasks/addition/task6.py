"""The attack with operands of up to 6 digits: too many questions to enumerate, as in the paper.

Prior: a small transformer pre-trained to write questions such as `123456+98765=`, both operands uniform in value, so
that 81 % have six digits each and short and mixed lengths lie in the tail. Reward 1 when the question is well formed
and the target's greedy answer is wrong. Sparse because the target was trained on the same questions. It errs on
leading zeros, which it never saw, and on carries between operands of full length. In `addition6-nozeros-v1`, the task
of the paper's figure on the compute of the failure model, questions with leading zeros are invalid.

There are 1.2e12 questions: success rates are counted, or estimated by importance sampling (`--heldout is:N`).

Source: arXiv 2510.09596, sections on adversarial attack; there with operands of up to about 10 digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from suite.policy import Generator, Policy
from tasks.addition.attack import Attack
from tasks.addition.attacker import QuestionsByLength
from tasks.addition.pretrain import Recipe
from tasks.addition.pretrain6 import RECIPES, pretrain


class Addition6(Attack):
    """The attack with operands of up to 6 digits: questions that a toy language model answers wrongly."""

    recipe: ClassVar[Recipe] = RECIPES["addition6-v1"]

    def proposal(self, prior: Generator) -> Policy:
        """Questions of all lengths alike: leading zeros, and the short and mixed ones that the prior seldom writes."""
        return QuestionsByLength(self.grammar)

    @classmethod
    def pretrain(cls, say: Callable[[str], None]) -> None:
        """Train target and attacker and measure the base rate."""
        pretrain(cls.recipe.name, cls.home(), say)


class Addition6NoZeros(Addition6):
    """The attack with up to 6 digits without leading zeros: carries between full operands remain."""

    recipe = RECIPES["addition6-nozeros-v1"]
    leading_zeros = False


class Addition6Tune(Addition6):
    """The 6-digit attack on another target, by another attacker: for tuning, never reported."""

    recipe = RECIPES["addition6-tune-v1"]


class Addition6NoZerosTune(Addition6NoZeros):
    """The pair for tuning without leading zeros: never reported."""

    recipe = RECIPES["addition6-tune-v1"]
