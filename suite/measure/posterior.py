"""Posterior match: how close a policy comes to the prior conditioned on success, on the scale of the success rate.

The Bayes posterior is p*(x) = p(x) r(x) / b: the prior p restricted to the successes S, with b its base rate. The match
of a policy π is the classical fidelity of p* and π, the squared Bhattacharyya coefficient

    match(π) = (Σ_{x∈S} √(p*(x) π(x)))² = b · (E_{x∼p*} √(π(x) / p(x)))².

The prior has match b, the posterior 1, a point mass on a success x has p*(x). By Cauchy and Schwarz the match never
exceeds the success rate b · E_{x∼p*}[π(x) / p(x)]: writing one success over and over wins the latter and not the match.

Where successes are enumerated the sum is computed. Elsewhere the mean is estimated from M successes that were drawn
from the prior before any method ran: M likelihoods, and no call of the verifier.
"""

from __future__ import annotations

import functools
import math

import torch
from scipy import special
from torch import Tensor

from suite import task as tasks
from suite.measure.intervals import clopper_pearson
from suite.policy import Filtered, Generator, Policy
from suite.store.schema import Estimate, Match
from suite.task import PriorSuccesses, Task

LEAST = 200
"""Fewest successes of the prior that a match is estimated from."""
MISSED = 3.0
"""M draws miss a set of successes of probability q under p* with probability below e^-3 = 5 % where q > 3 / M."""


class Posterior:
    """What a task's policies are held against: p*, enumerated or as a sample of it.

    Args:
        task: whose successes they are.
        prior: its pre-trained generator.
        sample: successes drawn from the prior; the task's own where it has some, else None.
    """

    def __init__(self, task: Task, prior: Generator, sample: PriorSuccesses | None = None) -> None:
        self.task, self.prior = task, prior
        self.sample = sample if sample is not None else tasks.prior_successes(task)

    @functools.cached_property
    def log_prior(self) -> Tensor | None:
        """log p of every success under the prior, float64 (S,); None where they are not enumerated."""
        return tasks.success_log_probs(self.task, self.prior)

    def is_enumerated(self) -> bool:
        """Whether the match of some policy is computed and not estimated."""
        return self.log_prior is not None or self._by_affinity(self.prior) is not None

    def enumerated(self, policy: Policy, log_p: Tensor | None) -> Match | None:
        """The match by enumeration; None where the task enumerates nothing, or the prior has no success.

        Args:
            policy: made of the engine's parts.
            log_p: its log-probability of every success, float64 (S,), where they can be listed.
        """
        if log_p is not None and self.log_prior is not None:
            value = fidelity(self.log_prior, log_p)
        else:
            value = self._by_affinity(policy)
        if value is None:
            return None
        low, high = (value * factor for factor in normaliser(policy))
        return Match(value, low, min(1.0, high), "exact/accept" if isinstance(policy, Filtered) else "exact", None)

    def _by_affinity(self, policy: Policy) -> float | None:
        """Σ √(p π) over successes that are too many to list, squared and divided by b."""
        between = tasks.affinity(self.task, self.prior, policy)
        base = None if between is None else tasks.exact(self.task, self.prior)
        return between**2 / base if between is not None and base else None

    def sampled(self, policy: Policy, success: Estimate) -> Match | None:
        """The match from the successes that were drawn from the prior; None without any.

        Args:
            policy: made of the engine's parts.
            success: its success rate, which the match cannot exceed.
        """
        if self.sample is None:
            return None
        x = self.sample.strings
        ratio = (0.5 * (policy.log_prob(x).double() - self._log_prior_of_sample)).exp().cpu()  # √(π / p), (M,)
        made = estimate(ratio, len(x) / self.sample.draws, success.high if success.high is not None else 1.0)
        low, high = normaliser(policy)
        return (
            made
            if (low, high) == (1.0, 1.0)
            else Match(made.value, made.low * low, made.high * high, "sampled", made.n)
        )

    @functools.cached_property
    def _log_prior_of_sample(self) -> Tensor:
        assert self.sample is not None
        return self.prior.log_prob(self.sample.strings).double()

    def fault(self) -> str | None:
        """Why the sample cannot be used, in a few words; None where it can, or where there is none.

        Asks the verifier for held-out measurement about each of the M successes.
        """
        if self.sample is None:
            return None
        x = self.sample.strings
        if len(x) < LEAST:
            return f"it has {len(x)} successes of the prior, {LEAST} are needed"
        failing = int((~tasks.verify_heldout(self.task, x)).sum())
        if failing:
            return f"{failing} of its {len(x)} successes are none for this verifier"
        if not self._log_prior_of_sample.isfinite().all():
            return "it has successes that the prior cannot draw"
        return None


