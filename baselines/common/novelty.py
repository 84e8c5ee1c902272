"""What the novelty baselines share: policy gradient on a bonus, and samples as vectors.

The papers on RND, counts and pseudo-counts do not say how to train a generator without dense rewards. Here the bonus is
the reward of a score-function policy gradient with a penalty on leaving the prior, as is usual in post-training:
`policy_epochs` passes over a round's samples with fixed advantages, no importance ratio and no clipping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from suite.config import setting, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams


@dataclass(frozen=True)
class NoveltyConfig:
    """The policy gradient's knobs."""

    batch: int = setting(500, valid=(1, None), help="reward evaluations per round")
    policy_lr: float = tunable(3e-4, 1e-5, 1e-2, log=True, valid=(0, None), help="learning rate of the policy")
    policy_epochs: int = tunable(1, 1, 8, valid=(1, None), help="passes of the policy over a round's samples")
    kl: float = tunable(0.1, 1e-3, 1.0, log=True, valid=(0, None), help="weight of the penalty log p/prior")


def policy_gradient(
    config: NoveltyConfig,
    prior: Generator,
    oracle: Oracle,
    rng: Streams,
    bonus: Callable[[Tensor], Tensor],
    learned: Callable[[], object] = tuple,
    state: Any = None,
) -> Iterator[Round]:
    """Collect failures, compute their novelty bonus, follow its policy gradient; one round per batch.

    Args:
        bonus: samples (B, T) -> float (B,); may learn from them.
        learned: what it has learned so far.
        state: the policy and that, of a run that was killed; else None.
    """
    policy: Generator = prior.clone() if state is None else state[0]
    while oracle.remaining:
        x = oracle.collect(policy, min(config.batch, oracle.remaining))  # (≤ m, T)
        metrics = {"bonus": float("nan")}
        if len(x):
            reward = bonus(x)  # (B,)
            shift = policy.log_prob(x) - prior.log_prob(x)  # (B,)
            weights = advantage(reward, shift, config.kl)
            policy.fit(x, weights=weights, epochs=config.policy_epochs, lr=config.policy_lr, generator=rng("policy"))
            metrics = {"bonus": float(reward.mean()), "bonus_std": float(reward.std()), "shift": float(shift.mean())}
        yield Round(policy, metrics, (policy, learned()))


def advantage(reward: Tensor, shift: Tensor, kl: float) -> Tensor:
    """Standardised reward minus kl times the centred log-ratio to the prior, float32 (B,).

    Args:
        reward: float (B,).
        shift: log p(x) − log prior(x), float (B,); its mean estimates KL(policy ‖ prior).
        kl: weight of the penalty.
    """
    standard = (reward - reward.mean()) / (reward.std(correction=0) + 1e-8)
    return (standard - kl * (shift - shift.mean())).float()


def one_hot(x: Tensor, vocab_size: int) -> Tensor:
    """Samples int64 (B, T) as vectors, float32 (B, T · V)."""
    return F.one_hot(x, vocab_size).flatten(1).float()
