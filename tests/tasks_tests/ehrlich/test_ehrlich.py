"""Ehrlich functions: values by hand and of `pytorch-holo`, exact rates by brute force, instances that can be solved."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from suite.cli import main
from suite.generators import Factored, Markov
from tasks.ehrlich.function import FOUND, EhrlichFunction, advance, mask
from tasks.ehrlich.task import Config, Ehrlich, draw

HOLO = json.loads((Path(__file__).parent / "data" / "ehrlich_holo.json").read_text())
"""Written by data/make_ehrlich_holo.py, which says how."""


def small(quantization: int = 2) -> EhrlichFunction:
    """Three symbols, 1 may not be followed by 0; motifs 0 · 1, one place between them, and 2 2."""
    feasible = torch.ones(3, 3, dtype=torch.bool)
    feasible[1, 0] = False
    return EhrlichFunction(feasible, torch.tensor([[0, 1], [2, 2]]), torch.tensor([[0, 2], [0, 1]]), quantization)


def chain(length: int, symbols: int, seed: int) -> Markov:
    return Markov(torch.randn(length, symbols, symbols, generator=torch.Generator().manual_seed(seed)))


def every(symbols: int, length: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(symbols), repeat=length)))


def test_values_by_hand() -> None:
    """0 2 1 2 2 holds both motifs. Of 0 2 2 0 1 the best place has one symbol of 0 · 1, but 2 2 is there: 1/2 · 1.
    1 1 1 1 1 has one symbol of the first and none of the second: 1/2 · 0. 1 0 is forbidden."""
    x = torch.tensor([[0, 2, 1, 2, 2], [0, 2, 2, 0, 1], [1, 1, 1, 1, 1], [1, 0, 1, 2, 2]])
    assert small().value(x).tolist() == [1.0, 0.5, 0.0, -math.inf]
    assert small().quality(x).tolist() == [[1.0, 1.0], [0.5, 1.0], [0.5, 0.0], [0.5, 1.0]]


def test_quantization_rounds_down() -> None:
    """With one level of two symbols, half a motif is worth nothing."""
    x = torch.tensor([[0, 2, 1, 2, 2], [0, 2, 2, 0, 1]])
    assert small(quantization=1).value(x).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("case", HOLO, ids=lambda case: str(case["arguments"]["random_seed"]))
def test_values_of_pytorch_holo(case: dict[str, Any]) -> None:
    """The functions of the paper's authors, at the values that pytorch-holo 0.0.5 gives; infeasible is null there."""
    spacings = torch.tensor(case["spacings"])
    function = EhrlichFunction(
        torch.tensor(case["feasible"]),
        torch.tensor(case["motifs"]),
        torch.cat([torch.zeros_like(spacings[:, :1]), spacings.cumsum(dim=1)], dim=1),
        case["arguments"]["quantization"],
    )
    expected = [-math.inf if value is None else value for value in case["values"]]
    assert function.value(torch.tensor(case["sequences"])).tolist() == pytest.approx(expected, rel=1e-6)  # float32
    assert len(set(case["values"])) >= 3  # a function that is constant would show nothing


@pytest.mark.parametrize("length", [2, 5, 7])
def test_the_automaton_finds_what_the_function_does(length: int) -> None:
    """All strings of three symbols, one by one: the rate of a chain that writes a single string is 1 or 0."""
    function, strings = small(), every(3, length)
    if length == 2:  # too short for the first motif
        assert function.automaton.success_rate(chain(2, 3, 0).transitions()) == 0
        return
    policy = chain(length, 3, seed=length)
    expected = policy.log_prob(strings).exp()[function.quality(strings).prod(dim=1) == 1].sum()
    assert function.automaton.success_rate(policy.transitions()) == pytest.approx(float(expected), rel=1e-12)
    assert 0 < float(expected) < 1


