"""Quantities of a cell that vary little from seed to seed, so that few seeds tell a worse method from bad luck.

Each is computed from one finished record and the policy saved beside it. What needs samples takes the same ones for
every record of a task: draws with a fixed seed, answered by the task's held-out verifier.

- `first_lift`, `final_lift`: log(success rate after the first / last round ÷ base rate).
- `filter_auc`: probability that the log-ratio log p_θ/p_φ of Algorithm 1's last filter ranks a success above a failure,
  on draws of the tempered prior; 1/2 is a filter that tells nothing.
- `failure_log_likelihood`: mean log p_φ, nats per sample, of that filter's failure model on failures that it was not
  fitted to, drawn from the posterior that collected its failures.
- `metrics.NAME`: the method's own number in the last round.
- any number of the last point of the curve: `kl_prior`, `entropy`, `valid_share`, `effective_successes`, ...
"""

from __future__ import annotations

import functools
import json
import math
import typing
from collections.abc import Hashable
from typing import Literal, NamedTuple

import torch
from msgspec.structs import asdict
from scipy import stats
from torch import Tensor

import reports
from suite import config as configs
from suite import registry
from suite import task as tasks
from suite.cells.spec import CellSpec
from suite.config import nearest
from suite.errors import UserError
from suite.measure import successes
from suite.measure.posterior import Posterior
from suite.policy import Filtered
from suite.seeding import derive
from suite.store import weights
from suite.store.records import FinishedRecord, canonical
from suite.store.schema import Point
from suite.task import Task

Better = Literal["higher", "lower"]
"""The direction in which a quantity is better."""
COMPUTED = ("first_lift", "final_lift", "filter_auc", "failure_log_likelihood")
TEMPERATURE = 3.0
"""Of the prior that the samples behind `filter_auc` are drawn from: hot enough to hold successes."""
DRAWS = 4000
"""Samples behind `filter_auc` and behind `failure_log_likelihood`."""
LEAST_HITS = 20
"""Successes and failures among the draws, below which no area under a curve is given."""


class Subject(NamedTuple):
    """A finished record and its task, built anew, with a verifier that nobody counts."""

    record: FinishedRecord
    posterior: Posterior

    @property
    def task(self) -> Task:
        return self.posterior.task


class Contrast(NamedTuple):
    """Draws of a task's tempered prior, the same for every record, and their rewards."""

    x: Tensor
    """int64 (B, T)."""
    reward: Tensor
    """bool (B,)."""


def subject(record: FinishedRecord, task_ref: str) -> Subject:
    """The record with its task, which is loaded from `task_ref`: an id, `module:Name` or `path/to/file.py:Name`."""
    return Subject(record, _posterior(task_ref, record.configs[0]))


def task_of(spec: CellSpec) -> Task:
    """The task that a run is on."""
    return _posterior(spec.task, canonical(spec.task_config)).task


def check_name(name: str) -> None:
    """UserError where no record could have a quantity of this name."""
    known = [*COMPUTED, *(field for field in reports.POINT if field not in ("round", "estimator"))]
    if name not in known and not name.startswith("metrics."):
        raise UserError(f"no quantity {name!r}{nearest(name, known)}; metrics.NAME is a method's own number")


@torch.no_grad()
def measure(of: Subject, name: str) -> float | None:
    """The named quantity of a finished record; None where it has no such number."""
    curve = of.record.result.curve
    value: float | None
    if name in ("first_lift", "final_lift"):
        value = _lift(curve[1 if name == "first_lift" else -1], curve[0]) if len(curve) > 1 else None
    elif name in ("filter_auc", "failure_log_likelihood"):
        try:
            value = filter_auc(of) if name == "filter_auc" else failure_log_likelihood(of)
        except RuntimeError:  # rejection sampling that does not end: such a posterior has no failures to score
            value = None
    elif name.startswith("metrics."):
        value = curve[-1].metrics.get(name.removeprefix("metrics."))
    elif name == "posterior_match":
        value = None if curve[-1].posterior_match is None else curve[-1].posterior_match.value
    else:
        value = asdict(curve[-1]).get(name)
    return float(value) if value is not None and math.isfinite(value) else None


def value(of: Subject, name: str, better: Better) -> float:
    """:func:`measure`, with the worst for a number that a record does not have: one that vanished is no better."""
    found = measure(of, name)
    return found if found is not None else -math.inf if better == "higher" else math.inf


def _lift(point: Point, base: Point) -> float | None:
    reached, start = point.success_rate, base.success_rate
    return math.log(reached / start) if reached and start else None


def filter_auc(of: Subject) -> float | None:
    """Area under the curve of the last filter's log-ratio, ties one half; None without a filter or successes.

    Source: the Mann-Whitney statistic over the product of the sample sizes (Hanley and McNeil, Radiology 143, 1982).
    """
    policy = filtered_policy(of)
    if policy is None or not policy.filters:
        return None
    contrast = _contrast(typing.cast(Hashable, of.task))
    hits = int(contrast.reward.sum())
    if not LEAST_HITS <= hits <= DRAWS - LEAST_HITS:
        return None
    model, _ = policy.filters[-1]
    score = policy.prior.log_prob(contrast.x) - model.log_prob(contrast.x)  # (B,)
    score = score.cpu().round(decimals=9)  # equal outcomes tie, whatever the last bits of their ratio are
    u = stats.mannwhitneyu(score[contrast.reward].numpy(), score[~contrast.reward].numpy(), method="asymptotic")
    return float(u.statistic) / (hits * (DRAWS - hits))


def failure_log_likelihood(of: Subject) -> float | None:
    """Mean log p_φ of the last filter's model on fresh failures of the posterior before it; None without a filter."""
    policy = filtered_policy(of)
    if policy is None or not policy.filters:
        return None
    *earlier, (model, _) = policy.filters
    source = Filtered(policy.prior, earlier, policy.acceptance) if earlier else policy.prior
    x = source.sample(DRAWS, _generator("failures"))
    failures = x[~tasks.verify_heldout(of.task, x)]
    return float(model.log_prob(failures).mean()) if len(failures) else None


def filtered_policy(of: Subject) -> Filtered | None:
    """Algorithm 1's posterior as the record's folder holds it; None where the final policy is another."""
    path = of.record.folder / "policy-final.safetensors"
    if not path.exists():
        return None
    policy = weights.load(path, of.task.prior())
    return policy if isinstance(policy, Filtered) else None


@functools.lru_cache(maxsize=8)
def _posterior(ref: str, config: str) -> Posterior:
    entry = registry.load("task", ref)
    configured = configs.build(entry.config_class, json.loads(config))
    task: Task = entry.target(configured)
    return successes.posterior_of(entry, configured, task, task.prior())


@functools.lru_cache(maxsize=8)
def _contrast(of: Hashable) -> Contrast:
    task = typing.cast(Task, of)  # one object for each task and configuration
    x = task.prior().tempered(TEMPERATURE).sample(DRAWS, _generator("contrast"))
    return Contrast(x, tasks.verify_heldout(task, x))


def _generator(purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive("gate", purpose))
