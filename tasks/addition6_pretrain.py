"""Training of the targets and attackers of the 6-digit addition tasks, measured by Monte Carlo.

`suite pretrain addition6-v1` writes `tasks/assets/addition6-v1/`. The recipe fixes everything before any method runs:
the target by (seed, steps); the attacker by its seed and the rule that it is taken at the first checkpoint whose base
success rate, counted on up to 100,000 samples, is at most 4e-4, the paper's, or else after its last step.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from suite.assets import write_manifest
from suite.facts import counted_tail
from suite.generators import Transformer
from suite.intervals import clopper_pearson
from tasks.addition6_target import PlaceGrammar, PlaceTarget, place_net
from tasks.addition_grammar import Spread
from tasks.addition_pretrain import Checkpoint, Recipe, attackers
from tasks.training import Decay, Optimizer, Say, Schedule, generator, train

SCREEN, ENOUGH_HITS = 50_000, 50
"""Samples that judge a checkpoint of the attacker, fewer where this many successes were met."""
MEASURED = 100_000
"""Samples behind the base rates in the manifest."""
FRESH = 100_000
"""Training questions, newly drawn, that the target's error is counted on."""
BLOCK = 10_000


@dataclasses.dataclass(frozen=True)
class PlaceRecipe(Recipe):
    """What fixes a pair whose target knows place values."""

    digits: int = 6
    spread: Spread = "values"
    target_layers: int = 2
    target_width: int = 64
    optimizer: Optimizer = "muon"
    decay: Decay = "last-third"

    @property
    def grammar(self) -> PlaceGrammar:
        return PlaceGrammar(self.digits)

    def target_net(self) -> Transformer:
        """An untrained target."""
        return place_net(self.grammar, self.target_layers, self.target_width)


RECIPE = PlaceRecipe(
    "addition6-v1",
    target_seed=2,
    attacker_seed=12,
    target_steps=1500,
    target_batch=64,
    lr=1e-2,
    attacker_steps=4000,
    attacker_batch=128,
    attacker_check=250,
)
RECIPES = {
    "addition6-v1": RECIPE,
    "addition6-tune-v1": dataclasses.replace(RECIPE, name="addition6-tune-v1", target_seed=1, attacker_seed=14),
}


def train_target(recipe: PlaceRecipe, checkpoint: Path, say: Say) -> Transformer:
    """Train on fresh questions without leading zeros; the loss is on the answer. Resumes from `checkpoint`."""
    grammar = recipe.grammar
    torch.manual_seed(recipe.target_seed)
    net = recipe.target_net()
    watched = recipe.questions(1024, generator(0))

    def loss_of(rng: torch.Generator) -> Tensor:
        x = recipe.questions(recipe.target_batch, rng)
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


@dataclasses.dataclass(frozen=True)
class Draw:
    """Questions from an attacker and what the target made of them; all of N rows."""

    x: Tensor
    """int64 (N, T)."""
    wrong: Tensor
    """True where the question is well formed and answered wrongly, bool (N,)."""
    leading_zero: Tensor


def rate(rewards: Tensor, log_p: Tensor) -> dict[str, Any]:
    """A success rate with its 95 % interval, and the tail enrichment P(success | lowest 1 % of p) / rate.

    Args:
        rewards: bool (N,).
        log_p: of the same samples under the attacker, (N,).
    """
    hits, n = int(rewards.sum()), len(rewards)
    enrichment = counted_tail(rewards, log_p)[0] * n / hits if hits else None
    return {"rate": hits / n, "interval": clopper_pearson(hits, n), "hits": hits, "tail_enrichment": enrichment}


def draw(attacker: Transformer, target: PlaceTarget, n: int, rng: torch.Generator, enough: int | None = None) -> Draw:
    """Up to n questions, block by block; no further block once `enough` successes were met."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    met = 0
    for _ in range(0, n, BLOCK):
        x = attacker.sample(BLOCK, rng)
        index, _, zero = target.grammar.read(x)
        wrong = target.errs(x, index >= 0)
        parts.append((x, wrong, zero))
        met += int(wrong.sum())
        if enough is not None and met >= enough:
            break
    return Draw(*(torch.cat(column) for column in zip(*parts, strict=True)))


def taken(recipe: PlaceRecipe, target: PlaceTarget, say: Say) -> Checkpoint:
    """The first checkpoint at the paper's base rate, or the last one."""

    def base_of(net: Transformer) -> tuple[float, float]:
        seen = draw(net, target, SCREEN, generator(0), ENOUGH_HITS)
        zeros, all_ = (seen.wrong & seen.leading_zero).double().mean(), seen.wrong.double().mean()
        return float(zeros), float(all_ - zeros)

    for made in attackers(recipe, base_of, say):
        last = made
        if made.base <= recipe.base_rate:
            break
    return last


def error_on(target: PlaceTarget, x: Tensor) -> float:
    """Share of the questions x, int64 (N, T), that are answered wrongly."""
    return float(target.errs(x, torch.ones(len(x), dtype=torch.bool)).double().mean())


def errors_by_length(target: PlaceTarget, n: int) -> dict[str, float]:
    """The target's error on n questions without leading zeros of some lengths; `6+6` is what it was trained on most."""
    grammar, rng = target.grammar, generator(1)
    errors = {}
    for a, b in ((6, 6), (5, 6), (6, 5), (5, 5), (4, 6), (3, 6), (6, 3), (3, 3), (1, 1)):
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
    attacker = taken(recipe, target, say)
    save_file(attacker.net.state_dict(), folder / "attacker.safetensors")
    error = error_on(target, recipe.questions(FRESH, generator(2)))
    seen = draw(attacker.net, target, MEASURED, generator(3))
    log_p = attacker.net.log_prob(seen.x)
    write_manifest(
        folder,
        command=f"suite pretrain {task_id}",
        recipe=dataclasses.asdict(recipe),
        measured={
            "attacker_steps": attacker.step,
            "samples": len(seen.wrong),
            "base": rate(seen.wrong, log_p),
            "base_without_leading_zeros": rate(seen.wrong & ~seen.leading_zero, log_p),
            "target_error": error,
            "target_error_interval": clopper_pearson(round(error * FRESH), FRESH),
            "target_error_by_length": errors_by_length(target, 1_000),
        },
    )
    say(f"wrote {folder}; base {float(seen.wrong.double().mean()):.2e}")
