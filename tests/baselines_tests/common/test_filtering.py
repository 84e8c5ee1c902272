"""The likelihood-ratio filter, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from baselines.common.filtering import keep_highest, kept, log_ratio, threshold


def test_log_ratio_is_log_prior_minus_log_failure() -> None:
    """p/φ = 0.2/0.05 = 4, 0.1/0.4 = 1/4, and φ = 0: certainly no failure."""
    prior, failure = torch.tensor([0.2, 0.1, 0.3]), torch.tensor([0.05, 0.4, 0.0])
    expected = [math.log(4), -math.log(4), math.inf]
    assert log_ratio(prior.log(), failure.log()).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("n", "factor", "expected"),
    [
        (100, 4.0, 25),
        (10, 4.0, 3),  # 2.5 rounded up
        (10, 1.0, 10),
        (24_000, 1.032, 23_256),  # 23,255.8: the paper's attack factor
        (500, 16.0, 32),  # 31.25: GSM8K's
        (3, 100.0, 1),
    ],
)
def test_the_share_one_over_f_is_kept_rounded_up(n: int, factor: float, expected: int) -> None:
    assert kept(n, factor) == expected


def test_the_threshold_is_the_lowest_score_kept() -> None:
    score = torch.tensor([0.3, -1.0, 2.0, 0.5, -4.0, 1.0])
    assert threshold(score, 2.0) == 0.5  # the three highest: 2, 1, 0.5
    assert threshold(score, 6.0) == 2.0
    assert threshold(score, 1.0) == -4.0


def test_the_highest_are_kept_from_the_highest_down() -> None:
    x = torch.tensor([[10], [11], [12], [13]])
    assert keep_highest(x, torch.tensor([0.1, 3.0, -1.0, 2.0]), 2.0)[:, 0].tolist() == [11, 13]


def test_ties_go_to_the_earlier_sample() -> None:
    x = torch.arange(6)[:, None]
    assert keep_highest(x, torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0, 1.0]), 2.0)[:, 0].tolist() == [1, 3, 0]
    assert keep_highest(x, torch.zeros(6), 3.0)[:, 0].tolist() == [0, 1]
    assert threshold(torch.zeros(6), 3.0) == 0.0


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.floats(1.0, 50.0))
def test_exactly_that_many_pass_and_none_below_the_threshold(scores: list[int], factor: float) -> None:
    score = torch.tensor(scores, dtype=torch.float64)
    order = keep_highest(torch.arange(len(scores))[:, None], score, factor)[:, 0].tolist()
    assert order == sorted(range(len(scores)), key=lambda i: (-scores[i], i))[: math.ceil(len(scores) / factor)]
    edge = min(scores[i] for i in order)
    above = [value for value in scores if value > edge]
    too_many = sum(value >= edge for value in scores) > len(order)
    assert threshold(score, factor) == (min(above) if too_many and above else edge)
