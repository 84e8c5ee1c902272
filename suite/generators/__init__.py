"""Generators: distributions that can be sampled, scored and fitted."""

from suite.generators.factored import Factored, Table
from suite.generators.markov import Markov
from suite.generators.neural import Neural
from suite.generators.transformer import Shape, Transformer
from suite.generators.tree import Forest, PrefixTree, log_prob_by_prefixes

__all__ = [
    "Factored",
    "Forest",
    "Markov",
    "Neural",
    "PrefixTree",
    "Shape",
    "Table",
    "Transformer",
    "log_prob_by_prefixes",
]
