"""Counts: policy gradient on 1 / √n(x), where n(x) counts how often x, or its hash, has failed.

Exact counts change only for repeated strings; SimHash counts (signs of a random projection, k bits) share counts
between strings that look alike.

Sources: Strehl and Littman, "An analysis of model-based interval estimation for MDPs" (2008), for the bonus; Tang et
al., "#Exploration", arXiv 1611.04717 (2017), for SimHash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.common.novelty import NoveltyConfig, one_hot, policy_gradient
from suite.config import retuned, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "failures"


@dataclass(frozen=True)
class Config(NoveltyConfig):
    """The policy gradient's knobs and the hash's."""

    policy_lr: float = retuned(NoveltyConfig, "policy_lr", 2.03e-4)
    policy_epochs: int = retuned(NoveltyConfig, "policy_epochs", 8)
    kl: float = retuned(NoveltyConfig, "kl", 0.0237)
    bits: int = tunable(23, 0, 32, valid=(0, 62), help="bits of the SimHash; 0 counts whole strings")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Count a batch, then give 1 / √n as its bonus; the counts are kept over all rounds."""
    counts: Counter[object] = Counter()
    if state is None:
        device = rng("projection").device
        size = prior.length * prior.vocab_size, config.bits
        projection = torch.randn(size, generator=rng("projection"), device=device)
    else:
        counts, projection = state[1]

    def bonus(x: Tensor) -> Tensor:
        codes: list[object]
        if config.bits:
            codes = list(simhash(one_hot(x, prior.vocab_size), projection).tolist())
        else:
            codes = [tuple(row) for row in x.tolist()]
        counts.update(codes)
        return count_bonus(torch.tensor([counts[code] for code in codes], device=x.device))

    yield from policy_gradient(config, prior, oracle, rng, bonus, lambda: (counts, projection), state)


def count_bonus(n: Tensor) -> Tensor:
    """1 / √n, float (B,), of counts n ≥ 1, int (B,)."""
    return n.double().rsqrt()


def simhash(vectors: Tensor, projection: Tensor) -> Tensor:
    """The signs of vectors (B, D) along projection (D, k) as integers, int64 (B,); bit i is set where they are ≥ 0."""
    bits = (vectors @ projection >= 0).long()  # (B, k)
    return (bits << torch.arange(projection.shape[1], device=bits.device)).sum(dim=1)
