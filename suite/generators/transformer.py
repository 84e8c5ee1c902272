"""A small causal transformer over strings of symbols: the sampled and scored generator of the language tasks.

Sampling, scoring and exact enumeration are one walk over a tree of distinct prefixes: a prefix that many
strings share is put through the network once, with its keys and values cached. The walk is exact: every
sample draws its own symbol from the distribution at its own prefix.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite.generators.neural import Neural, draw
from suite.generators.tree import Forest, PrefixTree

PADDING = 2
"""Most places per prefix that families are padded to."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """The architecture of a :class:`Transformer`.

    Attributes:
        vocab_size: number of symbols V that a string may contain.
        length: longest string T, in symbols.
        end: the symbol that ends a string and fills what follows; None where all strings have length T.
        width: residual width D.
        layers: number of blocks.
        heads: attention heads per block; divides `width`.
        prompt: longest prompt that a string may follow, in symbols.
    """

    vocab_size: int
    length: int
    end: int | None
    width: int = 64
    layers: int = 2
    heads: int = 4
    prompt: int = 0


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm_mlp = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def finish(self, h: Tensor, attended: Tensor) -> Tensor:
        """Residual stream (..., D) after the attended values (..., D) and the MLP."""
        h = h + self.out(attended)
        mlp: Tensor = self.down(F.gelu(self.up(self.norm_mlp(h))))
        return h + mlp

    def forward(self, h: Tensor) -> Tensor:
        """Residual stream (B, T, D) after every symbol attended to those before it."""
        batch, steps, width = h.shape
        qkv = self.qkv(self.norm_attention(h)).view(batch, steps, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).contiguous()  # (B, H, T, D / H); whole heads are attended to faster
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.finish(h, attended.transpose(1, 2).reshape(h.shape))


class Transformer(Neural):
    """Autoregressive distribution over strings x in {0..V-1}^T; see :class:`Shape`.

    A string may follow a fixed `prompt`, int64 (P,), which is no part of it. It ends with the first `end` symbol and
    is filled up with it; a string that never ends is cut at T symbols. So the probabilities of all strings sum to one.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.vocab_size = shape.vocab_size
        self.length = shape.length
        self.symbols = nn.Embedding(shape.vocab_size + 1, shape.width)  # the last row begins every string
        self.positions = nn.Parameter(torch.randn(shape.prompt + shape.length, shape.width) * 0.02)
        self.prompt: Tensor
        self.register_buffer("prompt", torch.zeros(0, dtype=torch.long), persistent=False)
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocab_size, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.5)

    @functools.cached_property
    def flops_per_token(self) -> int:
        """2 x the parameters that a token meets (embeddings are looked up, not multiplied)."""
        held = sum(p.numel() for p in self.parameters()) - self.symbols.weight.numel() - self.positions.numel()
        return 2 * held

    # -- with gradients, whole strings at once ---------------------------------------------------------------

    def logits(self, x: Tensor) -> Tensor:
        """Next-symbol logits (B, T, V) before each symbol of x, int64 (B, T)."""
        begin = x.new_full((len(x), 1), self.vocab_size)
        inputs = torch.cat([begin, self.prompt.expand(len(x), -1), x[:, :-1]], dim=1)  # (B, P + T)
        h = self.symbols(inputs) + self.positions[: inputs.shape[1]]  # (B, P + T, D)
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.head(self.norm(h[:, len(self.prompt) :]))
        return out

    def log_likelihood(self, x: Tensor) -> Tensor:
        picked = F.log_softmax(self.logits(x), dim=-1).gather(-1, x[..., None]).squeeze(-1)  # (B, T)
        return (picked * self.counted(x)).sum(dim=-1)

    def trained_tokens(self, x: Tensor) -> int:
        return x.numel() + len(x) * len(self.prompt)

    def counted(self, x: Tensor) -> Tensor:
        """True (B, T) at the symbols that carry probability: up to and with the first `end`."""
        if self.shape.end is None:
            return torch.ones_like(x, dtype=torch.bool)
        ends = x == self.shape.end
        return (ends.cumsum(dim=1) - ends.long()) == 0

    # -- without gradients, one walk over distinct prefixes ----------------------------------------------------

    def sample(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Draw n strings, int64 (n, T), with symbol probabilities softmax(logits / temperature)."""
        sizes = [min(Forest.BLOCK, n - start) for start in range(0, n, Forest.BLOCK)]
        with torch.inference_mode():
            blocks = [self._sample(size, generator, temperature) for size in sizes]
        return torch.cat(blocks) if blocks else torch.zeros(0, self.length, dtype=torch.long)

    def _sample(self, n: int, generator: torch.Generator, temperature: float) -> Tensor:
        """One block of strings, int64 (n, T); prefixes that they share are evaluated once."""
        device = self.positions.device
        x = torch.full((n, self.length), self.shape.end or 0, device=device)
        walk = Walk(self)
        alive = torch.arange(n, device=device)  # samples that have not ended
        node = torch.zeros(n, dtype=torch.long, device=device)  # the prefix each of them stands at
        parents = symbols = torch.zeros(1, dtype=torch.long, device=device)
        for step in range(self.length):
            if not len(alive):
                break
            logits = walk.step(parents, symbols)  # (prefixes, V)
            cdf = torch.softmax(logits.double() / temperature, dim=-1).cumsum(dim=-1)[node]  # (alive, V)
            symbol = draw(cdf, generator)  # (alive,)
            x[alive, step] = symbol
            if self.shape.end is not None:
                going = symbol != self.shape.end
                alive, node, symbol = alive[going], node[going], symbol[going]
            child, node = torch.unique(node * self.vocab_size + symbol, return_inverse=True)
            parents, symbols = child // self.vocab_size, child % self.vocab_size
        return x

    def log_prob(self, x: Tensor, temperature: float = 1.0) -> Tensor:
        """log p(x), float64 (B,), of strings x, int64 (B, T); -inf where a symbol follows the end."""
        return self.log_prob_forest(Forest(x, self.vocab_size, self.shape.end), temperature)

    def log_prob_forest(self, forest: Forest, temperature: float = 1.0) -> Tensor:
        """log p of the strings of a forest, float64 (B,): each distinct prefix is evaluated once."""
        forest = forest.to(self.positions.device)
        with torch.inference_mode():
            log_p = [self._log_prob(tree, temperature) for tree in forest.trees]
        return forest.scatter(log_p)

    def _log_prob(self, tree: PrefixTree, temperature: float) -> Tensor:
        """log p of the strings of a tree, float64 (B,)."""
        walk = Walk(self)
        total = torch.zeros(1, dtype=torch.float64, device=self.positions.device)  # log p of each prefix
        parents = symbols = torch.zeros(1, dtype=torch.long, device=self.positions.device)
        leaves = []
        for level in tree.levels:
            log_p = torch.log_softmax(walk.step(parents, symbols).double() / temperature, dim=-1)
            total = total[level.parent] + log_p[level.parent, level.symbol]  # (prefixes one longer,)
            leaves.append(total[level.is_leaf])
            parents, symbols = level.parent[level.goes_on], level.symbol[level.goes_on]
            total = total[level.goes_on]
        return tree.scatter(torch.cat(leaves) if leaves else total[:0])


class Families(NamedTuple):
    """P prefixes that share what stands before their last symbol, as U families padded to C members."""

    before: Tensor
    """Prefix of the last step that each family goes on from, int64 (U,)."""
    of: Tensor
    """Each prefix's family, int64 (P,)."""
    place: Tensor
    """Each prefix's place among the U · C, int64 (P,)."""
    size: int
    """C."""

    @classmethod
    def among(cls, parents: Tensor) -> Families:
        """Of prefixes by what they go on from, int64 (P,), ascending; of one each where padding would cost more."""
        rows = torch.arange(len(parents), device=parents.device)
        before, sizes = torch.unique_consecutive(parents, return_counts=True)
        size = int(sizes.max())
        if size * len(before) > PADDING * len(parents):
            return cls(parents, rows, rows, 1)
        of = torch.repeat_interleave(sizes)
        first = sizes.cumsum(dim=0) - sizes
        return cls(before, of, of * size + rows - first[of], size)


class Walk:
    """Keys and values of the prefixes at one depth of a tree, advanced one symbol at a time.

    Prefixes that differ in their last symbol alone attend to one copy of the keys and values before it.
    """

    def __init__(self, net: Transformer) -> None:
        self.net = net
        self.depth = 0
        self.families = Families.among(torch.zeros(1, dtype=torch.long, device=net.positions.device))
        self.before: list[Tensor] = []  # per block: keys and values that each family shares (2, U, H, depth - 1, D / H)
        self.last: list[Tensor] = []  # per block: those of each prefix's last symbol (2, P, H, D / H)

    def step(self, parents: Tensor, symbols: Tensor) -> Tensor:
        """Logits (P, V) after P prefixes, the i-th being prefix parents[i] of the last step plus symbols[i].

        `parents` must ascend. The first call has one prefix, the prompt; its arguments are not looked at.
        """
        if self.depth:
            return self._advance(parents, symbols)
        root = parents.new_zeros(1)
        logits = self._advance(root, symbols.new_full((1,), self.net.vocab_size))
        for symbol in self.net.prompt[:, None]:
            logits = self._advance(root, symbol)
        return logits

    def _advance(self, parents: Tensor, symbols: Tensor) -> Tensor:
        net = self.net
        families = Families.among(parents)
        h = net.symbols(symbols) + net.positions[self.depth]  # (P, D)
        before, last = [], []
        for i, block in enumerate(net.blocks):
            assert isinstance(block, Block)
            qkv = block.qkv(block.norm_attention(h)).view(len(h), 3, block.heads, -1)  # (P, 3, H, D / H)
            if self.depth:
                shared = self.before[i][:, self.families.of[families.before]]
                newest = self.last[i][:, families.before, :, None]
                before.append(torch.cat([shared, newest], dim=3))  # (2, U, H, depth, D / H)
            else:
                before.append(qkv.new_zeros(2, 1, block.heads, 0, qkv.shape[-1]))
            last.append(qkv[:, 1:].transpose(0, 1))
            h = block.finish(h, attend(qkv, before[i], families))
        self.families, self.before, self.last = families, before, last
        self.depth += 1
        net.meter(len(symbols))
        logits: Tensor = net.head(net.norm(h))
        return logits


def attend(qkv: Tensor, before: Tensor, families: Families) -> Tensor:
    """Attended values (P, D) of P prefixes at their last symbol.

    Args:
        qkv: queries, keys and values of the last symbols (P, 3, H, D / H).
        before: keys and values of each family's earlier symbols (2, U, H, depth, D / H).
        families: which prefix belongs to which family.
    """
    rows, _, heads, width = qkv.shape
    places = len(families.before) * families.size
    if places != rows:
        qkv = qkv.new_zeros(places, *qkv.shape[1:]).index_copy_(0, families.place, qkv)
    q, k, v = qkv.view(-1, families.size, 3, heads, width).permute(2, 0, 3, 1, 4)  # (U, H, C, D / H)
    own = (q * k).sum(dim=-1)[:, :, None]  # (U, H, 1, C)
    scores = torch.cat([before[0] @ q.transpose(2, 3), own], dim=2) / math.sqrt(width)  # (U, H, depth + 1, C)
    weights = torch.softmax(scores.movedim(2, 0), dim=0).movedim(0, 3)  # along memory's slowest axis it is 20 x faster
    attended = weights[..., :-1] @ before[1] + weights[..., -1:] * v
    out: Tensor = attended.transpose(1, 2).reshape(places, heads * width)
    return out if places == rows else out[families.place]
