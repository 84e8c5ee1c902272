"""The attack: the target's answers decoded greedily here, its table, its success rates, its files."""

from __future__ import annotations

import functools
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import suite
from suite import config as configs
from suite import registry
from suite import task as engine
from suite.cells.identity import identify, kept_task
from suite.cells.spec import CellSpec
from suite.errors import UserError
from suite.generators import Transformer
from suite.policy import Acceptance, Filtered
from tasks.addition import attack as addition_attack
from tasks.addition.grammar import EQUALS, STOP, SYMBOLS
from tasks.addition.task import Addition

GRAMMAR = Addition.recipe.grammar

TUNE = [pytest.param(f"addition-{part}tune-v1", marks=pytest.mark.slow) for part in ("", "nozeros-")]
every_pair = pytest.mark.parametrize("pair", ["addition-v1", *TUNE])


@functools.cache
def task_of(task_id: str = "addition-v1") -> Addition:
    entry = registry.load("task", task_id)
    made: Addition = entry.target(configs.build(entry.config_class, {}))
    return made


def encoded(*questions: str) -> Tensor:
    return torch.tensor([[SYMBOLS.index(s) for s in question.ljust(8, "=")] for question in questions])


@torch.no_grad()
def greedy(net: Transformer, question: str) -> str:
    """What the target answers, one symbol after another, each by a whole forward pass."""
    symbols = [SYMBOLS.index(symbol) for symbol in question]
    answer = ""
    for _ in range(GRAMMAR.answer_length):
        x = torch.tensor([symbols + [0] * (13 - len(symbols))])
        symbol = int(net.logits(x)[0, len(symbols)].argmax())
        if symbol == STOP:
            return answer
        answer += SYMBOLS[symbol]
        symbols.append(symbol)
    return answer + "…"  # it did not stop in time


def solved(question: str) -> str:
    a, b = question.rstrip("=").split("+")
    return str(int(a) + int(b))


def pick(task: Addition, failing: bool, leading_zero: bool, n: int) -> Tensor:
    """n random questions of one kind, int64 (n, 8)."""
    index = (task.table == failing).nonzero().squeeze(1)
    index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(0))]
    x = GRAMMAR.write(index if failing else index[: 40 * n])
    return x[GRAMMAR.read(x)[2] == leading_zero][:n]


# -- the target ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failing", "leading_zero"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_margin_says_what_greedy_decoding_answers(failing: bool, leading_zero: bool) -> None:
    task = task_of()
    x = pick(task, failing, leading_zero, 60)
    assert len(x) == 60
    questions = GRAMMAR.text(x)
    wrong = [greedy(task.target.net, question) != solved(question) for question in questions]
    assert wrong == [failing] * len(x)
    margin = task.target.margin(x, GRAMMAR.read(x)[1])
    assert (margin.dtype, margin.shape) == (torch.float64, (len(x),))
    assert (margin <= 0).tolist() == wrong


def test_the_margin_is_the_least_lead_of_the_true_symbols() -> None:
    """By whole forward passes over question, true answer and stop symbol, which is the least sure one of some."""
    task, least_sure = task_of(), set()
    x = torch.cat([pick(task, False, False, 30), pick(task, True, True, 60)])
    for row, question in zip(task.target.margin(x, GRAMMAR.read(x)[1]), GRAMMAR.text(x), strict=True):
        symbols = [SYMBOLS.index(s) for s in question + solved(question)] + [STOP]
        with torch.no_grad():
            logits = task.target.net.logits(torch.tensor([symbols + [0] * (13 - len(symbols))]))[0]
        leads = []
        for place in range(len(question), len(symbols)):
            others = torch.cat([logits[place, : symbols[place]], logits[place, symbols[place] + 1 :]])
            leads.append(float(logits[place, symbols[place]] - others.max()))
        assert float(row) == pytest.approx(min(leads), abs=1e-4)
        least_sure.add(leads.index(min(leads)) == len(leads) - 1)
    assert least_sure == {True, False}


