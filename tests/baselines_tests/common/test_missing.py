"""Missing failures: the likelihood by hand, and a model that finds what never comes back."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from baselines.common.missing import Failures, Source, SuccessModel
from suite.counted import Counted
from suite.generators import Table

CPU = torch.device("cpu")


def rows(*strings: tuple[int, ...]) -> torch.Tensor:
    return torch.tensor(strings)


def test_failures_are_counted_by_string() -> None:
    failures = Failures(2, CPU)
    failures.add(rows((1, 0), (0, 1), (1, 0)))
    failures.add(rows((1, 0), (2, 2)))
    assert failures.strings.tolist() == [[0, 1], [1, 0], [2, 2]]
    assert failures.counts.tolist() == [1, 3, 1]
    assert failures.hold(rows((1, 0), (1, 1), (2, 2))).tolist() == [True, False, True]
    assert Failures(2, CPU).hold(rows((1, 0))).tolist() == [False]


def test_the_likelihood_by_hand() -> None:
    """s = σ(0, 1, −1) = 0.5, 0.731, 0.269; string 0 failed twice; a policy with shares ¾ and ¼ on 1 and 2 misses 3."""
    model = SuccessModel(1, 3, base=0.5, scale=2.0)
    with torch.no_grad():
        model.weight[:] = torch.tensor([[0.0, 1.0, -1.0]])
    s1, s2 = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))
    expected = 2 * math.log(0.5) + 3 * math.log(0.75 * s1 + 0.25 * s2)
    parts = [(rows((1,), (2,)), torch.tensor([0.75, 0.25]).log(), 3)]
    found = model.log_likelihood(rows((0,)), torch.tensor([2]), parts)
    assert found.item() == pytest.approx(expected, abs=1e-6)
    assert model.penalty().item() == pytest.approx((1 + 1) / 2 / 4)


def test_a_string_that_failed_takes_no_part_in_what_is_missing() -> None:
    """Half of 100 uniform draws over two strings are missing and string 0 is all that failed: string 1 succeeds."""
    failures = Failures(1, CPU)
    failures.add(rows(*[(0,)] * 50))
    drawn = Counted(rows((0,), (1,)), torch.tensor([500, 500]), torch.tensor([0.5, 0.5]).log().double())
    source = Source(Table(torch.zeros(2)), drawn, asked=100, missing=50)
    model = SuccessModel(1, 2, base=0.01, scale=3.0)
    model.fit(failures, [source], steps=300, lr=0.1)
    s = torch.sigmoid(model.logits(rows((0,), (1,)))).tolist()
    assert s[0] < 0.03
    assert s[1] > 0.97


def test_without_a_missing_sample_nothing_is_likely() -> None:
    failures = Failures(1, CPU)
    failures.add(rows(*[(0,)] * 50))
    model = SuccessModel(1, 2, base=0.01, scale=3.0)
    model.fit(failures, [], steps=100, lr=0.05)
    assert float(torch.sigmoid(model.logits(rows((1,)))).max()) <= 0.01


def test_exposures_are_the_expected_number_of_meetings(seeded: Callable[[int], torch.Generator]) -> None:
    source = Source.of(Table(torch.tensor([0.9, 0.1]).log()), 100, seeded(0))
    assert source.exposures(rows((0,))) == 0  # not asked yet
    source.asked = 20
    assert torch.as_tensor(source.exposures(rows((0,), (1,)))).tolist() == pytest.approx([18.0, 2.0], rel=1e-6)
