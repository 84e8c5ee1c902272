"""The bonuses of RND, counts and pseudo-counts, and the policy gradient that pays them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from baselines import count, pseudo_count, rnd
from baselines.common.novelty import NoveltyConfig, advantage, one_hot, policy_gradient
from baselines.common.novelty_net import CLIP, RandomNetworkDistillation, RunningStd, prediction_error
from baselines.count import count_bonus, simhash
from baselines.pseudo_count import prediction_gain
from baselines.pseudo_count import pseudo_count as pseudo_counts
from suite.generators import Table, Transformer
from suite.policy import Round
from suite.seeding import Streams


class Feed:
    """An oracle that hands out these codes, batch after batch."""

    def __init__(self, *batches: list[int]) -> None:
        self.batches = [torch.tensor(batch, dtype=torch.long)[:, None] for batch in batches]

    @property
    def remaining(self) -> int:
        return 4 * len(self.batches)

    def collect(self, policy: Any, n: int) -> Tensor:
        return self.batches.pop(0)


# -- the policy gradient -----------------------------------------------------------------------------------------


def test_advantage_by_hand() -> None:
    """Rewards 1, 3, 5: mean 3, population deviation √(8/3). Shifts 0, 1, 2 centred: −1, 0, 1; kl = 0.5."""
    got = advantage(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0.0, 1.0, 2.0]), 0.5)
    z = 2 / math.sqrt(8 / 3)
    assert got.dtype == torch.float32
    assert got.tolist() == pytest.approx([-z + 0.5, 0.0, z - 0.5], rel=1e-6)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.floats(0, 2))
def test_advantages_sum_to_nothing_and_equal_rewards_are_no_reason_to_move(rewards: list[float], kl: float) -> None:
    reward = torch.tensor(rewards, dtype=torch.float64)
    shift = torch.linspace(0, 1, len(rewards), dtype=torch.float64)
    assert float(advantage(reward, shift, kl).sum()) == pytest.approx(0.0, abs=1e-4)
    assert advantage(torch.full_like(reward, 7.0), torch.zeros_like(reward), kl).abs().max() < 1e-6


def test_one_hot_by_hand() -> None:
    assert one_hot(torch.tensor([[0, 2], [1, 1]]), 3).tolist() == [[1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 1, 0]]


def test_the_gradient_follows_the_bonus(uniform_table: Callable[[int], Table]) -> None:
    """Code 3 pays, the others met do not: it gains and they lose. The rest, unmet, stands by the sum of weights, 0."""
    oracle = Feed([0, 1, 2, 3])
    config = NoveltyConfig(batch=4, policy_lr=3e-4, kl=0.0)
    (step,) = policy_gradient(
        config,
        uniform_table(6),
        oracle,
        Streams(0),
        lambda x: (x[:, 0] == 3).double(),  # type: ignore[arg-type]
    )
    p = step.policy.log_prob(torch.arange(6)[:, None]).exp()
    # mean 1/4, deviation √3/4: advantages √3 and −1/√3; p + 300 · 3e-4 · advantage / 4
    assert p.tolist() == pytest.approx([*[1 / 6 - 0.09 / (4 * 3**0.5)] * 3, 1 / 6 + 0.09 * 3**0.5 / 4, 1 / 6, 1 / 6])
    assert step.metrics["bonus"] == pytest.approx(0.25)


def test_the_penalty_pulls_back_to_the_prior(uniform_table: Callable[[int], Table]) -> None:
    """Without a bonus to tell samples apart the second step can only undo the first."""
    paid = iter([torch.tensor([1.0, 0, 0, 0]), torch.zeros(4)])
    oracle = Feed([0, 1, 2, 3], [0, 1, 2, 3])
    config = NoveltyConfig(batch=4, policy_lr=3e-4, kl=0.5)
    first, second = (
        float(step.policy.log_prob(torch.tensor([[0]])).exp())
        for step in policy_gradient(config, uniform_table(4), oracle, Streams(0), lambda x: next(paid))  # type: ignore[arg-type]
    )
    assert first > second > 0.25


def test_a_round_without_failures_changes_nothing(uniform_table: Callable[[int], Table]) -> None:
    steps = policy_gradient(NoveltyConfig(batch=4), uniform_table(4), Feed([]), Streams(0), lambda x: 1 / 0)  # type: ignore[arg-type,return-value]
    (step,) = steps
    assert step.policy.log_prob(torch.arange(4)[:, None]).exp().tolist() == [0.25] * 4


# -- random network distillation -----------------------------------------------------------------------------------


def test_prediction_error_by_hand() -> None:
    predicted, target = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 4.0], [0.0, 0.0]])
    assert prediction_error(predicted, target).tolist() == [(1 + 4) / 2, 0.0]


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), min_size=1, max_size=8))
def test_the_running_deviation_is_that_of_the_whole_stream(batches: list[list[float]]) -> None:
    running = RunningStd()
    for values in batches:
        running.update(torch.tensor(values, dtype=torch.float64))
    stream = np.concatenate(batches)
    assert running.n == len(stream)
    assert running.mean == pytest.approx(stream.mean(), rel=1e-9, abs=1e-9)
    if stream.std() > 1e-6:
        assert running.std == pytest.approx(stream.std(), rel=1e-6)


def test_the_deviation_of_nothing_is_one() -> None:
    running = RunningStd()
    assert running.std == 1.0
    running.update(torch.tensor([3.0]))
    assert running.std == 1.0
    running.update(torch.tensor([3.0, 3.0]))
    assert running.std == 1.0  # nothing to divide by
    running.update(torch.tensor([7.0]))
    assert running.std == pytest.approx(math.sqrt(3.0))  # 3, 3, 3, 7: mean 4, squares 1 + 1 + 1 + 9 over 4


def make_net(tiny_net: Callable[..., Transformer], seed: int = 0, **options: Any) -> RandomNetworkDistillation:
    options = {"features": 8, "lr": 1e-3, "epochs": 5} | options
    return RandomNetworkDistillation(tiny_net(0, vocab_size=4, length=3), Streams(seed), **options)


def test_observations_are_whitened_by_the_prior_and_clipped(tiny_net: Callable[..., Transformer]) -> None:
    net = make_net(tiny_net)
    seen = one_hot(tiny_net(0, vocab_size=4, length=3).sample(2000, Streams(0)("whitening")), 4).numpy()
    x = torch.tensor([[0, 1, 2], [3, 3, 3]])
    scale = np.maximum(seen.std(axis=0, ddof=1), 1e-2)
    expected = np.clip((one_hot(x, 4).numpy() - seen.mean(axis=0)) / scale, -CLIP, CLIP)
    np.testing.assert_allclose(net.observe(x).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_novelty_is_the_error_over_the_deviation_of_all_errors(tiny_net: Callable[..., Transformer]) -> None:
    net = make_net(tiny_net)
    x = tiny_net(1, vocab_size=4, length=3).sample(60, torch.Generator().manual_seed(0))
    with torch.no_grad():
        observed = net.observe(x)
        errors = (net.predictor(observed) - net.target(observed)).square().mean(dim=1).double().numpy()
    assert net.novelty(x[:10]).tolist() == pytest.approx(errors[:10].tolist(), rel=1e-5)  # nothing to divide by yet
    net.normalise(x[:20])
    net.normalise(x[20:])
    assert net.novelty(x[:10]).tolist() == pytest.approx((errors[:10] / errors.std()).tolist(), rel=1e-5)


def test_what_was_visited_is_less_novel_and_the_target_stands_still(tiny_net: Callable[..., Transformer]) -> None:
    net = make_net(tiny_net, epochs=200)
    visited, other = torch.tensor([[0, 1, 2]]), torch.tensor([[3, 3, 0]])
    target = [parameter.clone() for parameter in net.target.parameters()]
    before = net.novelty(torch.cat([visited, other]))
    net.visit(visited.repeat(8, 1))
    after = net.novelty(torch.cat([visited, other]))
    assert after[0] < 0.05 * before[0]
    assert after[0] < 0.1 * after[1]
    assert all(torch.equal(a, b) for a, b in zip(target, net.target.parameters(), strict=True))


def test_the_networks_are_those_of_their_stream_alone(tiny_net: Callable[..., Transformer]) -> None:
    torch.manual_seed(1)
    a, state = make_net(tiny_net), torch.get_rng_state()
    torch.manual_seed(2)
    b = make_net(tiny_net)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # the global generator was not moved
    assert torch.equal(a.target[0].weight, b.target[0].weight)
    assert torch.equal(a.predictor[0].weight, b.predictor[0].weight)
    assert not torch.equal(a.target[0].weight, make_net(tiny_net, seed=1).target[0].weight)
    assert not torch.equal(a.target[0].weight, a.predictor[0].weight)


def test_rnd_pays_before_it_learns(monkeypatch: pytest.MonkeyPatch, uniform_table: Callable[[int], Table]) -> None:
    calls: list[str] = []

    def logged(name: str) -> Callable[..., Any]:
        original = getattr(RandomNetworkDistillation, name)

        def call(self: RandomNetworkDistillation, x: Tensor) -> Any:
            calls.append(name)
            return original(self, x)

        return call

    for name in ("normalise", "novelty", "visit"):
        monkeypatch.setattr(RandomNetworkDistillation, name, logged(name))
    steps = list(
        rnd.run(rnd.Config(batch=4, features=4), uniform_table(6), Feed([0, 1, 2, 3], [0, 0, 1, 1]), Streams(0))
    )  # type: ignore[arg-type]
    assert calls == ["normalise", "novelty", "visit"] * 2
    assert len(steps) == 2


# -- counts ----------------------------------------------------------------------------------------------------------


def test_simhash_by_hand() -> None:
    """Two directions: (1, 0, −1) and (0, 1, 0). The first gives bit 0, the second bit 1; 0 counts as positive."""
    projection = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    vectors = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, -1.0, 1.0], [2.0, -1.0, 0]])
    assert simhash(vectors, projection).tolist() == [0b11, 0b11, 0b10, 0b00, 0b01]


def test_simhash_keeps_62_bits_apart() -> None:
    vectors = torch.eye(62) * 2 - 1
    codes = simhash(vectors, torch.eye(62)).tolist()
    assert codes == [1 << i for i in range(62)]


def test_simhash_is_nearer_for_nearer_vectors() -> None:
    """The chance that a bit agrees is 1 − angle / π (Charikar 2002): 2/3 at 60°."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 3**0.5 / 2]])
    projection = torch.randn(2, 60, generator=generator)
    agree = 60 - bin(int(simhash(a, projection)) ^ int(simhash(b, projection))).count("1")
    assert agree == pytest.approx(40, abs=4 * (60 * 2 / 9) ** 0.5)


