"""Successes of a task's prior on disk: drawn before any method ran, and shipped in `successes/` of the tasks' package.

One safetensors file a task and configuration. Its metadata says how it was made; its hash is one of the task's assets,
so that a new sample makes new cells.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors

from suite import config as configs
from suite import registry
from suite import task as tasks
from suite.errors import UserError
from suite.measure import posterior
from suite.measure.posterior import Posterior
from suite.policy import Generator
from suite.seeding import derive
from suite.store import assets, disk, records
from suite.task import PriorSuccesses, Task

FOLDER = "successes"
"""Beside the tasks' measured.json."""
WANTED = 400
"""Successes of a sample that is drawn here."""
MOST = 20_000_000
"""Draws of the prior after which no more are made."""
NAME = "successes"
"""Of the file among a task's assets."""


def path(entry: registry.Entry, config: Any) -> Path:
    """Where the sample of a task with this configuration lies: ID.safetensors, and ID-HASH for other configurations."""
    name = entry.id.replace(":", "-")
    if config != configs.build(entry.config_class, {}):
        name += f"-{records.cell_of(configs.to_dict(config))[:8]}"
    return registry.facts_file(entry.source).parent / FOLDER / f"{name}.safetensors"


def read(entry: registry.Entry, config: Any) -> PriorSuccesses | None:
    """The sample of a task with this configuration; None where there is none.

    Raises:
        UserError: the file is damaged.
    """
    file = path(entry, config)
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            return PriorSuccesses(opened.get_tensor("strings").long(), int(opened.metadata()["draws"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        advice = f"restore it from git, or make it again with `suite list --measure {entry.id}`"
        raise UserError(f"{file}: no sample of successes ({type(error).__name__}); {advice}") from error


def posterior_of(entry: registry.Entry, config: Any, task: Task, prior: Generator, device: str = "cpu") -> Posterior:
    """What policies of a task are held against, with the sample that lies beside it.

    Args:
        entry: of the task.
        config: its configuration.
        task: made of them.
        prior: its generator, on `device`.
        device: for the sample.

    Raises:
        UserError: the file of the sample is damaged.
    """
    sample = read(entry, config)
    if sample is not None:
        sample = sample._replace(strings=sample.strings.to(device))
    return Posterior(task, prior, sample)


def sha256(entry: registry.Entry, config: Any) -> dict[str, str]:
    """{`successes`: sha256 of the file}, to stand among a task's assets; empty where there is none."""
    file = path(entry, config)
    return {NAME: assets.sha256(file)} if file.exists() else {}


def keep(entry: registry.Entry, config: Any, task: Task) -> str:
    """Draw a sample and write it where the task needs one; what was done, in a few words."""
    if tasks.prior_successes(task) is not None:
        return "no sample of successes: the task brings its own"
    if Posterior(task, task.prior()).is_enumerated():
        return "no sample of successes is needed: they are enumerated"
    sample = posterior.draw(task, WANTED, torch.Generator().manual_seed(derive("successes", entry.id)), MOST)
    if sample is None:
        return f"no sample of successes: fewer than {posterior.LEAST} among {MOST:,} draws of the prior"
    return f"{write(entry, config, sample)}: {len(sample.strings)} successes among {sample.draws:,} draws of the prior"


def write(entry: registry.Entry, config: Any, sample: PriorSuccesses) -> Path:
    """Put a sample where :func:`read` finds it."""
    file = path(entry, config)
    file.parent.mkdir(exist_ok=True)
    small = sample.strings.to(torch.uint8 if int(sample.strings.max()) < 256 else torch.int32).contiguous()
    how = {"task": entry.id, "config": json.dumps(configs.to_dict(config), sort_keys=True), "draws": str(sample.draws)}
    disk.write(file, safetensors.save({"strings": small}, how))
    return file
