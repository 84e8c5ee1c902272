"""Estimators of the success rate, and what is measured beside it at every point of a curve.

Held-out measurement is not charged and no method sees it. Monte Carlo counts carry Clopper-Pearson intervals.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from suite import task as tasks
from suite.intervals import clopper_pearson
from suite.policy import Filtered, Policy, made_of_engine_parts, own_types
from suite.task import Task

SAMPLES = 10_000
"""Held-out samples of a point, as in the paper (arXiv 2510.09596)."""

SHOWN = 8
"""Samples of a point that are kept as text."""


class Estimate(NamedTuple):
    """A success rate with its 95 % interval."""

    success_rate: float | None
    low: float | None
    high: float | None
    estimator: str
    """`exact`; `exact/accept`: enumerated, over an estimated normaliser; `monte-carlo`; `none`."""
    n: int | None
    """Samples the interval rests on; None where nothing was sampled."""


UNKNOWN = Estimate(None, None, None, "none", None)


def exact(rate: float, policy: Policy) -> Estimate:
    """The estimate that an enumerated success rate is.

    A filtered policy's normaliser P(accept) is itself estimated, so its success rate P(accept and success) /
    P(accept) has the interval that follows from Clopper-Pearson's for the acceptance.
    """
    if not isinstance(policy, Filtered):
        return Estimate(rate, rate, rate, "exact", None)
    hits, n = policy.acceptance
    low, high = clopper_pearson(hits, n)
    joint = rate * hits / n
    return Estimate(rate, joint / high, min(1.0, joint / low) if low else 1.0, "exact/accept", n)


def monte_carlo(hits: int, n: int, level: float = 0.95) -> Estimate:
    """Hits among n samples, with a Clopper-Pearson interval."""
    low, high = clopper_pearson(hits, n, level)
    return Estimate(hits / n, low, high, "monte-carlo", n)


def effective_successes(log_p: Tensor) -> float:
    """1 / Σ_x (p(x) / SR)² over the enumerated successes, from their log p, float (S,).

    The number of equally likely successes that would be as diverse; 0 where no success has probability.
    """
    share = torch.softmax(log_p.double(), dim=0)
    return 0.0 if not len(log_p) or torch.isneginf(log_p).all() else float(1 / share.square().sum())


def distinct(x: Tensor) -> int:
    """Number of different rows of x, int64 (B, T)."""
    return len(torch.unique(x, dim=0)) if len(x) else 0


def measure(task: Task, policy: Policy, prior: Policy, heldout: str, generator: torch.Generator) -> dict[str, Any]:
    """Everything a point of the curve says of a policy but its place.

    Args:
        task: whose success rate it is.
        policy: measured.
        prior: the pre-trained generator, for KL(policy ‖ prior).
        heldout: `exact`, `off`, or the number of samples of a Monte Carlo estimate.
        generator: draws the held-out samples.
    """
    n = SAMPLES if heldout in ("exact", "off") else int(heldout)
    x = policy.sample(n, generator)  # (n, T)
    log_p = policy.log_prob(x)
    valid = tasks.valid(task, x)
    shown = task.show(x[:SHOWN])
    point: dict[str, Any] = {
        "distinct_successes": None,
        "distinct_share": None,
        "effective_successes": None,
        "valid_share": None if valid is None else float(valid.double().mean()),
        "entropy": finite(float(-log_p.mean())),
        "kl_prior": finite(float((log_p - prior.log_prob(x)).mean())),
        "samples": shown if isinstance(shown, list) else [],
    }
    if heldout == "off":
        return UNKNOWN._asdict() | point
    rewards = tasks.verify_heldout(task, x)
    hits = int(rewards[:SAMPLES].sum())
    point["distinct_successes"] = distinct(x[:SAMPLES][rewards[:SAMPLES]])
    point["distinct_share"] = point["distinct_successes"] / hits if hits else None
    if heldout == "exact":
        if not made_of_engine_parts(policy, own_types(prior)):
            raise TypeError(
                f"heldout=exact would show every success to {type(policy).__name__}, a class of the method's own; "
                "yield a policy made of the prior's class, Tempered or Filtered, or use --heldout N"
            )
        log_probs = tasks.success_log_probs(task, policy)
        rate = task.exact(policy) if log_probs is None else float(log_probs.exp().sum())
        if rate is None:
            raise ValueError("heldout=exact, but the task enumerates no successes of this policy; use --heldout N")
        if math.isnan(rate):
            raise ValueError("the policy's success rate is nan: its training diverged; a lower learning rate may help")
        if log_probs is not None:
            point["effective_successes"] = effective_successes(log_probs)
        return exact(rate, policy)._asdict() | point
    half = n // 2
    point["halves"] = [int(rewards[:half].sum()), half, int(rewards[half:].sum()), n - half]
    return monte_carlo(int(rewards.sum()), n)._asdict() | point


def heldout_samples(heldout: str) -> int:
    """Samples that :func:`measure` draws and puts to the verifier at one point."""
    return 0 if heldout == "off" else SAMPLES if heldout == "exact" else int(heldout)


def finite(value: float) -> float | None:
    """None for what JSON cannot say."""
    return value if math.isfinite(value) else None


def best(curve: list[dict[str, Any]]) -> tuple[dict[str, Any], Estimate, str]:
    """The cumulative best: the point, the estimate reported for it, and what it was selected on.

    Exact rates are compared as they are (`same`). Noisy ones are compared on the first half of the held-out
    samples and reported from the second, so that choosing does not inflate the number (`half`). Either way the
    choice used held-out successes that no method has: it is oracle-selected.
    """
    if "halves" not in curve[0]:
        point = max(curve, key=lambda p: p["success_rate"])
        return point, Estimate(*(point[field] for field in Estimate._fields)), "same"
    point = max(curve, key=lambda p: p["halves"][0] / p["halves"][1])
    return point, monte_carlo(point["halves"][2], point["halves"][3]), "half"
