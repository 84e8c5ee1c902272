"""What is known of a task before any method runs: its base success rate, its space, what its tail holds.

Measured by `suite list --measure` and kept in `measured.json` in the tasks' package, so that `suite list` builds no
task. A test holds the file against the tasks.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from suite import task as tasks
from suite.measure.estimators import monte_carlo
from suite.measure.intervals import clopper_pearson
from suite.seeding import derive
from suite.store import disk, json_file
from suite.task import Task

TAIL = 0.01
"""The share of the prior's mass with the lowest likelihood that is its tail (docs/protocol.md)."""
POOL = 200_000
"""Samples of the prior that its tail is found by, and that rates are counted on where nothing is enumerated."""
GUESSES = 20_000
"""Uniform strings whose successes are counted where nothing is enumerated."""
TIE = 1e-9
"""Log-probabilities this close, in nats, are equal."""


def write(path: Path, task_id: str, facts: dict[str, Any]) -> Path:
    """Put a task's facts into the file of :func:`suite.registry.facts_file`."""
    known = json_file.read(path, advice="put it back from git, or remove it") if path.exists() else {}
    disk.write(path, json.dumps(dict(sorted((known | {task_id: facts}).items())), indent=2) + "\n")
    return path


@torch.no_grad()
def measure(task: Task, pool: int = POOL) -> dict[str, Any]:
    """Base rate and tail enrichment of a task, with 95 % intervals where they are counted.

    The tail enrichment is P(success | the 1 % of the prior's mass with the lowest likelihood) / base rate, ties at
    random: how much more a sample of the tail succeeds than one of the prior. Where the successes are enumerated only
    the quantile of the likelihood is estimated, from `pool` samples; else successes among the tail's are counted.

    Returns:
        base_rate, low, high; estimator, `exact` or `monte-carlo`; n, its samples; tail_enrichment, tail_low, tail_high;
        uniform_rate, the success rate of uniform strings, which no evaluation is needed for: exact, or counted on
        `GUESSES`; space, how many samples are well formed; extra, what must be installed. None where unknown.
    """
    prior = task.prior()
    x = prior.sample(pool, torch.Generator().manual_seed(derive("facts", pool)))  # (B, T)
    log_p = prior.log_prob(x)
    rate, log_successes = tasks.enumerated(task, prior)
    rewards = tasks.verify_heldout(task, x) if log_successes is None else None
    if rate is not None:
        base: dict[str, Any] = {"base_rate": rate, "low": rate, "high": rate, "estimator": "exact", "n": None}
    else:
        assert rewards is not None
        count = monte_carlo(int(rewards.sum()), pool)
        base = {"base_rate": count.success_rate, "low": count.low, "high": count.high}
        base |= {"estimator": count.estimator, "n": pool}
    if rewards is None:
        assert log_successes is not None
        shares = [enumerated_tail(log_successes, log_p)] * 3
    else:
        shares = counted_tail(rewards, log_p)
    b = base["base_rate"]
    tail = [share / b if b else None for share in shares]
    return {
        **base,
        **dict(zip(("tail_enrichment", "tail_low", "tail_high"), tail, strict=True)),
        "uniform_rate": uniform_rate(task),
        "space": _number(getattr(task, "space", None)),
        "extra": getattr(task, "extra", None),
    }


@torch.no_grad()
def uniform_rate(task: Task) -> float:
    """The success rate of the task's uniform strings: exact where it can be, else counted on `GUESSES` of them."""
    uniform = task.prior().uniform()
    rate, _ = tasks.enumerated(task, uniform)
    if rate is not None:
        return rate
    x = uniform.sample(GUESSES, torch.Generator().manual_seed(derive("guesses", GUESSES)))
    return float(tasks.verify_heldout(task, x).double().mean())


def _number(space: Any) -> int | float | None:
    """A count as JSON can say it: of Python, numpy or torch; None where there is none."""
    return None if space is None else int(space) if float(space).is_integer() else float(space)


def enumerated_tail(log_successes: Tensor, log_pool: Tensor) -> float:
    """P(success | tail) from log p of every success, (S,), and of a pool of the prior's samples, (B,).

    The tail is all that is less likely than the pool's 1 % quantile, and of what is as likely the share that is
    missing to 1 %.
    """
    quantile = log_pool.sort().values[math.ceil(TAIL * len(log_pool)) - 1]
    below, tied = log_successes < quantile - TIE, (log_successes - quantile).abs() <= TIE
    mass_below = float((log_pool < quantile - TIE).double().mean())
    mass_tied = float(((log_pool - quantile).abs() <= TIE).double().mean())
    p = log_successes.exp()
    return float(p[below].sum() + p[tied].sum() * (TAIL - mass_below) / mass_tied) / TAIL


def counted_tail(rewards: Tensor, log_pool: Tensor) -> list[float]:
    """P(success | tail) and its Clopper-Pearson interval from rewards, bool (B,), of a pool; ties in drawn order."""
    tail = log_pool.argsort(stable=True)[: math.ceil(TAIL * len(log_pool))]
    hits = int(rewards[tail.to(rewards.device)].sum())
    return [hits / len(tail), *clopper_pearson(hits, len(tail))]
