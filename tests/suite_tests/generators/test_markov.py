"""Markov chains: their distribution over all strings, what is forbidden, fits by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from suite.generators import Factored, Markov
from suite.generators.markov import DAMPING

Seeded = Callable[[int], torch.Generator]

STRINGS = torch.tensor(list(itertools.product(range(3), repeat=4)))
"""All 81 strings of four symbols out of three."""


def transitions(seed: int = 0) -> Tensor:
    """Random probabilities (4, 3, 3); after 1 there is no 0."""
    p = torch.rand(4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    p[1:, 1, 0] = 0
    return p / p.sum(dim=-1, keepdim=True)


def product(p: Tensor, x: list[int]) -> float:
    """p(x) by definition."""
    return math.prod(float(p[t, x[t - 1] if t else 0, symbol]) for t, symbol in enumerate(x))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_distribution_is_the_product_of_its_transitions(temperature: float) -> None:
    p = transitions() ** (1 / temperature)
    p = p / p.sum(dim=-1, keepdim=True)
    chain = Markov(transitions().log())
    expected = [product(p, x) for x in STRINGS.tolist()]
    assert chain.tempered(temperature).log_prob(STRINGS).exp().tolist() == pytest.approx(expected, abs=1e-12)
    assert sum(expected) == pytest.approx(1.0, rel=1e-12)
    if temperature == 1.0:
        assert chain.log_prob(STRINGS).exp().tolist() == pytest.approx(expected, abs=1e-12)
        allowed = torch.tensor(expected) > 0
        log_likelihood = chain.log_likelihood(STRINGS[allowed])
        assert log_likelihood.requires_grad
        assert log_likelihood.dtype == torch.float32
        assert log_likelihood.exp().tolist() == pytest.approx([e for e in expected if e > 0], rel=1e-5)


def test_strings_are_drawn_as_often_as_they_are_likely(seeded: Seeded) -> None:
    """20,000 draws by string: a chi-square test; none that is forbidden."""
    drawn = Markov(transitions().log()).sample(20_000, seeded(1))
    assert (drawn.dtype, drawn.shape) == (torch.int64, (20_000, 4))
    expected = [product(transitions(), x) for x in STRINGS.tolist()]
    observed = torch.bincount((drawn * torch.tensor([27, 9, 3, 1])).sum(dim=1), minlength=81).tolist()
    assert all(n == 0 for n, e in zip(observed, expected, strict=True) if e == 0)
    pairs = [(n, 20_000 * e) for n, e in zip(observed, expected, strict=True) if e > 0]
    assert stats.chisquare(*zip(*pairs, strict=True)).pvalue > 1e-3
    assert Markov(transitions().log()).sample(0, seeded(1)).shape == (0, 4)


def test_uniform_is_uniform_over_what_is_allowed() -> None:
    """By counting: of 81 strings those without 1 0, whatever the probabilities."""
    uniform = Markov(transitions(seed=3).log()).uniform()
    allowed = [not any(a == 1 and b == 0 for a, b in itertools.pairwise(x)) for x in STRINGS.tolist()]
    expected = [1 / sum(allowed) if fits else 0.0 for fits in allowed]
    assert uniform.log_prob(STRINGS).exp().tolist() == pytest.approx(expected, rel=1e-12)
    assert 0 < sum(allowed) < 81


def test_a_step_by_hand(seeded: Seeded) -> None:
    """Two symbols, all probabilities 1/2, samples 0 0 0 1 of the second symbol after 0; η = 0.3, lr = 1e-3.

    All four stand at 0, a share of 1: p(1) ← 1/2 + 0.3 · (1/4 − 1/2) / 1.01. After 1 nobody stood: 1/2 stays."""
    chain = Markov(torch.zeros(2, 2, 2))
    x = torch.tensor([[0, 0], [0, 0], [0, 0], [0, 1]])
    loss = chain.fit(x, generator=seeded(0), lr=1e-3)
    p = chain.transitions()
    assert float(p[1, 0, 1]) == pytest.approx(0.5 - 0.3 * 0.25 / (1 + DAMPING), rel=1e-9)
    assert p[1, 1].tolist() == pytest.approx([0.5, 0.5])
    assert float(p[0, 0, 0]) == pytest.approx(0.5 + 0.3 * 0.5 / (1 + DAMPING), rel=1e-9)
    assert loss == pytest.approx(2 * math.log(2), rel=1e-12)  # before the step, nats per sample


def test_few_samples_move_a_symbol_little(seeded: Seeded) -> None:
    """One of 1,000 samples passes 1, a share of 0.001: its transition moves by the factor 0.001 / 0.011."""
    chain = Markov(torch.zeros(2, 2, 2))
    x = torch.zeros(1000, 2, dtype=torch.long)
    x[0] = 1
    chain.fit(x, generator=seeded(0), lr=1e-3)
    assert float(chain.transitions()[1, 1, 1]) == pytest.approx(0.5 + 0.3 * 0.5 * 0.001 / 0.011, rel=1e-9)


def test_weights_count_as_repetitions(seeded: Seeded) -> None:
    """A sample of weight 2 pulls as two; negative ones push away."""
    x, w = torch.tensor([[0, 1], [0, 0]]), torch.tensor([2.0, -1.0])
    chain = Markov(torch.zeros(2, 2, 2))
    chain.fit(x, generator=seeded(0), lr=1e-3, weights=w)
    # pull (2 e_1 − e_0) / 2 − (2 − 1) / 2 · (1/2, 1/2), all at 0: for symbol 1 it is 1 − 1/4
    assert float(chain.transitions()[1, 0, 1]) == pytest.approx(0.5 + 0.3 * 0.75 / (1 + DAMPING), rel=1e-9)


def test_a_chain_that_forgets_is_a_product(seeded: Seeded) -> None:
    """Equal rows: the same distribution as `Factored`."""
    rows = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.3, 0.3, 0.4], [0.6, 0.2, 0.2]]).log()
    chain = Markov(rows[:, None, :].expand(4, 3, 3))
    torch.testing.assert_close(chain.log_prob(STRINGS), Factored(rows).log_prob(STRINGS), rtol=1e-6, atol=0)


def test_many_fits_raise_the_likelihood_and_keep_what_is_forbidden(seeded: Seeded) -> None:
    chain, target = Markov(torch.where(transitions() > 0, 0.0, -torch.inf)), Markov(transitions().log())
    x = target.sample(5000, seeded(2))
    losses = [chain.fit(x, generator=seeded(0), epochs=5, lr=1e-3) for _ in range(4)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(float(-target.log_prob(x).mean()), rel=0.02)
    assert (chain.transitions()[1:, 1, 0] == 0).all()
    copy = chain.clone()
    copy.fit(x[:10], generator=seeded(0), epochs=3)
    assert not torch.equal(copy.transitions(), chain.transitions())
    assert math.isnan(chain.fit(x[:0], generator=seeded(0)))
