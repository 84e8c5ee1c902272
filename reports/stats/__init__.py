"""Statistics of the report: pure functions, their sources in their docstrings, their coverage in docs/statistics.md.

One value per seed. A few seeds of a success rate are skewed (log-SD 1.3 to 1.8) or fall into two groups, so verdicts
rest on medians and order statistics. The geometric mean describes; arithmetic means carry no interval. ``None`` is
unknown or censored and never a zero.

`within` looks at one run, `summary` at the seeds of one row, `medians` at a row and the best control, `comparison` at
two rows, `survival` at censored times, `ranks` at the order of rows, `across` at several tasks.
"""

from reports.stats.across import iqm_interval, mean_rank
from reports.stats.comparison import (
    MIN_SEEDS,
    Comparison,
    compare,
    holm,
    probability_of_improvement,
)
from reports.stats.medians import median_estimate, over_best
from reports.stats.ranks import MOST_ROWS, Pair, Rank, pairs, ranks
from reports.stats.sample import Sample, identical
from reports.stats.summary import Estimate, geometric_mean, iqm, mean, median, sd
from reports.stats.survival import censored_median
from reports.stats.within import expected_evaluations, pass_at, pooled_rate
from suite.measure.curves import area_over_log_nre, nre_to

__all__ = [
    "MIN_SEEDS",
    "MOST_ROWS",
    "Comparison",
    "Estimate",
    "Pair",
    "Rank",
    "Sample",
    "area_over_log_nre",
    "censored_median",
    "compare",
    "expected_evaluations",
    "geometric_mean",
    "holm",
    "identical",
    "iqm",
    "iqm_interval",
    "mean",
    "mean_rank",
    "median",
    "median_estimate",
    "nre_to",
    "over_best",
    "pairs",
    "pass_at",
    "pooled_rate",
    "probability_of_improvement",
    "ranks",
    "sd",
]
