"""The distinct prefixes of a set of strings, as a tree, or as many small ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from suite.counted import distinct_rows
from suite.policy import Mixture, Policy


class Level(NamedTuple):
    """Prefixes of one length, P of them; all tensors have P rows."""

    parent: Tensor
    """Index among the prefixes one shorter that go on, int64."""
    symbol: Tensor
    """Last symbol of each prefix, int64."""
    is_leaf: Tensor
    """True where the prefix is a whole string."""
    goes_on: Tensor
    """True where a longer prefix follows; the complement of `is_leaf`."""


class PrefixTree:
    """Distinct prefixes of strings x, int64 (B, T), level by level.

    Args:
        x: the strings; repeated rows share one leaf.
        vocab_size: number of symbols V.
        end: the symbol that ends a string; None where all strings have full length.

    Raises:
        ValueError: a symbol outside 0 .. V-1.
    """

    def __init__(self, x: Tensor, vocab_size: int, end: int | None) -> None:
        if x.numel() and not (int(x.min()) >= 0 and int(x.max()) < vocab_size):
            raise ValueError(f"symbols must lie in 0..{vocab_size - 1}, got {int(x.min())}..{int(x.max())}")
        self.rows = len(x)
        self.levels: list[Level] = []
        self.malformed = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        if end is not None:
            ended = (x == end).cumsum(dim=1) > 0
            self.malformed = ((x != end) & ended).any(dim=1)
        self.leaf = torch.zeros(len(x), dtype=torch.long, device=x.device)  # row -> its leaf, in walking order
        row = torch.arange(len(x), device=x.device)  # rows that have not ended
        node = torch.zeros_like(row)  # the prefix each of them stands at
        leaves = 0
        for step in range(x.shape[1]):
            if not len(row):
                break
            child, node = torch.unique(node * vocab_size + x[row, step], return_inverse=True)
            parent, symbol = child // vocab_size, child % vocab_size
            is_leaf = symbol == end if end is not None else torch.zeros_like(symbol, dtype=torch.bool)
            if step == x.shape[1] - 1:
                is_leaf = torch.ones_like(is_leaf)
            self.levels.append(Level(parent, symbol, is_leaf, ~is_leaf))
            done = is_leaf[node]
            self.leaf[row[done]] = leaves + (is_leaf.cumsum(dim=0) - 1)[node[done]]
            leaves += int(is_leaf.sum())
            row = row[~done]
            node = ((~is_leaf).cumsum(dim=0) - 1)[node[~done]]
        self.leaves = leaves

    @property
    def prefixes(self) -> int:
        """Prefixes that a network must be evaluated at, the empty one with them."""
        return 1 + sum(int(level.goes_on.sum()) for level in self.levels)

    def to(self, device: torch.device) -> PrefixTree:
        """The same tree with its tensors on a device."""
        moved = copy.copy(self)
        moved.leaf, moved.malformed = self.leaf.to(device), self.malformed.to(device)
        moved.levels = [Level(*(part.to(device) for part in level)) for level in self.levels]
        return moved

    def scatter(self, values: Tensor) -> Tensor:
        """Values of the leaves in walking order, (leaves,), as values of the rows, (B,)."""
        out = values[self.leaf]
        out[self.malformed] = -torch.inf
        return out


class Forest:
    """Strings x, int64 (B, T), as trees of neighbouring strings.

    Built once and walked many times, it makes the exact success rate of an enumerated set cost its distinct
    prefixes instead of its symbols. Cut into blocks of sorted rows, a walk keeps its keys and values in the
    processor's cache; only prefixes at the cuts are evaluated twice.

    Args:
        x, vocab_size, end: as of :class:`PrefixTree`.
    """

    BLOCK = 2048
    """Most strings of a tree."""

    def __init__(self, x: Tensor, vocab_size: int, end: int | None) -> None:
        distinct, self.row = distinct_rows(x)
        self.trees = [PrefixTree(block, vocab_size, end) for block in torch.split(distinct, self.BLOCK)]

    def to(self, device: torch.device) -> Forest:
        """The same forest with its tensors on a device; itself where they are there."""
        if self.row.device == device:
            return self
        moved = copy.copy(self)
        moved.row = self.row.to(device)
        moved.trees = [tree.to(device) for tree in self.trees]
        return moved

    @property
    def prefixes(self) -> int:
        """Prefixes that a network must be evaluated at."""
        return sum(tree.prefixes for tree in self.trees)

    def scatter(self, values: list[Tensor]) -> Tensor:
        """Values of the rows of each tree as values of the rows of x, (B,)."""
        return torch.cat(values)[self.row]


def log_prob_by_prefixes(policy: Policy, x: Tensor, forest: Forest) -> Tensor:
    """log p(x), float (B,), of the strings of a forest: each distinct prefix once where the policy can walk it."""
    if isinstance(policy, Mixture):
        return policy.mixed([log_prob_by_prefixes(part, x, forest) for part in policy.parts])
    walk: Callable[[Forest], Tensor] | None = getattr(policy, "log_prob_forest", None)
    return policy.log_prob(x) if walk is None else walk(forest)
