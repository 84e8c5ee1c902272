"""Countdown: values by hand and by Python's own arithmetic, all expressions of a value by brute force."""

from __future__ import annotations

import ast
import itertools
import math
import operator
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from suite.cli import main
from tasks.countdown.expressions import Shape, infix, shapes, values, with_value
from tasks.countdown.task import SHAPES, Config, Countdown, CountdownTune, TuneConfig

LEFT: Shape = (True, True, False, True, False)
"""(a ∘ b) ∘ c."""
RIGHT: Shape = (True, True, True, False, False)
"""a ∘ (b ∘ c)."""


def by_python(text: str) -> Fraction | None:
    """An expression's value as Python parses it, in fractions; None where a part is none or no integer."""
    rule = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}

    def work(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            value: Fraction = rule[type(node.op)](work(node.left), work(node.right))
            if value.denominator != 1:
                raise ZeroDivisionError
            return value
        assert isinstance(node, ast.Constant)
        return Fraction(int(str(node.value)))

    try:
        return work(ast.parse(text, mode="eval").body)
    except ZeroDivisionError:
        return None


def test_as_many_shapes_as_binary_trees() -> None:
    """Catalan numbers, OEIS A000108."""
    assert [len(shapes(n)) for n in (1, 2, 3, 4, 5, 6)] == [1, 1, 2, 5, 14, 42]
    assert set(shapes(3)) == {LEFT, RIGHT}


def test_values_by_hand() -> None:
    """(7 − 3) · 2 = 8, 7 − 3 · 2 = 1, 7 / 3 leaves a remainder, 6 / (3 − 3) divides by zero, 6 / (1 − 3) = −3,
    (4 − 4) / 5 = 0."""
    index = {shape: i for i, shape in enumerate(shapes(3))}
    plus, minus, times, over = range(4)
    cases = [
        (LEFT, (7, 3, 2), (minus, times), 8.0),
        (RIGHT, (7, 3, 2), (times, minus), 1.0),
        (LEFT, (7, 3, 2), (over, plus), None),
        (RIGHT, (6, 3, 3), (minus, over), None),
        (RIGHT, (6, 1, 3), (minus, over), -3.0),
        (LEFT, (4, 4, 5), (minus, over), 0.0),
    ]
    got = values(
        torch.tensor([index[shape] for shape, *_ in cases]),
        torch.tensor([numbers for _, numbers, *_ in cases]),
        torch.tensor([operators for *_, operators, _ in cases]),
    ).tolist()
    assert [None if math.isnan(value) else value for value in got] == [expected for *_, expected in cases]
    assert infix(LEFT, (7, 3, 2), (minus, times)) == "(7 - 3) * 2"
    assert infix(RIGHT, (7, 3, 2), (times, minus)) == "7 - (3 * 2)"


def test_values_are_those_of_exact_arithmetic() -> None:
    """500 uniform expressions, evaluated from their text with fractions."""
    task = Countdown(Config())
    x = task.prior().uniform().sample(500, torch.Generator().manual_seed(0))
    expected = []
    for text in task.show(x):
        value = by_python(text.partition(" = ")[0])
        expected.append(math.nan if value is None else float(value))
        assert text.endswith(" = ?" if value is None else f" = {value}")
    assert task.values(x).tolist() == pytest.approx(expected, nan_ok=True)
    assert 50 < sum(map(math.isnan, expected)) < 450


def test_all_expressions_of_a_value_by_brute_force() -> None:
    """Over 2 3 4 in their six orders: 6 · 2 · 16 expressions, those that Python says are 10."""
    orders = torch.tensor(list(itertools.permutations((2, 3, 4))))
    expected = {
        (s, order, operators)
        for s, shape in enumerate(shapes(3))
        for order in range(6)
        for operators in itertools.product(range(4), repeat=2)
        if by_python(infix(shape, orders[order].tolist(), operators)) == 10
    }
    shape, order, operators = with_value(10, orders)
    found = zip(shape.tolist(), order.tolist(), map(tuple, operators.tolist()), strict=True)
    assert set(found) == expected
    assert len(shape) == len(expected) > 0  # 2 · 3 + 4 in its four ways and more


@pytest.mark.parametrize("task", [Countdown(Config()), CountdownTune(TuneConfig())], ids=["reported", "tune"])
def test_every_success_equals_the_target_and_multiplies_twice(task: Countdown) -> None:
    """One × gives at most the product of two sums, 10 · 11 = 110 < 120 of 1 to 6, and 11 · 11 = 121 < 140."""
    x = task.successes
    assert len(torch.unique(x, dim=0)) == len(x) > 1000
    assert task.verify(x).all()
    assert int((x[:, 6:11] == 2).sum(dim=1).min()) == 2
    sample = task.prior().tempered(5.0).sample(20_000, torch.Generator().manual_seed(1))
    hits = sample[task.verify(sample)]  # what is drawn and succeeds is among them
    assert len(hits) > 0
    assert {tuple(row) for row in hits.tolist()} <= {tuple(row) for row in x.tolist()}


def test_the_prior_by_hand() -> None:
    """1 + 2 + 3 + 4 + 5 + 6 from the left: 1/720 of the orders, 0.475^5 of the operators, 1/42 of the brackets; with
    two × in it 0.025² of the operators. Uniform: one of 30,965,760."""
    task = Countdown(Config())
    x = torch.zeros(2, 12, dtype=torch.long)
    x[1, 6:8] = 2
    log_p = task.prior().log_prob(x)
    assert log_p.exp().tolist() == pytest.approx([0.475**5 / 720 / 42, 0.025**2 * 0.475**3 / 720 / 42], rel=1e-5)
    assert task.prior().uniform().log_prob(x).exp().tolist() == pytest.approx([1 / 30_965_760] * 2, rel=1e-5)
    assert task.space == 30_965_760
    x[:, -1] = SHAPES.index((True, True, False) + (True, False) * 4)
    assert task.show(x) == ["((((1 + 2) + 3) + 4) + 5) + 6 = 21", "((((1 * 2) * 3) + 4) + 5) + 6 = 21"]


def test_no_fit_and_no_temperature_makes_what_is_no_expression() -> None:
    task, rng = Countdown(Config()), torch.Generator().manual_seed(0)
    policy = task.prior()
    policy.fit(policy.sample(50, rng), generator=rng, epochs=50, lr=1.0)
    for drawn in (policy, policy.tempered(50.0), policy.uniform()):
        assert task.valid(drawn.sample(2000, rng)).all()
    x = torch.zeros(1, 12, dtype=torch.long)
    x[0, 5] = 1  # of one number left there is no second
    assert not task.valid(x).any()
    assert not task.verify(x).any()


@pytest.mark.parametrize("numbers", ["(1,2,3)", "(0,1,2,3,4,5)", "(1,2,3,4,5,101)"])
def test_other_than_six_numbers_up_to_100_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], numbers: str
) -> None:
    arguments = ["run", "--task", "countdown-v1", "--baseline", "pretrained", "--results", str(tmp_path)]
    assert main([*arguments, "--task.numbers", numbers]) == 2
    assert "numbers must be 6 from 1 to 100" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