def test_beginnings_by_hand() -> None:
    """Motif 0 · 1: a 0 agrees as its beginning and as its gap, a 1 as its gap and as its end; 0 2 1 completes it."""
    assert [mask([0, 1], [0, 2], symbol) for symbol in (0, 1, 2)] == [0b011, 0b110, 0b010]
    bits = 0
    for symbol, expected in ((0, 0b001), (2, 0b010), (1, FOUND), (2, FOUND)):
        bits = advance(bits, mask([0, 1], [0, 2], symbol), end=0b100)
        assert bits == expected


@pytest.mark.parametrize("temperature", [None, 2.5, math.inf])
def test_the_exact_rate_is_the_sum_over_all_sequences(temperature: float | None) -> None:
    """A task small enough for brute force: 3^7 sequences, of which the feasible ones with both motifs succeed."""
    task = Ehrlich(Config(vocab=3, length=7, motifs=2, motif_length=2, span=3, rare=2))
    sequences, prior = every(3, 7), task.prior()
    policy = {None: prior, math.inf: prior.uniform()}.get(temperature) or prior.tempered(temperature or 1.0)
    expected = policy.log_prob(sequences[task.verify(sequences)]).exp().sum()
    assert task.exact(policy) == pytest.approx(float(expected), rel=1e-12)
    assert float(expected) > 0
    assert task.space == int(task.valid(sequences).sum())


def test_the_space_by_hand() -> None:
    """Of five symbols one in five, one, may not follow each: five beginnings, then four ways to go on, 31 times."""
    assert Ehrlich(Config()).space == 5 * 4**31


def test_other_policies_are_not_summed() -> None:
    assert Ehrlich(Config()).exact(Factored(torch.zeros(32, 5))) is None


@pytest.mark.parametrize("config", [Config(), Config(vocab=10, length=24, motifs=3, motif_length=4, span=8, rare=4)])
def test_every_instance_can_be_solved(config: Config) -> None:
    """Fifty instances: motif after motif with repeated symbols in the gaps is feasible and has the value 1."""
    for secret in range(50):
        rare, function = draw(config, torch.Generator().manual_seed(secret))
        solution: list[int] = []
        for motif, offset in zip(function.motifs.tolist(), function.offsets.tolist(), strict=True):
            solution += [motif[sum(start <= place for start in offset) - 1] for place in range(offset[-1] + 1)]
        solution += solution[-1:] * (config.length - len(solution))
        assert function.value(torch.tensor([solution])).tolist() == [1.0]
        assert set(function.motifs.flatten().tolist()) <= set(rare.tolist())
        forbidden = (~function.feasible).sum(dim=1)
        assert 0 < int(forbidden.sum()) <= config.vocab * round(0.2 * config.vocab)


def test_the_prior_is_feasible_and_poor_in_rare_symbols() -> None:
    """5 symbols, of them 2 with weight 0.4: after any symbol each of those has 0.4 / the weight of what is feasible."""
    task = Ehrlich(Config())
    p = task.prior().transitions()
    assert p[0, 0].tolist() == pytest.approx([0.4 / 3.8 if v in task.rare else 1 / 3.8 for v in range(5)])
    for u in range(5):
        weight = [float(task.function.feasible[u, v]) * (0.4 if v in task.rare else 1) for v in range(5)]
        assert p[7, u].tolist() == pytest.approx([w / sum(weight) for w in weight])


def test_no_fit_and_no_temperature_makes_what_is_infeasible() -> None:
    task, rng = Ehrlich(Config()), torch.Generator().manual_seed(0)
    policy = task.prior()
    policy.fit(policy.sample(50, rng), generator=rng, epochs=50, lr=1.0)
    for drawn in (policy, policy.tempered(50.0), policy.uniform()):
        assert task.valid(drawn.sample(2000, rng)).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task.rare", "5"], "rare must be below vocab 5, got 5"),
        (["--task.motif_length", "8", "--task.span", "4"], "span must be at least motif_length 8, got 4"),
        (["--task.motifs", "8"], "8 motifs of span 8 need a length of at least 64, got 32"),
        (["--task.vocab", "40"], "vocab"),
    ],
)
def test_instances_that_cannot_be_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    arguments = ["run", "--task", "ehrlich-v1", "--baseline", "pretrained", "--results", str(tmp_path)]
    assert main([*arguments, *options]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
