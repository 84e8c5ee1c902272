"""Word problems, one question at a time: a small transformer writes the solution step by step, its last number counts.

The shape of GSM8K without a download. Prior: a transformer trained here on templated problems, with the question as its
fixed prompt. Reward 1 when the last number of the solution is the answer. Sparse because the numbers of the questions
are larger than most that it was trained on, as in GSM8K-Hard: six questions on which it succeeds with 4e-4 to 2e-3,
chosen by their base rates alone (see :mod:`tasks.words.pretrain`).

Source: arXiv 2510.09596, section on reasoning, whose figure shows six questions of GSM8K-Hard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from safetensors.torch import load_file
from torch import Tensor

from suite.config import setting
from suite.generators import Transformer
from suite.store.assets import read_manifest
from tasks.common import ASSETS
from tasks.words.pretrain import QUESTIONS, pretrain, solver
from tasks.words.templates import decode, last_numbers

FOLDER = ASSETS / "word-problems-v1"


@dataclass(frozen=True)
class Config:
    """Which question."""

    question: int = setting(0, valid=(0, QUESTIONS - 1), help="one of the six questions; each has its base rate")


class WordProblems:
    """A small transformer solves one templated word problem step by step; its last number is checked."""

    config: Config
    pool: ClassVar[str] = "reported"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.manifest = read_manifest(FOLDER, ("solver.safetensors",))
        self.assets: dict[str, str] = self.manifest["files"]
        self.problem: dict[str, Any] = self.manifest["measured"][self.pool][config.question]

    def prior(self) -> Transformer:
        return solver(load_file(FOLDER / "solver.safetensors"), self.problem["question"])

    def verify(self, x: Tensor) -> Tensor:
        """True (B,) where the last number of a solution is the answer."""
        return last_numbers(x) == int(self.problem["answer"])

    def valid(self, x: Tensor) -> Tensor:
        """True (B,) where a solution ends and holds a number."""
        return last_numbers(x) >= 0

    def show(self, x: Tensor) -> list[str]:
        return decode(x)

    @classmethod
    def pretrain(cls, say: Callable[[str], None]) -> None:
        """Train the network and choose the questions, of this task and of its variant for tuning."""
        pretrain("word-problems-v1", FOLDER, say)


class WordProblemsTune(WordProblems):
    """Six other word problems, chosen by the same rule: for tuning, never reported."""

    pool = "tune"
