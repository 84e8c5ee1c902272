"""The field's methods, on failures and under full rewards: their formulas by hand, and what they do to a table."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

import suite
from baselines import cem, grpo, npo, nsr, raft, reinforce, unlikelihood
from baselines.common import gradient
from suite.errors import UserError
from suite.generators import Factored, Markov, Neural, Shape, Table, Transformer
from suite.oracle import Feedback
from suite.seeding import Streams

TOYS = Path(__file__).parents[1] / "plugins" / "toys.py"


class Rewards:
    """An oracle of full rewards: one code succeeds, or none."""

    def __init__(self, success: int | None, rounds: int, batch: int) -> None:
        self.success, self.batch, self.remaining = success, batch, rounds * batch

    def evaluate(self, x: Tensor) -> Feedback:
        self.remaining -= self.batch
        return Feedback(x, x[:, 0] == (-1 if self.success is None else self.success))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def of(net: Table) -> list[float]:
    return [float(p) for p in net.probabilities()[0]]


# -- a gradient on tables and networks -----------------------------------------------------------------------------


def test_a_step_on_a_table_moves_what_was_not_met_too() -> None:
    """Uniform over three codes, weight −1 on code 0: ∇ = (2/3, −1/3, −1/3), and Adam's first step is its sign."""
    net, config = Table(torch.zeros(3)), gradient.GradientConfig(lr=1e-3)
    gradient.ascend(net, torch.tensor([[0]]), torch.tensor([-1.0]), config, generator())
    assert net.logits[0].tolist() == pytest.approx([-0.03, 0.03, 0.03], rel=1e-5)


def test_weights_of_nothing_leave_a_generator_exactly_as_it_is() -> None:
    net = Table(torch.tensor([0.1, 0.2, 0.3]))
    before = net.logits.clone()
    gradient.ascend(net, torch.tensor([[0], [1]]), torch.zeros(2), gradient.GradientConfig(), generator())
    assert torch.equal(net.logits, before)


NETS = {
    "Factored": lambda: Factored(torch.randn(5, 4, generator=generator())),
    "Markov": lambda: Markov(torch.randn(5, 4, 4, generator=generator())),
    "Transformer": lambda: Transformer(Shape(vocab_size=4, length=5, end=0, width=8, layers=1, heads=2)),
}


@pytest.mark.parametrize("kind", NETS)
def test_the_symbols_likelihoods_are_those_of_the_string(kind: str) -> None:
    """Symbols behind the end are left out."""
    torch.manual_seed(0)
    net: Neural = NETS[kind]()
    x = net.sample(20, generator())
    symbols = net.symbol_log_likelihood(x)
    assert symbols.shape == (20, 5)
    total = symbols.masked_fill(symbols == -torch.inf, 0).sum(dim=1)
    assert total.tolist() == pytest.approx(net.log_likelihood(x).tolist(), rel=1e-5)


def test_a_generator_without_parameters_is_one_line() -> None:
    with pytest.raises(UserError, match=r"a gradient method needs a generator of suite\.generators, got Fixed"):
        gradient.network(Fixed())  # type: ignore[arg-type]


class Fixed:
    def clone(self) -> Fixed:
        return self


# -- failures ------------------------------------------------------------------------------------------------------


def test_npo_by_hand() -> None:
    """At the prior 2/β · log 2, slope 1; with β = 1 and a third of the prior 2 log(4/3), slope 2 · (1/3) / (4/3)."""
    ratio = torch.tensor([0.0, math.log(1 / 3)], requires_grad=True)
    loss = npo.npo_loss(ratio, 1.0)
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([2 * math.log(2), 2 * math.log(4 / 3)])
    assert ratio.grad is not None
    assert ratio.grad.tolist() == pytest.approx([1.0, 0.5])
    assert float(npo.npo_loss(torch.tensor(0.0), 0.1)) == pytest.approx(20 * math.log(2))


def test_unlikelihood_by_hand() -> None:
    """p = ½ and ¾: log 2 + log 4 = log 8, slopes p / (1 − p) = 1 and 3. Behind an end 0; a sure symbol: −log 1e-6."""
    log_p = torch.tensor([[math.log(0.5), math.log(0.75)]], requires_grad=True)
    loss = unlikelihood.unlikelihood(log_p)
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([math.log(8)], rel=1e-5)
    assert log_p.grad is not None
    assert log_p.grad[0].tolist() == pytest.approx([1.0, 3.0], rel=1e-5)
    assert unlikelihood.unlikelihood(torch.tensor([[math.log(0.5), -torch.inf]])).tolist() == pytest.approx(
        [math.log(2)], rel=1e-5
    )
    assert unlikelihood.unlikelihood(torch.tensor([[0.0]])).tolist() == pytest.approx([6 * math.log(10)], rel=1e-5)


