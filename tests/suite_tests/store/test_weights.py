"""Saved policies come back as the same distribution, however they are built."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from suite.generators import Table, Transformer
from suite.policy import Acceptance, Filtered, Mixture, Policy, Tempered
from suite.store import weights

CODES = torch.arange(5)[:, None]


def table(*p: float) -> Table:
    return Table(torch.tensor(p).log())


PRIOR = table(0.1, 0.2, 0.3, 0.2, 0.2)
OTHER = table(0.4, 0.1, 0.1, 0.1, 0.3)
POLICIES: dict[str, Policy] = {
    "net": OTHER,
    "tempered": Tempered(OTHER, 2.5),
    "uniform": PRIOR.uniform(),
    "filtered": Filtered(PRIOR, [(OTHER, math.log(0.9)), (PRIOR, -math.inf)], Acceptance(3, 10)),
    "nested": Tempered(OTHER, 1 / 3),
    "mixture": Mixture([OTHER, Tempered(PRIOR, 2.0), PRIOR.uniform()], [1 / 3, 0.1, 2]),
    "filtered by tempered": Filtered(Tempered(PRIOR, 2.0), [(Tempered(OTHER, 3.0), 0.1)], Acceptance(7, 10)),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_comes_back_as_the_same_distribution(tmp_path: Path, name: str) -> None:
    policy, path = POLICIES[name], tmp_path / "policy.safetensors"
    assert weights.save(policy, path)
    again = weights.load(path, PRIOR)
    assert type(again) is type(policy)
    assert torch.equal(again.log_prob(CODES), policy.log_prob(CODES))
    assert weights.fingerprint(again) == weights.fingerprint(policy)
    x = policy.sample(20, torch.Generator().manual_seed(0))
    assert torch.equal(again.sample(20, torch.Generator().manual_seed(0)), x)
    assert [file.name for file in tmp_path.iterdir()] == ["policy.safetensors"]


def test_a_transformer_comes_back(tmp_path: Path, tiny_net: Callable[..., Transformer]) -> None:
    net, x = tiny_net(1), tiny_net(1).sample(30, torch.Generator().manual_seed(0))
    weights.save(net, tmp_path / "net.safetensors")
    assert torch.equal(weights.load(tmp_path / "net.safetensors", tiny_net(2)).log_prob(x), net.log_prob(x))


def test_loading_leaves_the_prior_alone(tmp_path: Path) -> None:
    before = PRIOR.log_prob(CODES)
    weights.save(OTHER, tmp_path / "net.safetensors")
    weights.load(tmp_path / "net.safetensors", PRIOR)
    assert torch.equal(PRIOR.log_prob(CODES), before)


class Foreign:
    """A policy of another kind."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    log_prob = sample  # type: ignore[assignment]


@pytest.mark.parametrize(
    "policy", [Foreign(), Tempered(Foreign(), 2.0), Filtered(PRIOR, [(Foreign(), 0.0)], Acceptance(1, 1))]
)
def test_a_policy_of_another_kind_is_not_saved(tmp_path: Path, policy: Policy) -> None:
    assert not weights.save(policy, tmp_path / "policy.safetensors")
    assert weights.fingerprint(policy) is None
    assert list(tmp_path.iterdir()) == []


def test_fingerprints_tell_distributions_apart() -> None:
    once = Acceptance(3, 10)
    different: list[Policy] = [
        PRIOR,
        OTHER,
        Tempered(PRIOR, 2.0),
        Tempered(PRIOR, 2.0000000001),
        Tempered(OTHER, 2.0),
        Filtered(PRIOR, [(OTHER, 0.1)], once),
        Filtered(PRIOR, [(OTHER, 0.2)], once),
        Filtered(OTHER, [(PRIOR, 0.1)], once),
        Filtered(PRIOR, [(OTHER, 0.1)], Acceptance(4, 10)),
    ]
    marks = [weights.fingerprint(policy) for policy in different]
    assert len(set(marks)) == len(different)
    assert weights.fingerprint(PRIOR.clone()) == marks[0]


def test_a_fingerprint_follows_the_weights() -> None:
    net = PRIOR.clone()
    before = weights.fingerprint(net)
    net.fit(CODES[:2], generator=torch.Generator())
    assert weights.fingerprint(net) != before
