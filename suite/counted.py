"""Samples as the different strings among them with their counts: what a large pool costs is what differs in it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Counted(NamedTuple):
    """The different strings of a sample: D of them for n draws. All tensors have D rows."""

    strings: Tensor
    """Different from one another, int64 (D, T)."""
    counts: Tensor
    """How often each was drawn, int64 (D,), at least 1; their sum is n."""
    log_probs: Tensor
    """log p of each under the policy that was drawn from, float64 (D,)."""

    def rows(self, keep: Tensor | slice) -> Counted:
        """Some of the strings: a mask, indices or a slice."""
        return Counted(*(part[keep] for part in self))


def distinct_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """The different rows of x, int64 (B, T), in lexicographic order, (D, T), and the one each row is, int64 (B,).

    As `torch.unique(x, dim=0, return_inverse=True)`, which compares rows symbol by symbol: here a row is read as a
    whole number, and that is many times faster.
    """
    if not x.numel():
        return x[: min(1, len(x))], torch.zeros(len(x), dtype=torch.long, device=x.device)
    low = int(x.min())
    base = int(x.max()) - low + 1
    rank, size = torch.zeros(len(x), dtype=torch.long, device=x.device), 1
    for column in x.T:
        if size * base >= 2**63:
            values, rank = torch.unique(rank, return_inverse=True)
            size = len(values)
        rank, size = rank * base + (column - low), size * base
    values, row = torch.unique(rank, return_inverse=True)
    first = row.new_empty(len(values)).scatter_(0, row, torch.arange(len(x), device=x.device))
    return x[first], row


def merged(strings: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The different ones of strings, int64 (B, T), in lexicographic order, and the sums of their counts, int64 (D,)."""
    distinct, row = distinct_rows(strings)
    return distinct, counts.new_zeros(len(distinct)).index_add_(0, row, counts)


def in_random_order(drawn: Counted, generator: torch.Generator) -> Tensor:
    """The n samples one by one in a random order, int64 (n, T)."""
    return drawn.strings[random_order(drawn.counts, generator)]


def random_order(counts: Tensor, generator: torch.Generator) -> Tensor:
    """The string that each of n samples is, in a random order, int64 (n,), from how often each string was drawn."""
    row = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    return row[torch.randperm(len(row), generator=generator, device=row.device)]
