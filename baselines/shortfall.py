"""Shortfall: learn from how many samples are missing among the failures that come back, as well as from the failures.

Each round asks for samples of two known policies: an *arm*, which needs no evaluations to make (the prior, the prior at
higher temperatures, its tail, uniform strings), and what was learned so far. What did not come back succeeded. A model
s(x) = P(success | x) is fitted to all batches by the likelihood of :mod:`baselines.common.missing`, and the policy
moves towards

    target(x) ∝ arm(x) · s(x)^γ   outside of all failures,

by resampling a pool drawn from the arm and from the policy itself, with weights raised to the largest power κ ≤ 1 that
leaves `share` of the pool effective (as in adaptive tempering of sequential Monte Carlo: Del Moral, Doucet, Jasra,
"On adaptive resampling strategies for sequential Monte Carlo methods", Bernoulli 2012). Arms are chosen by Thompson
sampling of their success rates. What is handed over mixes in the best arm by half of what has not been shown to
succeed, (1 − rate) / 2: where nothing could be learned, it is the arm.

Our own method. The policy that a batch came from and the number missing are what `failures-only` shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines import tail
from baselines.common.missing import Failures, Source, SuccessModel
from suite.config import setting, tunable
from suite.counted import Counted
from suite.oracle import Oracle
from suite.policy import Generator, Mixture, Policy, Round, Tempered, fit_counts, sample_counts
from suite.seeding import Streams

USES = "failures and counts"

TEMPERATURES = (1.5, 2.0, 3.0, 5.0)
RECENT = 4
"""Rounds over whose batches the learned policy's success rate is taken."""


@dataclass(frozen=True)
class Config:
    """The batches, the success model and the moves of the policy; defaults chosen on the tuning tasks alone."""

    batch: int = setting(500, valid=(2, None), help="evaluations of a round: half of an arm, half of the policy")
    unlabelled: int = setting(2000, valid=(1, None), help="samples of each policy that stand for its batches")
    steps: int = setting(100, valid=(1, None), help="steps of the success model in a round")
    lr: float = tunable(0.05, 1e-3, 0.3, log=True, valid=(0, None), help="learning rate of the success model")
    scale: float = tunable(1.0, 0.1, 10.0, log=True, valid=(0, None), help="its weights' standard deviation a priori")
    power: float = tunable(2.0, 0.5, 4.0, valid=(0, None), help="γ, the power of s in the target")
    pool: int = setting(24_000, valid=(2, None), help="fresh samples that are resampled in a round")
    share: float = tunable(0.1, 0.01, 0.5, log=True, valid=(0, 1), help="least effective share of the pool")
    kept: int = setting(8_000, valid=(1, None), help="resampled strings that the policy is fitted to")
    distil_lr: float = tunable(3e-3, 1e-4, 1e-2, log=True, valid=(0, None), help="learning rate of the distillation")
    distil_epochs: int = tunable(2, 1, 4, valid=(1, None), help="passes over the resampled strings")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Two batches a round, until the budget is spent."""
    device = rng("arms").device
    failures = Failures(prior.length, device)
    model = SuccessModel(prior.length, prior.vocab_size, base=1e-2, scale=config.scale).to(device)
    policy = prior.clone()
    arms: list[Source]
    learned: list[Source] = []
    if state is None:
        arms = [Source.of(one, config.unlabelled, rng("unlabelled")) for one in oracle_free(config, prior, oracle, rng)]
    else:  # of a run that was killed
        policy, kept_arms, kept_policies, failures.strings, failures.counts, weights = state
        arms, learned = ([Source.restored(one) for one in kept] for kept in (kept_arms, kept_policies))
        model.load_state_dict(weights)

    def kept_state() -> tuple[object, ...]:
        sources = [one.state for one in arms], [one.state for one in learned]
        return policy, *sources, failures.strings, failures.counts, model.state_dict()

    while oracle.remaining:
        half = config.batch // 2
        ask(oracle, drawn_arm(arms, rng("arms")), config.batch - half, failures)
        if oracle.remaining:
            ask(oracle, learned[-1] if learned else drawn_arm(arms, rng("arms")), half, failures)
        sources = [source for source in (*arms, *learned) if source.asked]
        arm = max(arms, key=lower_bound)  # the first where no arm is shown to be good
        if not any(source.missing for source in sources):
            yield Round(arm.policy, {}, kept_state())
            continue

        objective = model.fit(failures, sources, steps=config.steps, lr=config.lr)
        proposal = Mixture([arm.policy, policy], [1, 1]) if learned else arm.policy
        pool = sample_counts(proposal, config.pool, rng("pool"))
        x = pool.strings  # (D, T)
        log_s = log_success(model, sources, failures, x)
        log_target = arm.policy.log_prob(x) + config.power * log_s
        moved, power = resample(pool, log_target, config.share, config.kept, rng("resample"))
        fit_counts(policy, moved, epochs=config.distil_epochs, lr=config.distil_lr, generator=rng("distil"))

        learned.append(Source.of(policy.clone(), config.unlabelled, rng("unlabelled")))
        hedge = hedged(arm, learned)
        metrics = {"objective": objective, "power": power, "hedge": hedge, "arm": float(arms.index(arm))}
        metrics |= {"arm_rate": success_rate(arm), "policy_rate": success_rate(learned[max(0, len(learned) - 2)])}
        yield Round(handed_over(config, policy, arm, hedge, rng), metrics, kept_state())


def oracle_free(config: Config, prior: Generator, oracle: Oracle, rng: Streams) -> list[Policy]:
    """The policies of the arms: uniform strings, the prior, the prior at higher temperatures, its tail.

    Uniform strings come first where the task says which strings are well formed, else last.
    """
    *_, (tail_policy, *_) = tail.run(tail.Config(pool=config.pool), prior, oracle, rng)
    uniform, others = prior.uniform(), [prior, *(prior.tempered(t) for t in TEMPERATURES), tail_policy]
    return [*others, uniform] if isinstance(uniform, Tempered) else [uniform, *others]


def ask(oracle: Oracle, source: Source, n: int, failures: Failures) -> None:
    """Have a batch of a source's samples evaluated, or as much of it as the budget allows."""
    n = min(n, oracle.remaining)
    failed = oracle.collect(source.policy, n)
    failures.add(failed)
    source.asked += n
    source.missing += n - len(failed)


