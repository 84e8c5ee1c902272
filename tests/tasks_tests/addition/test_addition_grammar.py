"""Questions, answers and tables against Python's own strings, integers and bits."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from tasks.addition.grammar import STOP, SYMBOLS, Grammar
from tasks.addition.pretrain import pack, unpack
from tasks.common.training import Schedule

GRAMMAR = Grammar(digits=3)
OPERANDS = [f"{value:0{digits}d}" for digits in (1, 2, 3) for value in range(10**digits)]


def encode(text: str) -> list[int]:
    return [SYMBOLS.index(symbol) for symbol in text]


def test_there_are_as_many_questions_as_pairs_of_operands() -> None:
    assert len(OPERANDS) == GRAMMAR.operands == 1110
    assert GRAMMAR.questions == 1_232_100


@pytest.mark.slow
def test_all_indices_are_written_and_read_back() -> None:
    """Index i is the pair (i // 1110, i % 1110) of operands; sums and leading zeros by Python."""
    value = np.array([int(text) for text in OPERANDS])
    zero = np.array([len(text) > 1 and text[0] == "0" for text in OPERANDS])
    index = torch.arange(GRAMMAR.questions)
    read = [GRAMMAR.read(GRAMMAR.write(part)) for part in torch.split(index, 200_000)]
    found, total, leading = (torch.cat(column) for column in zip(*read, strict=True))
    assert torch.equal(found, index)
    assert (total.numpy() == (value[:, None] + value[None, :]).ravel()).all()
    assert (leading.numpy() == (zero[:, None] | zero[None, :]).ravel()).all()
    assert int((~leading).sum()) == 1_000_000


@given(st.lists(st.integers(0, GRAMMAR.questions - 1), min_size=1, max_size=50))
@example([0, 9, 10, 109, 110, 1109, 1110, GRAMMAR.questions - 1])
def test_questions_are_the_strings_of_their_operands(indices: list[int]) -> None:
    expected = [f"{OPERANDS[i // 1110]}+{OPERANDS[i % 1110]}=" for i in indices]
    x = GRAMMAR.write(torch.tensor(indices))
    assert (x.dtype, x.shape) == (torch.int64, (len(indices), 8))
    assert GRAMMAR.text(x) == expected
    assert x.tolist() == [encode(text.ljust(8, "=")) for text in expected]


@given(st.integers(0, GRAMMAR.questions - 1))
def test_answers_are_pythons(index: int) -> None:
    a, b = int(OPERANDS[index // 1110]), int(OPERANDS[index % 1110])
    x = GRAMMAR.write(torch.tensor([index]))
    full, where = GRAMMAR.with_answer(x, GRAMMAR.read(x)[1])
    question, answer = GRAMMAR.text(x)[0], str(a + b)
    expected = [*encode(question), *encode(answer)]
    assert full[0].tolist() == expected + [STOP] * (13 - len(expected))
    # the answer and its stop symbol are what the target is trained on and asked for
    start = len(question)
    assert where[0].tolist() == [start <= i <= start + len(answer) for i in range(13)]


@given(st.lists(st.text(SYMBOLS, min_size=8, max_size=8), min_size=1, max_size=20))
@example(
    [
        "1+1=====",
        "12+034==",
        "1+1=1===",
        "+1======",
        "1+======",
        "========",
        "1+1+1===",
        "1234+1==",
        "1+1234==",
        "11111111",
    ]
)
@example(["123+456=", "12345678", "1+2=+===", "1+2+====", "1==+1===", "00+000==", "0+0====="])
def test_what_is_no_question_is_not_read(strings: list[str]) -> None:
    """Against a regular expression over all eight symbols."""
    pattern = re.compile(r"(\d{1,3})\+(\d{1,3})=+")
    index, total, zero = GRAMMAR.read(torch.tensor([encode(text) for text in strings]))
    for text, i, t, z in zip(strings, index.tolist(), total.tolist(), zero.tolist(), strict=True):
        match = pattern.fullmatch(text)
        if match is None:
            assert (i, z) == (-1, False)
        else:
            a, b = match.groups()
            assert i == OPERANDS.index(a) * 1110 + OPERANDS.index(b)
            assert t == int(a) + int(b)
            assert z == any(len(s) > 1 and s[0] == "0" for s in (a, b))


def test_reading_no_strings_reads_nothing() -> None:
    assert [len(column) for column in GRAMMAR.read(torch.zeros(0, 8, dtype=torch.long))] == [0, 0, 0]


def test_training_questions_have_no_leading_zeros_and_lengths_at_random() -> None:
    x = GRAMMAR.plain_questions(9000, torch.Generator().manual_seed(0))
    index, _, zero = GRAMMAR.read(x)
    assert bool((index >= 0).all())
    assert not zero.any()
    lengths = [tuple(len(side) for side in text[:-1].split("+")) for text in GRAMMAR.text(x)]
    counts = [lengths.count(pair) for pair in itertools.product((1, 2, 3), repeat=2)]
    assert sum(counts) == 9000
    assert stats.chisquare(counts).pvalue > 1e-3
    short = [int(text[0]) for text, pair in zip(GRAMMAR.text(x), lengths, strict=True) if pair[0] == 1]
    assert stats.chisquare(np.bincount(short, minlength=10)).pvalue > 1e-3  # 0 among them


@given(st.lists(st.booleans(), max_size=40))
def test_packing_is_numpys(bits: list[bool]) -> None:
    vector = torch.tensor(bits, dtype=torch.bool)
    packed = pack(vector)
    assert packed.tolist() == np.packbits(np.array(bits, dtype=bool), bitorder="little").tolist()
    assert torch.equal(unpack(packed, len(bits)), vector)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.01), (49, 0.5), (99, 1.0), (100, 1.0), (550, 0.505), (1000, 0.01)],
)
def test_the_learning_rate_warms_up_and_falls_as_a_cosine(step: int, expected: float) -> None:
    """100 steps up, then 0.01 + 0.99 · (1 + cos π t) / 2 with t from 0 to 1 over the other 900."""
    assert Schedule(1000).factor(step) == pytest.approx(expected)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.01), (99, 1.0), (600, 1.0), (750, 0.505), (900, 0.01)])
def test_the_learning_rate_may_stay_until_the_last_third(step: int, expected: float) -> None:
    """Flat up to step 600 of 900, then 0.01 + 0.99 · (900 − step) / 300."""
    assert Schedule(900, decay="last-third").factor(step) == pytest.approx(expected)
