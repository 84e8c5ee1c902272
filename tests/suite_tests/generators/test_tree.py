"""The tree of distinct prefixes: every row gets its own value, however rows repeat, end or misbehave."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite.generators import Forest, PrefixTree, Transformer
from suite.generators.transformer import Shape

Net = Callable[..., Transformer]


def test_repeated_rows_share_a_leaf_and_get_the_same_value(tiny_net: Net) -> None:
    net = tiny_net(end=1)
    x = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]])
    tree = PrefixTree(x, 2, 1)
    assert (tree.leaves, tree.rows, tree.prefixes) == (2, 3, 3)  # evaluated at "", "0", "00"
    log_p = net.log_prob(x)
    assert log_p[0] == log_p[2]
    torch.testing.assert_close(log_p, torch.cat([net.log_prob(row[None]) for row in x]), rtol=0, atol=1e-6)


def test_symbols_after_the_end_are_impossible(tiny_net: Net) -> None:
    net = tiny_net(end=1)
    x = torch.tensor([[0, 1, 0, 1, 1, 1], [0, 1, 1, 1, 1, 1]])
    log_p = net.log_prob(x)
    assert log_p[0] == -math.inf
    assert -math.inf < log_p[1] < 0


def test_no_strings_have_no_probabilities(tiny_net: Net) -> None:
    for end in (None, 1):
        empty = tiny_net(end=end).log_prob(torch.zeros(0, 6, dtype=torch.long))
        assert (empty.dtype, empty.shape) == (torch.float64, (0,))


@pytest.mark.parametrize("symbol", [-1, 2])
def test_symbols_outside_the_vocabulary_are_refused(tiny_net: Net, symbol: int) -> None:
    with pytest.raises(ValueError, match=r"symbols must lie in 0\.\.1"):
        tiny_net().log_prob(torch.full((1, 6), symbol))


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=30))
def test_the_tree_gives_each_row_what_it_gives_the_row_alone(rows: list[list[int]]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Transformer(Shape(3, 4, 2, width=8, layers=1, heads=2))
    x = torch.tensor(rows)
    alone = torch.cat([net.log_prob(row[None]) for row in x])
    torch.testing.assert_close(net.log_prob(x), alone, rtol=0, atol=1e-5)


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=40), st.sampled_from([None, 0])
)
def test_levels_hold_the_distinct_prefixes(rows: list[list[int]], end: int | None) -> None:
    cut = [row[: row.index(end) + 1] if end is not None and end in row else row for row in rows]
    tree = PrefixTree(torch.tensor(rows), 3, end)
    expected = [len({tuple(row[:depth]) for row in cut if len(row) >= depth}) for depth in range(1, 5)]
    assert [len(level.symbol) for level in tree.levels] == [n for n in expected if n]
    assert tree.leaves == len({tuple(row) for row in cut})


def test_values_go_from_leaves_back_to_rows() -> None:
    tree = PrefixTree(torch.tensor([[1, 0], [0, 1], [1, 1], [0, 1]]), 2, None)
    # leaves in walking order: 01, 10, 11
    assert tree.scatter(torch.tensor([10.0, 20.0, 30.0])).tolist() == [20.0, 10.0, 30.0, 10.0]


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=1, max_size=30),
    st.integers(1, 9),
    st.sampled_from([None, 1]),
)
def test_a_forest_gives_each_row_its_value_whatever_the_block(
    rows: list[list[int]], block: int, end: int | None
) -> None:
    """Every tree's values are read off its strings, 9 a + 3 b + c, in the order of sorted distinct rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Forest, "BLOCK", block)
        forest = Forest(torch.tensor(rows), 3, end)
    distinct = sorted({tuple(row) for row in rows})
    assert len(forest.trees) == -(-len(distinct) // block)
    values = []
    for i, tree in enumerate(forest.trees):
        part = torch.tensor(distinct[i * block : (i + 1) * block])
        assert tree.rows == len(part)
        values.append((part * torch.tensor([9, 3, 1])).sum(dim=1))
    assert forest.scatter(values).tolist() == [9 * a + 3 * b + c for a, b, c in rows]
    assert forest.prefixes == sum(tree.prefixes for tree in forest.trees)