def test_nsr_by_hand() -> None:
    """−1 and the penalty κ times the shift; of NGRPO's groups of 4, with an imagined success, −1/2."""
    shift = torch.tensor([0.0, 2.0, -1.0])
    assert nsr.weights(shift, 0.25, 0).tolist() == pytest.approx([-1.0, -1.5, -0.75])
    assert nsr.weights(torch.zeros(1), 0.25, 4).tolist() == pytest.approx([-0.5])
    imagined = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
    assert float(((imagined - imagined.mean()) / imagined.std(correction=0))[0]) == pytest.approx(-0.5)


@pytest.mark.parametrize("method", ["unlikelihood", "nsr", "npo"])
def test_what_is_missing_among_the_failures_becomes_likelier(method: str, tmp_path: Path) -> None:
    """2 of 8 equally likely codes succeed; a method that learnt from failures alone stands above that quarter."""
    config = {"lr": 1e-3, "batch": 200} | ({"alpha": 10.0} if method == "unlikelihood" else {})
    record = suite.run(
        f"{TOYS}:Codes", method, budget=2000, config=config, task_config={"codes": 8, "successes": 2},
        points="final", results=tmp_path, tracking="off",
    )  # fmt: skip
    assert record.final.success_rate > 0.35


# -- full rewards ----------------------------------------------------------------------------------------------------


def test_reinforce_by_hand() -> None:
    """One success of four: r − ¼. Shifts 0, 0, 0, 4 centred −1, −1, −1, 3; κ = 0.5."""
    reward = torch.tensor([True, False, False, False])
    assert reinforce.advantage(reward, torch.zeros(4), 0.5).tolist() == [0.75, -0.25, -0.25, -0.25]
    shift = torch.tensor([0.0, 0.0, 0.0, 4.0])
    assert reinforce.advantage(reward, shift, 0.5).tolist() == [1.25, 0.25, 0.25, -1.75]


def test_grpo_by_hand() -> None:
    """One of four: mean ¼, deviation √3/4, so √3 and −1/√3. A group of failures, or of successes, is exactly 0."""
    reward = torch.tensor([True, False, False, False, False, False, False, False, True, True])
    found = grpo.group_advantage(reward, 4)
    assert found[:4].tolist() == pytest.approx([math.sqrt(3), *[-1 / math.sqrt(3)] * 3])
    assert found[4:].tolist() == [0.0] * 6


@pytest.mark.parametrize("method", [reinforce, grpo, cem, raft])
def test_without_a_success_the_policy_stays_exactly_the_prior(method: ModuleType) -> None:
    prior = Table(torch.tensor([0.3, -0.2, 0.1, 0.0]))
    rounds = list(method.run(method.Config(batch=32), prior, Rewards(None, 3, 32), Streams(0)))
    assert len(rounds) == 3
    assert torch.equal(rounds[-1].policy.logits, prior.logits)


@pytest.mark.parametrize("method", [reinforce, grpo, cem, raft])
def test_what_succeeds_becomes_likelier(method: ModuleType) -> None:
    prior = Table(torch.zeros(8))
    *_, last = method.run(method.Config(batch=64, lr=3e-3), prior, Rewards(3, 10, 64), Streams(0))
    assert of(last.policy)[3] > 0.3
    assert of(prior)[3] == pytest.approx(1 / 8)


def test_cem_gives_the_elite_the_share_of_its_smoothing() -> None:
    """Uniform over four codes, η = 300 · 1e-3 = 0.3 in one pass: 0.7 · ¼ + 0.3 for the elite, 0.7 · ¼ for others."""
    config = cem.Config(batch=64, lr=1e-3, epochs=1)
    (only,) = cem.run(config, Table(torch.zeros(4)), Rewards(2, 1, 64), Streams(0))
    assert of(only.policy) == pytest.approx([0.175, 0.175, 0.475, 0.175], abs=1e-6)


def test_raft_keeps_one_success_of_each_group_that_has_any() -> None:
    """Groups of three: two successes, of which one is drawn; none; one alone."""
    reward = torch.tensor([False, True, True, False, False, False, True])
    draws = [raft.best_of_groups(reward, 3, generator(seed)).tolist() for seed in range(200)]
    assert all(len(places) == 2 and places[1] == 6 for places in draws)
    first = [places[0] for places in draws]
    assert set(first) == {1, 2}
    assert abs(first.count(1) - 100) < 5 * math.sqrt(200) / 2
    assert raft.best_of_groups(torch.zeros(5, dtype=torch.bool), 3, generator()).tolist() == []
