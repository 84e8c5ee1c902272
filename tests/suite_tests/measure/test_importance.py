"""Importance sampling against exact rates, hand-made weights, and policies that must not be weighted."""

from __future__ import annotations

import functools
import math
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

import suite
from suite import config as configs
from suite import registry
from suite import task as engine
from suite.cells.identity import identify
from suite.cells.spec import CellSpec
from suite.cells.verify import verify
from suite.errors import UserError
from suite.generators import Table
from suite.measure import estimators, importance
from suite.measure.importance import Weighted
from suite.measure.posterior import Posterior
from suite.policy import Acceptance, Filtered, Policy
from suite.store.schema import Estimate, Evenness, Point
from suite.task import Task


@functools.cache
def task_of(task_id: str) -> Task:
    entry = registry.load("task", task_id)
    made: Task = entry.target(configs.build(entry.config_class, {}))
    return made


def measured(task_id: str, policy: Policy, heldout: str, seed: int) -> Point:
    task = task_of(task_id)
    return estimators.measure(Posterior(task, task.prior()), policy, heldout, torch.Generator().manual_seed(seed))


def weighted(weight: list[float], reward: list[int]) -> Weighted:
    """The first half of the rows from the policy, the second from the proposal."""
    n = len(weight)
    return Weighted(torch.tensor(weight).double(), torch.tensor(reward).bool(), torch.arange(n) < n // 2)


def test_weights_are_p_over_the_even_mixture() -> None:
    """p = 0.2, 0.6, 0 and r = 0.6, 0, 0.1 by hand: 0.2 / 0.4, 0.6 / 0.3, 0."""
    p, r = torch.tensor([0.2, 0.6, 0.0]).double(), torch.tensor([0.6, 0.0, 0.1]).double()
    assert importance.mixture_weights(p.log(), r.log()).tolist() == pytest.approx([0.5, 2.0, 0.0])


def test_diagnostics_by_hand() -> None:
    """Hits weigh 1, 1 and 2: (Σ w)² / Σ w² = 16 / 6, the largest holds 2 / 4."""
    found = importance.diagnostics(weighted([1, 5, 1, 2], [1, 0, 1, 1]))
    assert found == Evenness(ess=pytest.approx(16 / 6), largest_share=0.5)
    assert importance.diagnostics(weighted([1, 1], [0, 0])) == Evenness(ess=0.0, largest_share=1.0)


@pytest.mark.parametrize(
    ("ess", "share", "sound"), [(100, 0.1, True), (99.9, 0.1, False), (100, 0.101, False), (1e6, 0.0, True)]
)
def test_weights_are_sound_from_an_effective_size_of_100_and_a_share_of_a_tenth(
    ess: float, share: float, sound: bool
) -> None:
    assert importance.is_sound(Evenness(ess=ess, largest_share=share)) == sound


def test_rate_and_interval_by_hand() -> None:
    """Means 0.5 and 0.25 of the halves; variances of (1, 0) · 0.5 and (.5, 0); the delta method on the logarithm."""
    rate, low, high = importance.weighted_rate(weighted([1, 1, 0.5, 0.5], [1, 0, 1, 0]))
    error = math.sqrt(0.5 / 2 + 0.125 / 2) / 2
    assert rate == pytest.approx(0.375)
    assert low == pytest.approx(0.375 * math.exp(-1.96 * error / 0.375), rel=1e-3)
    assert high == 1.0  # cut there


def test_the_prior_is_estimated_about_its_exact_rate() -> None:
    """20 independent estimates: their mean within 4 standard errors of the exact rate, intervals that hold it."""
    task = task_of("gaussian-v1")
    prior = task.prior()
    exact = engine.exact(task, prior)
    assert exact is not None
    points = [measured("gaussian-v1", prior, "is:8000", seed) for seed in range(20)]
    assert {point.estimator for point in points} == {"importance-sampling"}
    assert {point.n for point in points} == {8000}
    rates = torch.tensor([point.success_rate for point in points]).double()
    assert abs(float(rates.mean()) - exact) <= 4 * float(rates.std()) / math.sqrt(20)
    # each misses with probability 0.05; 6 or more of 20 miss with probability 3e-4 (binomial)
    assert sum(not point.low <= exact <= point.high for point in points) <= 5
    assert float(rates.std()) < math.sqrt(exact / 8000) / 2  # half of the standard error of counting


@pytest.mark.slow
def test_a_network_is_estimated_about_its_exact_rate() -> None:
    """addition-v1: 100,000 weighted samples hold the enumerated rate in an interval at 4.4 standard errors (1e-5)."""
    task = task_of("addition-v1")
    prior = task.prior()
    exact = engine.exact(task, prior)
    assert exact is not None
    point = measured("addition-v1", prior, "is:100000", 0)
    assert point.estimator == "importance-sampling"
    assert abs(math.log(point.success_rate / exact)) <= 4.4 / 1.96 * math.log(point.high / point.success_rate)
    assert point.importance.ess > 2 * exact * 100_000  # more than twice the hits of counting


def test_a_policy_that_moved_is_estimated_too() -> None:
    """The Gaussian's prior at temperature 1.2: the exact rate is a sum over two bins."""
    task = task_of("gaussian-v1")
    policy = task.prior().tempered(1.2)
    exact = engine.exact(task, policy)
    assert exact is not None
    point = measured("gaussian-v1", policy, "is:10000", 0)
    assert point.estimator == "importance-sampling"
    assert point.success_rate == pytest.approx(exact, rel=0.2)


def test_a_policy_that_the_proposal_does_not_meet_is_counted() -> None:
    """A policy collapsed on failures has hits of no weight; 0 of 4,000 has the upper end 1 − 0.025^(1/4000)."""
    log_p = torch.full((31,), -1e4)
    log_p[15] = 0.0
    point = measured("gaussian-v1", Table(log_p), "is:8000", 0)
    assert (point.estimator, point.n, point.success_rate, point.low) == ("monte-carlo", 4000, 0.0, 0.0)
    assert point.high == pytest.approx(1 - 0.025 ** (1 / 4000))
    assert point.importance is not None
    assert point.importance.ess < 100


class Boaster(Table):
    """Claims log p = 0 for everything: as weights, a success rate near that of the proposal."""

    def log_prob(self, x: Tensor, temperature: float = 1.0) -> Tensor:
        return torch.zeros(len(x), dtype=torch.float64)


def test_a_methods_own_class_and_a_filtered_policy_are_counted() -> None:
    prior = task_of("gaussian-v1").prior()
    filtered = Filtered(prior, [(prior.tempered(2.0), -1.0)], Acceptance(1, 2))
    for policy in (Boaster(torch.zeros(31)), filtered):
        point = measured("gaussian-v1", policy, "is:2000", 0)
        assert (point.estimator, point.n) == ("monte-carlo", 1000)
        assert (point.importance, point.half_estimates) == (None, None)


def test_the_best_point_is_chosen_on_one_half_and_reported_from_the_other() -> None:
    """Rows 0..1 and 4..5 are the first half, from policy and proposal; its rate chooses, the other's is reported."""

    measured_point = measured("gaussian-v1", task_of("gaussian-v1").prior(), "is:2000", 0)

    def point(i: int, first: float, second: float) -> Point:
        halves = [Estimate(rate, 0.0, 1.0, "importance-sampling", 500) for rate in (first, second)]
        rate = (first + second) / 2
        return msgspec.structs.replace(measured_point, round=i, success_rate=rate, half_estimates=tuple(halves))

    best = estimators.best([point(0, 0.1, 0.9), point(1, 0.4, 0.2), point(2, 0.3, 0.6)])
    assert (best.round, best.success_rate, best.n, best.selected_on) == (1, 0.2, 500, "half")


def test_halves_hold_policy_and_proposal_alike() -> None:
    parts = weighted([1, 2, 3, 4, 5, 6, 7, 8], [0] * 8).rows(slice(2))
    assert parts.weight.tolist() == [1, 2, 5, 6]
    assert parts.from_policy.tolist() == [True, True, False, False]


def test_a_run_is_recorded_verified_and_repeated(tmp_path: Any) -> None:
    record = suite.run("gaussian-v1", "banel", heldout="is:4000", budget=900, results=tmp_path, tracking="off")
    assert record.status == "finished"
    assert record.result.curve[0].estimator == "importance-sampling"
    assert record.result.heldout_evaluations == 4000 * len({p.stream for p in record.result.curve})
    assert record.identity.heldout == "is:4000"
    (verdict,) = verify(tmp_path, rerun=1)
    assert verdict.verified, [check for check in verdict.checks if not check.ok]


@pytest.mark.parametrize("heldout", ["is:", "is:3", "is:x", "is", "is:-4", "is:exact"])
def test_other_numbers_of_samples_are_refused(heldout: str) -> None:
    with pytest.raises(UserError, match=r"--heldout .* is unknown; .* is:N, importance sampling with N from 4 on"):
        identify(CellSpec("gaussian-v1", "pretrained", heldout=heldout))