@pytest.mark.slow
def test_the_margin_does_not_depend_on_its_neighbours() -> None:
    task = task_of()
    x = GRAMMAR.write(torch.randperm(GRAMMAR.questions, generator=torch.Generator().manual_seed(3))[:200])
    total = GRAMMAR.read(x)[1]
    together = task.target.margin(x, total)
    alone = torch.cat([task.target.margin(x[i : i + 1], total[i : i + 1]) for i in range(50)])
    torch.testing.assert_close(together[:50], alone, rtol=0, atol=1e-4)
    assert len(task.target.margin(x[:0], total[:0])) == 0


def test_near_ties_are_decided_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of()
    x = pick(task, True, False, 40)
    total = GRAMMAR.read(x)[1]
    monkeypatch.setattr("tasks.addition.target.DOUBTFUL", math.inf)
    exact = task.target.margin(x, total)
    monkeypatch.setattr("tasks.addition.target.DOUBTFUL", 0.0)
    rounded = task.target.margin(x, total)
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).abs().max()) < 1e-4  # a tenth of what counts as doubtful


# -- the table -------------------------------------------------------------------------------------------------------


@every_pair
def test_the_table_agrees_with_the_target(pair: str) -> None:
    """On 1,000 questions at random, 300 that fail, and all that fail without a leading zero."""
    task = task_of(pair)
    index = task.table.nonzero().squeeze(1)
    plain = index[~GRAMMAR.read(GRAMMAR.write(index))[2]]
    generator = torch.Generator().manual_seed(1)
    some = torch.randperm(GRAMMAR.questions, generator=generator)[:1000]
    failing = index[torch.randperm(len(index), generator=generator)[:300]]
    x = GRAMMAR.write(torch.cat([some, failing, plain]))
    rewards = task.verify(x)
    assert torch.equal(rewards, task.verify_heldout(x))
    assert torch.equal(rewards[1000:], task.valid(x[1000:]))
    assert rewards[-len(plain) :].all()


@every_pair
def test_the_manifest_counts_the_table(pair: str) -> None:
    task = task_of(pair)
    measured = task.manifest["measured"]
    zero = GRAMMAR.read(GRAMMAR.write(task.table.nonzero().squeeze(1)))[2]
    assert measured["failures"] == int(task.table.sum())
    assert measured["failures_leading_zero"] == int(zero.sum())
    assert measured["failures_rest"] == int((~zero).sum())
    assert measured["error_without_leading_zeros"] == pytest.approx(measured["failures_rest"] / 1e6)
    assert measured["questions"] == len(task.table) == GRAMMAR.questions
    assert measured["smallest_margin"] > 1e-9  # far above the rounding of double precision


def test_what_is_not_well_formed_never_succeeds() -> None:
    task = task_of()
    x = encoded("1+1=1===", "+1=", "1+=", "=", "1+1+1=", "1234+1=", "11111111")
    for answer in (task.verify(x), task.verify_heldout(x), task.valid(x)):
        assert not answer.any()


def test_leading_zeros_are_invalid_where_they_are_not_allowed() -> None:
    with_zeros, without = task_of(), task_of("addition-nozeros-v1")
    x = torch.cat([pick(with_zeros, True, True, 20), pick(with_zeros, True, False, 20)])
    expected = [True] * 20 + [False] * 20
    assert with_zeros.verify(x).all()
    assert without.verify(x).tolist() == without.valid(x).tolist() == [not e for e in expected]
    assert without.verify_heldout(x).tolist() == [not e for e in expected]
    assert len(without.successes) == with_zeros.manifest["measured"]["failures_rest"]


