"""A small causal transformer over strings of symbols: the sampled and scored generator of the language tasks.

Sampling, scoring and exact enumeration are one walk over a tree of distinct prefixes: a prefix that many
strings share is put through the network once, with its keys and values cached. The walk is exact: the draws that stand
at a prefix are split over its symbols by one multinomial draw.
"""

from __future__ import annotations

import torch
from torch import Tensor

from suite.counted import Counted, in_random_order
from suite.generators import minibatch
from suite.generators.network import Network, Shape
from suite.generators.split import split
from suite.generators.tree import Forest, PrefixTree
from suite.generators.walk import ROWS, Walk

__all__ = ["Shape", "Transformer"]


class Transformer(Network):
    """Autoregressive distribution over strings x in {0..V-1}^T; see :class:`Shape`.

    A string may follow a fixed `prompt`, int64 (P,), which is no part of it. It ends with the first `end` symbol and
    is filled up with it; a string that never ends is cut at T symbols. So the probabilities of all strings sum to one.
    """

    def weighted_log_likelihood(self, x: Tensor, weights: Tensor) -> tuple[Tensor, int]:
        return minibatch.log_likelihood(self, x, weights)

    def trained_tokens(self, x: Tensor) -> int:
        return x.numel() + len(x) * len(self.prompt)

    # -- without gradients, one walk over distinct prefixes ----------------------------------------------------

    def sample(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Draw n strings, int64 (n, T), with symbol probabilities softmax(logits / temperature)."""
        return in_random_order(self.sample_counts(n, generator, temperature), generator)

    @torch.inference_mode()
    def sample_counts(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Counted:
        """Draw n strings as the different ones among them, with their counts and log-probabilities.

        The draws that stand at a prefix are split over its symbols, so that the work is that of the prefixes met.
        They are walked depth first, `ROWS` at a time: but for the strings themselves, memory does not grow with n.
        """
        device = self.positions.device
        blank = torch.full((1, self.length), self.shape.end or 0, device=device)
        drawn = Counted(blank, torch.full((1,), n, device=device), torch.zeros(1, dtype=torch.float64, device=device))
        finished = [drawn.rows(slice(0))]
        waiting: list[tuple[Counted, Walk, Tensor, Tensor, int]] = []

        def share_out(drawn: Counted, at: tuple[Tensor, Walk], depth: int) -> None:
            """Split the draws at prefixes of one depth over their next symbols."""
            logits, walk = at
            log_p = torch.log_softmax(logits.double() / temperature, dim=-1)  # (P, V)
            counts = split(drawn.counts, log_p.exp(), generator)  # (P, V)
            parents, symbols = counts.nonzero(as_tuple=True)  # (C,)
            strings = drawn.strings[parents]
            strings[:, depth] = symbols
            longer = Counted(strings, counts[parents, symbols], drawn.log_probs[parents] + log_p[parents, symbols])
            ends = self._ends(symbols, depth)
            finished.append(longer.rows(ends))
            going = (~ends).nonzero().squeeze(1)
            parts = going.tensor_split(-(-len(going) // ROWS)) if len(going) else ()
            waiting.extend((longer.rows(part), walk, parents[part], symbols[part], depth + 1) for part in parts)

        if n:
            share_out(drawn, Walk.begin(self), 0)
        while waiting:
            drawn, walk, parents, symbols, depth = waiting.pop()
            share_out(drawn, walk.step(parents, symbols), depth)
        return Counted(*(torch.cat(parts) for parts in zip(*finished, strict=True)))

    def _ends(self, symbols: Tensor, depth: int) -> Tensor:
        """True where a string ends with its last symbol, int64 (P,), which is its symbol number `depth`."""
        if depth + 1 == self.length or self.shape.end is None:
            return torch.full_like(symbols, depth + 1 == self.length, dtype=torch.bool)
        return symbols == self.shape.end

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
        total = torch.zeros(1, dtype=torch.float64, device=self.positions.device)  # log p of each prefix
        logits, walk = Walk.begin(self)
        leaves = []
        for level in tree.levels:
            log_p = torch.log_softmax(logits.double() / temperature, dim=-1)
            total = total[level.parent] + log_p[level.parent, level.symbol]  # (prefixes one longer,)
            leaves.append(total[level.is_leaf])
            parents, symbols = level.parent[level.goes_on], level.symbol[level.goes_on]
            total = total[level.goes_on]
            if len(parents):
                logits, walk = walk.step(parents, symbols)
        return tree.scatter(torch.cat(leaves) if leaves else total[:0])
