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

from suite.assets import write_manifest
from suite.generators import Transformer
from suite.intervals import clopper_pearson
from tasks.addition_pretrain import Checkpoint, Recipe, Say, attackers, generator, train_target
from tasks.addition_target import Target

SCREEN, ENOUGH_HITS = 100_000, 100
"""Samples that judge a checkpoint of the attacker, fewer where this many successes were met."""
MEASURED = 1_000_000
"""Samples behind the base rates in the manifest."""
FRESH = 200_000
"""Training questions, newly drawn, that the target's error is counted on."""
BLOCK = 10_000

RECIPE = Recipe(
    "addition6-v1",
    target_seed=2,
    attacker_seed=12,
    target_steps=6_000,
    target_batch=128,
    lr=3e-3,
    attacker_steps=6_000,
    attacker_check=500,
    digits=6,
    spread="values",
    target_layers=2,
    optimizer="muon",
    decay="last-third",
)
RECIPES = {
    "addition6-v1": RECIPE,
    "addition6-tune-v1": dataclasses.replace(RECIPE, name="addition6-tune-v1", target_seed=1, attacker_seed=14),
}


@dataclasses.dataclass(frozen=True)
class Draw:
    """Questions from an attacker and what the target made of them; all of N rows."""

    log_p: Tensor
    """log p under the attacker, float64 (N,)."""
    wrong: Tensor
    """True where the question is well formed and answered wrongly, bool (N,)."""
    leading_zero: Tensor

    def rate(self, rewards: Tensor) -> dict[str, Any]:
        """A success rate with its 95 % interval, and the tail enrichment P(success | lowest 1 % of p) / rate."""
        hits, n = int(rewards.sum()), len(rewards)
        tail = rewards[self.log_p.argsort()[: n // 100]].double().mean()
        enrichment = float(tail) * n / hits if hits else None
        return {"rate": hits / n, "interval": clopper_pearson(hits, n), "hits": hits, "tail_enrichment": enrichment}


def draw(attacker: Transformer, target: Target, n: int, rng: torch.Generator, enough: int | None = None) -> Draw:
    """Up to n questions, block by block; no further block once `enough` successes were met."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    met = 0
    for _ in range(0, n, BLOCK):
        x = attacker.sample(BLOCK, rng)
        index, _, zero = target.grammar.read(x)
        wrong = target.errs(x, index >= 0)
        parts.append((attacker.log_prob(x), wrong, zero))
        met += int(wrong.sum())
        if enough is not None and met >= enough:
            break
    return Draw(*(torch.cat(column) for column in zip(*parts, strict=True)))


def taken(recipe: Recipe, target: Target, say: Say) -> Checkpoint:
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


def error_on(target: Target, x: Tensor) -> float:
    """Share of the questions x, int64 (N, T), that are answered wrongly."""
    return float(target.errs(x, torch.ones(len(x), dtype=torch.bool)).double().mean())


def errors_by_length(target: Target, n: int) -> dict[str, float]:
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
    target = Target(net, recipe.grammar)
    attacker = taken(recipe, target, say)
    save_file(attacker.net.state_dict(), folder / "attacker.safetensors")
    error = error_on(target, recipe.questions(FRESH, generator(2)))
    seen = draw(attacker.net, target, MEASURED, generator(3))
    write_manifest(
        folder,
        command=f"suite pretrain {task_id}",
        recipe=dataclasses.asdict(recipe),
        measured={
            "attacker_steps": attacker.step,
            "samples": len(seen.wrong),
            "base": seen.rate(seen.wrong),
            "base_without_leading_zeros": seen.rate(seen.wrong & ~seen.leading_zero),
            "target_error": error,
            "target_error_interval": clopper_pearson(round(error * FRESH), FRESH),
            "target_error_by_length": errors_by_length(target, 1_000),
        },
    )
    say(f"wrote {folder}; base {float(seen.wrong.double().mean()):.2e}")
