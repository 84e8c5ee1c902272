"""The attack on a toy language model: write an addition question that the target answers wrongly.

Prior: a small transformer pre-trained to write questions such as `12+345=`, operands of 1 to 3 digits, no leading
zeros. Reward 1 when the question is well formed and the target's greedy answer is wrong. Sparse because the target
was trained on such questions until it almost never errs: base success rate 4e-4, as in the paper, exact. The target
errs on leading zeros, which it never saw (`addition-v1`), and on long carry chains (`101+399=`). In
`addition-nozeros-v1` questions with leading zeros are invalid, and only the rest counts.

The target answered all 1,232,100 questions once, in advance. The oracle calls the target itself; the table of that
enumeration answers held-out questions and gives exact success rates.

Source: arXiv 2510.09596, sections on adversarial attack; there with operands of up to about 10 digits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from safetensors.torch import load_file
from torch import Tensor

from suite.generators import Forest, log_prob_by_prefixes
from suite.policy import Generator, Policy
from tasks.addition.attack import Attack
from tasks.addition.attacker import UniformQuestions
from tasks.addition.grammar import EQUALS, SYMBOLS
from tasks.addition.pretrain import RECIPES, pretrain, unpack


class Addition(Attack):
    """The attack: questions that a toy language model answers wrongly, 4e-4 of the prior's."""

    recipe = RECIPES["addition-v1"]
    files = ("attacker.safetensors", "failures.safetensors", "target.safetensors")

    @functools.cached_property
    def table(self) -> Tensor:
        """True at the questions that the target answers wrongly, bool (1,232,100,)."""
        return unpack(load_file(self.folder / "failures.safetensors")["failures"], self.grammar.questions)

    @functools.cached_property
    def success_forest(self) -> Forest:
        """All successes by their prefixes."""
        return Forest(self.successes, len(SYMBOLS), EQUALS)

    @functools.cached_property
    def successes(self) -> Tensor:
        """All successes, int64 (S, 8)."""
        x = self.grammar.write(self.table.nonzero().squeeze(1))
        return x[self.valid(x)]

    def verify_heldout(self, x: Tensor) -> Tensor:
        """Ask the table instead of the target, bool (B,)."""
        x = x.cpu()
        index, _, _ = self.grammar.read(x)
        return self.valid(x) & self.table[index.clamp(min=0)]

    def success_log_probs(self, policy: Policy) -> Tensor:
        """log p of every success, float64 (S,)."""
        return log_prob_by_prefixes(policy, self.successes, self.success_forest)

    def references(self) -> dict[str, Policy]:
        return {"uniform": UniformQuestions(self.grammar, self.leading_zeros)}

    def proposal(self, prior: Generator) -> Policy:
        """Uniform questions: of the proposals tried for the prior, the one with most effective hits."""
        return prior.uniform()

    @classmethod
    def pretrain(cls, say: Callable[[str], None]) -> None:
        """Train target and attacker and enumerate the target's failures."""
        pretrain(cls.recipe.name, cls.home(), say)


class AdditionNoZeros(Addition):
    """The attack without leading zeros: they are invalid, and carry chains remain."""

    leading_zeros = False


class AdditionTune(Addition):
    """The attack on another target, by another attacker: for tuning, never reported."""

    recipe = RECIPES["addition-tune-v1"]


class AdditionNoZerosTune(AdditionNoZeros):
    """The attack without leading zeros on a target that errs there: for tuning, never reported."""

    recipe = RECIPES["addition-nozeros-tune-v1"]
