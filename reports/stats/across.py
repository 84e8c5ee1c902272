"""Several tasks at once: mean ranks, and the interquartile mean with its bootstrap interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats as scipy_stats

from reports.stats.ranks import Rank


def mean_rank(ranks: Sequence[Rank]) -> tuple[float, float, float]:
    """(mean over tasks (tasks,), low, high): the interval from the mean lower to the mean upper end.

    Each task's interval must hold at 1 - 0.05 / tasks for the mean to hold at 95 %; see
    :func:`reports.stats.ranks.ranks`.
    """
    ends = [r.value for r in ranks], [r.low for r in ranks], [r.high for r in ranks]
    value, low, high = (math.fsum(end) / len(ranks) for end in ends)
    return value, low, high


def iqm_interval(
    tasks: Sequence[Sequence[float]], level: float = 0.95, draws: int = 2000
) -> tuple[float, float, float]:
    """(interquartile mean of all values, low, high) of scores of every task and seed, (tasks, seeds).

    A stratified percentile bootstrap: seeds are drawn anew within each task, tasks stay as they are, so the
    interval speaks of these tasks. Each task's deviations from its mean are widened by sqrt(n / (n - 1)),
    without which a handful of seeds cover too little. The same numbers give the same interval.

    Args:
        tasks: scores of at least two seeds each; log improvements, say, which are less skewed than rates.

    Source: Agarwal et al., NeurIPS 2021 (arXiv 2108.13264), section 4, after Efron (1979).
    """
    rng = np.random.default_rng(0)
    drawn = []
    for scores in map(np.asarray, tasks):
        n, middle = len(scores), scores.mean()
        wide = middle + (scores - middle) * math.sqrt(n / (n - 1))
        drawn.append(wide[rng.integers(0, n, (draws, n))])  # (draws, seeds)
    iqms = scipy_stats.trim_mean(np.concatenate(drawn, axis=1), 0.25, axis=1)  # (draws,)
    low, high = np.quantile(iqms, [(1 - level) / 2, (1 + level) / 2])
    value = scipy_stats.trim_mean(np.concatenate([np.asarray(scores) for scores in tasks]), 0.25)
    return float(value), float(low), float(high)
