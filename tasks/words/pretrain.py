"""Training of the network that solves word problems, and the choice of the questions that it hardly ever solves.

`suite pretrain word-problems-v1` writes `tasks/assets/word-problems-v1/`. The recipe fixes the network by (seed,
steps). Questions are taken in the order of their pool by base rates alone: the first six that pass the screens below
and of which 200,000 samples hold a share between 4e-4 and 2e-3. The pool `tune` gives six others by the same rule.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from suite.generators import Shape, Transformer
from suite.measure.intervals import clopper_pearson
from suite.store.assets import write_manifest
from tasks.common.training import Say, Schedule, generator, train
from tasks.words.templates import END, SYMBOLS, Problem, decode, encode, hard_problem, last_numbers, problem

PROMPT, LENGTH = 32, 48
"""Most symbols of a question and of a solution."""
SHAPE = Shape(vocab_size=len(SYMBOLS), length=LENGTH, end=END, width=64, layers=3, prompt=PROMPT)
LOW, HIGH = 4e-4, 2e-3
QUESTIONS = 6
MOST_LOOKED_AT = 1000
SAMPLES = 200_000
SCREENS = ((2_000, 0, 20), (20_000, 2, 80))
"""Samples, and the fewest and most successes among them with which a question is looked at further.

A question in the range fails a screen with a probability of at most 0.3 %; most others are dropped early.
"""
BLOCK = 20_000


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What fixes the network."""

    seed: int = 1
    steps: int = 3000
    batch: int = 64
    lr: float = 3e-3
    hard_share: float = 0.05
    """Of the training problems, as large as the questions."""


def training_rows(problems: list[Problem]) -> tuple[Tensor, Tensor]:
    """Questions followed by solutions, int64 (B, PROMPT + LENGTH), and True where a solution or its end stands."""
    rows = torch.full((len(problems), PROMPT + LENGTH), END)
    where = torch.zeros_like(rows, dtype=torch.bool)
    for i, each in enumerate(problems):
        question, solution = encode(each.question), [*encode(each.solution), END]
        rows[i, : len(question) + len(solution)] = torch.tensor(question + solution)
        where[i, len(question) : len(question) + len(solution)] = True
    return rows, where


def train_solver(recipe: Recipe, checkpoint: Path, say: Say) -> Transformer:
    """Train on fresh problems; the loss is on the solutions."""
    torch.manual_seed(recipe.seed)
    # the same weights as SHAPE's; the question is part of the string here
    net = Transformer(dataclasses.replace(SHAPE, length=PROMPT + LENGTH, prompt=0))

    def loss_of(rng: torch.Generator) -> Tensor:
        hard = torch.rand(recipe.batch, generator=rng) < recipe.hard_share
        rows, where = training_rows([problem(rng, bool(h)) for h in hard])
        used = int(where.any(dim=0).nonzero().max()) + 1
        return F.cross_entropy(net.logits(rows[:, :used])[where[:, :used]], rows[where])

    train(
        net,
        loss_of,
        generator(recipe.seed),
        Schedule(recipe.steps, recipe.lr, "muon", "last-third"),
        checkpoint=checkpoint,
        recipe=dataclasses.asdict(recipe),
        say=say,
    )
    return net


def solver(weights: dict[str, Tensor], question: str) -> Transformer:
    """The network with a question as its prompt."""
    net = Transformer(SHAPE)
    net.load_state_dict(weights)
    net.prompt = torch.tensor(encode(question))
    return net


def measure(net: Transformer, answer: int, samples: int, seed: int) -> dict[str, Any]:
    """Success rate with its interval, and tail enrichment P(success | lowest 1 % of p) / rate."""
    rng, log_p, right = generator(seed), [], []
    for start in range(0, samples, BLOCK):
        x = net.sample(min(BLOCK, samples - start), rng)
        log_p.append(net.log_prob(x))
        right.append(last_numbers(x) == answer)
    p, r = torch.cat(log_p), torch.cat(right)
    hits, tail = int(r.sum()), r[p.argsort()[: samples // 100]].double().mean()
    enrichment = float(tail) * samples / hits if hits else None
    return {"rate": hits / samples, "interval": clopper_pearson(hits, samples), "tail_enrichment": enrichment}


def passes(net: Transformer, answer: int, index: int) -> bool:
    """Whether a question passes all screens, each on samples of its own."""
    for stage, (samples, fewest, most) in enumerate(SCREENS, start=1):
        rate = measure(net, answer, samples, seed=stage * MOST_LOOKED_AT + index)["rate"]
        if not fewest <= round(rate * samples) <= most:
            return False
    return True


def choose(weights: dict[str, Tensor], pool: str, say: Say) -> list[dict[str, Any]]:
    """The first questions of a pool whose base rate lies in the range; prints each question that it measures.

    Raises:
        RuntimeError: fewer than six among the first 1,000.
    """
    chosen: list[dict[str, Any]] = []
    for index in range(MOST_LOOKED_AT):
        each = hard_problem(pool, index)
        net = solver(weights, each.question)
        if not passes(net, each.answer, index):
            continue
        found = measure(net, each.answer, SAMPLES, seed=index)
        greedy = decode(net.tempered(1e-6).sample(1, generator(0)))[0]
        say(f"{pool} {index}: {each.question} {each.answer}; {found['rate']:.1e}; {greedy}")
        if LOW <= found["rate"] <= HIGH:
            chosen.append({"index": index, **dataclasses.asdict(each), **found})
        if len(chosen) == QUESTIONS:
            return chosen
    raise RuntimeError(
        f"{len(chosen)} of {MOST_LOOKED_AT} questions of pool {pool} have a base rate of {LOW:g} to {HIGH:g}; "
        "train the network shorter or longer"
    )


def pretrain(task_id: str, folder: Path, say: Say, recipe: Recipe | None = None) -> None:
    """Train the network, choose the questions, and write weights and manifest into `folder`."""
    recipe = recipe or Recipe()
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    net = train_solver(recipe, folder / "checkpoints" / "solver.pt", say)
    save_file(net.state_dict(), folder / "solver.safetensors")
    weights = net.state_dict()
    write_manifest(
        folder,
        command=f"suite pretrain {task_id}",
        recipe=dataclasses.asdict(recipe),
        measured={"samples": SAMPLES, **{pool: choose(weights, pool, say) for pool in ("reported", "tune")}},
    )
