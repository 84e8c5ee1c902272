"""A minibatch of strings as the tree of its prefixes: what several strings share is trained through once."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from suite.generators.network import Network

SHORT = 32
"""Strings of up to so many symbols are attended to faster by plain products than by torch's fused attention."""


class Minibatch(NamedTuple):
    """The N different prefixes of b strings, each a token at which the network is evaluated."""

    symbol: Tensor
    """Last symbol of each prefix, int64 (N,)."""
    position: Tensor
    """Its position, int64 (N,)."""
    place: Tensor
    """Where each prefix stands first among the b · S places of the strings' symbols, int64 (N,)."""
    prefix: Tensor
    """The prefix that each of the places belongs to, int64 (b, S); any where a string has ended."""

    @classmethod
    def of(cls, inputs: Tensor, alive: Tensor) -> Minibatch:
        """The prefixes of strings that stand in lexicographic order; in another order fewer are found equal.

        Args:
            inputs: the symbols that the network reads, int64 (b, S).
            alive: True (b, S) where a string has not ended.
        """
        rows, length = inputs.shape
        same = (inputs[1:] == inputs[:-1]).long().cumprod(dim=1) > 0  # (b - 1, S): the prefix of the row before
        first = F.pad(~same, (0, 0, 1, 0), value=True) & alive  # (b, S)
        number = first.flatten().cumsum(dim=0) - 1
        row = torch.arange(rows, device=inputs.device)[:, None] * first
        where = row.cummax(dim=0).values * length + torch.arange(length, device=inputs.device)
        place = first.flatten().nonzero().squeeze(1)
        return cls(inputs.flatten()[place], place % length, place, number[where].clamp(min=0))


def log_likelihood(net: Network, x: Tensor, weights: Tensor) -> tuple[Tensor, int]:
    """Σ_i weights[i] log p(x_i), with gradients, and at how many prefixes the network was evaluated.

    Args:
        x: strings in lexicographic order, int64 (b, T).
        weights: float (b,).
    """
    begin = torch.cat([x.new_full((1,), net.vocab_size), net.prompt])
    inputs = torch.cat([begin.expand(len(x), -1), x[:, :-1]], dim=1)  # (b, S)
    counted = net.counted(x)  # (b, T)
    batch = Minibatch.of(inputs, F.pad(counted, (len(net.prompt), 0), value=True))
    log_p = F.log_softmax(logits(net, batch), dim=-1)  # (N, V)
    target = batch.prefix[:, len(net.prompt) :] * net.vocab_size + x  # (b, T)
    weight = torch.bincount(
        target[counted], weights[:, None].expand_as(target)[counted].double(), minlength=log_p.numel()
    )
    return (weight.view_as(log_p).to(log_p.dtype) * log_p).sum(), len(batch.place)


def logits(net: Network, batch: Minibatch) -> Tensor:
    """Next-symbol logits (N, V) after each prefix."""
    rows, length = batch.prefix.shape
    h = net.symbols(batch.symbol) + F.embedding(batch.position, net.positions)  # (N, D)
    for block in net.stack:
        qkv = block.qkv(block.norm_attention(h))  # (N, 3 D)
        # F.embedding is indexing with a backward pass that adds whole rows
        every = F.embedding(batch.prefix, qkv).view(rows, length, 3, block.heads, -1)
        q, k, v = every.permute(2, 0, 3, 1, 4).contiguous()  # (b, H, S, D / H)
        attended = causal_attention(q, k, v).transpose(1, 2)  # (b, S, H, D / H)
        h = block.finish(h, F.embedding(batch.place, attended.reshape(rows * length, -1)))
    out: Tensor = net.head(net.norm(h))
    return out


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attended values (b, H, S, D / H) of queries, keys and values of that shape; each symbol sees those before it."""
    length, width = q.shape[2:]
    if length > SHORT:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    later = torch.full((length, length), -torch.inf, dtype=q.dtype, device=q.device).triu(diagonal=1)
    return torch.softmax(q @ k.transpose(2, 3) / math.sqrt(width) + later, dim=-1) @ v
