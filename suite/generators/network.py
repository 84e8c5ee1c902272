"""The network of the transformer: symbols in, logits of the next symbol out."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite.generators.neural import Neural


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
        return self.attended(h, *self.heads_of(h))

    def heads_of(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, T, D / H) of the residual stream (B, T, D)."""
        batch, steps, width = h.shape
        qkv = self.qkv(self.norm_attention(h)).view(batch, steps, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).contiguous()  # whole heads are attended to faster
        return q, k, v

    def attended(self, h: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Residual stream (B, T, D) after attention by what :meth:`heads_of` made of it."""
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.finish(h, attended.transpose(1, 2).reshape(h.shape))


class Network(Neural):
    """Logits of strings x in {0..V-1}^T, all symbols of a string at once; see :class:`Shape`.

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

    @property
    def stack(self) -> list[Block]:
        """The blocks, from the first to the last."""
        return cast(list[Block], list(self.blocks))

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

    def symbol_log_likelihood(self, x: Tensor) -> Tensor:
        picked = F.log_softmax(self.logits(x), dim=-1).gather(-1, x[..., None]).squeeze(-1)  # (B, T)
        return picked.masked_fill(~self.counted(x), -torch.inf)

    def counted(self, x: Tensor) -> Tensor:
        """True (B, T) at the symbols that carry probability: up to and with the first `end`."""
        if self.shape.end is None:
            return torch.ones_like(x, dtype=torch.bool)
        ends = x == self.shape.end
        return (ends.cumsum(dim=1) - ends.long()) == 0
