"""Six digits: the grammar and proposal by Python's strings, the recipe end to end at a toy's size."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from scipy import stats

from suite import assets
from tasks import addition6_pretrain, addition_attack
from tasks.addition6 import Addition6, Addition6NoZeros
from tasks.addition6_pretrain import Draw
from tasks.addition_attacker import QuestionsByLength
from tasks.addition_grammar import SYMBOLS, Grammar

SIX = Grammar(digits=6)


def encoded(*questions: str) -> torch.Tensor:
    return torch.tensor([[SYMBOLS.index(s) for s in question.ljust(14, "=")] for question in questions])


def test_six_digit_questions_are_read_by_pythons_integers() -> None:
    questions = ["999999+999999=", "0+0=", "000001+9=", "123456+78=", "10+99999="]
    x = encoded(*questions)
    index, total, zero = SIX.read(x)
    assert torch.equal(SIX.write(index), x)
    assert total.tolist() == [eval(q[:-1].replace("000001", "1")) for q in questions]
    assert zero.tolist() == [False, False, True, False, False]
    assert (SIX.questions, SIX.question_length, SIX.answer_length) == (1_111_110**2, 14, 8)
    full, where = SIX.with_answer(x, total)
    answers = ["".join([*SYMBOLS, "."][s] for s in row[held].tolist()) for row, held in zip(full, where, strict=True)]
    assert answers == [f"{t}." for t in total.tolist()]


def test_training_operands_are_uniform_in_value() -> None:
    """Of 0 … 999,999 nine in ten have six digits: 81 % of pairs both; first digits of those uniform on 1 … 9."""
    x = SIX.plain_questions(5000, torch.Generator().manual_seed(0), "values")
    index, _, zero = SIX.read(x)
    assert bool((index >= 0).all() & ~zero.any())
    full = (x[:, 13] == SYMBOLS.index("=")) & (x[:, 6] == SYMBOLS.index("+")) & (x[:, 12] != SYMBOLS.index("="))
    assert stats.binomtest(int(full.sum()), 5000, 0.81).pvalue > 1e-3
    first = torch.bincount(x[full, 0], minlength=10)[1:10]
    assert stats.chisquare(first.numpy()).pvalue > 1e-3


def test_the_proposal_has_all_lengths_alike() -> None:
    proposal = QuestionsByLength(SIX)
    x = proposal.sample(6000, torch.Generator().manual_seed(0))
    texts = SIX.text(x)
    lengths = [len(text.partition("+")[0]) for text in texts]
    assert stats.chisquare([lengths.count(d) for d in range(1, 7)]).pvalue > 1e-3
    expected = [-2 * math.log(6) - (len(text) - 2) * math.log(10) for text in texts]
    assert proposal.log_prob(x).tolist() == pytest.approx(expected)
    assert proposal.log_prob(encoded("1+=")).tolist() == [-math.inf]


def test_the_tail_is_the_least_likely_hundredth() -> None:
    """300 questions, 3 in the tail with 2 of 6 successes: (2 / 3) / (6 / 300)."""
    rewards = torch.zeros(300, dtype=torch.bool)
    rewards[[0, 1, 100, 101, 102, 103]] = True
    found = Draw(torch.arange(300).double(), rewards, rewards).rate(rewards)
    assert (found["rate"], found["hits"]) == (0.02, 6)
    assert found["tail_enrichment"] == pytest.approx((2 / 3) / (6 / 300))


@pytest.mark.slow
def test_the_recipe_makes_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a toy's size: an untrained target errs nearly always, so the attacker is the last checkpoint."""
    small = dataclasses.replace(
        addition6_pretrain.RECIPE, target_steps=2, target_batch=4, attacker_steps=500, attacker_batch=8
    )
    monkeypatch.setitem(addition6_pretrain.RECIPES, "addition6-v1", small)
    for name, size in (("MEASURED", 200), ("SCREEN", 100), ("BLOCK", 100), ("FRESH", 100)):
        monkeypatch.setattr(addition6_pretrain, name, size)
    monkeypatch.setattr(addition_attack, "ASSETS", tmp_path)
    Addition6.pretrain(lambda line: None)
    manifest = json.loads((tmp_path / "addition6-v1" / assets.MANIFEST).read_text())
    assert manifest["measured"]["attacker_steps"] == 500
    assert manifest["measured"]["samples"] == 200
    with_zeros, without = (made(addition_attack.Config()) for made in (Addition6, Addition6NoZeros))
    x = encoded("12+34=", "012+34=", "12+=")
    assert with_zeros.valid(x).tolist() == [True, True, False]
    assert without.valid(x).tolist() == [True, False, False]
    assert not with_zeros.verify(x)[2]
    assert with_zeros.verify(x)[0] == without.verify(x)[0]
    assert with_zeros.exact(with_zeros.prior()) is None
    assert with_zeros.show(x) == ["12+34=", "012+34=", "12+="]
