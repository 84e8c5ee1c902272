"""BaNEL against a second implementation with numpy, and the identity that its filter obeys."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines import banel
from baselines.banel import Config
from baselines.common.filtering import threshold
from suite.config import build
from suite.errors import UserError
from suite.generators import Table
from suite.policy import Acceptance, Filtered
from suite.seeding import Streams

PRIOR = np.array([0.3, 0.25, 0.2, 0.1, 0.1, 0.05])
COUNTS = ([1, 2, 3, 4, 5, 6], [6, 1, 5, 2, 4, 3], [2, 3, 1, 5, 1, 3])
ROUNDS = [np.repeat(np.arange(6), counts) for counts in COUNTS]
"""Failures that the oracle hands out, round by round: 21, 21, 15; no two outcomes have the same ratio."""


KNOBS: dict[str, Any] = {
    "batch": 21,
    "epochs": 3,
    "pool": 60,
    "filter_factor": 4.0,
    "failure_lr": 1e-3,
    "distil_lr": 1e-3,
    "distil_epochs": 1,
}


class Script:
    """An oracle that reads its failures from ROUNDS."""

    def __init__(self, rounds: list[np.ndarray] = ROUNDS) -> None:
        self.rounds = list(rounds)
        self.asked: list[int] = []

    @property
    def remaining(self) -> int:
        return sum(len(codes) for codes in self.rounds)

    def collect(self, policy: Any, n: int) -> Tensor:
        self.asked.append(n)
        return torch.tensor(self.rounds.pop(0))[:, None]


def fit(p: np.ndarray, codes: np.ndarray, epochs: int, lr: float) -> np.ndarray:
    """A table's fit: p ← (1 − η) p + η · (share of each code), η = 300 lr."""
    for _ in range(epochs):
        p = p + min(1.0, 300 * lr) * (np.bincount(codes, minlength=len(p)) / len(codes) - p)
    return p


def second_implementation(config: Config) -> list[np.ndarray]:
    """Algorithm 2 on a table; draws its pools from the stream of that name."""
    rng = Streams(0)
    policy, met, found = PRIOR, np.array([], dtype=int), []
    for failures in ROUNDS:
        met = np.concatenate([met, failures]) if config.memory == "all" else failures
        failure_model = fit(policy if config.init == "policy" else PRIOR, met, config.epochs, config.failure_lr)
        pool = Table(torch.tensor(policy).log()).sample(config.pool, rng("pool"))[:, 0].numpy()
        ratio = (policy if config.ratio == "prior/failure" else np.ones(6)) / failure_model
        keep = sorted(range(len(pool)), key=lambda i: (-ratio[pool[i]], i))
        keep = keep[: math.ceil(len(pool) / config.filter_factor)]
        policy = fit(PRIOR if config.reset else policy, pool[keep], config.distil_epochs, config.distil_lr)
        found.append(policy)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"memory": "all"},
        {"init": "prior"},
        {"ratio": "failure"},
        {"reset": True},
        {"epochs": 7, "failure_lr": 3e-4, "filter_factor": 2.5, "distil_epochs": 2, "distil_lr": 5e-4},
        {"memory": "all", "init": "prior", "reset": True},
    ],
)
def test_algorithm_2_is_its_second_implementation(options: dict[str, Any]) -> None:
    config = Config(**(KNOBS | options))
    oracle = Script()
    steps = banel.run(config, Table(torch.tensor(PRIOR).log()), oracle, Streams(0))  # type: ignore[arg-type]
    policies = [step.policy.log_prob(torch.arange(6)[:, None]).exp().numpy() for step in steps]
    assert oracle.asked == [21, 21, 15]  # the last batch is what is left
    expected = second_implementation(config)
    np.testing.assert_allclose(policies, expected, rtol=1e-4)
    assert np.abs(expected[0] - PRIOR).max() > 0.01


