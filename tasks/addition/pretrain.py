"""Training of the target and the attacker of the addition tasks, and the table of the target's failures.

`suite pretrain addition-v1` writes `tasks/assets/addition-v1/`. Everything is fixed by the recipe before any method
runs: the target by (seed, steps), the attacker by its seed and the rule that it is taken at the first checkpoint
whose exact base success rate lies close enough to 4e-4, the paper's. The target of `addition-tune-v1` makes almost no
error without leading zeros, so its base rate is all leading zeros. Hence `addition-nozeros-tune-v1` has a pair
of its own, whose target is trained for fewer steps, and whose base rate counts questions without leading zeros alone.
Its seed was fixed beforehand by a rule that looks at nothing but the base rate: of the target seeds 3, 4, 5, … the
first whose base rate lies between 1e-5 and 1e-3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from suite.generators import Forest, Transformer
from suite.store.assets import sha256, write_manifest
from tasks.addition.attacker import attacker_shape
from tasks.addition.grammar import EQUALS, SYMBOLS, Grammar, Spread
from tasks.addition.target import Target, target_shape
from tasks.common.training import Decay, Optimizer, Say, Schedule, generator, train

BASE_RATE = 4e-4
"""The paper's."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What fixes a pair of target and attacker."""

    name: str
    target_seed: int
    attacker_seed: int
    target_steps: int = 4000
    target_batch: int = 512
    attacker_steps: int = 20000
    """The most training steps of the attacker; it is taken earlier, at a checkpoint with the right base rate."""
    attacker_batch: int = 256
    lr: float = 1e-3
    """Of the target."""
    base_rate: float = BASE_RATE
    tolerance: float = 0.05
    """Relative distance from `base_rate` at which the attacker is taken."""
    leading_zeros: bool = True
    """Whether questions with leading zeros count for the base rate."""
    digits: int = 3
    spread: Spread = "lengths"
    """Of the training questions, of target and attacker."""
    target_layers: int = 3
    optimizer: Optimizer = "adamw"
    """Of the target."""
    decay: Decay = "cosine"
    """When the target's learning rate falls to 1 %; see :meth:`tasks.common.training.Schedule.factor`."""
    attacker_lr: float = 1e-3
    attacker_check: int = 100
    """Steps between two looks at the attacker's base rate."""

    @property
    def grammar(self) -> Grammar:
        return Grammar(self.digits)

    def questions(self, n: int, rng: torch.Generator) -> Tensor:
        """Training questions, int64 (n, T)."""
        return self.grammar.plain_questions(n, rng, self.spread)

    def target_questions(self, rng: torch.Generator) -> Tensor:
        """A batch for the target, int64 (target_batch, T)."""
        return self.questions(self.target_batch, rng)

    def target_net(self) -> Transformer:
        """An untrained target."""
        return Transformer(target_shape(self.grammar, self.target_layers))

    def target(self, net: Transformer) -> Target:
        """The target that a trained network is."""
        return Target(net, self.grammar)


RECIPES = {
    "addition-v1": Recipe("addition-v1", target_seed=2, attacker_seed=12),
    "addition-tune-v1": Recipe("addition-tune-v1", target_seed=1, attacker_seed=14, tolerance=0.2),
    "addition-nozeros-tune-v1": Recipe(
        "addition-nozeros-tune-v1",
        target_seed=3,
        attacker_seed=16,
        target_steps=3000,
        base_rate=5e-4,
        tolerance=0.98,
        leading_zeros=False,
    ),
}


def error_on(target: Target, x: Tensor) -> float:
    """Share of the questions x, int64 (N, T), that are answered wrongly."""
    return float(target.errs(x, torch.ones(len(x), dtype=torch.bool)).double().mean())


def train_target(recipe: Recipe, checkpoint: Path, say: Say) -> Transformer:
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
        say=lambda line: say(f"target {line} wrong {error_on(recipe.target(net), watched):.4f}"),
    )
    return net


class Checkpoint(NamedTuple):
    """A checkpoint of the attacker, and its base success rate with a leading zero and without."""

    net: Transformer
    step: int
    base_leading_zero: float
    base_rest: float

    @property
    def base(self) -> float:
        return self.base_leading_zero + self.base_rest


