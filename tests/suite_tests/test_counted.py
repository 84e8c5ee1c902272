"""Samples as different strings with counts, and draws shared out over outcomes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.counted import Counted, distinct_rows, in_random_order
from suite.generators import Table
from suite.generators.split import FEW, split
from suite.policy import Tempered, fit_counts, sample_counts


@given(st.lists(st.lists(st.integers(-2, 2**40), min_size=3, max_size=3), max_size=20))
def test_distinct_rows_are_those_of_torch(rows: list[list[int]]) -> None:
    """Symbols up to 2^40: three of them do not fit one whole number of 64 bits."""
    x = torch.tensor(rows, dtype=torch.long).view(-1, 3)
    distinct, row = distinct_rows(x)
    assert torch.equal(distinct[row], x)
    if rows:
        assert torch.equal(distinct, torch.unique(x, dim=0))


def test_rows_of_no_symbols_are_one() -> None:
    distinct, row = distinct_rows(torch.zeros(3, 0, dtype=torch.long))
    assert (distinct.shape, row.tolist()) == ((1, 0), [0, 0, 0])


def test_counts_and_probabilities_of_any_policy() -> None:
    """A table has no counts of its own: the same generator's samples, counted by hand."""
    table = Table(torch.tensor([0.5, 0.25, 0.25]).log())
    drawn = sample_counts(table, 40, torch.Generator().manual_seed(1))
    x = table.sample(40, torch.Generator().manual_seed(1))[:, 0].tolist()
    assert drawn.counts.tolist() == [x.count(code) for code in drawn.strings[:, 0].tolist()]
    assert drawn.log_probs.tolist() == pytest.approx(table.log_prob(drawn.strings).tolist())
    assert sorted(in_random_order(drawn, torch.Generator())[:, 0].tolist()) == sorted(x)


def test_a_replaced_sample_is_what_is_counted() -> None:
    """A policy that draws in its own way is not asked for the counts of the class it was made from."""

    class Silent(Tempered):
        def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
            return torch.full((n, 1), 2)

    drawn = sample_counts(Silent(Table(torch.zeros(3)), 1.0), 5, torch.Generator())
    assert (drawn.strings.tolist(), drawn.counts.tolist()) == ([[2]], [5])


def test_a_generator_without_counts_is_fitted_row_by_row() -> None:
    class Plain:
        def fit(self, x: torch.Tensor, *, epochs: int) -> float:
            self.seen: Any = (x[:, 0].tolist(), epochs)
            return 1.5

    plain = Plain()
    sample = Counted(torch.tensor([[4], [7]]), torch.tensor([2, 1]), torch.zeros(2))
    assert fit_counts(plain, sample, epochs=3) == 1.5  # type: ignore[arg-type]
    assert plain.seen == ([4, 4, 7], 3)


def test_a_table_takes_counts_as_repeated_rows() -> None:
    sample = Counted(torch.tensor([[0], [2]]), torch.tensor([3, 1]), torch.zeros(2))
    by_counts, by_rows = Table(torch.zeros(3)), Table(torch.zeros(3))
    losses = [
        fit_counts(by_counts, sample, epochs=2, lr=1e-3, generator=torch.Generator()),
        by_rows.fit(torch.tensor([[0], [0], [0], [2]]), epochs=2, lr=1e-3, generator=torch.Generator()),
    ]
    assert losses[0] == pytest.approx(losses[1])
    assert by_counts.logits.tolist() == by_rows.logits.tolist()


@pytest.mark.parametrize("n", [FEW - 6, 400])
def test_counts_are_multinomial(n: int) -> None:
    """2,000 rows of n draws: the mean of each outcome, and the variance n p (1 - p) of a binomial margin."""
    p = torch.tensor([0.1, 0.0, 0.6, 0.3], dtype=torch.float64)
    drawn = split(torch.full((2000,), n), p.expand(2000, -1), torch.Generator().manual_seed(0))
    assert (drawn.sum(dim=1) == n).all()
    assert (drawn[:, 1] == 0).all()
    total = drawn.sum(dim=0)[[0, 2, 3]].tolist()
    assert stats.chisquare(total, [2000 * n * q for q in (0.1, 0.6, 0.3)]).pvalue > 1e-3
    for outcome in (0, 2, 3):
        spread = float(drawn[:, outcome].double().var()) / (n * float(p[outcome] * (1 - p[outcome])))
        assert 0.85 < spread < 1.15  # chi-square with 1,999 degrees of freedom: 0.032 is one standard deviation


def test_rows_with_few_and_many_draws_keep_their_own_counts() -> None:
    counts = torch.tensor([0, 3, 1000, FEW, FEW + 1])
    drawn = split(counts, torch.full((5, 4), 0.25, dtype=torch.float64), torch.Generator())
    assert drawn.sum(dim=1).tolist() == counts.tolist()
