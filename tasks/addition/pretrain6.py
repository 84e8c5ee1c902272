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

import torch
from safetensors.torch import save_file
from torch import Tensor

from suite.generators import Transformer
from suite.measure.intervals import clopper_pearson
from suite.store.assets import write_manifest
from tasks.addition.grammar import Spread
from tasks.addition.pretrain import Checkpoint, Recipe, attackers, error_on, train_target
from tasks.addition.target6 import PlaceGrammar, PlaceTarget, place_net
from tasks.common.training import Decay, Optimizer, Say, generator

SCREEN = 50_000
"""Samples that judge a checkpoint of the attacker."""
FRESH = 100_000
"""Training questions, newly drawn, that the target's error is counted on."""
EACH = 1_000
"""Questions of a pair of lengths that its error is counted on."""
BLOCK = 10_000


@dataclasses.dataclass(frozen=True)
class PlaceRecipe(Recipe):
    """What fixes a pair whose target knows place values; the attacker is taken by a rule that needs no `tolerance`."""

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
        some = round(self.by_length * self.target_batch)
        parts = [self.questions(self.target_batch - some, rng), self.grammar.plain_questions(some, rng, "lengths")]
        return torch.cat(parts)

    def target_net(self) -> Transformer:
        return place_net(self.grammar, self.target_layers, self.target_width)

    def target(self, net: Transformer) -> PlaceTarget:
        return PlaceTarget(net, self.grammar)


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


def screened(attacker: Transformer, target: PlaceTarget, n: int, rng: torch.Generator) -> tuple[int, int]:
    """How many of n questions of an attacker are well formed and answered wrongly: with a leading zero, and the rest.

    They are put to the target block by block.
    """
    zeros = rest = 0
    for start in range(0, n, BLOCK):
        x = attacker.sample(min(BLOCK, n - start), rng)
        index, _, leading_zero = target.grammar.read(x)
        wrong = target.errs(x, index >= 0)
        zeros += int((wrong & leading_zero).sum())
        rest += int((wrong & ~leading_zero).sum())
    return zeros, rest


def chosen_attacker(recipe: PlaceRecipe, target: PlaceTarget, say: Say) -> Checkpoint:
    """The first checkpoint at the recipe's base rate, or the last one."""

    def base_of(net: Transformer) -> tuple[float, float]:
        zeros, rest = screened(net, target, SCREEN, generator(0))
        return zeros / SCREEN, rest / SCREEN

    for made in attackers(recipe, base_of, say):
        last = made
        if (made.base if recipe.leading_zeros else made.base_rest) <= recipe.base_rate:
            break
    return last


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
    target = recipe.target(net)
    attacker = chosen_attacker(recipe, target, say)
    save_file(attacker.net.state_dict(), folder / "attacker.safetensors")
    wrong = round(FRESH * error_on(target, recipe.questions(FRESH, generator(2))))
    write_manifest(
        folder,
        command=f"suite pretrain {task_id}",
        recipe=dataclasses.asdict(recipe),
        measured={
            "attacker_steps": attacker.step,
            "attacker_judged_by": {
                "samples": SCREEN,
                "leading_zero": round(SCREEN * attacker.base_leading_zero),
                "rest": round(SCREEN * attacker.base_rest),
            },
            "target_error": wrong / FRESH,
            "target_error_interval": clopper_pearson(wrong, FRESH),
            "target_error_by_length": errors_by_length(target, EACH),
        },
    )
    parts = f"{attacker.base_leading_zero:.1e} leading zeros + {attacker.base_rest:.1e} rest"
    say(f"wrote {folder}; target error {wrong / FRESH:.1e}, base about {parts}")