def test_count_bonus_by_hand() -> None:
    assert count_bonus(torch.tensor([1, 4, 9, 2])).tolist() == pytest.approx([1.0, 0.5, 1 / 3, 2**-0.5])


@pytest.mark.parametrize("bits", [0, 16])
def test_counts_are_kept_over_rounds_and_include_the_sample_itself(
    monkeypatch: pytest.MonkeyPatch, tiny_net: Callable[..., Transformer], bits: int
) -> None:
    """Strings 0000 and 2222 differ in every symbol, so that 16 random bits tell them apart."""
    paid: list[list[float]] = []

    def catch(config: Any, prior: Any, oracle: Any, rng: Any, bonus: Callable[[Tensor], Tensor], *_: Any) -> Any:
        batches = (torch.tensor(codes)[:, None].expand(-1, 4) for codes in ([0, 0, 2], [0, 2], [0]))
        paid.extend(bonus(x).tolist() for x in batches)
        yield Round(prior, {})

    monkeypatch.setattr(count, "policy_gradient", catch)
    prior = tiny_net(vocab_size=3, length=4)
    list(count.run(count.Config(bits=bits), prior, None, Streams(0)))  # type: ignore[arg-type]
    expected = [[2, 2, 1], [3, 2], [4]]
    assert [[round(1 / b**2) for b in row] for row in paid] == expected


