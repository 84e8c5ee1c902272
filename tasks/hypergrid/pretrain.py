"""The walk that is the hypergrid's prior, exactly, and the transformer that is fitted to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from suite.generators import Shape, Transformer
from suite.store.assets import write_manifest

DIMENSIONS, SIDE = 4, 8
SHAPE = Shape(vocab_size=SIDE, length=DIMENSIONS, end=None, width=32, layers=2, heads=4)
CELLS = torch.cartesian_prod(*[torch.arange(SIDE)] * DIMENSIONS)
"""All cells, int64 (4096, 4)."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What fixes a prior."""

    seed: int
    stop: float = 0.1
    """Probability that the walk stops at a cell."""
    steps: int = 2000
    """Full-batch steps of Adam on the cross-entropy."""
    lr: float = 3e-3


RECIPES = {"hypergrid-v1": Recipe(seed=1), "hypergrid-tune-v1": Recipe(seed=2)}


def walk(stop: float) -> Tensor:
    """Probability that the walk stops at each cell, float64 (4096,), in the order of `CELLS`.

    It starts at the origin; at a cell it stops with probability `stop`, else it increases one of the coordinates that
    are not at the border, each as likely; where all are, it stops.
    """
    arrived = torch.zeros(len(CELLS), dtype=torch.float64)
    arrived[0] = 1.0
    stride = SIDE ** torch.arange(DIMENSIONS - 1, -1, -1)
    free = CELLS < SIDE - 1  # (4096, 4)
    stops = torch.zeros_like(arrived)
    for distance in range(DIMENSIONS * (SIDE - 1) + 1):
        here = (CELLS.sum(dim=1) == distance).nonzero().squeeze(1)
        choices = free[here].sum(dim=1)
        stops[here] = torch.where(choices > 0, torch.tensor(stop, dtype=torch.float64), 1.0) * arrived[here]
        for d in range(DIMENSIONS):
            goes = free[here, d]
            share = (arrived[here] - stops[here])[goes] / choices[goes]
            arrived.index_add_(0, here[goes] + stride[d], share)
    return stops


def pretrain(task_id: str, folder: Path, say: Callable[[str], None]) -> None:
    """Fit a prior and write its weights and its manifest into `folder`."""
    recipe = RECIPES[task_id]
    exact = walk(recipe.stop)
    torch.manual_seed(recipe.seed)
    net = Transformer(SHAPE)
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    weights = exact.float()
    for step in range(recipe.steps):
        loss = -(weights * log_likelihoods(net)).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if (step + 1) % 250 == 0:
            say(f"step {step + 1}/{recipe.steps} KL(walk || prior) {loss.item() - entropy(exact):.2e}")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), folder / "prior.safetensors")
    kl = float((exact * (exact.log() - net.log_prob(CELLS))).sum())
    write_manifest(
        folder,
        command=f"suite pretrain {task_id}",
        recipe=dataclasses.asdict(recipe),
        measured={"kl_walk_prior": kl, "entropy_walk": entropy(exact)},
    )
    say(f"wrote {folder}; KL(walk || prior) {kl:.2e}")


def log_likelihoods(net: Transformer) -> Tensor:
    """log p of all cells with gradients, float32 (4096,); cells that differ in the last coordinate share one pass."""
    x = CELLS[::SIDE]  # (512, 4)
    log_p = torch.log_softmax(net.logits(x), dim=-1)  # (512, 4, 8)
    first = log_p[:, :-1].gather(-1, x[:, :-1, None]).sum(dim=1)  # (512, 1)
    return (first + log_p[:, -1]).flatten()


def entropy(p: Tensor) -> float:
    """In nats, of probabilities float64 (N,) without zeros."""
    return float(-(p * p.log()).sum())