def drawn_arm(arms: list[Source], generator: torch.Generator) -> Source:
    """Thompson sampling: the arm with the highest rate drawn from Beta(½ + m, 50 + n − m)."""
    shapes = torch.tensor([[0.5 + arm.missing, 50.0 + arm.asked - arm.missing] for arm in arms], dtype=torch.float64)
    gamma = torch._standard_gamma(shapes.to(generator.device), generator=generator)
    return arms[int((gamma[:, 0] / gamma.sum(dim=1)).argmax())]


def lower_bound(source: Source) -> float:
    """(m − √m) / n, the success rate less a standard error: 0 for an arm with a single success, or not asked."""
    return (source.missing - math.sqrt(source.missing)) / max(1, source.asked)


def success_rate(source: Source) -> float:
    """(m + 0.05) / (n + 50): low for an arm that has not been asked."""
    return (source.missing + 0.05) / (source.asked + 50)


def log_success(model: SuccessModel, sources: list[Source], failures: Failures, x: Tensor) -> Tensor:
    """log P(success | x, all batches), float64 (B,), of strings int64 (B, T); -inf where a string has failed.

    A string that failed would have come back n_k π_k(x) times from source k in expectation. That it never did
    multiplies its odds by exp(Σ_k n_k π_k(x)).
    """
    with torch.no_grad():
        logits = model.logits(x).double()
    for source in sources:
        logits = logits + source.exposures(x)
    return torch.where(failures.hold(x), -torch.inf, torch.nn.functional.logsigmoid(logits))


def resample(
    pool: Counted, log_target: Tensor, share: float, kept: int, generator: torch.Generator
) -> tuple[Counted, float]:
    """`kept` strings drawn from a pool's different ones by weights (target / proposal)^κ, and κ.

    Each string stands for proposal / P(in the pool) strings (Horvitz and Thompson), so that a pool that holds the whole
    of a small space gives the target exactly. κ ≤ 1 is the largest power whose weights have an effective size of at
    least `share`.

    Args:
        log_target: log of the target, up to a constant, float64 (D,); -inf for strings that are not to be drawn.
    """
    log_q, n = pool.log_probs, int(pool.counts.sum())
    start = log_q - torch.log((-torch.expm1(-n * log_q.exp())).clamp(min=1e-300))
    alive = ~torch.isneginf(log_target)
    if not alive.any():
        return pool, 0.0
    start, step = start[alive], (log_target - log_q)[alive]
    even = torch.softmax(start, dim=0)

    def size(power: float) -> float:
        return 1 / float((torch.softmax(start + power * step, dim=0).square() / even).sum())

    low, high = 0.0, 1.0
    if size(high) >= share:
        low = high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) >= share else (low, middle)
    drawn = torch.multinomial(torch.softmax(start + low * step, dim=0), kept, replacement=True, generator=generator)
    counts = torch.zeros_like(pool.counts)
    counts[alive] = torch.bincount(drawn, minlength=len(even))
    return pool._replace(counts=counts).rows(counts > 0), low


def hedged(arm: Source, learned: list[Source]) -> float:
    """The share of the arm in what is handed over, (1 − rate) / 2; 1 where the policy is not shown to be better.

    Shown: its rate over the last batches is above the arm's by two standard errors of their difference.
    """
    recent = learned[-RECENT - 1 :]  # the newest has not been asked yet
    asked, missing = sum(source.asked for source in recent), sum(source.missing for source in recent)
    if not asked:
        return 1.0
    rate, arms = missing / asked, success_rate(arm)
    error = math.sqrt(rate * (1 - rate) / asked + arms * (1 - arms) / (arm.asked + 1))
    return (1 - rate) / 2 if rate > arms + 2 * error else 1.0


def handed_over(config: Config, policy: Generator, arm: Source, hedge: float, rng: Streams) -> Policy:
    """The policy with the arm mixed in, distilled into one generator; the arm itself where its share is 1."""
    if hedge == 1:
        return arm.policy
    mixed = policy.clone()
    both = sample_counts(Mixture([arm.policy, policy], [hedge, 1 - hedge]), config.kept, rng("hedge"))
    fit_counts(mixed, both, epochs=config.distil_epochs, lr=config.distil_lr, generator=rng("hedge"))
    return mixed
