"""Estimators of the success rate, and what is measured beside it at every point of a curve.

Held-out measurement is not charged and no method sees it. Monte Carlo counts carry Clopper-Pearson intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import torch
from torch import Tensor

from suite import task as tasks
from suite.counted import Counted, random_order
from suite.measure import importance
from suite.measure.intervals import clopper_pearson
from suite.measure.posterior import Posterior
from suite.policy import (
    Filtered,
    Generator,
    Policy,
    check_samples,
    made_of_engine_parts,
    own_types,
    sample_counts,
)
from suite.store.schema import Best, Estimate, Evenness, Placed, Point, rate_of
from suite.task import Task

SAMPLES = 10_000
"""Held-out samples of a point, as in the paper (arXiv 2510.09596)."""

IMPORTANCE = "is:"
"""Begins the held-out mode of importance sampling: `is:N`, half of N from the policy and half from the proposal."""

SHOWN = 8
"""Samples of a point that are kept as text."""


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


def importance_sampling(weighted: importance.Weighted) -> tuple[Estimate, Evenness]:
    """The estimate from policy and proposal, and how even the weights behind it are.

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


def measure(posterior: Posterior, policy: Policy, heldout: str, generator: torch.Generator) -> Point:
    """A point of the curve: what a policy is worth, held out; its place is that of the prior, round 0.

    Args:
        posterior: of the task whose success rate it is, with its pre-trained generator.
        policy: measured.
        heldout: `exact`, `off`, the number of samples of a Monte Carlo estimate, or `is:N` for importance sampling.
        generator: draws the held-out samples.
    """
    task, prior = posterior.task, posterior.prior
    n = policy_samples(heldout)
    drawn = sample_counts(policy, n, generator)  # D different strings
    check_samples(drawn.strings, prior.vocab_size)
    row = random_order(drawn.counts, generator)  # the string of each sample, (n,)
    log_p, share = drawn.log_probs, drawn.counts / n
    valid = tasks.valid(task, drawn.strings)
    shown = tasks.shown(task, drawn.strings[row[:SHOWN]])
    point = Point(
        *UNKNOWN.fields(),
        round=0,
        nre=0,
        stream=0,
        metrics={},
        distinct_successes=None,
        distinct_share=None,
        effective_successes=None,
        valid_share=None if valid is None else int(drawn.counts[valid].sum()) / n,
        entropy=finite(float(-(share * log_p).sum())),
        kl_prior=finite(float((share * (log_p - prior.log_prob(drawn.strings.clone()))).sum())),
        samples=shown if isinstance(shown, list) else [],
    )
    if heldout == "off":
        return point
    engine_made = made_of_engine_parts(policy, own_types(prior))
    own = tasks.quantities(task, policy) if engine_made else {}
    answers = tasks.verify_heldout(task, drawn.strings).to(row.device)  # (D,)
    rewards = answers[row]  # (n,)
    hits = int(rewards[:SAMPLES].sum())
    found = len(torch.unique(row[:SAMPLES][rewards[:SAMPLES]]))
    point = msgspec.structs.replace(
        point,
        quantities={name: finite(value) for name, value in own.items()} or None,
        distinct_successes=found,
        distinct_share=found / hits if hits else None,
    )
    if heldout == "exact":
        point = enumerated_point(point, posterior, policy, log_p, engine_made)
    elif heldout.startswith(IMPORTANCE) and weighable(policy, prior):
        point = weighted_point(point, task, policy, prior, (drawn, row, answers), generator)
    else:
        half = n // 2
        halves = (int(rewards[:half].sum()), half, int(rewards[half:].sum()), n - half)
        point = estimated(msgspec.structs.replace(point, halves=halves), monte_carlo(int(rewards.sum()), n))
    if point.posterior_match is None and engine_made:  # a method's own class could record the successes it is asked for
        match = posterior.sampled(policy, Estimate(*point.fields()))
        point = msgspec.structs.replace(point, posterior_match=match)
    return point


def estimated(point: Point, estimate: Estimate) -> Point:
    """The point with another estimate of its success rate."""
    return msgspec.structs.replace(point, **msgspec.structs.asdict(estimate))


