"""The hypergrid: its walk by simulation and by hand, its modes by definition, its prior close to its walk."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from suite import task as engine
from tasks.hypergrid.pretrain import CELLS, walk
from tasks.hypergrid.task import Config, Hypergrid, HypergridTune


def test_the_walk_by_hand() -> None:
    """Stops at the origin with 0.1; at (1, 0, 0, 0) after one step, 0.9 / 4 · 0.1; at (1, 1, 0, 0) after two ways of
    two steps, 2 · (0.9 / 4)² · 0.1; and somewhere for certain."""
    p = {tuple(cell): float(mass) for cell, mass in zip(CELLS.tolist(), walk(0.1), strict=True)}
    assert p[0, 0, 0, 0] == pytest.approx(0.1, rel=1e-12)
    assert p[0, 0, 1, 0] == pytest.approx(0.9 / 4 * 0.1, rel=1e-12)
    assert p[1, 0, 0, 1] == pytest.approx(2 * (0.9 / 4) ** 2 * 0.1, rel=1e-12)
    assert sum(p.values()) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.slow
def test_the_walk_by_simulation() -> None:
    """20,000 walks, step by step, by the sum of their coordinates: a chi-square test."""
    rng = np.random.default_rng(0)
    ends = np.zeros(29)
    for _ in range(20_000):
        cell = [0, 0, 0, 0]
        while (free := [d for d in range(4) if cell[d] < 7]) and rng.random() >= 0.1:
            cell[rng.choice(free)] += 1
        ends[sum(cell)] += 1
    expected = np.zeros(29)
    np.add.at(expected, CELLS.sum(dim=1).numpy(), walk(0.1).numpy())
    assert stats.chisquare(ends, 20_000 * expected / expected.sum()).pvalue > 1e-3


@pytest.mark.parametrize(("cls", "near", "far", "count"), [(Hypergrid, 1, 6, 11), (HypergridTune, 0, 7, 14)])
def test_the_modes_are_corners_of_their_band(cls: type[Hypergrid], near: int, far: int, count: int) -> None:
    """|x/7 − 0.5| is 0.5, 0.357, 0.214, 0.071 from the border inwards: a band holds one column on either side. Of 16
    corners 6 + 4 + 1 have at least two far coordinates, and 4 + 6 + 4 from one to three."""
    corners = itertools.product((near, far), repeat=4)
    least, most = cls.far
    expected = {corner for corner in corners if least <= corner.count(far) <= most}
    assert {tuple(cell) for cell in cls(Config()).successes.tolist()} == expected
    assert len(expected) == count


@pytest.mark.parametrize("cls", [Hypergrid, HypergridTune])
def test_the_shipped_prior_is_close_to_the_walk(cls: type[Hypergrid]) -> None:
    task, exact = cls(Config()), walk(0.1)
    log_p = task.prior().log_prob(CELLS)
    kl = float((exact * (exact.log() - log_p)).sum())
    assert kl == pytest.approx(task.manifest["measured"]["kl_walk_prior"], abs=1e-6)
    assert 0 <= kl < 1e-3
    rate = float(exact[task.verify(CELLS)].sum())
    assert (
        rate / 1.5 < engine.exact(task, task.prior()) < rate * 1.5
    )  # a tail of 1e-4 is fitted less well than the bulk
    assert float(torch.logsumexp(log_p, dim=0)) == pytest.approx(0.0, abs=1e-9)
