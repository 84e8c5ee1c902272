"""The controls: what they do without a single answer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from baselines import banel, blind, pretrained, rnd_filter, tail, temperature, uniform
from baselines.blind import Unanswered
from suite.config import build
from suite.generators import Table
from suite.oracle import Oracle
from suite.seeding import Streams

PRIOR = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
ALL = torch.arange(5)[:, None]


def prior() -> Table:
    return Table(torch.tensor(PRIOR).log())


@pytest.fixture
def closed(make_oracle: Callable[..., Oracle]) -> Oracle:
    """An oracle that nobody may ask."""

    def refuse(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a control asked for an answer")

    return make_oracle(refuse, budget=90)


def test_uniform(closed: Oracle) -> None:
    (step,) = uniform.run(uniform.Config(), prior(), closed, Streams(0))
    assert step.policy.log_prob(ALL).exp().tolist() == pytest.approx([0.2] * 5)


def test_temperature(closed: Oracle) -> None:
    (step,) = temperature.run(temperature.Config(temperature=2.0), prior(), closed, Streams(0))
    expected = np.sqrt(PRIOR) / np.sqrt(PRIOR).sum()
    assert step.policy.log_prob(ALL).exp().tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_tail_distils_the_least_likely_under_the_prior(closed: Oracle) -> None:
    """By numpy: of each pool the third that the prior likes least, p ← (1 − η) p + η · share, η = 0.3."""
    config = tail.Config(rounds=3, filter_factor=3.0, pool=300, distil_lr=1e-3)
    rng, p, expected = Streams(0), PRIOR, []
    for _ in range(3):
        pool = Table(torch.tensor(p).log()).sample(300, rng("pool"))[:, 0].numpy()
        keep = sorted(pool, key=lambda code: PRIOR[code])[:100]
        p = p + 0.3 * (np.bincount(keep, minlength=5) / 100 - p)
        expected.append(p)
    got = [step.policy.log_prob(ALL).exp().numpy() for step in tail.run(config, prior(), closed, Streams(0))]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert expected[-1][4] > 4 * PRIOR[4]


def test_blind_is_banel_on_an_oracle_that_calls_everything_a_failure(
    closed: Oracle, make_oracle: Callable[..., Oracle]
) -> None:
    config = blind.Config(batch=30, pool=100)
    seen = [step.policy.log_prob(ALL).tolist() for step in blind.run(config, prior(), closed, Streams(0))]
    assert len(seen) == 3
    # an oracle without successes that draws from blind's own stream, and does not shuffle
    unanswered = Unanswered(90, Streams(0)("unanswered"))
    twin = banel.Config(**dataclasses.asdict(config))
    steps = banel.run(twin, prior(), unanswered, Streams(0))  # type: ignore[arg-type]
    assert seen == [step.policy.log_prob(ALL).tolist() for step in steps]
    assert unanswered.remaining == 0


def test_the_unanswered_oracle_returns_all_it_draws() -> None:
    oracle = Unanswered(50, torch.Generator().manual_seed(3))
    x = oracle.collect(prior(), 20)
    assert torch.equal(x, prior().sample(20, torch.Generator().manual_seed(3)))
    assert oracle.remaining == 30


@pytest.mark.parametrize("batch", [30, 25])
def test_rnd_filter_keeps_the_novel(closed: Oracle, batch: int) -> None:
    """As many rounds as the budget holds batches; the rare code, hardly visited, gains."""
    knobs = {"filter_factor": 4.0, "distil_lr": 1e-3, "distil_epochs": 1, "predictor_lr": 1e-3, "predictor_epochs": 20}
    config = build(rnd_filter.Config, knobs | {"batch": batch, "pool": 300, "features": 8})
    steps = [step.policy.log_prob(ALL).exp() for step in rnd_filter.run(config, prior(), closed, Streams(0))]
    assert len(steps) == math.ceil(90 / batch)
    assert steps[0][0] < PRIOR[0]  # the most visited code loses
    assert all(float(p.sum()) == pytest.approx(1.0) for p in steps)


@pytest.mark.parametrize("protocol", ["failures-only", "all-rewards"])
def test_pretrained_spends_everything_and_learns_nothing(make_oracle: Callable[..., Oracle], protocol: str) -> None:
    oracle = make_oracle(budget=70, protocol=protocol)
    steps = list(pretrained.run(pretrained.Config(batch=30), prior(), oracle, Streams(0)))
    assert (len(steps), oracle.nre) == (3, 70)
    for step in steps:
        assert step.policy.log_prob(ALL).tolist() == pytest.approx(np.log(PRIOR).tolist(), rel=1e-6)
        assert not step.metrics
