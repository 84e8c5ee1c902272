"""Success rates and what stands beside them, against hand calculation and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from suite.generators import Table
from suite.measure import estimators
from suite.measure.estimators import Estimate
from suite.measure.posterior import Posterior
from suite.policy import Acceptance, Filtered, Policy
from suite.store.schema import Point, plain

P = np.array([0.05, 0.4, 0.3, 0.2, 0.05])


class Five:
    """Five outcomes with P; 0 and 4 succeed, 3 is malformed."""

    config = None

    def __init__(self, enumerated: bool = True) -> None:
        self.enumerated = enumerated

    def prior(self) -> Table:
        return Table(torch.tensor(P).log())

    def verify(self, x: Tensor) -> Tensor:
        return (x[:, 0] % 4) == 0

    def valid(self, x: Tensor) -> Tensor:
        return x[:, 0] != 3

    def show(self, x: Tensor) -> list[str]:
        return [f"<{code}>" for code in x[:, 0].tolist()]

    def success_log_probs(self, policy: Policy) -> Tensor | None:
        return policy.log_prob(torch.tensor([[0], [4]])) if self.enumerated else None

    def exact(self, policy: Policy) -> float | None:
        log_p = self.success_log_probs(policy)
        return None if log_p is None else float(log_p.exp().sum())


def measured(task: Any, policy: Policy, heldout: str, seed: int = 0) -> Point:
    return estimators.measure(Posterior(task, task.prior()), policy, heldout, torch.Generator().manual_seed(seed))


def at(i: int, estimate: Estimate, **more: Any) -> Point:
    """The point of round i, of which nothing but its success rate is known."""
    place: dict[str, Any] = {"round": i, "nre": 10 * i, "stream": i, "metrics": {}, "samples": []}
    unknown = ("distinct_successes", "distinct_share", "effective_successes", "valid_share", "entropy", "kl_prior")
    return Point(*estimate.fields(), **place, **dict.fromkeys(unknown), **more)


# -- estimates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hits", "n"), [(0, 100), (3, 100), (100, 100), (4, 10_000)])
def test_a_monte_carlo_interval_is_clopper_pearsons(hits: int, n: int) -> None:
    """By the beta quantiles of its definition."""
    low = stats.beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    high = stats.beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
    estimate = estimators.monte_carlo(hits, n)
    assert estimate == Estimate(hits / n, pytest.approx(low, rel=1e-9), pytest.approx(high, rel=1e-9), "monte-carlo", n)


def test_an_enumerated_rate_has_no_interval() -> None:
    assert estimators.exact(0.25, Five().prior()) == Estimate(0.25, 0.25, 0.25, "exact", None)


def test_a_filtered_rate_has_the_interval_of_its_acceptance() -> None:
    """Joint 0.06, acceptance 30 of 100: rate 0.2, and 0.06 over the ends of 30/100's Clopper-Pearson interval."""
    policy = Filtered(Five().prior(), [], Acceptance(30, 100))
    low, high = stats.beta.ppf(0.025, 30, 71), stats.beta.ppf(0.975, 31, 70)
    estimate = estimators.exact(0.2, policy)
    assert estimate == Estimate(0.2, pytest.approx(0.06 / high), pytest.approx(0.06 / low), "exact/accept", 100)


def test_a_filtered_rate_never_exceeds_one() -> None:
    assert estimators.exact(1.0, Filtered(Five().prior(), [], Acceptance(1, 100))).high == 1.0


# -- diversity ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.1, 0.1, 0.1, 0.1], 4.0),  # equally likely: as many as there are
        ([0.5], 1.0),
        ([0.3, 0.1], 1 / (0.75**2 + 0.25**2)),  # = 1.6
        ([0.2, 0.0], 1.0),
        ([0.0, 0.0], 0.0),
        ([], 0.0),
    ],
)
def test_effective_successes(p: list[float], expected: float) -> None:
    assert estimators.effective_successes(torch.tensor(p, dtype=torch.float64).log()) == pytest.approx(expected)


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=20))
def test_effective_successes_lie_between_one_and_their_number(log_p: list[float]) -> None:
    assert 1 - 1e-9 <= estimators.effective_successes(torch.tensor(log_p)) <= len(log_p) + 1e-9


