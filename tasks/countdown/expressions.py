"""Expressions over given numbers, in postfix notation: their values, their text, and all that have a given value.

An expression over n numbers is its shape (which symbols of its postfix notation are numbers, which operators), its
numbers in order and its n − 1 operators in order. Values are float64, exact for integers up to 2^53; an expression
that divides by zero or leaves a remainder has the value nan, and so has every expression that contains it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

OPERATORS = "+-*/"

T = TypeVar("T")
Shape = tuple[bool, ...]
"""True for a number, False for an operator, of each symbol of a postfix notation."""


def shapes(n: int) -> list[Shape]:
    """The postfix notations over n numbers in order: as many as there are full binary trees with n leaves."""
    found = []
    for places in itertools.combinations(range(2 * n - 1), n):
        shape = tuple(place in places for place in range(2 * n - 1))
        depths = itertools.accumulate(1 if number else -1 for number in shape)
        if min(depths) >= 1:  # an operator takes two values and leaves one
            found.append(shape)
    return found


def fold(shape: Shape, numbers: Sequence[T], operators: Sequence[T], apply: Callable[[T, T, T], T]) -> T:
    """Evaluate a postfix notation on a stack: `apply(operator, left, right)` at every operator."""
    stack: list[T] = []
    number, operator = iter(numbers), iter(operators)
    for is_number in shape:
        if is_number:
            stack.append(next(number))
        else:
            right, left = stack.pop(), stack.pop()
            stack.append(apply(next(operator), left, right))
    return stack.pop()


def calculate(operator: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """left ∘ right, float64, where `operator` indexes `OPERATORS`; the three are broadcast."""
    quotient = torch.where(right != 0, left / right, torch.nan)
    quotient = torch.where(quotient == quotient.floor(), quotient, torch.nan)
    value = torch.where(operator == 0, left + right, left - right)
    value = torch.where(operator == 2, left * right, value)
    return torch.where(operator == 3, quotient, value)


def values(shape: Tensor, numbers: Tensor, operators: Tensor) -> Tensor:
    """Values, float64 (B,), of expressions.

    Args:
        shape: index into `shapes(n)`, int64 (B,).
        numbers: in order, (B, n).
        operators: in order, index into `OPERATORS`, int64 (B, n - 1).
    """
    out = torch.full((len(shape),), torch.nan, dtype=torch.float64)
    every = shapes(numbers.shape[1])
    for s in torch.unique(shape).tolist():
        rows = shape == s
        out[rows] = fold(every[s], numbers[rows].double().T.unbind(), operators[rows].T.unbind(), calculate)
    return out


def with_value(target: float, orders: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All expressions of a value: (shape (S,), row of `orders` (S,), operators (S, n - 1)), int64.

    Args:
        orders: the orders that the numbers may stand in, (P, n).
    """
    n = orders.shape[1]
    axes = [1] * (n - 1)
    numbers = [column.double().view(-1, *axes) for column in orders.T]
    operators = [torch.arange(4).view(1, *axes[:k], 4, *axes[k + 1 :]) for k in range(n - 1)]
    found = []
    for s, shape in enumerate(shapes(n)):
        at = (fold(shape, numbers, operators, calculate) == target).nonzero()  # (S, 1 + n - 1)
        found.append(torch.cat([torch.full_like(at[:, :1], s), at], dim=1))
    every = torch.cat(found)
    return every[:, 0], every[:, 1], every[:, 2:]


def infix(shape: Shape, numbers: Sequence[int], operators: Sequence[int]) -> str:
    """An expression in infix notation, with all brackets but the outermost."""
    signs = [OPERATORS[operator] for operator in operators]
    text = fold(shape, [str(number) for number in numbers], signs, lambda sign, a, b: f"({a} {sign} {b})")
    return text[1:-1] if len(numbers) > 1 else text
