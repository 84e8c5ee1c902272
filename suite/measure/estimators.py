"""Estimators of the success rate, and what is measured beside it at every point of a curve.

Held-out measurement is not charged and no method sees it. Monte Carlo counts carry Clopper-Pearson intervals.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from suite import task as tasks
from suite.measure import importance
from suite.measure.intervals import clopper_pearson
from suite.policy import Filtered, Generator, Policy, check_samples, made_of_engine_parts, own_types
from suite.task import Task

SAMPLES = 10_000
"""Held-out samples of a point, as in the paper (arXiv 2510.09596)."""

IMPORTANCE = "is:"
"""Begins the held-out mode of importance sampling: `is:N`, half of N from the policy and half from the proposal."""

SHOWN = 8
"""Samples of a point that are kept as text."""


class Estimate(NamedTuple):
    """A success rate with its 95 % interval."""

    success_rate: float | None
    low: float | None
    high: float | None
    estimator: str
    """`exact`; `exact/accept`: enumerated, over an estimated normaliser; `monte-carlo`; `importance-sampling`; or
    `none`."""
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


def importance_sampling(weighted: importance.Weighted) -> tuple[Estimate, dict[str, float]]:
    """The estimate from policy and proposal, and the effective sample size and largest share behind it.

    Where those are poor, the policy's own samples are counted instead, and the estimator says `monte-carlo`.
    """
    found = importance.diagnostics(weighted)
    if importance.is_sound(found):
        return Estimate(*importance.weighted_rate(weighted), "importance-sampling", len(weighted.weight)), found
    own = weighted.reward[weighted.from_policy]
    return monte_carlo(int(own.sum()), len(own)), found


def effective_successes(log_p: Tensor) -> float:
    """1 / Σ_x (p(x) / SR)² over the enumerated successes, from their log p, float (S,).

    The number of equally likely successes that would be as diverse; 0 where no success has probability.
    """
    share = torch.softmax(log_p.double(), dim=0)
    return 0.0 if not len(log_p) or torch.isneginf(log_p).all() else float(1 / share.square().sum())


def distinct(x: Tensor) -> int:
    """Number of different rows of x, int64 (B, T)."""
    return len(torch.unique(x, dim=0)) if len(x) else 0


def measure(task: Task, policy: Policy, prior: Generator, heldout: str, generator: torch.Generator) -> dict[str, Any]:
    """Everything a point of the curve says of a policy but its place.

    Args:
        task: whose success rate it is.
        policy: measured.
        prior: the pre-trained generator, for KL(policy ‖ prior).
        heldout: `exact`, `off`, the number of samples of a Monte Carlo estimate, or `is:N` for importance sampling.
        generator: draws the held-out samples.
    """
    n = policy_samples(heldout)
    x = policy.sample(n, generator)  # (n, T)
    check_samples(x, prior.vocab_size)
    log_p = policy.log_prob(x)
    valid = tasks.valid(task, x)
    shown = tasks.shown(task, x[:SHOWN])
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
    engine_made = made_of_engine_parts(policy, own_types(prior))
    if engine_made and (own := tasks.quantities(task, policy)):
        point["quantities"] = {name: finite(value) for name, value in own.items()}
    rewards = tasks.verify_heldout(task, x)
    hits = int(rewards[:SAMPLES].sum())
    point["distinct_successes"] = distinct(x[:SAMPLES][rewards[:SAMPLES]])
    point["distinct_share"] = point["distinct_successes"] / hits if hits else None
    if heldout == "exact":
        if not engine_made:
            raise TypeError(
                f"heldout=exact would show every success to {type(policy).__name__}, a class of the method's own; "
                "yield a policy made of the prior's class, Tempered or Filtered, or use --heldout N"
            )
        if log_p.isnan().any():
            raise ValueError(
                "the log p of the policy's own samples is nan: its training diverged; a lower learning rate may help"
            )
        rate, log_probs = tasks.enumerated(task, policy)
        if rate is None:
            raise ValueError("heldout=exact, but the task enumerates no successes of this policy; use --heldout N")
        if log_probs is not None:
            point["effective_successes"] = effective_successes(log_probs)
        return exact(rate, policy)._asdict() | point
    if heldout.startswith(IMPORTANCE) and weighable(policy, prior):
        return weighted_point(task, policy, prior, (x, log_p, rewards), generator) | point
    half = n // 2
    point["halves"] = [int(rewards[:half].sum()), half, int(rewards[half:].sum()), n - half]
    return monte_carlo(int(rewards.sum()), n)._asdict() | point


def weighable(policy: Policy, prior: Policy) -> bool:
    """Whether a policy's log p may stand in a weight: the engine's own, and normalised exactly.

    A method's own class would be shown successes that the proposal found, and could claim any log p for them; a
    filtered policy's log p rests on an estimated normaliser. Both are counted.
    """
    return made_of_engine_parts(policy, own_types(prior)) and not isinstance(policy, Filtered)


def weighted_point(
    task: Task, policy: Policy, prior: Generator, own: tuple[Tensor, Tensor, Tensor], generator: torch.Generator
) -> dict[str, Any]:
    """The estimate of a point by importance sampling, of all samples and of their halves.

    Args:
        own: samples of the policy (n, T), their log p and rewards (n,); as many are drawn from the task's proposal.
    """
    x, log_p, rewards = own
    proposal = tasks.proposal(task, prior)
    y = proposal.sample(len(x), generator)  # (n, T)
    weight = importance.mixture_weights(
        torch.cat([log_p, policy.log_prob(y)]), torch.cat([proposal.log_prob(x), proposal.log_prob(y)])
    )
    from_policy = torch.arange(2 * len(x), device=weight.device) < len(x)
    reward = torch.cat([rewards, tasks.verify_heldout(task, y)]).to(weight.device)
    weighted = importance.Weighted(weight, reward, from_policy)
    whole, found = importance_sampling(weighted)
    half = len(x) // 2
    parts = [importance_sampling(weighted.rows(rows))[0] for rows in (slice(half), slice(half, None))]
    return whole._asdict() | {"importance": found, "half_estimates": [part._asdict() for part in parts]}


def policy_samples(heldout: str) -> int:
    """Samples of the policy that :func:`measure` draws at one point."""
    if heldout in ("exact", "off"):
        return SAMPLES
    return int(heldout.removeprefix(IMPORTANCE)) // (2 if heldout.startswith(IMPORTANCE) else 1)


def heldout_samples(heldout: str) -> int:
    """Samples that :func:`measure` draws and puts to the verifier at one point, at most."""
    return 0 if heldout == "off" else SAMPLES if heldout == "exact" else int(heldout.removeprefix(IMPORTANCE))


def finite(value: float) -> float | None:
    """None for what JSON cannot say."""
    return value if math.isfinite(value) else None


def best(curve: list[dict[str, Any]]) -> tuple[dict[str, Any], Estimate, str]:
    """The cumulative best: the point, the estimate reported for it, and what it was selected on.

    Exact rates are compared as they are (`same`). Noisy ones are compared on the first half of the held-out
    samples and reported from the second, so that choosing does not inflate the number (`half`). Either way the
    choice used held-out successes that no method has: it is oracle-selected.
    """
    point = max(curve, key=selection_rate)
    return point, reported(point), "half" if "halves" in point or "half_estimates" in point else "same"


def selection_rate(point: dict[str, Any]) -> float:
    """What the best point is chosen by: the rate on the first half of its samples; the rate where none were drawn."""
    if "half_estimates" in point:
        return float(point["half_estimates"][0]["success_rate"])
    if "halves" in point:
        return float(point["halves"][0] / point["halves"][1])
    return float(point["success_rate"])


def reported(point: dict[str, Any]) -> Estimate:
    """The estimate of a chosen point: from the half of its samples that it was not chosen on."""
    if "half_estimates" in point:
        return Estimate(**point["half_estimates"][1])
    if "halves" in point:
        return monte_carlo(*point["halves"][2:])
    return Estimate(*(point[field] for field in Estimate._fields))


PLACED = ("round", "nre", *Estimate._fields, "stream")


def placed(point: dict[str, Any]) -> dict[str, Any]:
    """The parts of a point that stand in a record's summary."""
    return {field: point[field] for field in PLACED}
