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
from suite.generators.minibatch import Minibatch
from suite.generators.walk import ROWS, Walk

Net = Callable[..., Transformer]
Seeded = Callable[[int], torch.Generator]


def strings(vocab_size: int, length: int, end: int | None) -> Tensor:
    """Every string that the distribution may emit: cut after its first end and filled up with it."""
    found = set()
    for symbols in itertools.product(range(vocab_size), repeat=length):
        stop = symbols.index(end) if end in symbols else length
        found.add(symbols[:stop] + (end,) * (length - stop) if end is not None else symbols)
    return torch.tensor(sorted(found))


def uncached_log_prob(net: Transformer, x: Tensor, temperature: float) -> Tensor:
    """A second implementation, (B,): whole strings through `net.logits`, symbols after the end left out."""
    with torch.no_grad():
        log_p = torch.log_softmax(net.logits(x).double() / temperature, dim=-1)
    total = torch.zeros(len(x), dtype=torch.float64)
    for i, row in enumerate(x.tolist()):
        for step, symbol in enumerate(row):
            total[i] += log_p[i, step, symbol]
            if symbol == net.shape.end:
                break
    return total


def fits(observed: list[int], p: Tensor) -> bool:
    """Chi-square test at 1e-3 of counts against probabilities, cells of an expected count under 5 taken together."""
    n = sum(observed)
    rare = n * p < 5
    cells = [count for count, few in zip(observed, rare.tolist(), strict=True) if not few]
    expected = (n * p[~rare]).tolist()
    if rare.any():
        cells, expected = [*cells, n - sum(cells)], [*expected, n - sum(expected)]
    return float(stats.chisquare(cells, expected).pvalue) > 1e-3


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
@pytest.mark.parametrize("rows", [ROWS, 7])
def test_counted_samples_are_distributed_as_whole_strings_are(
    tiny_net: Net, seeded: Seeded, monkeypatch: pytest.MonkeyPatch, rows: int, end: int | None, temperature: float
) -> None:
    """5,000 strings at once, and 5,000 as 500 samples of 10, whose draws are shared out one by one."""
    monkeypatch.setattr("suite.generators.transformer.ROWS", rows)
    net, space = tiny_net(3, end=end, vocab_size=3, length=4), strings(3, 4, end)
    index = {tuple(row): i for i, row in enumerate(space.tolist())}
    log_p = uncached_log_prob(net, space, temperature)
    generator = seeded(7)
    for samples, n in ((1, 5000), (500, 10)):
        observed = torch.zeros(len(space), dtype=torch.long)
        for _ in range(samples):
            drawn = net.sample_counts(n, generator, temperature)
            assert int(drawn.counts.sum()) == n
            places = torch.tensor([index[tuple(row)] for row in drawn.strings.tolist()])
            torch.testing.assert_close(drawn.log_probs, log_p[places], rtol=0, atol=2e-5)
            assert len(places.unique()) == len(places)  # each string once
            observed[places] += drawn.counts
        assert fits(observed.tolist(), log_p.exp())


def test_samples_stand_in_a_random_order(tiny_net: Net, seeded: Seeded) -> None:
    """First and second half of 20,000 samples are one distribution, and equal strings are no neighbours."""
    net, space = tiny_net(2, end=None, length=3), strings(2, 3, None)
    drawn = net.sample(20_000, seeded(3))
    p = uncached_log_prob(net, space, 1.0).exp()
    for half in drawn.split(10_000):
        assert fits([int((half == row).all(dim=1).sum()) for row in space], p)
    equal = (drawn[1:] == drawn[:-1]).all(dim=1).double().mean()
    share = float(p.square().sum())
    assert abs(float(equal) - share) <= 5 * math.sqrt(share / 20_000)


def test_working_in_blocks_changes_no_probability(tiny_net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    for end in (None, 1):
        net, x = tiny_net(end=end).double(), strings(2, 6, end)  # in float64: a block's size changes the rounding
        log_p = net.log_prob(x)
        with monkeypatch.context() as patch:
            patch.setattr(Forest, "BLOCK", 7)
            torch.testing.assert_close(net.log_prob(x), log_p, rtol=0, atol=1e-12)


def test_equal_prefixes_of_a_minibatch_are_one() -> None:
    """Strings a b, a b, a c, b c read as begin, first symbol: prefixes (), a, b; then by hand of three symbols."""
    inputs = torch.tensor([[9, 0], [9, 0], [9, 0], [9, 1]])
    batch = Minibatch.of(inputs, torch.ones_like(inputs, dtype=torch.bool))
    assert batch.symbol.tolist() == [9, 0, 1]
    assert batch.position.tolist() == [0, 1, 1]
    assert batch.place.tolist() == [0, 1, 7]
    assert batch.prefix.tolist() == [[0, 1], [0, 1], [0, 1], [0, 2]]
    ended = torch.tensor([[True, False], [True, False], [True, True], [True, True]])
    assert Minibatch.of(torch.tensor([[9, 0], [9, 0], [9, 1], [9, 1]]), ended).symbol.tolist() == [9, 1]


def test_repeated_strings_are_trained_on_once_and_weigh_as_often(tiny_net: Net, seeded: Seeded) -> None:
    """One step on (a, a, a, b) against the loss written out, in float64; counted is each prefix once.

    The network reads begin and five symbols of each string; the two differ from the first on: 1 + 5 + 5 prefixes.
    """
    net = tiny_net().double()
    other = net.clone()
    x = torch.tensor([[0, 1, 0, 1, 1, 0]] * 3 + [[1, 1, 0, 0, 1, 0]])
    with compute.metered() as meter:
        loss = net.fit(x, generator=seeded(0))
    log_p = other.log_likelihood(x[[0, 3]])
    expected = -(3 * log_p[0] + log_p[1]) / 4
    assert loss == pytest.approx(float(expected.detach()), rel=1e-6)
    assert meter.tallies["training"].tokens == 1 + 5 + 5
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
    zero = torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        logits, walk = Walk.begin(net)
        steps = [logits]
        for i in range(5):
            logits, walk = walk.step(zero, x[:, i])
            steps.append(logits)
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
