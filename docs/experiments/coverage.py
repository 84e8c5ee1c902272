"""How often each interval of the report holds the truth, by simulation; the table of docs/statistics.md.

python docs/experiments/coverage.py [REPETITIONS]

Seeds are log-normal about a geometric mean with a log-SD of 1.3, cut off at a success rate of 1; sampled rates are
hits among 10,000 held-out draws. A row of the table is one interval; a column a success rate and a number of seeds.
"""

import functools
import math
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import special
from scipy import stats as scipy_stats

from reports import stats
from reports.stats import Estimate, Sample
from suite.measure import intervals
from suite.store.schema import Placed

SIGMA = 1.3
N = 10_000
RATES = (1e-4, 1e-2, 0.5)
SEEDS = (5, 8, 10)

Rng = np.random.Generator


@functools.cache
def clopper_pearson(hits: int, n: int) -> tuple[float, float]:
    """The ends of `suite.measure.intervals.clopper_pearson` as quantiles of beta laws, which is faster."""
    low = float(special.betaincinv(hits, n - hits + 1, 0.025)) if hits else 0.0
    return low, float(special.betaincinv(hits + 1, n - hits, 0.975)) if hits < n else 1.0


def log_mean(rate: float) -> float:
    """E[log p] of seeds p = min(1, rate e^(sigma z)): that of a normal law cut off at 0, in closed form."""
    mu = math.log(rate)
    return float(mu * scipy_stats.norm.cdf(-mu / SIGMA) - SIGMA * scipy_stats.norm.pdf(mu / SIGMA))


def seeds(rng: Rng, rate: float, count: int) -> list[float]:
    return [float(p) for p in np.minimum(1.0, rate * np.exp(SIGMA * rng.standard_normal(count)))]


def sampled(rng: Rng, rates: Sequence[float]) -> Sample:
    """Held-out estimates of rates, with their Clopper-Pearson intervals."""
    hits = [int(rng.binomial(N, p)) for p in rates]
    ends = [clopper_pearson(k, N) for k in hits]
    return Sample([k / N for k in hits], [low for low, _ in ends], [high for _, high in ends])


def within_a_run(rng: Rng, rate: float, count: int) -> bool:
    low, high = clopper_pearson(int(rng.binomial(N, rate)), N)
    return low <= rate <= high


def geometric_mean_exact(rng: Rng, rate: float, count: int) -> bool:
    return holds(stats.geometric_mean(Sample.computed(seeds(rng, rate, count))), math.exp(log_mean(rate)))


def geometric_mean_sampled(rng: Rng, rate: float, count: int) -> bool:
    return holds(stats.geometric_mean(sampled(rng, seeds(rng, rate, count))), math.exp(log_mean(rate)))


def over_base_sampled(rng: Rng, rate: float, count: int) -> bool:
    """The base, a tenth of the rate, is pooled over the runs of five methods."""
    n, base = 5 * count * N, rate / 10
    hits = int(rng.binomial(n, base))
    pooled = Estimate(hits / n if hits else None, *intervals.clopper_pearson(hits, n))
    made = stats.geometric_mean(sampled(rng, seeds(rng, rate, count)))
    return holds(made.over(pooled), math.exp(log_mean(rate)) / base)


def over_best_exact(rng: Rng, rate: float, count: int) -> bool:
    """Three controls that are equally good, so that the one that looks best is a lucky one; a method like them."""
    method, *controls = (Sample.computed(seeds(rng, rate, count)) for _ in range(4))
    made = stats.over_best(method, controls)
    return holds(Estimate(None, made.low, made.high), 1.0)


def over_best_sampled(rng: Rng, rate: float, count: int) -> bool:
    method, *controls = (sampled(rng, seeds(rng, rate, count)) for _ in range(4))
    made = stats.over_best(method, controls)
    return holds(Estimate(None, made.low, made.high), 1.0)


