"""Templated word problems with step-by-step solutions: their words, their symbols, and the number they end on.

A question: `tom has 4 bags of 12 pens and buys 9 more . how many pens ?`; its solution: `4*12=48 ; 48+9=57 # 57`.
Words are one symbol each, numbers one symbol for each digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.common.training import generator

NAMES = ("tom", "ann", "joe", "mia", "sam", "eva")
THINGS = ("pens", "eggs", "nuts", "cups", "hats", "keys")


@dataclass(frozen=True)
class Template:
    """A text with the names {n}, {m}, things {t}, {u} and numbers {a}, {b}, {c}, and the steps of its solution."""

    text: str
    steps: Callable[[int, int, int], tuple[str, ...]]


def product_plus(a: int, b: int, c: int) -> tuple[str, ...]:
    return f"{a}*{b}={a * b}", f"{a * b}+{c}={a * b + c}"


def product_minus(a: int, b: int, c: int) -> tuple[str, ...]:
    return f"{a}*{b}={a * b}", f"{a * b}-{c}={a * b - c}"


def sum_times(a: int, b: int, c: int) -> tuple[str, ...]:
    return f"{a}+{c}={a + c}", f"{a + c}*{b}={(a + c) * b}"


def times_and_both(a: int, b: int, c: int) -> tuple[str, ...]:
    return f"{a}*{b}={a * b}", f"{a}+{a * b}={a + a * b}", f"{a + a * b}+{c}={a + a * b + c}"


TEMPLATES = (
    Template("{n} has {a} bags of {b} {t} and buys {c} more . how many {t} ?", product_plus),
    Template("{n} buys {a} {t} for {b} coins each and a bag for {c} coins . how many coins ?", product_plus),
    Template("{n} has {a} boxes of {b} {t} and gives {c} to {m} . how many {t} are left ?", product_minus),
    Template("{n} fills {a} boxes with {b} {t} each , {c} of the {t} break . how many are left ?", product_minus),
    Template("each day {n} finds {a} {t} and {c} {u} . how many in {b} days ?", sum_times),
    Template("{n} has {a} {t} , {m} has {b} times as many and {c} {u} . how many in all ?", times_and_both),
)

SIGNS = (*"0123456789", "+", "-", "*", "=", ";", "#")
WORDS = tuple(sorted({word for each in TEMPLATES for word in each.text.split() if "{" not in word} | {*NAMES, *THINGS}))
SYMBOLS = (*SIGNS, "/", *WORDS)
END = SYMBOLS.index("/")
"""Ends a solution."""
_PIECES = re.compile(r"\d|[a-z]+|\S")


@dataclass(frozen=True)
class Problem:
    """One question, the solution that a network is trained on, and the number that counts."""

    question: str
    solution: str
    answer: int


def problem(rng: torch.Generator, hard: bool) -> Problem:
    """A random problem; hard ones have larger numbers, as the hard variant of GSM8K does."""

    def one(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=rng))

    template = TEMPLATES[one(0, len(TEMPLATES) - 1)]
    n, m = (NAMES[i] for i in torch.randperm(len(NAMES), generator=rng)[:2].tolist())
    t, u = (THINGS[i] for i in torch.randperm(len(THINGS), generator=rng)[:2].tolist())
    low, high = (13, 60) if hard else (2, 20)
    a, b = one(low, high), one(low, high)
    c = one(20, 99) if hard else one(2, 40)
    if template.steps is product_minus:
        c = min(c, a * b)
    steps = template.steps(a, b, c)
    answer = int(steps[-1].rpartition("=")[2])
    return Problem(template.text.format(n=n, m=m, t=t, u=u, a=a, b=b, c=c), f"{' ; '.join(steps)} # {answer}", answer)


def hard_problem(pool: str, index: int) -> Problem:
    """Problem `index` of a pool of hard problems, `reported` or `tune`."""
    return problem(generator(10_000_000 * (1 + ("reported", "tune").index(pool)) + index), hard=True)


def encode(text: str) -> list[int]:
    """Symbols of a question or solution; spaces are not symbols."""
    return [SYMBOLS.index(piece) for piece in _PIECES.findall(text)]


def decode(x: Tensor) -> list[str]:
    """Solutions (B, T) as text, each up to its end."""
    shown = []
    for row in x.tolist():
        pieces = [SYMBOLS[i] for i in (row[: row.index(END)] if END in row else row)]
        text = " ".join(pieces)
        shown.append(re.sub(r"(?<=[\d+*=-]) (?=[\d+*=-])", "", text))
    return shown


def last_numbers(x: Tensor) -> Tensor:
    """The last number of each solution, int64 (B,), x int64 (B, T); -1 where there is none or it never ends.

    A number is a longest run of digits; one of more than 9 digits is none.
    """
    ends = x == END
    stop = torch.where(ends.any(dim=1), ends.long().argmax(dim=1), 0)
    steps = torch.arange(x.shape[1], device=x.device)
    digit = (x < 10) & (steps < stop[:, None])  # (B, T)
    last = torch.where(digit, steps, -1).amax(dim=1)  # (B,)
    # the run that ends at `last`: no non-digit between a place and it
    gaps = (~digit & (steps <= last[:, None])).flip(1).cumsum(dim=1).flip(1)
    run = digit & (gaps == 0)
    place = (last[:, None] - steps).clamp(min=0, max=9)
    value = (x * 10**place * run).sum(dim=1)
    return torch.where((last >= 0) & (run.sum(dim=1) <= 9), value, -1)