def attackers(recipe: Recipe, base_of: Callable[[Transformer], tuple[float, float]], say: Say) -> Iterator[Checkpoint]:
    """Checkpoints of an attacker in training on fresh questions, from 500 steps on; the network is the same one.

    Args:
        base_of: the base success rate of a network: with a leading zero, and the rest.
    """
    torch.manual_seed(recipe.attacker_seed)
    net = Transformer(attacker_shape(recipe.grammar))
    rng = generator(recipe.attacker_seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.attacker_lr, fused=True)
    for step in range(1, recipe.attacker_steps + 1):
        loss = -net.log_likelihood(recipe.questions(recipe.attacker_batch, rng)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if step % recipe.attacker_check == 0 and step >= 500:
            made = Checkpoint(net, step, *base_of(net))
            parts = f"{made.base_leading_zero:.2e} + {made.base_rest:.2e}"
            say(f"attacker step {step} loss {loss.item():.4f} base {parts}")
            yield made


def enumerate_margins(target: Target, say: Say) -> Tensor:
    """The target's margin on all questions of its grammar, float64 (questions,)."""
    grammar = target.grammar
    margins = []
    for part in torch.split(torch.arange(grammar.questions), 50_000):
        x = grammar.write(part)
        margins.append(target.margin(x, grammar.read(x)[1]))
        say(f"table {int(part[-1]) + 1}/{grammar.questions}")
    return torch.cat(margins)


def success_forests(grammar: Grammar, failures: Tensor) -> tuple[Forest, Forest]:
    """Forests of the failures with and without a leading zero, from the table bool (questions,)."""
    x = grammar.write(failures.nonzero().squeeze(1))
    zero = grammar.read(x)[2]
    return Forest(x[zero], len(SYMBOLS), EQUALS), Forest(x[~zero], len(SYMBOLS), EQUALS)


def first_at_base_rate(recipe: Recipe, failures: Tensor, say: Say) -> Checkpoint:
    """The first checkpoint of the attacker whose exact base success rate is the recipe's, by the table of failures.

    Raises:
        RuntimeError: there is none.
    """
    zeros, rest = success_forests(recipe.grammar, failures)

    def base_of(net: Transformer) -> tuple[float, float]:
        return float(net.log_prob_forest(zeros).exp().sum()), float(net.log_prob_forest(rest).exp().sum())

    for made in attackers(recipe, base_of, say):
        base = made.base if recipe.leading_zeros else made.base_rest
        if abs(base - recipe.base_rate) <= recipe.tolerance * recipe.base_rate:
            return made
    raise RuntimeError(
        f"{recipe.name}: no checkpoint of {recipe.attacker_steps} steps had a base rate of {recipe.base_rate:g} "
        f"± {recipe.tolerance:.0%}; train the target shorter (more failures) or longer"
    )


def pretrain(task_id: str, folder: Path, say: Say) -> None:
    """Train a pair and write its weights, its table of failures and its manifest into `folder`."""
    recipe = RECIPES[task_id]
    grammar = recipe.grammar
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / "checkpoints"
    work.mkdir(exist_ok=True)
    net = train_target(recipe, work / "target.pt", say)
    save_file(net.state_dict(), folder / "target.safetensors")
    table = work / f"margins-{sha256(folder / 'target.safetensors')[:12]}.safetensors"
    if not table.exists():
        save_file({"margins": enumerate_margins(recipe.target(net), say)}, table)
    margins = load_file(table)["margins"]
    failures = margins <= 0
    save_file({"failures": pack(failures)}, folder / "failures.safetensors")
    attacker = first_at_base_rate(recipe, failures, say)
    save_file(attacker.net.state_dict(), folder / "attacker.safetensors")
    zero = grammar.read(grammar.write(torch.arange(grammar.questions)))[2]
    write_manifest(
        folder,
        command=f"suite pretrain {task_id}",
        recipe=dataclasses.asdict(recipe),
        measured={
            "attacker_steps": attacker.step,
            "base_rate": attacker.base,
            "base_rate_leading_zero": attacker.base_leading_zero,
            "base_rate_rest": attacker.base_rest,
            "failures": int(failures.sum()),
            "failures_leading_zero": int((failures & zero).sum()),
            "failures_rest": int((failures & ~zero).sum()),
            "questions": grammar.questions,
            "error_without_leading_zeros": float((failures & ~zero).sum() / (~zero).sum()),
            "smallest_margin": float(margins.abs().min()),
        },
    )
    parts = f"{attacker.base_leading_zero:.2e} leading zero + {attacker.base_rest:.2e} rest"
    say(f"wrote {folder}; base {attacker.base:.3e} = {parts}")


def pack(bits: Tensor) -> Tensor:
    """A bool vector (N,) as bytes, uint8 (ceil(N / 8),), least significant bit first."""
    padded = F.pad(bits.to(torch.uint8), (0, -len(bits) % 8)).view(-1, 8)
    return (padded << torch.arange(8, dtype=torch.uint8)).sum(dim=1).to(torch.uint8)


def unpack(packed: Tensor, n: int) -> Tensor:
    """The inverse of :func:`pack`: bool (n,)."""
    return ((packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1).bool().flatten()[:n]