def over_best_bimodal(rng: Rng, rate: float, count: int) -> bool:
    """A method that ends at 1 on seven seeds of eight and at 1e-11 on the others, against a log-normal control."""
    method = Sample.computed([1.0 if rng.random() < 7 / 8 else 1e-11 for _ in range(count)])
    made = stats.over_best(method, [Sample.computed(seeds(rng, rate, count))])
    return holds(Estimate(None, made.low, made.high), 1.0 / rate)


def no_false_gain(rng: Rng, rate: float, count: int) -> bool:
    """That a method at 1 on 45 % of the seeds and at 1e-11 on the others is never above a control at its rate."""
    method = Sample.computed([1.0 if rng.random() < 0.45 else 1e-11 for _ in range(count)])
    return not (stats.over_best(method, [Sample.computed([rate] * count)]).low or 0.0) > 1


def median_exact(rng: Rng, rate: float, count: int) -> bool:
    return holds(stats.median_estimate(Sample.computed(seeds(rng, rate, count))), rate)


def median_sampled(rng: Rng, rate: float, count: int) -> bool:
    return holds(stats.median_estimate(sampled(rng, seeds(rng, rate, count))), rate)


def ratio_sampled(rng: Rng, rate: float, count: int) -> bool:
    """A row against another of a third of its rate."""
    made = stats.compare(sampled(rng, seeds(rng, rate, count)), sampled(rng, seeds(rng, rate / 3, count)))
    return holds(Estimate(None, made.low, made.high), math.exp(log_mean(rate) - log_mean(rate / 3)))


def ratio_exact(rng: Rng, rate: float, count: int) -> bool:
    pair = Sample.computed(seeds(rng, rate, count)), Sample.computed(seeds(rng, rate / 3, count))
    made = stats.compare(*pair)
    return holds(Estimate(None, made.low, made.high), math.exp(log_mean(rate) - log_mean(rate / 3)))


def probability(rng: Rng, rate: float, count: int) -> bool:
    """Of seeds e times as good; cut-off seeds tie, which counts one half."""
    made = stats.probability_of_improvement(seeds(rng, rate, count), seeds(rng, rate / math.e, count))
    return made is not None and made[1] <= true_probability(rate) <= made[2]


def rank(rng: Rng, rate: float, count: int) -> bool:
    """Of the second of four rows, each half as good as the one before."""
    samples = [sampled(rng, seeds(rng, rate / 2**i, count)) for i in range(4)]
    made = stats.ranks(samples, stats.pairs(samples))[1]
    return made is not None and made.low <= 2 <= made.high


def mean_rank(rng: Rng, rate: float, count: int) -> bool:
    """Of the second of four rows on three tasks."""
    made = []
    for _ in range(3):
        samples = [sampled(rng, seeds(rng, rate / 2**i, count)) for i in range(4)]
        made.append(stats.ranks(samples, stats.pairs(samples), 1 - 0.05 / 3)[1])
    _, low, high = stats.mean_rank([one for one in made if one is not None])
    return low <= 2 <= high


def iqm_over_tasks(rng: Rng, rate: float, count: int) -> bool:
    """Of log rates on three tasks, the second and third of a tenth and a hundredth of the rate."""
    _, low, high = stats.iqm_interval([np.log(seeds(rng, rate / 10**i, count)).tolist() for i in range(3)])
    return low <= true_iqm(rate) <= high


def area(rng: Rng, rate: float, count: int) -> bool:
    """Of curves that leave a hundredth of the rate for a seed's own after half of the budget."""
    made = [stats.area_over_log_nre([0, 500], [rate / 100, late], 1000) for late in seeds(rng, rate, count)]
    return holds(stats.geometric_mean(Sample.computed([one for one in made if one is not None])), true_area(rate))


def no_false_reach(rng: Rng, rate: float, count: int) -> bool:
    """That a run which stays at the target for 30 points is not said to have gone above it."""
    points = []
    for i in range(30):
        hits = int(rng.binomial(N, rate))
        low, high = clopper_pearson(hits, N)
        points.append(Placed(hits / N, low, high, "monte-carlo", N, round=i, nre=i, stream=i))
    return stats.nre_to(points, rate) is None


