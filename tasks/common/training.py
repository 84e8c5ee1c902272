"""The training loop of the shipped networks: fresh data at every step, resumable, fixed by seed and steps."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from suite.generators import Transformer
from suite.store import disk

Say = Callable[[str], None]
Optimizer = Literal["adamw", "muon"]
Decay = Literal["cosine", "last-third"]
WARMUP = 100
"""Steps in which the learning rate rises."""


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long, how fast and by which optimiser a network is trained."""

    steps: int
    lr: float = 1e-3
    optimizer: Optimizer = "adamw"
    decay: Decay = "cosine"

    def factor(self, step: int) -> float:
        """Linear warm-up, then to 1 % of the learning rate: as a cosine, or flat and linearly in the last third."""
        if step < WARMUP:
            return (step + 1) / WARMUP
        if self.decay == "cosine":
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / max(1, self.steps - WARMUP)))
        return 0.01 + 0.99 * min(1.0, 3 * (self.steps - step) / self.steps)

    def optimizers(self, net: nn.Module) -> list[torch.optim.Optimizer]:
        """AdamW for all weights, or Muon for the matrices of a transformer's blocks and AdamW for the rest.

        Muon (Jordan et al. 2024) orthogonalises the momentum of a matrix; its step is scaled to AdamW's typical size.
        """
        blocks = net.blocks.parameters() if self.optimizer == "muon" and isinstance(net, Transformer) else ()
        matrices = {p for p in blocks if p.ndim == 2}
        rest = [p for p in net.parameters() if p not in matrices]
        made: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=self.lr, weight_decay=0.01, fused=True)]
        if matrices:
            held = [p for p in net.parameters() if p in matrices]
            made.append(torch.optim.Muon(held, lr=self.lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"))
        return made


def train(
    net: nn.Module,
    loss_of: Callable[[torch.Generator], Tensor],
    rng: torch.Generator,
    schedule: Schedule,
    *,
    checkpoint: Path,
    recipe: dict[str, Any],
    say: Say,
    every: int = 100,
) -> None:
    """Train `net` in place for the steps of the schedule.

    Args:
        loss_of: the loss of `net` on data drawn with the given generator.
        rng: that generator; its state is part of the checkpoint.
        checkpoint: written every `every` steps; training goes on from it where its recipe is `recipe`.
    """
    optimizers = schedule.optimizers(net)
    first = 0
    state = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else {}
    if state.get("recipe") == recipe:
        net.load_state_dict(state["net"])
        for optimizer, held in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(held)
        rng.set_state(state["rng"])
        first = state["step"]
    for step in range(first, schedule.steps):
        loss = loss_of(rng)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = schedule.lr * schedule.factor(step)
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if (step + 1) % every == 0:
            say(f"step {step + 1}/{schedule.steps} loss {loss.item():.4f}")
            state = {"net": net.state_dict(), "optimizers": [each.state_dict() for each in optimizers]}
            state |= {"rng": rng.get_state(), "step": step + 1, "recipe": recipe}
            content = io.BytesIO()
            torch.save(state, content)
            disk.write(checkpoint, content.getvalue())