# -- success rates ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_pair
def test_the_base_rate_is_the_manifests_in_two_parts(pair: str) -> None:
    task = task_of(pair)
    measured = task.manifest["measured"]
    p = task.success_log_probs(task.prior()).exp()
    zero = GRAMMAR.read(task.successes)[2]
    if task.leading_zeros:
        assert float(p[zero].sum()) == pytest.approx(measured["base_rate_leading_zero"], rel=1e-4)
    assert zero.any() == task.leading_zeros
    assert float(p[~zero].sum()) == pytest.approx(measured["base_rate_rest"], rel=1e-4)
    assert measured["base_rate_leading_zero"] + measured["base_rate_rest"] == pytest.approx(measured["base_rate"])


def test_the_base_rate_of_addition_v1_is_the_papers() -> None:
    """4e-4 ± 10 %; fixed before any method ran. Without leading zeros its rest is left."""
    measured, plain = task_of().manifest["measured"], task_of("addition-nozeros-v1")
    assert measured["base_rate"] == pytest.approx(4e-4, rel=0.10)
    assert engine.exact(plain, plain.prior()) == pytest.approx(measured["base_rate_rest"], rel=1e-4)


@pytest.mark.parametrize("task_id", ["addition-v1", "addition-nozeros-v1"])
def test_uniform_questions_succeed_as_often_as_the_table_says(task_id: str) -> None:
    task = task_of(task_id)
    uniform = task.prior().uniform()
    questions = GRAMMAR.questions if task.leading_zeros else 1_000_000
    assert engine.exact(task, uniform) == pytest.approx(len(task.successes) / questions, rel=1e-9)
    x = uniform.sample(2000, torch.Generator().manual_seed(0))
    assert task.valid(x).all()
    assert uniform.log_prob(x).tolist() == pytest.approx([-math.log(questions)] * 2000)
    outside = encoded("1+1=1===", "=", *(() if task.leading_zeros else ("01+1=",)))
    assert uniform.log_prob(outside).tolist() == [-math.inf] * len(outside)
    lengths = [len(text) for text in GRAMMAR.text(x)]
    three = np.mean([length == 8 for length in lengths])  # both operands of three digits
    expected = (1000 / 1110) ** 2 if task.leading_zeros else 0.9**2
    assert three == pytest.approx(expected, abs=4 * (0.2 / 2000) ** 0.5)


