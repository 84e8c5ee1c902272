"""The target of the attack: a transformer that answers addition questions, and where it errs."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from suite.generators import Forest, PrefixTree, Shape, Transformer
from suite.generators.walk import Walk
from tasks.addition.grammar import EQUALS, STOP, SYMBOLS, Grammar

DOUBTFUL = 1e-3
"""Margins below this in float32 are computed again in float64, so that rounding decides no answer."""


def target_shape(grammar: Grammar, layers: int = 3, width: int = 128) -> Shape:
    """The architecture of a target that reads questions of this grammar and writes answers."""
    return Shape(
        vocab_size=len(SYMBOLS) + 1,
        length=grammar.question_length + grammar.answer_length,
        end=STOP,
        width=width,
        layers=layers,
    )


class Target:
    """A trained transformer and its greedy answers to the questions of a grammar."""

    def __init__(self, net: Transformer, grammar: Grammar) -> None:
        self.net = net
        self.grammar = grammar
        self.exact_net = copy.deepcopy(net).double()

    def errs(self, x: Tensor, asked: Tensor) -> Tensor:
        """True (B,) where a question, int64 (B, T), is `asked`, bool (B,), and answered wrongly."""
        wrong = asked.clone()
        wrong[asked] = self.margin(x[asked], self.grammar.read(x[asked])[1]) <= 0
        return wrong

    @torch.no_grad()
    def margin(self, x: Tensor, total: Tensor) -> Tensor:
        """How surely the target answers questions x (B, T) with their sums `total` (B,): float64 (B,).

        The least, over the symbols of the true answer and its stop symbol, of the true symbol's logit minus
        the best other one. The greedy answer is right exactly where the margin is positive, because greedy
        decoding follows the true answer for as long as every true symbol has the largest logit.
        """
        if not len(x):
            return torch.zeros(0, dtype=torch.float64)
        full, _ = self.grammar.with_answer(x, total)
        least = _least(self.net, full)
        doubtful = least.abs() < DOUBTFUL
        if doubtful.any():
            least[doubtful] = _least(self.exact_net, full[doubtful])
        return least


def _least(net: Transformer, full: Tensor) -> Tensor:
    """The least margin of the answers in `full` (B, A), float64 (B,); shared prefixes are evaluated once."""
    forest = Forest(full, net.vocab_size, STOP)
    return forest.scatter([_least_of(net, tree) for tree in forest.trees])


def _least_of(net: Transformer, tree: PrefixTree) -> Tensor:
    """The least margin of the answers in one tree, float64 (rows,)."""
    logits, walk = Walk.begin(net)
    least = torch.full((1,), torch.inf, dtype=torch.float64)  # of each prefix so far
    answering = torch.zeros(1, dtype=torch.bool)  # whether the prefix holds its `=`
    leaves = []
    for level in tree.levels:
        before = logits.double()[level.parent]  # (children, V)
        true = before.gather(1, level.symbol[:, None]).squeeze(1)  # (children,)
        other = before.scatter(1, level.symbol[:, None], -torch.inf).amax(dim=1)
        least, answering = least[level.parent], answering[level.parent]
        least = torch.where(answering, torch.minimum(least, true - other), least)
        answering = answering | (level.symbol == EQUALS)
        leaves.append(least[level.is_leaf])
        parents, symbols = level.parent[level.goes_on], level.symbol[level.goes_on]
        least, answering = least[level.goes_on], answering[level.goes_on]
        if len(parents):
            logits, walk = walk.step(parents, symbols)
    return tree.scatter(torch.cat(leaves))
