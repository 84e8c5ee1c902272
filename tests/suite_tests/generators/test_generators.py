"""Tables and transformers: probabilities that sum to one, cached sampling that equals uncached, fits that fit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from suite import compute
from suite.generators import Factored, Forest, Table, Transformer
from suite.generators.transformer import Families, Walk

Net = Callable[..., Transformer]
Seeded = Callable[[int], torch.Generator]


def strings(vocab_size: int, length: int, end: int | None) -> Tensor:
    """Every string that the distribution may emit: cut after its first end and filled up with it."""
    found = set()
    for symbols in itertools.product(range(vocab_size), repeat=length):
        stop = symbols.index(end) if end in symbols else length
        found.add(symbols[:stop] + (end,) * (length - stop) if end is not None else symbols)
    return torch.tensor(sorted(found))


def uncached_sample(net: Transformer, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
    """A second implementation: the whole string through `net.logits` for each symbol, one sample after another."""
    end = net.shape.end
    x = torch.zeros(n, net.length, dtype=torch.long)
    alive = list(range(n))
    for step in range(net.length):
        u = torch.rand(len(alive), 1, dtype=torch.float64, generator=generator)
        still = []
        for i, sample in enumerate(alive):
            with torch.no_grad():
                logits = net.logits(x[sample : sample + 1])[0, step].double()
            cdf = torch.softmax(logits / temperature, dim=0).cumsum(dim=0)
            x[sample, step] = int((cdf <= u[i] * cdf[-1]).sum())
            if end is not None and int(x[sample, step]) == end:
                x[sample, step:] = end
            else:
                still.append(sample)
        alive = still
    return x


# -- probabilities ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [None, 0, 1])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_transformers_probabilities_sum_to_one_over_all_strings(
    tiny_net: Net, end: int | None, temperature: float
) -> None:
    x = strings(2, 6, end)
    assert len(x) == (64 if end is None else 7)  # 2^6; else k times the other symbol, then the end
    total = tiny_net(end=end).log_prob(x, temperature).exp().sum()
    assert float(total) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("end", [None, 2])
def test_log_prob_is_the_log_likelihood(tiny_net: Net, end: int | None) -> None:
    net = tiny_net(end=end, vocab_size=3, length=4)
    x = strings(3, 4, end)
    torch.testing.assert_close(net.log_prob(x), net.log_likelihood(x).detach().double(), rtol=0, atol=2e-5)


def test_infinite_temperature_is_uniform_over_symbols(tiny_net: Net) -> None:
    net = tiny_net(end=None)
    assert net.uniform().log_prob(strings(2, 6, None)).tolist() == pytest.approx([-6 * math.log(2)] * 64)
    net = tiny_net(end=1)  # a string of k symbols costs k halvings; the last needs none of its own end
    expected = [-6 * math.log(2), *(-k * math.log(2) for k in (6, 5, 4, 3, 2, 1))]
    assert net.uniform().log_prob(strings(2, 6, 1)).tolist() == pytest.approx(expected)


def test_a_temperature_must_be_positive(tiny_net: Net) -> None:
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        tiny_net().tempered(0)


# -- sampling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [None, 0, 2])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_cached_sampling_is_uncached_sampling_with_the_same_random_numbers(
    tiny_net: Net, seeded: Seeded, end: int | None, temperature: float
) -> None:
    net = tiny_net(3, end=end, vocab_size=3, length=5)
    expected = uncached_sample(net, 120, seeded(7), temperature)
    assert torch.equal(net.sample(120, seeded(7), temperature), expected)
    assert len(torch.unique(expected, dim=0)) >= 12  # the comparison is about many prefixes


@pytest.mark.parametrize("end", [None, 1])
def test_working_in_blocks_changes_nothing(
    tiny_net: Net, seeded: Seeded, monkeypatch: pytest.MonkeyPatch, end: int | None
) -> None:
    net, x = tiny_net(end=end).double(), strings(2, 6, end)  # in float64: a block's size changes the rounding
    log_p = net.log_prob(x)
    monkeypatch.setattr(Forest, "BLOCK", 7)
    torch.testing.assert_close(net.log_prob(x), log_p, rtol=0, atol=1e-12)
    generator = seeded(1)
    expected = torch.cat([uncached_sample(net, n, generator) for n in (7, 7, 7, 4)])
    assert torch.equal(net.sample(25, seeded(1)), expected)


def test_families_share_what_stands_before_their_last_symbol() -> None:
    """Parents 0 0 2 2 2 3, by hand: three families padded to three; six of one each where padding is too dear."""
    families = Families.among(torch.tensor([0, 0, 2, 2, 2, 3]))
    assert families.before.tolist() == [0, 2, 3]
    assert families.of.tolist() == [0, 0, 1, 1, 1, 2]
    assert families.place.tolist() == [0, 1, 3, 4, 5, 6]
    assert families.size == 3
    alone = Families.among(torch.tensor([0, 0, 0, 0, 1, 2, 3, 4, 5]))  # 6 x 4 places for 9 prefixes
    assert alone.before.tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert alone.of.tolist() == alone.place.tolist() == list(range(9))
    assert alone.size == 1


def test_repeated_strings_are_trained_on_once_and_weigh_as_often(tiny_net: Net, seeded: Seeded) -> None:
    """One step on (a, a, a, b) against the loss written out, in float64; counted are two strings of six symbols."""
    net = tiny_net().double()
    other = net.clone()
    x = torch.tensor([[0, 1, 0, 1, 1, 0]] * 3 + [[1, 1, 0, 0, 1, 0]])
    with compute.metered() as meter:
        loss = net.fit(x, generator=seeded(0))
    log_p = other.log_likelihood(x[[0, 3]])
    expected = -(3 * log_p[0] + log_p[1]) / 4
    assert loss == pytest.approx(float(expected.detach()), rel=1e-6)
    assert meter.tallies["training"].tokens == 2 * 6
    expected.backward()
    torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
    torch.optim.Adam(other.parameters(), lr=1e-3).step()
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("end", [None, 1])
def test_samples_are_distributed_as_log_prob_says(tiny_net: Net, seeded: Seeded, end: int | None) -> None:
    net = tiny_net(2, end=end, length=4)
    space = strings(2, 4, end)
    drawn = net.sample(20_000, seeded(5))
    observed = [(drawn == row).all(dim=1).sum().item() for row in space]
    expected = 20_000 * net.log_prob(space).exp().numpy()
    assert sum(observed) == 20_000
    assert stats.chisquare(observed, expected * 20_000 / expected.sum()).pvalue > 1e-3


def test_samples_have_the_shape_they_promise(tiny_net: Net, seeded: Seeded) -> None:
    net = tiny_net(end=0)
    assert net.sample(0, seeded(0)).shape == (0, 6)
    x = net.sample(5, seeded(0))
    assert (x.dtype, x.shape) == (torch.int64, (5, 6))


def test_a_walk_gives_the_logits_of_the_whole_string(tiny_net: Net) -> None:
    net = tiny_net(end=None)
    x = torch.tensor([[0, 1, 1, 0, 1, 0]])
    walk, zero = Walk(net), torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        steps = [walk.step(zero, zero), *(walk.step(zero, x[:, i]) for i in range(5))]
        torch.testing.assert_close(torch.stack(steps, dim=1), net.logits(x), rtol=0, atol=1e-5)


# -- fitting -------------------------------------------------------------------------------------------------------


def test_a_transformers_fit_lowers_its_loss(tiny_net: Net, seeded: Seeded) -> None:
    net = tiny_net(end=None)
    x = torch.tensor([[0, 1, 0, 1, 0, 1], [1, 1, 1, 0, 0, 0]]).repeat(32, 1)
    before = -float(net.log_prob(x).mean())
    loss = net.fit(x, generator=seeded(0), epochs=20, lr=1e-2, batch_size=16)
    after = -float(net.log_prob(x).mean())
    assert loss < before - 1
    assert after == pytest.approx(math.log(2), abs=0.1)  # the entropy of two equally frequent strings


@pytest.mark.parametrize("kind", ["table", "transformer"])
def test_weights_raise_what_they_reward_and_lower_what_they_punish(tiny_net: Net, seeded: Seeded, kind: str) -> None:
    net = Table(torch.zeros(4)) if kind == "table" else tiny_net(end=None)
    good, bad = (
        (torch.tensor([[1]]), torch.tensor([[3]])) if kind == "table" else (strings(2, 6, None)[[5, 60]]).split(1)
    )
    x, weights = torch.cat([good, bad]).repeat(8, 1), torch.tensor([1.0, -1.0]).repeat(8)
    before = net.log_prob(torch.cat([good, bad]))
    net.fit(x, weights=weights, generator=seeded(0), lr=1e-3)
    after = net.log_prob(torch.cat([good, bad]))
    assert after[0] > before[0]
    assert after[1] < before[1]


def test_a_weighted_step_is_the_gradient_of_the_weighted_log_likelihood(tiny_net: Net, seeded: Seeded) -> None:
    """One Adam step from zero moments moves each weight by lr · g / (|g| + 1e-8), computed here by hand."""
    net, x = tiny_net(end=None), strings(2, 6, None)[[3, 17, 44]]
    weights = torch.tensor([2.0, -1.0, 0.5])
    twin = net.clone()
    loss = -(torch.stack([w * twin.log_likelihood(row[None])[0] for w, row in zip(weights, x, strict=True)])).mean()
    gradients = torch.autograd.grad(loss, list(twin.parameters()))
    norm = torch.sqrt(sum((g.square().sum() for g in gradients), torch.zeros(())))
    clip = min(1.0, 1.0 / (float(norm) + 1e-6))
    returned = net.fit(x, weights=weights, generator=seeded(0), lr=1e-3)
    assert returned == pytest.approx(float(loss.detach()), rel=1e-5)
    for parameter, before, g in zip(net.parameters(), twin.parameters(), gradients, strict=True):
        g = g * clip
        expected = before - 1e-3 * g / (g.abs() + 1e-8)
        sure = g.abs() > 1e-5  # below, rounding decides the sign
        torch.testing.assert_close(parameter[sure], expected[sure], rtol=0, atol=2e-6)


@pytest.mark.parametrize("epochs", [0, 3])
def test_nothing_to_fit_changes_nothing(tiny_net: Net, seeded: Seeded, epochs: int) -> None:
    for net in (tiny_net(), Table(torch.zeros(2))):
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        x = net.sample(8, seeded(0))[: 0 if epochs else 8]
        assert math.isnan(net.fit(x, generator=seeded(0), epochs=epochs))
        assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_a_tables_fit_is_its_formula(seeded: Seeded) -> None:
    """p ← p + η (mean of w e(x) − mean of w · p), once an epoch, with η = 300 lr, by numpy."""
    table = Table(torch.tensor([0.1, 0.2, 0.3, 0.4]).log())
    x, w = np.array([0, 0, 3, 1]), np.array([1.0, 0.5, -0.4, 2.0])
    p = np.array([0.1, 0.2, 0.3, 0.4])
    pull = np.array([1.5, 2.0, 0.0, -0.4]) / 4
    for _ in range(2):
        loss = -(pull * np.log(p)).sum()
        p = p + 0.3 * (pull - pull.sum() * p)
        p /= p.sum()
    returned = table.fit(torch.tensor(x)[:, None], weights=torch.tensor(w), generator=seeded(0), epochs=2, lr=1e-3)
    assert table.probabilities()[0].tolist() == pytest.approx(p.tolist(), rel=1e-6)
    assert returned == pytest.approx(loss, rel=1e-6)


def test_a_table_forgets_what_it_does_not_see_at_its_rate(seeded: Seeded) -> None:
    table = Table(torch.zeros(4))
    table.fit(torch.tensor([[2]]), generator=seeded(0), epochs=3, lr=1e-3)
    # each epoch leaves the share 1 - 300 · 1e-3 = 0.7 of 1/4
    assert table.probabilities()[0, 0].item() == pytest.approx(0.25 * 0.7**3, rel=1e-6)


def test_a_table_never_loses_an_outcome(seeded: Seeded) -> None:
    table = Table(torch.zeros(4))
    table.fit(torch.tensor([[2]]), generator=seeded(0), epochs=3, lr=1.0)  # at most half of it in an epoch
    assert table.probabilities().min().item() == pytest.approx(0.25 * 0.5**3, rel=1e-6)
    table.fit(torch.tensor([[2]]), generator=seeded(0), epochs=100, lr=1.0)
    assert table.probabilities().min().item() == pytest.approx(1e-12, rel=1e-3)


def test_a_table_samples_its_probabilities(seeded: Seeded) -> None:
    p = np.array([0.5, 0.25, 0.15, 0.1])
    drawn = Table(torch.tensor(p).log()).sample(20_000, seeded(3))
    assert (drawn.dtype, drawn.shape) == (torch.int64, (20_000, 1))
    assert stats.chisquare(np.bincount(drawn[:, 0], minlength=4), 20_000 * p).pvalue > 1e-3


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_tempered_table_has_the_powers_of_its_probabilities(temperature: float) -> None:
    p = np.array([0.5, 0.3, 0.2])
    policy = Table(torch.tensor(p).log()).tempered(temperature)
    expected = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
    assert policy.log_prob(torch.arange(3)[:, None]).exp().tolist() == pytest.approx(expected.tolist(), rel=1e-6)


@pytest.mark.parametrize("kind", ["table", "transformer"])
def test_a_clone_is_independent(tiny_net: Net, seeded: Seeded, kind: str) -> None:
    net = Table(torch.zeros(4)) if kind == "table" else tiny_net()
    clone = net.clone()
    x = net.sample(16, seeded(0))
    before = clone.log_prob(x)
    net.fit(x, generator=seeded(0), lr=1e-2)
    assert torch.equal(clone.log_prob(x), before)
    assert not torch.equal(net.log_prob(x), before)
    net.load_state_dict(clone.state_dict())
    assert torch.equal(net.log_prob(x), before)


def test_log_likelihood_has_gradients_and_is_cross_entropy(tiny_net: Net) -> None:
    net, x = tiny_net(end=None), strings(2, 6, None)[:7]
    expected = -F.cross_entropy(net.logits(x).transpose(1, 2), x, reduction="none").sum(dim=1)
    got = net.log_likelihood(x)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert got.requires_grad


# -- products of tables ----------------------------------------------------------------------------------------------

MARGINS = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])


def test_a_factored_generator_is_the_product_of_its_positions(seeded: Seeded) -> None:
    """All nine strings: p(a, b) = p_1(a) p_2(b), also at temperature 2, and drawn as often."""
    policy, space = Factored(MARGINS.log()), strings(3, 2, None)
    expected = torch.stack([MARGINS[0, a] * MARGINS[1, b] for a, b in space.tolist()]).double()
    torch.testing.assert_close(policy.log_prob(space).exp(), expected, rtol=1e-6, atol=0)
    hot = MARGINS.double().sqrt()
    hot = hot / hot.sum(dim=1, keepdim=True)
    hot_expected = torch.stack([hot[0, a] * hot[1, b] for a, b in space.tolist()])
    torch.testing.assert_close(policy.tempered(2.0).log_prob(space).exp(), hot_expected, rtol=1e-6, atol=0)
    assert policy.uniform().log_prob(space).exp().tolist() == pytest.approx([1 / 9] * 9)
    drawn = policy.sample(20_000, seeded(3))
    assert (drawn.dtype, drawn.shape, policy.sample(0, seeded(3)).shape) == (torch.int64, (20_000, 2), (0, 2))
    observed = [int((drawn == row).all(dim=1).sum()) for row in space]
    assert stats.chisquare(observed, 20_000 * expected.numpy() / float(expected.sum())).pvalue > 1e-3


def test_each_position_of_a_factored_generator_is_fitted_like_a_table(seeded: Seeded) -> None:
    x, w = torch.tensor([[0, 1], [2, 1], [2, 0]]), torch.tensor([1.0, -0.5, 2.0])
    both, tables = Factored(MARGINS.log()), [Table(row.log()) for row in MARGINS]
    loss = both.fit(x, weights=w, generator=seeded(0), epochs=3, lr=1e-3)
    losses = [t.fit(x[:, [i]], weights=w, generator=seeded(0), epochs=3, lr=1e-3) for i, t in enumerate(tables)]
    expected = torch.cat([table.probabilities() for table in tables])
    torch.testing.assert_close(both.probabilities(), expected, rtol=1e-12, atol=0)
    assert loss == pytest.approx(sum(losses), rel=1e-12)
