"""`suite pretrain`."""

from __future__ import annotations

import click

from suite import registry
from suite.errors import UserError


@click.command("pretrain")
@click.argument("task")
def command(task: str) -> None:
    """Make the assets of TASK: weights, tables and their manifest."""
    import torch

    entry = registry.load("task", task)
    pretrain = getattr(entry.target, "pretrain", None)
    if pretrain is None:
        able = [ref for ref in registry.ids("task") if hasattr(registry.load("task", ref).target, "pretrain")]
        raise UserError(f"task {task!r} has nothing to pre-train; possible: {', '.join(able) or 'none'}")
    torch.set_num_threads(1)  # as runs do: results differ between thread counts
    pretrain(click.echo)
