"""Six digits: grammars and proposal by Python's strings, the target by decoding it symbol by symbol, the recipe at a
toy's size, the shipped pairs by counting again."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from scipy import stats

from suite import registry
from suite import task as engine
from suite.store import assets
from tasks.addition import attack as addition_attack
from tasks.addition import pretrain as addition_pretrain
from tasks.addition import pretrain6 as addition6_pretrain
from tasks.addition.attacker import QuestionsByLength
from tasks.addition.grammar import SYMBOLS, Grammar
from tasks.addition.target6 import PlaceGrammar, PlaceTarget, place_net
from tasks.addition.task6 import Addition6, Addition6NoZeros

IDS = ("addition6-v1", "addition6-nozeros-v1", "addition6-tune-v1")
"""The pairs, by the first task that has each."""

HARD = (
    *("944871+169168=", "283178+417886=", "753117+546898=", "743193+646872=", "448145+374862="),
    *("338836+683179=", "577155+653875=", "947165+623878=", "134194+519842=", "794149+196857="),
)
"""Questions without leading zeros that the target of `addition6-nozeros-v1` was seen to miss."""

SIX, PLACES = Grammar(digits=6), PlaceGrammar(digits=6)


def task_of(task_id: str) -> Addition6:
    task: Addition6 = registry.load("task", task_id).target(addition_attack.Config())
    return task


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


def laid_out(question: str) -> str:
    """The target's 22 symbols by Python's strings: each number from its last digit on, `.` for the stop symbol."""
    a, b = question[:-1].split("+")
    return f"{a[::-1]:+<6}+{b[::-1]:+<6}={str(int(a) + int(b))[::-1]:.<8}"


def test_the_target_reads_and_writes_numbers_by_place() -> None:
    questions = ["12+345=", "000001+9=", "999999+999999=", "0+0=", "00+000000=", "7+999993="]
    x = torch.cat([encoded(*questions), QuestionsByLength(SIX).sample(200, torch.Generator().manual_seed(0))])
    full, answer = PLACES.with_answer(x, SIX.read(x)[1])
    rows = ["".join([*SYMBOLS, "."][s] for s in row) for row in full.tolist()]
    assert rows == [laid_out(question) for question in SIX.text(x)]
    assert rows[0] == "21+++++543+++=753....."
    held = [row[at.nonzero()[:, 0].min() :][: int(at.sum())] for row, at in zip(rows, answer, strict=True)]
    assert held == [str(sum(int(n) for n in q[:-1].split("+")))[::-1] + "." for q in SIX.text(x)]


def test_positions_begin_as_place_plus_part_and_attend_to_their_place() -> None:
    """22 positions: the beginning, 6 digits, `+`, 6 digits, `=`, 7 digits; the last eight have the next digit's place.

    Digits of one place differ by the same vector between two parts, and of all places the first block's scores, with
    the part and symbol left out, are the largest at a place itself.
    """
    torch.manual_seed(0)
    net = place_net(PLACES, layers=1, width=64)
    at = net.positions.detach()
    assert at.shape == (22, 64)
    first, second, next_digit = at[1:7], at[8:14], at[14:20]
    for apart in (second - first, next_digit - first):
        assert torch.allclose(apart, apart[:1].expand(6, 64), atol=1e-6)
        assert float(apart.abs().max()) > 0.1
    block = net.blocks[0]
    q, k, _ = block.qkv(first - first.mean(dim=0)).detach().split(64, dim=1)
    assert (q @ k.T).argmax(dim=1).tolist() == [0, 1, 2, 3, 4, 5]


def decoded(target: PlaceTarget, question: str) -> str:
    """The greedy answer as digits in plain order, one symbol at a time, in float64."""
    text = laid_out(question).partition("=")[0] + "="
    while len(text) < 22 and text[-1] != ".":
        x = torch.tensor([[[*SYMBOLS, "."].index(s) for s in text.ljust(22, ".")]])
        text += [*SYMBOLS, "."][int(target.exact_net.logits(x)[0, len(text)].argmax())]
    return text.partition("=")[2].rstrip(".")[::-1]


@pytest.mark.parametrize("task_id", IDS)
def test_a_question_is_rewarded_where_decoding_it_gives_another_sum(task_id: str) -> None:
    """Some are missed of 60 questions of all lengths, leading zeros among them, and 10 that are hard for one target."""
    task = task_of(task_id)
    x = torch.cat([QuestionsByLength(SIX).sample(60, torch.Generator().manual_seed(0)), encoded(*HARD)])
    rewards = task.verify(x)
    assert 3 <= int(rewards.sum()) <= 67
    with torch.no_grad():
        answers = [decoded(task.target, question) for question in SIX.text(x)]
    sums = [str(sum(int(n) for n in question[:-1].split("+"))) for question in SIX.text(x)]
    valid = task.leading_zeros | ~SIX.read(x)[2]
    wrong = [given != true for given, true in zip(answers, sums, strict=True)]
    assert rewards.tolist() == [a and b for a, b in zip(valid.tolist(), wrong, strict=True)]


def test_close_margins_are_computed_again_in_float64() -> None:
    """An untrained network whose head is scaled down: every margin is doubtful, none may be float32's."""
    torch.manual_seed(0)
    net = place_net(PLACES, layers=1, width=8)
    with torch.no_grad():
        net.head.weight *= 1e-5
    target = PlaceTarget(net, PLACES)
    x = QuestionsByLength(SIX).sample(20, torch.Generator().manual_seed(0))
    full, answer = PLACES.with_answer(x, SIX.read(x)[1])
    with torch.no_grad():
        logits = target.exact_net.logits(full)
    expected = []
    for row, symbols, held in zip(logits.tolist(), full.tolist(), answer.tolist(), strict=True):
        steps = [(values, true) for values, true, here in zip(row, symbols, held, strict=True) if here]
        expected.append(min(v[true] - max(o for k, o in enumerate(v) if k != true) for v, true in steps))
    assert target.margin(x, SIX.read(x)[1]).tolist() == pytest.approx(expected, rel=1e-9)


