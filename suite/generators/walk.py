"""The prefixes of many strings put through a transformer once each, with their keys and values cached.

A walk stands at the prefixes of one depth. One step further it goes on from some of them, by one symbol each. Each
depth keeps the keys and values of its own symbols only, and each prefix the rows of those before it: what many
prefixes share is stored once, and nothing is copied from depth to depth.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from suite.generators.network import Network

ROWS = 2048
"""Most prefixes of one step: their keys and values stay in the processor's cache."""


@dataclasses.dataclass(frozen=True)
class Walk:
    """P prefixes of one length; :meth:`begin` makes the first, :meth:`step` the next."""

    net: Network
    shared: list[Tensor]
    """Per block: keys and values of the L symbols that all strings begin with, (2, L, H, D / H)."""
    own: tuple[list[Tensor], ...]
    """Per later depth and block: keys and values of the R last symbols of the prefixes met there, (2, R, D)."""
    rows: tuple[Tensor, ...]
    """Per later depth: the row of `own` that each of the P prefixes goes back to, int64 (P,)."""

    @classmethod
    def begin(cls, net: Network) -> tuple[Tensor, Walk]:
        """Logits (1, V) after the prompt, and the walk that stands there."""
        device = net.positions.device
        begin = torch.full((1,), net.vocab_size, dtype=torch.long, device=device)
        inputs = torch.cat([begin, net.prompt])  # (L,)
        h = (net.symbols(inputs) + net.positions[: len(inputs)])[None]  # (1, L, D)
        shared = []
        for block in net.stack:
            q, k, v = block.heads_of(h)  # (1, H, L, D / H)
            shared.append(torch.cat([k, v]).transpose(1, 2))
            h = block.attended(h, q, k, v)
        net.meter(len(inputs))
        logits: Tensor = net.head(net.norm(h[:, -1]))
        return logits, cls(net, shared, (), ())

    def step(self, parents: Tensor, symbols: Tensor) -> tuple[Tensor, Walk]:
        """Logits (P, V) after P prefixes, the i-th being this walk's prefix parents[i] and symbols[i] after it.

        Any number of steps may be taken from one walk: it is not changed.

        Args:
            parents: int64 (P,).
            symbols: int64 (P,).
        """
        net, places = self.net, len(symbols)
        rows = tuple(row[parents] for row in self.rows)
        h = net.symbols(symbols) + net.positions[self.shared[0].shape[1] + len(rows)]  # (P, D)
        latest = []
        for i, block in enumerate(net.stack):
            qkv = block.qkv(block.norm_attention(h))  # (P, 3 D)
            memory = qkv.new_empty(2, len(rows) + 1, places, h.shape[1])  # keys and values, (2, d, P, D)
            for depth, row in enumerate(rows):
                for kind in (0, 1):
                    torch.index_select(self.own[depth][i][kind], 0, row, out=memory[kind, depth])
            memory[:, -1] = qkv[:, h.shape[1] :].view(places, 2, -1).transpose(0, 1)
            latest.append(memory[:, -1].clone())
            h = block.finish(h, attend(qkv[:, : h.shape[1]], self.shared[i], memory, block.heads))
        net.meter(places)
        logits: Tensor = net.head(net.norm(h))
        here = torch.arange(places, device=symbols.device)
        return logits, Walk(net, self.shared, (*self.own, latest), (*rows, here))


def attend(q: Tensor, shared: Tensor, memory: Tensor, heads: int) -> Tensor:
    """Attended values (P, D) of P prefixes at their last symbols.

    Args:
        q: queries of the last symbols (P, D).
        shared: keys and values that all prefixes attend to (2, L, H, D / H).
        memory: keys and values that each prefix has to itself (2, d, P, D).
        heads: H.
    """
    depth, places, width = memory.shape[1:]
    by_head = q.view(places, heads, -1)  # (P, H, D / H)
    k, v = memory.view(2, depth, places, heads, -1)
    common = torch.bmm(by_head.transpose(0, 1), shared[0].permute(1, 2, 0))  # (H, P, L)
    scores = torch.cat([common.permute(2, 1, 0), (k * by_head).sum(dim=-1)])  # (L + d, P, H)
    weights = torch.softmax(scores / math.sqrt(width // heads), dim=0)
    first = weights[:-depth].permute(2, 1, 0)  # (H, P, L)
    out = torch.bmm(first, shared[1].transpose(0, 1)).transpose(0, 1)  # (P, H, D / H)
    attended: Tensor = out + (v * weights[-depth:, :, :, None]).sum(dim=0)
    return attended.reshape(places, width)
