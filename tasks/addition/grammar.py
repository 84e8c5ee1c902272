"""Addition questions as symbols: writing, reading, numbering and answering them.

A question is two operands of 1 to `digits` digits, `12+034=`; leading zeros are well formed. With 3 digits there are
(10 + 100 + 1000)^2 = 1,232,100 of them, 1,000,000 without leading zeros (0 to 999 twice).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

SYMBOLS = "0123456789+="
PLUS, EQUALS = SYMBOLS.index("+"), SYMBOLS.index("=")
STOP = len(SYMBOLS)
"""Ends an answer; known to the target, not to the attacker."""

Spread = Literal["lengths", "values"]
"""What training operands are uniform in: their number of digits, then the value; or the value alone."""


@dataclass(frozen=True)
class Grammar:
    """The questions whose operands have at most `digits` digits.

    Attributes:
        digits: most digits of an operand; up to 8, so that the number of a question fits 63 bits.
    """

    digits: int

    @property
    def operands(self) -> int:
        """Strings that an operand may be: 10 + 100 + ..., leading zeros with them."""
        return sum(10**d for d in range(1, self.digits + 1))

    @property
    def questions(self) -> int:
        return self.operands**2

    @property
    def questions_without_zeros(self) -> int:
        """Those without leading zeros."""
        return int(10 ** (2 * self.digits))

    @property
    def question_length(self) -> int:
        return 2 * self.digits + 2

    @property
    def answer_length(self) -> int:
        """Digits of the longest sum and the stop symbol."""
        return self.digits + 2

    def operand(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """(value, digits) of operands by index: `0`..`9`, `00`..`99`, `000` and so on, all int64 (B,)."""
        digits = torch.ones_like(index)
        value = index.clone()
        for d in range(1, self.digits):
            longer = value >= 10**d
            digits = torch.where(longer & (digits == d), d + 1, digits)
            value = torch.where(longer & (digits == d + 1), value - 10**d, value)
        return value, digits

    def write(self, index: Tensor) -> Tensor:
        """The questions of the given indices in 0 .. `questions` - 1, int64 (B,), as symbols, int64 (B, T)."""
        (a, a_digits), (b, b_digits) = self.operand(index // self.operands), self.operand(index % self.operands)
        x = index.new_full((len(index), self.question_length), EQUALS)
        for value, digits, start in ((a, a_digits, torch.zeros_like(a)), (b, b_digits, a_digits + 1)):
            for place in range(self.digits):  # place 0 is the most significant digit
                rows = place < digits
                power = 10 ** (digits - 1 - place).clamp(min=0)
                x[rows, (start + place)[rows]] = ((value // power) % 10)[rows]
        x[torch.arange(len(x)), a_digits] = PLUS
        return x

    def read(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parse symbols, int64 (B, T), T = `question_length`.

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
            & (plus <= self.digits)
            & (end - plus - 1 >= 1)
            & (end - plus - 1 <= self.digits)
        )
        values = []
        indices = []
        leading_zero = torch.zeros_like(well_formed)
        for start, stop in ((torch.zeros_like(plus), plus), (plus + 1, end)):
            inside = (steps >= start[:, None]) & (steps < stop[:, None])  # (B, T)
            power = 10 ** (stop[:, None] - 1 - steps).clamp(min=0, max=self.digits)
            value = (x * power * inside).sum(dim=1)
            digits = (stop - start).clamp(min=1, max=self.digits)
            values.append(value)
            indices.append(offset(digits) + value)
            first = x.gather(1, start.clamp(max=x.shape[1] - 1)[:, None]).squeeze(1)
            leading_zero |= (first == 0) & (digits > 1)
        index = torch.where(well_formed, indices[0] * self.operands + indices[1], -1)
        return index, values[0] + values[1], leading_zero & well_formed

    def with_answer(self, x: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Questions x (B, T) followed by their sums: symbols (B, A) and True (B, A) where the answer stands.

        A = `question_length` + `answer_length`.
        """
        rows = torch.arange(len(x), device=x.device)
        full = x.new_full((len(x), self.question_length + self.answer_length), STOP)
        full[:, : self.question_length] = x
        start = (x == EQUALS).long().argmax(dim=1) + 1  # (B,)
        full = torch.where(torch.arange(full.shape[1], device=x.device) >= start[:, None], STOP, full)
        digits = 1 + sum((total >= 10**d).long() for d in range(1, self.digits + 1))
        for place in range(self.digits + 1):
            held = place < digits
            power = 10 ** (digits - 1 - place).clamp(min=0)
            full[rows[held], (start + place)[held]] = ((total // power) % 10)[held]
        steps = torch.arange(full.shape[1], device=x.device)
        answer = (steps >= start[:, None]) & (steps <= (start + digits)[:, None])
        return full, answer

    def allowed(self, x: Tensor, leading_zeros: bool) -> Tensor:
        """True (B,) where x is a well-formed question; without leading zeros where they are not allowed."""
        index, _, leading_zero = self.read(x)
        return (index >= 0) if leading_zeros else (index >= 0) & ~leading_zero

    @staticmethod
    def text(x: Tensor) -> list[str]:
        """Symbols (B, T) as strings, each cut after its first `=`."""
        strings = ("".join(SYMBOLS[int(s)] for s in row) for row in x.tolist())
        return [s[: s.index("=") + 1] if "=" in s else s for s in strings]

    def plain_questions(self, n: int, generator: torch.Generator, spread: Spread = "lengths") -> Tensor:
        """Training questions, int64 (n, T), without leading zeros; see :data:`Spread`."""
        sides = []
        for _ in range(2):
            if spread == "lengths":
                digits = torch.randint(1, self.digits + 1, (n,), generator=generator)
                low = torch.where(digits == 1, 0, 10 ** (digits - 1))
                u = torch.rand(n, dtype=torch.float64, generator=generator)
                value = low + (u * (10**digits - low)).long()
            else:
                value = torch.randint(10**self.digits, (n,), generator=generator)
            sides.append(self.plain_operand(value))
        return self.write(sides[0] * self.operands + sides[1])

    def plain_operand(self, value: Tensor) -> Tensor:
        """Index of the operand with this value and no leading zero, int64 (B,)."""
        digits = 1 + sum((value >= 10**d).long() for d in range(1, self.digits))
        return offset(digits) + value


def offset(digits: Tensor) -> Tensor:
    """Operands with fewer digits, int64 (B,): 0, 10, 110; the shorter ones come first."""
    return (10**digits - 10) // 9