def test_algorithm_1_keeps_the_prior_outside_all_rejection_regions() -> None:
    """Each failure model learns its round's failures; where its share grew, the ratio falls below the threshold."""
    config = Config(**(KNOBS | {"pool": 4000, "algorithm": "filtering", "filter_factor": 1.3}))
    oracle, accepted, everything = Script(), [np.ones(6, dtype=bool)], torch.arange(6)[:, None]
    for step, failures in zip(
        banel.run(config, Table(torch.tensor(PRIOR).log()), oracle, Streams(0)),  # type: ignore[arg-type]
        ROUNDS,
        strict=True,
    ):
        posterior = step.policy
        assert isinstance(posterior, Filtered)
        ratio = PRIOR / fit(PRIOR, failures, 3, config.failure_lr)
        # the pool comes from the last posterior: at most the top 1/f of its mass passes, so not the bin that the
        # edge falls into, unless it is the top one
        mass = np.where(accepted[-1], PRIOR, 0)
        mass = mass / mass.sum()
        order = np.argsort(-ratio, kind="stable")
        reached = order[np.searchsorted(np.cumsum(mass[order]), 1 / 1.3)]
        above = accepted[-1] & (ratio > ratio[reached] + 1e-9)
        accepted.append(above if above.any() else accepted[-1] & (ratio >= ratio[reached] - 1e-9))
        assert posterior.accepts(everything).tolist() == accepted[-1].tolist()
        share = PRIOR[accepted[-1]].sum()
        assert posterior.acceptance.n == 4000
        assert posterior.acceptance.hits / 4000 == pytest.approx(share, abs=4 * (share * (1 - share) / 4000) ** 0.5)
        torch.testing.assert_close(
            posterior.prior.log_prob(everything).exp(), torch.tensor(PRIOR), rtol=1e-5, atol=0
        )  # the prior itself is never trained
    assert 1 <= accepted[-1].sum() < accepted[1].sum() < 6


def test_the_filter_multiplies_the_success_rate_by_its_likelihood_ratio() -> None:
    """SR(after) = SR(before) · P(accept | success) / P(accept), exact on a table: bins 3 and 5 succeed."""
    prior, failure_model = (
        Table(torch.tensor(PRIOR).log()),
        Table(torch.tensor([0.5, 0.3, 0.1, 0.05, 0.03, 0.02]).log()),
    )
    probe = Filtered(prior, [(failure_model, math.log(1.5))], Acceptance(1, 1))
    accepts = probe.accepts(torch.arange(6)[:, None]).numpy()
    share = PRIOR[accepts].sum()
    posterior = Filtered(prior, probe.filters, Acceptance(round(share * 1000), 1000))
    after = posterior.log_prob(torch.tensor([[3], [5]])).exp().sum().item()
    before, joint = PRIOR[[3, 5]].sum(), PRIOR[[3, 5]][accepts[[3, 5]]].sum()
    assert accepts.tolist() == [False, False, True, True, True, True]
    assert after == pytest.approx(before * (joint / before) / share, rel=1e-6)
    assert after == pytest.approx(0.15 / 0.45, rel=1e-6)


def test_a_filter_that_leaves_next_to_nothing_is_left_out(uniform_table: Callable[[int], Table]) -> None:
    """f = 16 on 4 equally likely codes: each round would keep one code, then none of 300 samples in 100."""
    config = Config(**(KNOBS | {"pool": 300, "algorithm": "filtering", "filter_factor": 16.0}))
    steps = list(banel.run(config, Table(torch.tensor(PRIOR).log()), Script(), Streams(0)))  # type: ignore[arg-type]
    assert len(steps) == len(ROUNDS)
    for step in steps:
        policy = step.policy
        assert not isinstance(policy, Filtered) or policy.acceptance.hits >= banel.LEAST_ACCEPTED


def test_an_outcome_that_fills_the_pool_does_not_pass_for_ever() -> None:
    """99 % of the pool has the lowest score: it is cut, though less than 1/f is left."""
    score = torch.cat([torch.full((990,), -1.7), torch.linspace(-1, 1, 10)])
    ones = torch.ones(1000, dtype=torch.long)
    assert threshold(score, ones, 4.0) == -1.0
    assert threshold(torch.full((1000,), -1.7), ones, 4.0) == pytest.approx(-1.7)


def test_a_round_without_failures_goes_on() -> None:
    rounds = [ROUNDS[0], np.array([], dtype=int), ROUNDS[2]]

    class Sparse(Script):
        @property
        def remaining(self) -> int:
            return 21 * len(self.rounds)

    steps = list(banel.run(Config(batch=21, pool=60), Table(torch.tensor(PRIOR).log()), Sparse(rounds), Streams(0)))  # type: ignore[arg-type]
    assert len(steps) == 3
    assert math.isnan(steps[1].metrics["failure_model_loss"])


def test_filters_that_do_not_score_the_ratio_are_refused() -> None:
    with pytest.raises(UserError, match="algorithm filtering needs ratio prior/failure"):
        build(Config, {"algorithm": "filtering", "ratio": "failure"})


def test_the_prior_handed_over_is_not_touched() -> None:
    prior = Table(torch.tensor(PRIOR).log())
    before = prior.logits.detach().clone()
    list(banel.run(Config(batch=21, pool=60, reset=True), prior, Script(), Streams(0)))  # type: ignore[arg-type]
    assert torch.equal(prior.logits, before)
