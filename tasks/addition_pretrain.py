"""Training of the target and the attacker of the addition tasks, and the table of the target's failures.

`suite pretrain addition-v1` writes `tasks/assets/addition-v1/`. Everything is fixed by the recipe before any method
runs: the target by (seed, steps), the attacker by its seed and the rule that it is taken at the first checkpoint
whose exact base success rate lies close enough to 4e-4, the paper's. The target of `addition-tune-v1` errs on next to
no question without leading zeros, so its base rate is all leading zeros. Hence `addition-nozeros-tune-v1` has a pair
of its own, whose target is trained for fewer steps, and whose base rate counts questions without leading zeros alone.
Its seed was fixed beforehand by a rule that looks at nothing but the base rate: of the target seeds 3, 4, 5, … the
first whose base rate lies between 1e-5 and 1e-3.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from suite.assets import sha256, write_manifest
from suite.generators import Forest, Shape, Transformer
from tasks import addition_grammar as grammar
from tasks.addition_target import SHAPE as TARGET_SHAPE
from tasks.addition_target import Target

ATTACKER_SHAPE = Shape(
    vocab_size=len(grammar.SYMBOLS), length=grammar.QUESTION_LENGTH, end=grammar.EQUALS, width=64, layers=2
)
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
    """At most; the attacker stops by its base rate."""
    attacker_batch: int = 256
    lr: float = 1e-3
    base_rate: float = BASE_RATE
    tolerance: float = 0.05
    """Relative distance from `base_rate` at which the attacker is taken."""
    leading_zeros: bool = True
    """Whether questions with leading zeros count for the base rate."""


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

Say = Callable[[str], None]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train_target(recipe: Recipe, checkpoint: Path, say: Say) -> Transformer:
    """Train on fresh questions without leading zeros; the loss is on the answer. Resumes from `checkpoint`."""
    torch.manual_seed(recipe.target_seed)
    net = Transformer(TARGET_SHAPE)
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.lr, weight_decay=0.01, fused=True)
    rng = generator(recipe.target_seed)
    first = 0
    state = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else {}
    if state.get("recipe") == dataclasses.asdict(recipe):
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        rng.set_state(state["rng"])
        first = state["step"]
    for step in range(first, recipe.target_steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * schedule(step, recipe.target_steps)
        x = grammar.plain_questions(recipe.target_batch, rng)
        full, answer = grammar.with_answer(x, grammar.read(x)[1])
        logits = net.logits(full)
        loss = F.cross_entropy(logits[answer], full[answer])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            x = grammar.plain_questions(8192, generator(0))
            wrong = (Target(net).margin(x, grammar.read(x)[1]) <= 0).double().mean()
            say(f"target step {step + 1}/{recipe.target_steps} loss {loss.item():.4f} wrong {float(wrong):.5f}")
            state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "rng": rng.get_state()}
            state |= {"step": step + 1, "recipe": dataclasses.asdict(recipe)}
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").rename(checkpoint)
    return net


def schedule(step: int, steps: int, warmup: int = 100) -> float:
    """Linear warm-up, then cosine to 1 % of the learning rate."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def enumerate_margins(target: Target, say: Say) -> Tensor:
    """The target's margin on all 1,232,100 questions, float64 (QUESTIONS,)."""
    margins = []
    for part in torch.split(torch.arange(grammar.QUESTIONS), 50_000):
        x = grammar.write(part)
        margins.append(target.margin(x, grammar.read(x)[1]))
        say(f"table {int(part[-1]) + 1}/{grammar.QUESTIONS}")
    return torch.cat(margins)


def success_forests(failures: Tensor) -> tuple[Forest, Forest]:
    """Forests of the failures with and without a leading zero, from the table bool (QUESTIONS,)."""
    x = grammar.write(failures.nonzero().squeeze(1))
    zero = grammar.read(x)[2]
    size, end = ATTACKER_SHAPE.vocab_size, ATTACKER_SHAPE.end
    return Forest(x[zero], size, end), Forest(x[~zero], size, end)