@pytest.mark.slow
def test_the_forest_of_successes_gives_their_probabilities() -> None:
    """100 successes one by one, by the network's training loss; and the same tempered and filtered."""
    task = task_of()
    prior, rows = task.prior(), torch.randperm(len(task.successes), generator=torch.Generator().manual_seed(0))[:100]
    x = task.successes[rows]
    with torch.no_grad():
        logits = prior.logits(x)
    until_end = x.ne(EQUALS).cumprod(dim=1).roll(1, 1)
    until_end[:, 0] = 1

    def by_hand(temperature: float) -> Tensor:
        log_p = torch.log_softmax(logits.double() / temperature, dim=-1).gather(-1, x[..., None]).squeeze(-1)
        return (log_p * until_end).sum(dim=1)

    torch.testing.assert_close(task.success_log_probs(prior)[rows], by_hand(1.0), rtol=0, atol=1e-4)
    torch.testing.assert_close(prior.tempered(2.5).log_prob(x), by_hand(2.5), rtol=0, atol=1e-4)
    policy = Filtered(prior, [(prior.tempered(2.0), 0.0)], Acceptance(1, 4))  # p > tempered p, over 1/4
    expected = torch.where(by_hand(1.0) >= by_hand(2.0), by_hand(1.0) + math.log(4), -math.inf)
    torch.testing.assert_close(policy.log_prob(x), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_successes_are_all_failing_questions_with_the_likelihoods_of_whole_strings() -> None:
    """A second implementation: every question as Python writes it, its table entry; the likelihood of each eighth."""
    task = task_of()
    prior = task.prior()
    operands = [f"{value:0{digits}d}" for digits in (1, 2, 3) for value in range(10**digits)]
    failing = [f"{operands[i // 1110]}+{operands[i % 1110]}=" for i in task.table.nonzero().squeeze(1).tolist()]
    x = encoded(*failing)
    assert torch.equal(x, task.successes)
    with torch.no_grad():
        by_strings = torch.cat([prior.log_likelihood(rows) for rows in torch.split(x[::8], 4096)])
    torch.testing.assert_close(task.success_log_probs(prior)[::8], by_strings.double(), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_exact_rate_lies_in_the_monte_carlo_interval_at_every_checkpoint(tmp_path: Path) -> None:
    """The same run measured twice: Clopper-Pearson at level 1 − 1e-3 / checkpoints holds the exact rate everywhere."""
    config = {"pool": 2000, "batch": 300, "epochs": 5}
    exact, counted = (
        suite.run("addition-v1", "banel", budget=600, config=config, heldout=heldout, results=tmp_path, tracking="off")
        for heldout in ("exact", "10000")
    )
    assert exact.status == counted.status == "finished"
    checkpoints = len(exact.result.curve)
    assert checkpoints == 3
    for truth, estimate in zip(exact.result.curve, counted.result.curve, strict=True):
        assert truth.metrics == estimate.metrics  # the same policies
        hits, n = round(estimate.success_rate * 10_000), 10_000
        alpha = 1e-3 / checkpoints
        low = stats.beta.ppf(alpha / 2, hits, n - hits + 1) if hits else 0.0
        high = stats.beta.ppf(1 - alpha / 2, hits + 1, n - hits)
        assert low <= truth.success_rate <= high
    assert exact.result.curve[-1].success_rate > 3 * exact.result.curve[0].success_rate


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The assets of addition-v1 in a folder that may be damaged."""
    for file in (addition_attack.ASSETS / "addition-v1").glob("*.*"):
        (tmp_path / "addition-v1").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / "addition-v1")
    monkeypatch.setattr(addition_attack, "ASSETS", tmp_path)
    kept_task.cache_clear()  # tasks that were built from the good folder, and afterwards those from this one
    yield tmp_path / "addition-v1"
    kept_task.cache_clear()


@pytest.mark.parametrize("name", ["target.safetensors", "attacker.safetensors", "failures.safetensors"])
def test_weights_with_another_hash_are_refused(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[-1] ^= 1
    (copied / name).write_bytes(content)
    expected = json.loads((copied / "manifest.json").read_text())["files"][name][:12]
    with pytest.raises(UserError, match=rf"{name}: sha256 \w{{12}}…, expected {expected}….*suite pretrain addition-v1"):
        Addition(addition_attack.Config())
    (copied / name).unlink()
    with pytest.raises(UserError, match=f"{name}: missing; restore it from git or run `suite pretrain addition-v1`"):
        Addition(addition_attack.Config())


def test_no_manifest_says_how_to_make_one(copied: Path) -> None:
    (copied / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"no assets in .*; make them with `suite pretrain addition-v1`"):
        Addition(addition_attack.Config())


def test_a_manifest_that_is_none_is_refused(copied: Path) -> None:
    for content in ("{", "[1]", "{}", '{"files": {}}'):
        (copied / "manifest.json").write_text(content)
        with pytest.raises(
            UserError, match=r"manifest\.json: no manifest of .*restore it from git or run `suite pretrain addition-v1`"
        ):
            Addition(addition_attack.Config())


def test_the_cell_knows_the_files_and_damage_is_found_before_a_run(tmp_path: Path, copied: Path) -> None:
    identity = identify(CellSpec("addition-v1", "pretrained", heldout="off"))
    manifest = json.loads((copied / "manifest.json").read_text())
    assert identity.content.task.assets == manifest["files"]
    (copied / "target.safetensors").write_bytes(b"")
    kept_task.cache_clear()
    with pytest.raises(UserError, match=r"target\.safetensors: sha256"):
        suite.run("addition-v1", "pretrained", results=tmp_path / "results", tracking="off")
    assert not (tmp_path / "results").exists()


def test_shown_questions_end_at_their_equals_sign() -> None:
    assert task_of().show(encoded("12+034=", "1+1=1===", "11111111")) == ["12+034=", "1+1=", "11111111"]