def fidelity(log_prior: Tensor, log_p: Tensor) -> float | None:
    """(Σ_x √(p*(x) π(x)))² from log p and log π of every success, float64 (S,) each; None where p is 0 on all."""
    if not len(log_prior) or torch.isneginf(log_prior).all():
        return None
    root = torch.logsumexp(0.5 * (log_prior + log_p), dim=0)
    return min(1.0, float((2 * root - torch.logsumexp(log_prior, dim=0)).exp()))


def normaliser(policy: Policy) -> tuple[float, float]:
    """What the ends of a match are to be multiplied with: a filtered policy's P(accept) is itself estimated."""
    if not isinstance(policy, Filtered):
        return 1.0, 1.0
    hits, n = policy.acceptance
    low, high = clopper_pearson(hits, n)
    return hits / n / high, hits / n / low if low else math.inf


def estimate(ratio: Tensor, base: float, most: float, level: float = 0.95) -> Match:
    """b · (mean √(π / p))² with its interval.

    The interval is the delta method's on the logarithm: variance 4 (s / x̄)² / M of 2 log x̄, and (1 - b) / M of log b,
    since the M successes are those of M / b draws. Its quantile is Student's with as many degrees of freedom as the
    ratios have effective terms (Σ x)² / Σ x²: one success that has nearly all of the sum leaves no lower end.

    M successes miss a set A of probability p*(A) ≤ 3 / M too often to be sure of it. By Cauchy and Schwarz the set
    adds at most √(p*(A) π(A)) ≤ √(3 / M · success rate) to the root of the match, so the upper end has that added.

    Args:
        ratio: √(π(x) / p(x)) of M successes drawn from the prior, float64 (M,).
        base: the base rate b.
        most: upper end of the success rate, which no match exceeds.

    Source: docs/protocol.md, "Posterior match"; coverage in docs/statistics.md.
    """
    n = len(ratio)
    total = float(ratio.sum())
    unseen = math.sqrt(MISSED / n * most)
    if total <= 0:
        return Match(0.0, 0.0, min(most, unseen**2), "sampled", n)
    value = base * (total / n) ** 2
    effective = total**2 / float(ratio.square().sum())
    variance = max(0.0, 4 * (1 / effective - 1 / n) * n / (n - 1)) + (1 - base) / n
    width = float(special.stdtrit(effective, (1 + level) / 2)) * math.sqrt(variance)
    high = (math.sqrt(value) * math.exp(min(width, 700.0) / 2) + unseen) ** 2
    value = min(value, most)
    return Match(value, min(value, value * math.exp(-width)), max(value, min(most, high)), "sampled", n)


def draw(task: Task, wanted: int, generator: torch.Generator, most: int, pool: int = 200_000) -> PriorSuccesses | None:
    """The first `wanted` successes among independent draws from the prior, and among how many; None below `LEAST`.

    Args:
        most: draws after which it stops, with at least `LEAST` successes or none.
        pool: draws at a time.
    """
    prior = task.prior()
    found: list[Tensor] = []
    count = draws = 0
    while count < wanted and draws < most:
        x = prior.sample(pool, generator)
        hit = tasks.verify_heldout(task, x).nonzero().squeeze(1).cpu()
        last = wanted - count
        if len(hit) >= last:  # up to and with the last success that is wanted
            draws += int(hit[last - 1]) + 1
            hit = hit[:last]
        else:
            draws += len(x)
        found.append(x.cpu()[hit])
        count += len(hit)
    return PriorSuccesses(torch.cat(found), draws) if count >= LEAST else None