def train_attacker(recipe: Recipe, failures: Tensor, say: Say) -> tuple[Transformer, int, float, float]:
    """Train on fresh questions until the exact base success rate is the recipe's.

    Returns:
        The network, its steps, and the base rate's part with a leading zero and the rest.
    """
    zeros, rest = success_forests(failures)
    torch.manual_seed(recipe.attacker_seed)
    net = Transformer(ATTACKER_SHAPE)
    rng = generator(recipe.attacker_seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.lr, fused=True)
    for step in range(recipe.attacker_steps):
        loss = -net.log_likelihood(grammar.plain_questions(recipe.attacker_batch, rng)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0 and step + 1 >= 500:
            part_zeros = float(net.log_prob_forest(zeros).exp().sum())
            part_rest = float(net.log_prob_forest(rest).exp().sum())
            say(f"attacker step {step + 1} loss {loss.item():.4f} base {part_zeros:.2e} + {part_rest:.2e}")
            base = part_rest + (part_zeros if recipe.leading_zeros else 0.0)
            if abs(base - recipe.base_rate) <= recipe.tolerance * recipe.base_rate:
                return net, step + 1, part_zeros, part_rest
    raise RuntimeError(
        f"{recipe.name}: no checkpoint of {recipe.attacker_steps} steps had a base rate of {recipe.base_rate:g} "
        f"± {recipe.tolerance:.0%}; train the target shorter (more failures) or longer"
    )


def pretrain(task_id: str, folder: Path, say: Say) -> None:
    """Train a pair and write its weights, its table of failures and its manifest into `folder`."""
    recipe = RECIPES[task_id]
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / "checkpoints"
    work.mkdir(exist_ok=True)
    net = train_target(recipe, work / "target.pt", say)
    save_file(net.state_dict(), folder / "target.safetensors")
    table = work / f"margins-{sha256(folder / 'target.safetensors')[:12]}.safetensors"
    if not table.exists():
        save_file({"margins": enumerate_margins(Target(net), say)}, table)
    margins = load_file(table)["margins"]
    failures = margins <= 0
    save_file({"failures": pack(failures)}, folder / "failures.safetensors")
    attacker, steps, part_zeros, part_rest = train_attacker(recipe, failures, say)
    save_file(attacker.state_dict(), folder / "attacker.safetensors")
    zero = grammar.read(grammar.write(torch.arange(grammar.QUESTIONS)))[2]
    write_manifest(
        folder,
        command=f"suite pretrain {task_id}",
        recipe=dataclasses.asdict(recipe),
        measured={
            "attacker_steps": steps,
            "base_rate": part_zeros + part_rest,
            "base_rate_leading_zero": part_zeros,
            "base_rate_rest": part_rest,
            "failures": int(failures.sum()),
            "failures_leading_zero": int((failures & zero).sum()),
            "failures_rest": int((failures & ~zero).sum()),
            "questions": grammar.QUESTIONS,
            "error_without_leading_zeros": float((failures & ~zero).sum() / (~zero).sum()),
            "smallest_margin": float(margins.abs().min()),
        },
    )
    say(f"wrote {folder}; base {part_zeros + part_rest:.3e} = {part_zeros:.2e} leading zero + {part_rest:.2e} rest")


def pack(bits: Tensor) -> Tensor:
    """A bool vector (N,) as bytes, uint8 (ceil(N / 8),), least significant bit first."""
    padded = F.pad(bits.to(torch.uint8), (0, -len(bits) % 8)).view(-1, 8)
    return (padded << torch.arange(8, dtype=torch.uint8)).sum(dim=1).to(torch.uint8)


def unpack(packed: Tensor, n: int) -> Tensor:
    """The inverse of :func:`pack`: bool (n,)."""
    return ((packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1).bool().flatten()[:n]
