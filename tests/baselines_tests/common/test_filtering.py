"""The likelihood-ratio filter, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from baselines.common.filtering import keep_highest, kept, log_ratio, threshold
from suite.counted import Counted


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


def ones(score: Tensor) -> Tensor:
    return torch.ones(len(score), dtype=torch.long)


def pool(counts: list[int]) -> Counted:
    """Strings 0, 1, 2 … of one symbol."""
    return Counted(torch.arange(len(counts))[:, None], torch.tensor(counts), torch.zeros(len(counts)))


def names(kept: Counted) -> list[int]:
    """The strings that were kept, each as often as it was kept."""
    return kept.strings[:, 0].repeat_interleave(kept.counts).tolist()


def test_the_threshold_is_the_lowest_score_kept() -> None:
    score = torch.tensor([0.3, -1.0, 2.0, 0.5, -4.0, 1.0])
    assert threshold(score, ones(score), 2.0) == 0.5  # the three highest: 2, 1, 0.5
    assert threshold(score, ones(score), 6.0) == 2.0
    assert threshold(score, ones(score), 1.0) == -4.0


def test_a_string_counts_as_often_as_it_was_drawn() -> None:
    """Scores 3, 2, 2, 2, 2, 1 of six samples, as three strings: half of six is three."""
    score, counts = torch.tensor([2.0, 1.0, 3.0]), [4, 1, 1]
    assert threshold(score, torch.tensor(counts), 6.0) == 3.0
    assert threshold(score, torch.tensor(counts), 2.0) == 3.0  # four samples share the edge where two may pass
    assert threshold(score, torch.tensor(counts), 1.2) == 2.0  # five of six
    assert names(keep_highest(pool(counts), score, 2.0, torch.Generator())) == [0, 0, 2]
    assert names(keep_highest(pool(counts), score, 1.2, torch.Generator())) == [0, 0, 0, 0, 2]


def test_the_highest_are_kept() -> None:
    assert names(keep_highest(pool([1] * 4), torch.tensor([0.1, 3.0, -1.0, 2.0]), 2.0, torch.Generator())) == [1, 3]


def test_of_samples_that_tie_each_is_kept_equally_often() -> None:
    """Two of the five samples with score 1 pass, drawn without replacement: string 0 is three of the five.

    Of 2,000 draws its mean count is 2 · 3/5 = 1.2, its variance 2 · 3/5 · 2/5 · 3/4 = 0.36: 4.4 standard errors.
    """
    generator = torch.Generator().manual_seed(0)
    score = torch.tensor([1.0, 2.0, 1.0, 0.0])
    kept = [keep_highest(pool([3, 1, 2, 2]), score, 8 / 3, generator) for _ in range(2000)]
    assert all(int(one.counts.sum()) == 3 and names(one).count(1) == 1 for one in kept)
    mean = sum(names(one).count(0) for one in kept) / 2000
    assert abs(mean - 1.2) <= 4.4 * math.sqrt(0.36 / 2000)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 4)), min_size=1, max_size=20), st.floats(1.0, 50.0))
def test_exactly_that_many_pass_and_none_below_the_threshold(rows: list[tuple[int, int]], factor: float) -> None:
    """Against the samples written out one by one and sorted."""
    score, counts = torch.tensor([float(row[0]) for row in rows]), [row[1] for row in rows]
    kept = keep_highest(pool(counts), score, factor, torch.Generator())
    samples = sorted((value for value, count in rows for _ in range(count)), reverse=True)
    passed = samples[: math.ceil(len(samples) / factor)]
    assert sorted((rows[i][0] for i in names(kept)), reverse=True) == passed
    assert all(names(kept).count(i) <= count for i, count in enumerate(counts))
    above = [value for value in samples if value > passed[-1]]
    too_many = sum(value >= passed[-1] for value in samples) > len(passed)
    expected = min(above) if too_many and above else passed[-1]
    assert threshold(score, torch.tensor(counts), factor) == expected