def test_effective_successes_survive_underflow() -> None:
    assert estimators.effective_successes(torch.tensor([-2000.0, -2000.0])) == pytest.approx(2.0)


# -- a point of the curve ----------------------------------------------------------------------------------------


def held_out(policy: Table, n: int, seed: int) -> np.ndarray:
    """The samples of a point in its order: a policy's draws, then shuffled through their sorted codes."""
    generator = torch.Generator().manual_seed(seed)
    drawn = policy.sample(n, generator)[:, 0].sort().values
    return drawn[torch.randperm(n, generator=generator)].numpy()


def test_an_exact_point() -> None:
    """Every number of a point recomputed with numpy on the same 10,000 draws."""
    task, policy = Five(), Table(torch.tensor([0.02, 0.3, 0.3, 0.3, 0.08]).log())
    point = measured(task, policy, "exact", seed=3)
    drawn = held_out(policy, estimators.SAMPLES, seed=3)
    hits = np.isin(drawn, [0, 4])
    p = np.array([0.02, 0.3, 0.3, 0.3, 0.08])
    assert point.success_rate == point.low == point.high == pytest.approx(0.02 + 0.08, rel=1e-6)
    assert (point.estimator, point.n) == ("exact", None)
    assert point.effective_successes == pytest.approx(1 / (0.2**2 + 0.8**2), rel=1e-5)
    assert point.distinct_successes == 2
    assert point.distinct_share == 2 / hits.sum()
    assert point.valid_share == (drawn != 3).mean()
    assert point.entropy == pytest.approx(-np.log(p)[drawn].mean(), rel=1e-6)
    assert point.kl_prior == pytest.approx(np.log(p / P)[drawn].mean(), rel=1e-5)
    assert point.samples == [f"<{code}>" for code in drawn[: estimators.SHOWN]]
    assert (point.halves, point.quantities) == (None, None)
    assert "halves" not in plain(point)  # what was not measured is not written


def test_a_monte_carlo_point_counts_two_halves() -> None:
    task, policy = Five(enumerated=False), Five().prior()
    point = measured(task, policy, "5001", seed=4)
    hits = np.isin(held_out(policy, 5001, seed=4), [0, 4])
    assert point.success_rate == hits.mean()
    assert (point.estimator, point.n) == ("monte-carlo", 5001)
    assert list(point.halves or ()) == [hits[:2500].sum(), 2500, hits[2500:].sum(), 2501]
    assert point.effective_successes is None


def test_an_exact_rate_that_cannot_be_had_is_an_error() -> None:
    task = Five(enumerated=False)
    with pytest.raises(ValueError, match="heldout=exact, but the task enumerates no successes of this policy"):
        measured(task, task.prior(), "exact")


def test_off_asks_no_verifier() -> None:
    class Locked(Five):
        def verify(self, x: Tensor) -> Tensor:
            raise AssertionError("asked")

    point = measured(Locked(), Five().prior(), "off")
    unknown = ("success_rate", "low", "high", "n", "distinct_successes", "distinct_share", "effective_successes")
    assert [getattr(point, name) for name in unknown] == [None] * 7
    assert point.estimator == "none"
    assert point.kl_prior == 0.0  # what needs no reward is still known


def test_no_success_has_no_distinct_share() -> None:
    point = measured(Five(), Table(torch.tensor([-1e9, 0.0, 0.0, 0.0, -1e9])), "1000")
    assert (point.success_rate, point.distinct_successes, point.distinct_share) == (0.0, 0, None)


def test_the_cheap_verifier_is_asked_where_there_is_one() -> None:
    class WithTable(Five):
        def verify(self, x: Tensor) -> Tensor:
            raise AssertionError("asked")

        def verify_heldout(self, x: Tensor) -> Tensor:
            return super().verify(x)

    assert measured(WithTable(), Five().prior(), "1000").success_rate == pytest.approx(0.1, abs=0.04)


