"""Decoys: masses by hand, a cluster succeeds whole, and what failures tell by Bayes' rule."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch

import suite
from suite import config
from suite import task as engine
from suite.errors import UserError
from suite.oracle import Oracle
from tasks.decoys import Config, Decoys, DecoysTune

SMALL = Config(clusters=4, mass=0.05, members=2)


def test_masses_and_rewards_over_all_strings() -> None:
    """4 clusters of 0.05 leave 0.8 to the bulk; of 5³ strings the 25 of one cluster succeed."""
    task = Decoys(SMALL)
    x = torch.tensor(list(product(range(5), repeat=3)))
    p = task.prior().log_prob(x).exp()
    mass = [float(p[x[:, 0] == c].sum()) for c in range(5)]
    assert mass == pytest.approx([0.8, 0.05, 0.05, 0.05, 0.05], rel=1e-6)
    assert p[x[:, 0] == 2].unique().numel() == 1
    won = task.verify(x)
    assert int(won.sum()) == 25
    assert set(x[won, 0].tolist()) == {task.cluster}
    assert torch.equal(x[won], task.successes)
    assert float(p[won].sum()) == pytest.approx(engine.exact(task, task.prior()), rel=1e-12)
    assert task.show(torch.tensor([[0, 1, 2], [3, 4, 0]])) == ["bulk 1 2", "c03 4 0"]


def test_every_cluster_is_drawn_as_the_successful_one() -> None:
    assert {Decoys(Config(clusters=4, secret=s)).cluster for s in range(60)} == {1, 2, 3, 4}
    assert any(Decoys(Config(secret=s)).cluster != DecoysTune(Config(secret=s)).cluster for s in range(5))


def test_the_posterior_rules_failed_clusters_out() -> None:
    """Bulk and clusters 1 and 4 failed: the two others have 1/2 each."""
    posterior = Decoys(SMALL).posterior(torch.tensor([[0, 1, 1], [4, 0, 0], [1, 2, 2]]))
    assert posterior.probabilities()[0].tolist() == pytest.approx([0, 0, 0.5, 0.5, 0])


def test_leaving_the_bulk_is_worth_one_in_forty_and_bayes_everything() -> None:
    task = Decoys(Config())
    rates = {name: engine.exact(task, policy) for name, policy in task.references().items()}
    assert rates == pytest.approx({"novelty": 1 / 40, "bayes": 1.0})


def test_bayes_is_there_after_a_few_hundred_failures(make_oracle: Callable[..., Oracle]) -> None:
    """Rounds of 50 from the posterior: the right cluster alone within 500 evaluations, no success seen.

    Of u clusters left, 50 draws miss each failing one with probability (1 − 1/u)^50: 0.28 of 39, then less.
    """
    task = Decoys(Config())
    oracle = make_oracle(task.verify, budget=500, prior=task.prior())
    failures = torch.zeros(1, 4, dtype=torch.long)
    while oracle.remaining:
        failures = torch.cat([failures, oracle.collect(task.posterior(failures), 50)])
    assert engine.exact(task, task.posterior(failures)) == pytest.approx(1.0)
    assert not task.verify(failures).any()


def test_clusters_that_leave_no_bulk_are_refused() -> None:
    with pytest.raises(UserError, match=r"100 clusters of mass 0\.01 leave nothing for the bulk"):
        config.build(Config, {"clusters": 100, "mass": 0.01})


@pytest.mark.slow
def test_banel_beats_everything_that_only_leaves_the_bulk(tmp_path: Path) -> None:
    """What learns from failures ends near 1; its twin that ignores answers near 1/40."""
    final = {
        name: suite.run("decoys-v1", name, results=tmp_path, tracking="off").result.final.success_rate
        for name in ("banel", "blind", "tail", "uniform")
    }
    assert final["banel"] > 0.9
    assert max(final["tail"], final["uniform"]) < 2 / 40
    assert final["banel"] > 5 * final["blind"]