# -- pseudo-counts -------------------------------------------------------------------------------------------------


def test_pseudo_count_by_hand() -> None:
    """N̂ = 1 / (exp(0.1 · n^(−1/2) · PG) − 1): n = 4, PG = 2 gives 1 / (e^0.1 − 1) = 9.508."""
    got = pseudo_counts(torch.tensor([2.0, 0.5, 10.0]), torch.tensor([4, 1, 100]), 0.1)
    assert got.tolist() == pytest.approx([1 / (math.e**0.1 - 1), 1 / (math.e**0.05 - 1), 1 / (math.e**0.1 - 1)])
    assert got[0].item() == pytest.approx(9.50833, abs=1e-5)


def test_no_gain_counts_as_met_without_end() -> None:
    assert pseudo_counts(torch.tensor([0.0, -3.0]), torch.tensor([1, 5]), 0.1).tolist() == [1e12, 1e12]


@given(st.floats(1e-3, 50), st.integers(1, 10_000))
def test_more_gain_is_fewer_counts_and_more_bonus(gain: float, n: int) -> None:
    low, high = pseudo_counts(torch.tensor([gain, 2 * gain], dtype=torch.float64), torch.tensor([n, n]), 0.1).tolist()
    assert low > high


def test_prediction_gain_of_a_table_by_numpy(uniform_table: Callable[[int], Table]) -> None:
    """SGD on softmax logits z: z ← z + lr · (e_x − p), clipped at norm 10 (never reached: ‖e_x − p‖ < √2)."""
    table, lr = uniform_table(4), 0.7
    z, gains = np.zeros(4), []
    log_p = lambda z, x: z[x] - np.log(np.exp(z).sum())  # noqa: E731
    codes = [0, 0, 2, 0]
    for x in codes:
        before = log_p(z, x)
        z = z + lr * (np.eye(4)[x] - np.exp(z) / np.exp(z).sum())
        gains.append(log_p(z, x) - before)
    optimizer = torch.optim.SGD(table.parameters(), lr=lr)
    got = prediction_gain(table, optimizer, torch.tensor(codes)[:, None])
    assert got.dtype == torch.float64
    assert got.tolist() == pytest.approx(gains, abs=1e-6)
    assert table.logits[0].tolist() == pytest.approx(z.tolist(), abs=1e-6)


