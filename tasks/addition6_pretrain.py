"""Training of the targets and attackers of the 6-digit addition tasks, and what is counted of them.

`suite pretrain addition6-v1` writes `tasks/assets/addition6-v1/`. The recipe fixes everything before any method runs,
by rules that look at errors, base rates and the tail alone. The target: its seed, and of 450, 600, 750, … steps the
first whose error on its own distribution of questions is below 1e-4; for `addition6-nozeros-v1` and for tuning, where
it has to err without leading zeros too, the first whose error lies between 1e-4 and 1e-3. The attacker: its seed, and
the first checkpoint from 500 steps on whose base success rate, counted on 50,000 samples, is at most the paper's 4e-4,
or 1e-3 where the target errs more. It learns slowly, so that it still writes leading zeros then.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from suite.assets import write_manifest
from suite.generators import Transformer
from suite.intervals import clopper_pearson
from tasks.addition6_target import PlaceGrammar, PlaceTarget, place_net
from tasks.addition_grammar import Spread
from tasks.addition_pretrain import Checkpoint, Recipe, attackers
from tasks.training import Decay, Optimizer, Say, Schedule, generator, train

SCREEN = 50_000
"""Samples that judge a checkpoint of the attacker."""
FRESH = 100_000
"""Training questions, newly drawn, that the target's error is counted on."""
EACH = 1_000
"""Questions of a pair of lengths that its error is counted on."""
BLOCK = 10_000


@dataclasses.dataclass(frozen=True)
class PlaceRecipe(Recipe):
    """What fixes a pair whose target knows place values."""

    digits: int = 6
    spread: Spread = "values"
    target_layers: int = 2
    target_width: int = 64
    by_length: float = 0.25
    """Share of each of the target's batches that is uniform in number of digits instead of in value."""
    optimizer: Optimizer = "muon"
    decay: Decay = "last-third"

    @property
    def grammar(self) -> PlaceGrammar:
        return PlaceGrammar(self.digits)

    def target_questions(self, rng: torch.Generator) -> Tensor:
        """A batch for the target, int64 (target_batch, T)."""
        some = round(self.by_length * self.target_batch)
        parts = [self.questions(self.target_batch - some, rng), self.grammar.plain_questions(some, rng, "lengths")]
        return torch.cat(parts)

    def target_net(self) -> Transformer:
        """An untrained target."""
        return place_net(self.grammar, self.target_layers, self.target_width)


RECIPE = PlaceRecipe(
    "addition6-v1",
    target_seed=2,
    attacker_seed=12,
    target_steps=1050,
    target_batch=64,
    lr=1e-2,
    attacker_lr=3e-4,
    attacker_steps=4000,
    attacker_batch=128,
)
ERRING = dataclasses.replace(RECIPE, target_steps=450, base_rate=1e-3)
RECIPES = {
    "addition6-v1": RECIPE,
    "addition6-nozeros-v1": dataclasses.replace(ERRING, name="addition6-nozeros-v1", leading_zeros=False),
    "addition6-tune-v1": dataclasses.replace(ERRING, name="addition6-tune-v1", target_seed=1, attacker_seed=14),
}


def train_target(recipe: PlaceRecipe, checkpoint: Path, say: Say) -> Transformer:
    """Train on fresh questions without leading zeros; the loss is on the answer. Resumes from `checkpoint`."""
    grammar = recipe.grammar
    torch.manual_seed(recipe.target_seed)
    net = recipe.target_net()
    watched = recipe.questions(1024, generator(0))

    def loss_of(rng: torch.Generator) -> Tensor:
        x = recipe.target_questions(rng)
        full, answer = grammar.with_answer(x, grammar.read(x)[1])
        return F.cross_entropy(net.logits(full)[answer], full[answer])

    train(
        net,
        loss_of,
        generator(recipe.target_seed),
        Schedule(recipe.target_steps, recipe.lr, recipe.optimizer, recipe.decay),
        checkpoint=checkpoint,
        recipe=dataclasses.asdict(recipe),
        say=lambda line: say(f"target {line} wrong {error_on(PlaceTarget(net, grammar), watched):.4f}"),
    )
    return net


