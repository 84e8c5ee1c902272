"""Filtered and tempered policies against enumeration, and what the oracle may draw from."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from suite.generators import Table, Transformer
from suite.policy import Acceptance, Filtered, Generator, Mixture, Policy, Tempered, made_of_engine_parts, sample_counts

PRIOR = np.array([0.4, 0.3, 0.2, 0.1])
FIRST = np.array([0.7, 0.1, 0.1, 0.1])  # a failure model that knows outcome 0: ratios 0.57, 3, 2, 1
SECOND = np.array([0.1, 0.1, 0.6, 0.2])  # one that knows outcome 2: ratios 4, 3, 0.33, 0.5
ALL = torch.arange(4)[:, None]


def table(p: np.ndarray) -> Table:
    return Table(torch.tensor(p).log())


def filtered(*, hits: int = 4, n: int = 10) -> Filtered:
    """Accepts ratios of at least 0.9 under both models: outcome 1 alone (0.3); one filter would leave 1, 2, 3 (0.6)."""
    return Filtered(table(PRIOR), [(table(FIRST), math.log(0.9)), (table(SECOND), math.log(0.9))], Acceptance(hits, n))


def test_one_filter_keeps_the_ratios_at_or_above_tau() -> None:
    policy = Filtered(table(PRIOR), [(table(FIRST), math.log(0.9))], Acceptance(6, 10))
    assert policy.accepts(ALL).tolist() == [False, True, True, True]
    # exact acceptance 0.3 + 0.2 + 0.1 = 0.6: the posterior is (3, 2, 1) / 6
    p = policy.log_prob(ALL).exp()
    assert p.tolist() == pytest.approx([0.0, 3 / 6, 2 / 6, 1 / 6], rel=1e-6)
    assert float(p.sum()) == pytest.approx(1.0, rel=1e-6)


def test_rejection_regions_unite() -> None:
    policy = filtered(hits=3, n=10)
    assert policy.accepts(ALL).tolist() == [False, True, False, False]
    assert policy.log_prob(ALL).exp().tolist() == pytest.approx([0, 1, 0, 0], rel=1e-6)


def test_a_wrong_estimate_of_the_acceptance_scales_the_probabilities() -> None:
    policy = filtered(hits=6, n=10)  # twice the true 0.3
    assert policy.log_prob(ALL).exp().sum().item() == pytest.approx(0.5, rel=1e-6)


def test_rejection_sampling_draws_the_posterior(seeded: Callable[[int], torch.Generator]) -> None:
    policy = Filtered(table(PRIOR), [(table(FIRST), math.log(0.9))], Acceptance(6, 10))
    x = policy.sample(6000, seeded(0))
    assert (x.dtype, x.shape) == (torch.int64, (6000, 1))
    observed = np.bincount(x[:, 0], minlength=4)
    assert observed[0] == 0
    assert stats.chisquare(observed[1:], [3000, 2000, 1000]).pvalue > 1e-3


def test_rejection_sampling_gives_up(seeded: Callable[[int], torch.Generator]) -> None:
    policy = Filtered(table(PRIOR), [(table(FIRST), 50.0)], Acceptance(1, 10))
    with pytest.raises(RuntimeError, match="rejection sampling accepted 0 of 2048 draws, wanted 1; a smaller filter_f"):
        policy.sample(1, seeded(0))


def test_tempering_takes_every_conditional_to_a_power(tiny_net: Callable[..., Transformer]) -> None:
    """Two symbols, length 2, temperature 2: square roots of the conditionals, renormalised, from the net's logits."""
    net = tiny_net(length=2)
    with torch.no_grad():
        logits = net.logits(torch.tensor([[0, 0], [1, 0]])).double()  # before the first symbol, and after 0 or 1
    first = torch.softmax(logits[0, 0], 0).sqrt()
    second = torch.softmax(logits[:, 1], 1).sqrt()
    first, second = first / first.sum(), second / second.sum(dim=1, keepdim=True)
    x = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    expected = (first[:, None] * second).flatten()
    assert Tempered(net, 2.0).log_prob(x).exp().tolist() == pytest.approx(expected.tolist(), rel=1e-6)