def test_questions_are_drawn_in_blocks_and_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained target is wrong on every well-formed question: what counts is what the grammar reads."""
    monkeypatch.setattr(addition6_pretrain, "BLOCK", 40)
    target, attacker = PlaceTarget(place_net(PLACES, layers=1, width=8), PLACES), task_of("addition6-v1").prior()
    rng = torch.Generator().manual_seed(0)
    index, _, zero = SIX.read(torch.cat([attacker.sample(n, rng) for n in (40, 40, 20)]))
    found = addition6_pretrain.screened(attacker, target, 100, torch.Generator().manual_seed(0))
    assert found == (int(zero.sum()), int((index >= 0).sum() - zero.sum()))


def agree(hits: int, n: int, low: float, high: float) -> bool:
    """Whether a count fits a rate that is known to lie between two bounds, each side at 1e-3."""
    above = stats.binomtest(hits, n, high, alternative="greater").pvalue
    return min(above, stats.binomtest(hits, n, low, alternative="less").pvalue) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("task_id", [*IDS, "addition6-nozeros-tune-v1"])
def test_what_is_known_of_a_pair_is_counted_again(task_id: str) -> None:
    """On other samples, against the intervals of the manifest and of `suite list --measure`."""
    task, facts, n = task_of(task_id), registry.facts_of_task(task_id), 8_000
    zeros, rest = addition6_pretrain.screened(task.prior(), task.target, n, torch.Generator().manual_seed(99))
    assert agree(rest + zeros * task.leading_zeros, n, facts["low"], facts["high"])
    fresh = task.recipe.questions(n, torch.Generator().manual_seed(98))
    errors = round(n * addition_pretrain.error_on(task.target, fresh))
    assert agree(errors, n, *task.manifest["measured"]["target_error_interval"])


@pytest.mark.parametrize("task_id", IDS)
def test_the_manifest_names_the_recipe(task_id: str) -> None:
    task = task_of(task_id)
    assert task.manifest["recipe"] == dataclasses.asdict(task.recipe)
    assert task.manifest["measured"]["target_error"] <= 1e-3  # the aim of the family
    size = sum(file.stat().st_size for file in task.folder.glob("*.safetensors"))
    assert size < 1_000_000


@pytest.mark.slow
def test_the_recipe_makes_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a toy's size: an untrained target errs nearly always, so the attacker is the last checkpoint."""
    small = dataclasses.replace(
        addition6_pretrain.RECIPE, target_steps=2, target_batch=4, attacker_steps=500, attacker_batch=8
    )
    monkeypatch.setitem(addition6_pretrain.RECIPES, "addition6-v1", small)
    for name, size in (("SCREEN", 200), ("BLOCK", 100), ("FRESH", 100), ("EACH", 10)):
        monkeypatch.setattr(addition6_pretrain, name, size)
    monkeypatch.setattr(addition_attack, "ASSETS", tmp_path)
    monkeypatch.setattr(Addition6NoZeros, "recipe", small)  # the same pair, so that answers can be compared
    Addition6.pretrain(lambda line: None)
    manifest = json.loads((tmp_path / "addition6-v1" / assets.MANIFEST).read_text())
    assert manifest["measured"]["attacker_steps"] == 500
    assert manifest["measured"]["attacker_judged_by"]["samples"] == 200
    assert manifest["measured"]["target_error"] > 0.9
    with_zeros, without = (made(addition_attack.Config()) for made in (Addition6, Addition6NoZeros))
    x = encoded("12+34=", "012+34=", "12+=")
    assert with_zeros.valid(x).tolist() == [True, True, False]
    assert without.valid(x).tolist() == [True, False, False]
    assert not with_zeros.verify(x)[2]
    assert with_zeros.verify(x)[0] == without.verify(x)[0]
    assert engine.exact(with_zeros, with_zeros.prior()) is None
    assert with_zeros.show(x) == ["12+34=", "012+34=", "12+="]
