"""RND: policy gradient on the prediction error of a random network.

bonus(x) = ‖f̂(x) − f(x)‖² / running std, f fixed and random, f̂ trained on the returned failures. The policy gradient
standardises each batch of bonuses again, so that the running std affects the metrics and not the policy.

Source: Burda, Edwards, Storkey, Klimov, "Exploration by Random Network Distillation", arXiv 1810.12894 (2018). The
BaNEL paper uses it as a baseline and does not state how the bonus becomes a gradient (see baselines/common/novelty.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from baselines.common.novelty import NoveltyConfig, policy_gradient
from baselines.common.novelty_net import RandomNetworkDistillation
from suite.config import retuned, setting, tunable
from suite.oracle import Oracle
from suite.policy import Generator, Round
from suite.seeding import Streams

USES = "failures"


@dataclass(frozen=True)
class Config(NoveltyConfig):
    """The policy gradient's knobs and the predictor's."""

    policy_lr: float = retuned(NoveltyConfig, "policy_lr", 3.02e-4)
    policy_epochs: int = retuned(NoveltyConfig, "policy_epochs", 2)
    kl: float = retuned(NoveltyConfig, "kl", 1.65e-3)
    features: int = setting(64, valid=(1, None), help="outputs of the two networks")
    predictor_lr: float = tunable(7.58e-3, 1e-4, 1e-2, log=True, valid=(0, None), help="learning rate of the predictor")
    predictor_epochs: int = tunable(14, 1, 16, log=True, valid=(1, None), help="passes of the predictor over a batch")


def run(config: Config, prior: Generator, oracle: Oracle, rng: Streams, state: Any = None) -> Iterator[Round]:
    """Compute the bonus of a batch, then train the predictor on that batch."""
    net = RandomNetworkDistillation(
        prior,
        rng,
        features=config.features,
        lr=config.predictor_lr,
        epochs=config.predictor_epochs,
        state=state and state[1],
    )

    def bonus(x: Tensor) -> Tensor:
        net.normalise(x)
        novelty = net.novelty(x)
        net.visit(x)
        return novelty

    yield from policy_gradient(config, prior, oracle, rng, bonus, net.state, state)