class Recorder:
    """A policy that writes down what it was asked for."""

    def __init__(self, inner: Policy) -> None:
        self.inner = inner
        self.seen: list[Tensor] = []

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        self.seen.append(self.inner.sample(n, generator))
        return self.seen[-1]

    def log_prob(self, x: Tensor) -> Tensor:
        return self.inner.log_prob(x)


class Subclass(Table):
    """A table that could do anything in `sample`."""


def with_attribute(policy: Policy, name: str) -> Policy:
    object.__setattr__(policy, name, Recorder(policy).sample)
    return policy


def spies() -> dict[str, Policy]:
    plain = table(PRIOR)
    once = Acceptance(1, 1)
    return {
        "wrapper": Recorder(plain),
        "subclass": Subclass(torch.zeros(4)),
        "instance attribute": with_attribute(table(PRIOR), "sample"),
        "instance log_prob": with_attribute(table(PRIOR), "log_prob"),
        "tempered wrapper": Tempered(Recorder(plain), 1.0),
        "filtered wrapper": Filtered(Recorder(plain), [], once),
        "mixed wrapper": Mixture([plain, Recorder(plain)], [1, 1]),
        "mixture attribute": with_attribute(Mixture([plain], [1]), "log_prob"),
        "failure model": Filtered(plain, [(Recorder(plain), 0.0)], once),
        "nested": Tempered(Filtered(plain, [(Tempered(Recorder(plain), 1.0), 0.0)], once), 1.0),
        "tempered attribute": with_attribute(Tempered(plain, 1.0), "sample"),
        "filtered attribute": with_attribute(Filtered(plain, [], once), "accepts"),
    }


@pytest.mark.parametrize("name", spies())
def test_policies_that_could_write_samples_down_are_not_engine_parts(name: str) -> None:
    assert not made_of_engine_parts(spies()[name], frozenset({Table}))


def test_a_mixture_is_the_weighted_sum_of_its_parts(seeded: Callable[[int], torch.Generator]) -> None:
    policy = Mixture([table(PRIOR), table(FIRST)], [3, 1])
    expected = 0.75 * PRIOR + 0.25 * FIRST
    assert policy.log_prob(ALL).exp().numpy() == pytest.approx(expected, abs=1e-7)
    n = 20_000
    for counts in (
        torch.bincount(policy.sample(n, seeded(0)).flatten(), minlength=4),
        policy.sample_counts(n, seeded(1)).counts,
    ):
        assert stats.chisquare(counts.numpy(), n * expected).pvalue > 1e-3
    assert policy.sample(0, seeded(2)).shape == (0, 1)
    drawn = policy.sample_counts(50, seeded(3))
    assert int(drawn.counts.sum()) == 50
    assert torch.equal(drawn.log_probs, policy.log_prob(drawn.strings))


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [1, math.inf], [1, math.nan]])
def test_a_mixture_refuses_weights_that_are_none(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="mixture"):
        Mixture([table(PRIOR), table(FIRST)], weights)


def test_engine_parts_are_recognised() -> None:
    plain = table(PRIOR)
    for policy in (
        plain,
        plain.clone(),
        plain.uniform(),
        Tempered(Filtered(plain, [(plain, 0.0)], Acceptance(1, 1)), 2),
        Mixture([plain, Tempered(plain, 2.0), plain.uniform()], [1, 2, 3]),
    ):
        assert made_of_engine_parts(policy, frozenset({Table}))
    assert isinstance(plain, Generator)
    assert isinstance(plain.uniform(), Policy)


def test_a_policy_that_works_in_place_is_counted_as_drawn(seeded: Callable[[int], torch.Generator]) -> None:
    """A `log_prob` that sorts the samples it was handed made 0.021 into 0.499."""

    class Sorting:
        def sample(self, n: int, generator: torch.Generator) -> Tensor:
            return torch.tensor([[2, 1], [2, 1], [0, 1]])

        def log_prob(self, x: Tensor) -> Tensor:
            x.copy_(x.sort(dim=1).values)
            return torch.zeros(len(x))

    drawn = sample_counts(Sorting(), 3, seeded(0))
    assert (drawn.strings.tolist(), drawn.counts.tolist()) == ([[0, 1], [2, 1]], [1, 2])