class Draw(NamedTuple):
    """Questions from an attacker and what the target made of them."""

    samples: int
    leading_zero: int
    """Well-formed questions with a leading zero that are answered wrongly."""
    rest: int
    """Those without."""


def draw(attacker: Transformer, target: PlaceTarget, n: int, rng: torch.Generator) -> Draw:
    """Put n questions to the target, block by block."""
    zeros = rest = 0
    for start in range(0, n, BLOCK):
        x = attacker.sample(min(BLOCK, n - start), rng)
        index, _, leading_zero = target.grammar.read(x)
        wrong = target.errs(x, index >= 0)
        zeros += int((wrong & leading_zero).sum())
        rest += int((wrong & ~leading_zero).sum())
    return Draw(n, zeros, rest)


def taken(recipe: PlaceRecipe, target: PlaceTarget, say: Say) -> tuple[Checkpoint, Draw]:
    """The first checkpoint at the recipe's base rate, or the last one, and what it was judged by."""
    judged: list[Draw] = []

    def base_of(net: Transformer) -> tuple[float, float]:
        judged.append(draw(net, target, SCREEN, generator(0)))
        return judged[-1].leading_zero / judged[-1].samples, judged[-1].rest / judged[-1].samples

    for made in attackers(recipe, base_of, say):
        last = made
        if (made.base if recipe.leading_zeros else made.base_rest) <= recipe.base_rate:
            break
    return last, judged[-1]


def error_on(target: PlaceTarget, x: Tensor) -> float:
    """Share of the questions x, int64 (N, T), that are answered wrongly."""
    return float(target.errs(x, torch.ones(len(x), dtype=torch.bool)).double().mean())


def errors_by_length(target: PlaceTarget, n: int) -> dict[str, float]:
    """The target's error on n questions without leading zeros of some lengths; `6+6` is what it was trained on most."""
    grammar, rng = target.grammar, generator(1)
    errors = {}
    for a, b in ((6, 6), (5, 6), (6, 5), (5, 5), (4, 6), (3, 6), (6, 3), (4, 4), (3, 3), (2, 2), (1, 1)):
        sides = []
        for digits in (a, b):
            low = 0 if digits == 1 else 10 ** (digits - 1)
            sides.append(grammar.plain_operand(torch.randint(low, 10**digits, (n,), generator=rng)))
        x = grammar.write(sides[0] * grammar.operands + sides[1])
        errors[f"{a}+{b}"] = error_on(target, x)
    return errors


def pretrain(task_id: str, folder: Path, say: Say) -> None:
    """Train a pair and write its weights and its manifest into `folder`."""
    recipe = RECIPES[task_id]
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / "checkpoints"
    work.mkdir(exist_ok=True)
    net = train_target(recipe, work / "target.pt", say)
    save_file(net.state_dict(), folder / "target.safetensors")
    target = PlaceTarget(net, recipe.grammar)
    attacker, judged = taken(recipe, target, say)
    save_file(attacker.net.state_dict(), folder / "attacker.safetensors")
    wrong = round(FRESH * error_on(target, recipe.questions(FRESH, generator(2))))
    write_manifest(
        folder,
        command=f"suite pretrain {task_id}",
        recipe=dataclasses.asdict(recipe),
        measured={
            "attacker_steps": attacker.step,
            "attacker_judged_by": judged._asdict(),
            "target_error": wrong / FRESH,
            "target_error_interval": clopper_pearson(wrong, FRESH),
            "target_error_by_length": errors_by_length(target, EACH),
        },
    )
    parts = f"{attacker.base_leading_zero:.1e} leading zeros + {attacker.base_rest:.1e} rest"
    say(f"wrote {folder}; target error {wrong / FRESH:.1e}, base about {parts}")