class Nan:
    """A network that diverged."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(n, 1, dtype=torch.long)

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), torch.nan, dtype=torch.float64)


def test_a_success_rate_that_is_no_number_is_an_error() -> None:
    """JSON cannot hold it and no comparison would notice it."""

    class Broken(Five):
        def success_log_probs(self, policy: Policy) -> Tensor:
            return torch.full((5,), torch.nan, dtype=torch.float64)

    with pytest.raises(ValueError, match="success rate is nan"):
        measured(Broken(), Five().prior(), "exact")


def test_exact_measurement_shows_no_success_to_a_class_of_the_methods_own() -> None:
    with pytest.raises(TypeError, match="would show every success to Nan, a class of the method's own"):
        measured(Five(), Nan(), "exact")


@pytest.mark.parametrize("heldout", ["off", "1000"])
def test_what_is_no_number_is_unknown(heldout: str) -> None:
    point = measured(Five(), Nan(), heldout)
    assert point.entropy is None
    assert point.kl_prior is None


def test_an_entropy_without_end_is_unknown() -> None:
    class Impossible(Nan):
        def log_prob(self, x: Tensor) -> Tensor:
            return torch.full((len(x),), -torch.inf, dtype=torch.float64)

    assert measured(Five(), Impossible(), "off").entropy is None


# -- the best round ----------------------------------------------------------------------------------------------


def test_exact_rates_are_compared_as_they_are_and_the_first_best_wins() -> None:
    curve = [at(i, Estimate(rate, rate, rate, "exact", None)) for i, rate in enumerate([0.1, 0.4, 0.4, 0.2])]
    best = estimators.best(curve)
    assert (best.round, best.nre, best.stream) == (1, 10, 1)
    assert (best.success_rate, best.estimator, best.n, best.selected_on) == (0.4, "exact", None, "same")


def test_noisy_rates_are_chosen_on_one_half_and_reported_on_the_other() -> None:
    halves = [(1, 50, 2, 50), (4, 50, 1, 50), (3, 50, 9, 50)]  # the second's first half is best; 1 of 50 on the other
    curve = [at(i, estimators.monte_carlo(four[0] + four[2], 100), halves=four) for i, four in enumerate(halves)]
    best = estimators.best(curve)
    assert (best.round, best.selected_on) == (1, "half")
    assert Estimate(*best.fields()) == estimators.monte_carlo(1, 50)


def test_a_curve_that_was_not_measured_has_no_best() -> None:
    with pytest.raises(ValueError, match="round 0 was not measured"):
        estimators.best([at(0, estimators.UNKNOWN)])


@pytest.mark.parametrize(
    ("reached", "base", "expected"), [(0.2, 0.1, 2.0), (0.0, 0.1, 0.0), (0.2, 0.0, None), (0.2, None, None)]
)
def test_improvement_is_a_quotient_where_there_is_one(reached: float, base: float, expected: float | None) -> None:
    found, start = (at(0, Estimate(rate, rate, rate, "exact", None)) for rate in (reached, base))
    assert estimators.improvement(found, start) == expected
    assert estimators.improvement(None, start) is estimators.improvement(found, None) is None


@pytest.mark.slow
def test_choosing_the_best_of_many_equal_policies_invents_no_improvement(
    seeded: Callable[[int], torch.Generator],
) -> None:
    """The best of 16 equal rates on all samples reads high, on the held-back half it does not."""
    hits = torch.distributions.Binomial(500, torch.tensor(0.01))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = hits.sample((400, 16, 2)).int().tolist()
    reported, naive = [], []
    for rounds in draws:
        curve = [
            at(i, Estimate((a + b) / 1000, 0.0, 1.0, "monte-carlo", 1000), halves=(a, 500, b, 500))
            for i, (a, b) in enumerate(rounds)
        ]
        reported.append(estimators.best(curve).success_rate)
        naive.append(max(a + b for a, b in rounds) / 1000)
    error = 0.01**0.5 / (500 * 400) ** 0.5  # standard error of a mean of 400 proportions of 500
    assert np.mean(reported) == pytest.approx(0.01, abs=4 * error)
    assert np.mean(naive) > 0.014
