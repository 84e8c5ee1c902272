"""BaNEL: condition the prior on not failing, with a second generator that models the failures.

Ideal: p(x | x ∉ R) ∝ p_θ(x) · 1[x ∉ R], R = {x : r(x) = 0}. R is approximated by R̃ = {x : p_θ(x) / p_φ(x) < τ}, where
p_φ is fitted to failures by maximum likelihood and τ keeps the fraction 1/f of the highest ratios. A string that the
policy samples often and that is never among the failures keeps a high ratio. This is how evaluations help although the
method sees no success.

Source: Lee, Amos, Fanti, "BaNEL: Exploration Posteriors for Generative Modeling Using Only Negative Rewards",
arXiv 2510.09596 (2025), Algorithms 1 and 2. Not stated there and chosen here, each a field: how φ starts, whether it
sees this round's failures or all, the learning rates, the size of the pool.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from baselines.common.filtering import Filter, keep_highest, log_ratio, threshold
from suite.config import retuned, setting, tunable
from suite.oracle import Oracle
from suite.policy import Acceptance, Filtered, Generator, Policy, Round, fit_counts, sample_counts
from suite.seeding import Streams

USES = "failures"


@dataclass(frozen=True)
class Config:
    """BaNEL's knobs, in the paper's names; defaults tuned on addition-tune-v1 (docs/log, 2026-11-25)."""

    batch: int = setting(500, valid=(1, None), help="reward evaluations per round, m")
    epochs: int = tunable(7, 1, 100, log=True, valid=(1, None), help="epochs of the failure model, E")
    filter_factor: float = retuned(Filter, "filter_factor", 2.29)
    pool: int = retuned(Filter, "pool", 24_000)
    failure_lr: float = tunable(
        3.03e-3, 1e-4, 1e-2, log=True, valid=(0, None), help="learning rate of the failure model"
    )
    distil_lr: float = retuned(Filter, "distil_lr", 3.83e-3)
    distil_epochs: int = retuned(Filter, "distil_epochs", 4)
    algorithm: Literal["distillation", "filtering"] = setting(
        "distillation", help="Algorithm 2 (fine-tune on what passes) or 1 (keep every filter, reject)"
    )
    ratio: Literal["prior/failure", "failure"] = setting(
        "prior/failure", help="score p_θ/p_φ, or 1/p_φ alone (the paper's ablation)"
    )
    init: Literal["policy", "prior"] = setting("policy", help="weights the failure model starts from")
    memory: Literal["round", "all"] = setting("round", help="failures it is fitted to: this round's or all")
    reset: bool = setting(False, help="distil into the pre-trained weights each round")

    def __post_init__(self) -> None:
        if self.algorithm == "filtering" and self.ratio != "prior/failure":
            raise ValueError("algorithm filtering needs ratio prior/failure: its rejection region is a ratio")


LEAST_ACCEPTED = 100
"""Algorithm 1 leaves a filter out that would let fewer of `pool` prior samples pass: rejection would not end."""


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Algorithm 1 or 2 until the budget is spent; one round per batch."""
    policy = prior.clone()  # p_θ
    posterior: Policy = policy  # p̃: the policy itself in Algorithm 2, the filtered prior in Algorithm 1
    filters: list[tuple[Policy, float]] = []
    met: list[Tensor] = []
    if state is not None:  # of a run that was killed
        policy, posterior, filters, met = state
    while oracle.remaining:
        failures = oracle.collect(posterior, min(config.batch, oracle.remaining))  # (≤ m, T)
        met = [*met, failures] if config.memory == "all" else [failures]

        failure_model = (policy if config.init == "policy" else prior).clone()  # p_φ
        loss = failure_model.fit(
            torch.cat(met), epochs=config.epochs, lr=config.failure_lr, generator=rng("failure_model")
        )

        pool = sample_counts(posterior, config.pool, rng("pool"))  # D different samples
        log_failure = failure_model.log_prob(pool.strings)  # (D,)
        log_policy = pool.log_probs if posterior is policy else policy.log_prob(pool.strings)  # (D,)
        score = -log_failure if config.ratio == "failure" else log_ratio(log_policy, log_failure)
        log_tau = threshold(score, pool.counts, config.filter_factor)

        if config.algorithm == "filtering":
            candidate = filtered(policy, [*filters, (failure_model, log_tau)], config.pool, rng("acceptance"))
            if candidate.acceptance.hits >= LEAST_ACCEPTED:
                filters, posterior = candidate.filters, candidate
        else:
            accepted = keep_highest(pool, score, config.filter_factor, rng("ties"))  # ⌈B / f⌉ samples of p̃
            if config.reset:
                policy.load_state_dict(prior.state_dict())
            fit_counts(policy, accepted, epochs=config.distil_epochs, lr=config.distil_lr, generator=rng("distil"))
        yield Round(posterior, {"failure_model_loss": loss, "log_tau": log_tau}, (policy, posterior, filters, met))


def filtered(prior: Policy, filters: list[tuple[Policy, float]], pool: int, generator: torch.Generator) -> Filtered:
    """Algorithm 1's posterior, its acceptance counted on fresh samples of the prior."""
    unscaled = Filtered(prior, filters, Acceptance(1, 1))
    drawn = sample_counts(prior, pool, generator)
    hits = int(drawn.counts[unscaled.accepts(drawn.strings)].sum())
    return Filtered(prior, filters, Acceptance(hits, pool))