def enumerated_point(point: Point, posterior: Posterior, policy: Policy, log_p: Tensor, engine_made: bool) -> Point:
    """The point with its exact success rate and match; log_p (n,) is that of the policy's own samples."""
    if not engine_made:
        raise TypeError(
            f"heldout=exact would show every success to {type(policy).__name__}, a class of the method's own; "
            "yield a policy made of the prior's class, Tempered, Mixture or Filtered, or use --heldout N"
        )
    if log_p.isnan().any():
        raise ValueError(
            "the log p of the policy's own samples is nan: its training diverged; a lower learning rate may help"
        )
    rate, log_probs = tasks.enumerated(posterior.task, policy)
    if rate is None:
        raise ValueError("heldout=exact, but the task enumerates no successes of this policy; use --heldout N")
    effective = None if log_probs is None else effective_successes(log_probs)
    match = posterior.enumerated(policy, log_probs)
    point = msgspec.structs.replace(point, effective_successes=effective, posterior_match=match)
    return estimated(point, exact(rate, policy))


def weighable(policy: Policy, prior: Policy) -> bool:
    """Whether a policy's log p may stand in a weight: the engine's own, and normalised exactly.

    A method's own class would be shown successes that the proposal found, and could claim any log p for them; a
    filtered policy's log p rests on an estimated normaliser. Both are counted.
    """
    return made_of_engine_parts(policy, own_types(prior)) and not isinstance(policy, Filtered)


def weighted_point(
    point: Point,
    task: Task,
    policy: Policy,
    prior: Generator,
    own: tuple[Counted, Tensor, Tensor],
    generator: torch.Generator,
) -> Point:
    """The point with its estimate by importance sampling, of all samples and of their halves.

    Args:
        own: the policy's different strings, the one that each of its n samples is, and the strings' rewards; as many
            samples are drawn from the task's proposal.
    """
    drawn, row, answers = own
    proposal = tasks.proposal(task, prior)
    y = sample_counts(proposal, len(row), generator)
    at = random_order(y.counts, generator)
    weight = importance.mixture_weights(
        torch.cat([drawn.log_probs[row], policy.log_prob(y.strings)[at]]),
        torch.cat([proposal.log_prob(drawn.strings)[row], y.log_probs[at]]),
    )
    from_policy = torch.arange(2 * len(row), device=weight.device) < len(row)
    reward = torch.cat([answers[row], tasks.verify_heldout(task, y.strings).to(row.device)[at]])
    weighted = importance.Weighted(weight, reward, from_policy)
    whole, found = importance_sampling(weighted)
    half = len(row) // 2
    first, second = (importance_sampling(weighted.rows(rows))[0] for rows in (slice(half), slice(half, None)))
    return estimated(msgspec.structs.replace(point, importance=found, half_estimates=(first, second)), whole)


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


def best(curve: Sequence[Point]) -> Best:
    """The cumulative best of a curve that was measured.

    Exact rates are compared as they are (`same`). Noisy ones are compared on the first half of the held-out
    samples and reported from the second, so that choosing does not inflate the number (`half`). Either way the
    choice used held-out successes that no method has: it is oracle-selected.
    """
    point = max(curve, key=selection_rate)
    halved = point.halves is not None or point.half_estimates is not None
    return Best(
        *reported(point).fields(),
        round=point.round,
        nre=point.nre,
        stream=point.stream,
        posterior_match=point.posterior_match,
        selected_on="half" if halved else "same",
    )


def selection_rate(point: Point) -> float:
    """What the best point is chosen by: the rate on the first half of its samples; the rate where none were drawn.

    Raises:
        ValueError: a point that was not measured.
    """
    rate = point.success_rate
    if point.half_estimates is not None:
        rate = point.half_estimates[0].success_rate
    elif point.halves is not None:
        rate = point.halves[0] / point.halves[1]
    if rate is None:
        raise ValueError(f"round {point.round} was not measured: there is no best of it")
    return rate


def reported(point: Point) -> Estimate:
    """The estimate of a chosen point: from the half of its samples that it was not chosen on."""
    if point.half_estimates is not None:
        return point.half_estimates[1]
    if point.halves is not None:
        return monte_carlo(*point.halves[2:])
    return Estimate(*point.fields())


def placed(point: Point) -> Placed:
    """The parts of a point that stand in a record's summary."""
    return Placed(
        *point.fields(), round=point.round, nre=point.nre, stream=point.stream, posterior_match=point.posterior_match
    )


def improvement(reached: Estimate | None, base: Estimate | None) -> float | None:
    """Success rate over that of the base; None where one is unknown, or the base is zero."""
    rate, start = rate_of(reached), rate_of(base)
    return rate / start if rate is not None and start else None
