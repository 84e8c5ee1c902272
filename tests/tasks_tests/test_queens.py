"""Queens: known numbers of solutions, Lehmer codes by hand, Mallows' distribution by its definition."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from suite import task as engine
from tasks.queens import Config, Mallows, Queens, decode, encode, solutions


def permutations(n: int) -> Tensor:
    return torch.tensor(list(itertools.permutations(range(n))))


@pytest.mark.parametrize(("n", "count"), [(4, 2), (5, 10), (6, 4), (7, 40), (8, 92), (10, 724), (12, 14_200)])
def test_as_many_solutions_as_are_known(n: int, count: int) -> None:
    """OEIS A000170."""
    found = solutions(n)
    assert len(torch.unique(found, dim=0)) == len(found) == count
    assert Queens(Config(n=n)).verify(encode(found)).all()


def test_the_verifier_by_definition_over_all_permutations() -> None:
    """n = 6: no two queens in one column or with equal distances of rows and columns."""
    every = permutations(6)
    expected = [all(abs(p[i] - p[j]) != j - i for i in range(6) for j in range(i + 1, 6)) for p in every.tolist()]
    assert Queens(Config(n=6)).verify(encode(every)).tolist() == expected
    assert sum(expected) == 4


def test_lehmer_codes_by_hand_and_back() -> None:
    """Of 2 0 3 1: right of 2 stand 0 and 1, right of 0 none smaller, right of 3 one, right of 1 nothing."""
    assert encode(torch.tensor([[2, 0, 3, 1]])).tolist() == [[2, 0, 1, 0]]
    every = permutations(5)
    assert torch.equal(decode(encode(every)), every)


def test_the_prior_is_mallows_distribution() -> None:
    """p(σ) = 0.6^inversions / Z over all 120 permutations of 5, inversions counted by definition."""
    every = permutations(5)
    inversions = torch.tensor(
        [sum(p[i] > p[j] for i in range(5) for j in range(i + 1, 5)) for p in every.tolist()], dtype=torch.float64
    )
    expected = 0.6**inversions
    prior = Mallows(5, 0.6)
    torch.testing.assert_close(prior.log_prob(encode(every)).exp(), expected / expected.sum(), rtol=1e-6, atol=0)
    assert prior.uniform().log_prob(encode(every)).exp().tolist() == pytest.approx([1 / 120] * 120)


def test_a_uniform_prior_solves_ten_queens_as_often_as_permutations_do() -> None:
    task = Queens(Config(dispersion=1.0))
    assert engine.exact(task, task.prior()) == pytest.approx(724 / math.factorial(10), rel=1e-6)


def test_no_fit_and_no_temperature_makes_what_is_no_permutation() -> None:
    task = Queens(Config())
    policy, rng = task.prior(), torch.Generator().manual_seed(0)
    policy.fit(policy.sample(50, rng), generator=rng, epochs=50, lr=1.0)
    for drawn in (policy, policy.tempered(50.0), policy.uniform()):
        assert task.valid(drawn.sample(2000, rng)).all()
    illegal = torch.zeros(1, 10, dtype=torch.long)
    illegal[0, 9] = 1  # the last symbol can only be 0
    assert not task.valid(illegal).any()
    assert not task.verify(illegal).any()
    assert float(policy.log_prob(illegal)) < -1e8


def test_samples_are_shown_as_columns() -> None:
    assert Queens(Config(n=4)).show(torch.tensor([[0, 0, 0, 0], [1, 2, 0, 0]])) == ["0 1 2 3", "1 3 0 2"]