def test_prediction_gain_of_a_transformer_is_what_one_step_gains(tiny_net: Callable[..., Transformer]) -> None:
    """Each row alone: the gradient by autograd, the step by hand, the likelihood after it by another network."""
    net = tiny_net(4, end=None)
    x = net.sample(3, torch.Generator().manual_seed(1))
    twin, expected = net.clone(), []
    for row in x:
        before = twin.log_likelihood(row[None])[0]
        gradients = torch.autograd.grad(before, list(twin.parameters()))
        norm = float(torch.sqrt(sum((g.square().sum() for g in gradients), torch.zeros(()))))
        with torch.no_grad():
            for parameter, g in zip(twin.parameters(), gradients, strict=True):
                parameter += 0.01 * g * min(1.0, 10 / (norm + 1e-6))
            expected.append(float(twin.log_likelihood(row[None])[0] - before))
    got = prediction_gain(net, torch.optim.SGD(net.parameters(), lr=0.01), x)
    assert got.tolist() == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_the_number_of_samples_met_goes_on_counting(
    monkeypatch: pytest.MonkeyPatch, uniform_table: Callable[[int], Table]
) -> None:
    """With every gain fixed at 1, N̂ depends on n = 1, 2, 3, … over all rounds alone."""
    monkeypatch.setattr(pseudo_count, "prediction_gain", lambda density, optimizer, x: torch.ones(len(x)).double())
    paid: list[float] = []

    def catch(config: Any, prior: Any, oracle: Any, rng: Any, bonus: Callable[[Tensor], Tensor], *_: Any) -> Any:
        for n in (2, 3):
            paid.extend(bonus(torch.zeros(n, 1, dtype=torch.long)).tolist())
        yield Round(prior, {})

    monkeypatch.setattr(pseudo_count, "policy_gradient", catch)
    list(pseudo_count.run(pseudo_count.Config(), uniform_table(4), None, Streams(0)))  # type: ignore[arg-type]
    expected = [math.sqrt(math.exp(0.1 / math.sqrt(n)) - 1) for n in range(1, 6)]
    assert paid == pytest.approx(expected)


def test_a_prior_without_gradients_is_refused() -> None:
    with pytest.raises(TypeError, match="pseudo-count needs a prior with gradients"):
        list(pseudo_count.run(pseudo_count.Config(), object(), None, Streams(0)))  # type: ignore[arg-type]
