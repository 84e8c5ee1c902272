"""Addition questions as symbols: writing, reading, enumerating and answering them.

A question is two operands of 1 to 3 digits, `12+034=`; leading zeros are well formed. There are
(10 + 100 + 1000)^2 = 1,232,100 of them, 1,000,000 without leading zeros (0 to 999 twice).
"""

from __future__ import annotations

import torch
from torch import Tensor

SYMBOLS = "0123456789+="
PLUS, EQUALS = SYMBOLS.index("+"), SYMBOLS.index("=")
STOP = len(SYMBOLS)
"""Ends an answer; known to the target, not to the attacker."""

DIGITS = 3
"""Most digits of an operand."""
OPERANDS = sum(10**d for d in range(1, DIGITS + 1))
QUESTIONS = OPERANDS**2
PLAIN_QUESTIONS = 10 ** (2 * DIGITS)
"""Those without leading zeros."""
QUESTION_LENGTH = 2 * DIGITS + 2
ANSWER_LENGTH = DIGITS + 2
"""Digits of the longest sum and the stop symbol."""


def operand(index: Tensor) -> tuple[Tensor, Tensor]:
    """(value, digits) of operands by index: `0`..`9`, `00`..`99`, `000`..`999`, all int64 (B,)."""
    digits = torch.ones_like(index)
    value = index.clone()
    for d in range(1, DIGITS):
        longer = value >= 10**d
        digits = torch.where(longer & (digits == d), d + 1, digits)
        value = torch.where(longer & (digits == d + 1), value - 10**d, value)
    return value, digits


def write(index: Tensor) -> Tensor:
    """The questions of the given indices in 0 .. QUESTIONS - 1, int64 (B,), as symbols, int64 (B, 8)."""
    (a, a_digits), (b, b_digits) = operand(index // OPERANDS), operand(index % OPERANDS)
    x = index.new_full((len(index), QUESTION_LENGTH), EQUALS)
    for value, digits, start in ((a, a_digits, torch.zeros_like(a)), (b, b_digits, a_digits + 1)):
        for place in range(DIGITS):  # place 0 is the most significant digit
            rows = place < digits
            power = 10 ** (digits - 1 - place).clamp(min=0)
            x[rows, (start + place)[rows]] = ((value // power) % 10)[rows]
    x[torch.arange(len(x)), a_digits] = PLUS
    return x


def read(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Parse symbols, int64 (B, 8).

    Returns:
        index: the question's index, int64 (B,), -1 where x is no well-formed question.
        total: the sum of the operands, int64 (B,); meaningless where index is -1.
        leading_zero: True (B,) where an operand of more than one digit starts with 0.
    """
    steps = torch.arange(x.shape[1], device=x.device)
    is_plus, is_equals = x == PLUS, x == EQUALS
    end = torch.where(is_equals.any(dim=1), is_equals.long().argmax(dim=1), x.shape[1])
    plus = torch.where(is_plus.any(dim=1), is_plus.long().argmax(dim=1), x.shape[1])
    before_end = steps < end[:, None]
    well_formed = (
        is_equals.any(dim=1)
        & ((is_plus & before_end).sum(dim=1) == 1)
        & (is_equals | before_end).all(dim=1)  # nothing but padding after the end
        & (plus >= 1)
        & (plus <= DIGITS)
        & (end - plus - 1 >= 1)
        & (end - plus - 1 <= DIGITS)
    )
    values = []
    indices = []
    leading_zero = torch.zeros_like(well_formed)
    for start, stop in ((torch.zeros_like(plus), plus), (plus + 1, end)):
        inside = (steps >= start[:, None]) & (steps < stop[:, None])  # (B, T)
        power = 10 ** (stop[:, None] - 1 - steps).clamp(min=0, max=DIGITS)
        value = (x * power * inside).sum(dim=1)
        digits = (stop - start).clamp(min=1, max=DIGITS)
        offset = (10**digits - 10) // 9  # 0, 10, 110: the shorter operands come first
        values.append(value)
        indices.append(offset + value)
        first = x.gather(1, start.clamp(max=x.shape[1] - 1)[:, None]).squeeze(1)
        leading_zero |= (first == 0) & (digits > 1)
    index = torch.where(well_formed, indices[0] * OPERANDS + indices[1], -1)
    return index, values[0] + values[1], leading_zero & well_formed


def with_answer(x: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Questions x (B, 8) followed by their sums: symbols (B, 13) and True (B, 13) where the answer stands."""
    rows = torch.arange(len(x), device=x.device)
    full = x.new_full((len(x), QUESTION_LENGTH + ANSWER_LENGTH), STOP)
    full[:, :QUESTION_LENGTH] = x
    start = (x == EQUALS).long().argmax(dim=1) + 1  # (B,)
    full = torch.where(torch.arange(full.shape[1], device=x.device) >= start[:, None], STOP, full)
    digits = 1 + sum((total >= 10**d).long() for d in range(1, DIGITS + 1))
    for place in range(DIGITS + 1):
        held = place < digits
        power = 10 ** (digits - 1 - place).clamp(min=0)
        full[rows[held], (start + place)[held]] = ((total // power) % 10)[held]
    steps = torch.arange(full.shape[1], device=x.device)
    answer = (steps >= start[:, None]) & (steps <= (start + digits)[:, None])
    return full, answer


def text(x: Tensor) -> list[str]:
    """Symbols (B, T) as strings, each cut after its first `=`."""
    strings = ("".join(SYMBOLS[int(s)] for s in row) for row in x.tolist())
    return [s[: s.index("=") + 1] if "=" in s else s for s in strings]


def plain_questions(n: int, generator: torch.Generator) -> Tensor:
    """Training questions, int64 (n, 8): lengths uniform on 1..3 for each operand, no leading zeros."""
    sides = []
    for _ in range(2):
        digits = torch.randint(1, DIGITS + 1, (n,), generator=generator)
        low = torch.where(digits == 1, 0, 10 ** (digits - 1))
        u = torch.rand(n, dtype=torch.float64, generator=generator)
        value = low + (u * (10**digits - low)).long()
        sides.append((10**digits - 10) // 9 + value)
    return write(sides[0] * OPERANDS + sides[1])