def no_false_difference(rng: Rng, rate: float, count: int) -> bool:
    """That of four equal rows no pair is said to differ (Holm's family-wise level)."""
    samples = [sampled(rng, seeds(rng, rate, count)) for _ in range(4)]
    return not any(pair.differs() for pair in stats.pairs(samples))


def holds(made: Estimate, truth: float) -> bool:
    """Whether an interval holds the truth; an end that is unknown excludes nothing."""
    return (made.low is None or made.low <= truth) and (made.high is None or truth <= made.high)


@functools.cache
def true_probability(rate: float) -> float:
    z = np.random.default_rng(1).standard_normal((2, 1_000_000))
    a, b = np.minimum(1, rate * np.exp(SIGMA * z[0])), np.minimum(1, rate / math.e * np.exp(SIGMA * z[1]))
    return float((a > b).mean() + 0.5 * (a == b).mean())


@functools.cache
def true_iqm(rate: float) -> float:
    rng = np.random.default_rng(1)
    logs = [np.log(np.minimum(1, rate / 10**i * np.exp(SIGMA * rng.standard_normal(1_000_000)))) for i in range(3)]
    return float(scipy_stats.trim_mean(np.concatenate(logs), 0.25))


@functools.cache
def true_area(rate: float) -> float:
    rates = np.minimum(1, rate * np.exp(SIGMA * np.random.default_rng(1).standard_normal(1_000_000)))
    late = math.log(2) / math.log(1000)
    return float(np.exp(np.log((1 - late) * rate / 100 + late * rates).mean()))


Trial = Callable[[Rng, float, int], bool]
TRIALS: dict[str, Trial] = {
    "success rate of one run, 10,000 samples (Clopper-Pearson)": within_a_run,
    "geometric mean over seeds, exact rates": geometric_mean_exact,
    "geometric mean over seeds, sampled rates; pass@k, expected evaluations": geometric_mean_sampled,
    "× base, sampled rates": over_base_sampled,
    "median over seeds, exact rates": median_exact,
    "median over seeds, sampled rates": median_sampled,
    "× best control, exact rates": over_best_exact,
    "× best control, sampled rates": over_best_sampled,
    "× best control, seeds at 1 or at 1e-11": over_best_bimodal,
    "no false gain, 45 % of the seeds at 1, the others at 1e-11": no_false_gain,
    "ratio of two rows, exact rates": ratio_exact,
    "ratio of two rows, sampled rates": ratio_sampled,
    "P(first above second)": probability,
    "rank on one task": rank,
    "mean rank over three tasks": mean_rank,
    "× base, IQM over three tasks": iqm_over_tasks,
    "area over log NRE, exact rates": area,
    'no false "reached k ×" in 30 points': no_false_reach,
    "no false difference among four equal rows (Holm)": no_false_difference,
}


def coverage(trial: Trial, rate: float, count: int, repetitions: int) -> float:
    """Share of the repetitions in which the trial comes out true; the same for the same arguments."""
    rng = np.random.default_rng([int(1e6 * rate), count])
    return sum(trial(rng, rate, count) for _ in range(repetitions)) / repetitions


def table(repetitions: int) -> Iterator[str]:
    """The lines of a Markdown table, as they are known."""
    heads = [f"{rate:g}, {count} seeds" for rate in RATES for count in SEEDS]
    yield f"| interval | {' | '.join(heads)} |"
    yield f"|:---|{'---:|' * len(heads)}"
    for name, trial in TRIALS.items():
        shares = [coverage(trial, rate, count, repetitions) for rate in RATES for count in SEEDS]
        yield f"| {name} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |"


if __name__ == "__main__":
    for line in table(int(sys.argv[1]) if len(sys.argv) > 1 else 2000):
        print(line, flush=True)
