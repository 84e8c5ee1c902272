"""Word problems: answers by Python's arithmetic, the network under a prompt against whole forward passes."""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from suite.generators import Transformer
from tasks.words import pretrain as word_pretrain
from tasks.words.pretrain import LENGTH, PROMPT, SHAPE, measure, solver, train_solver, training_rows
from tasks.words.pretrain import Recipe as WordRecipe
from tasks.words.templates import END, SYMBOLS, decode, encode, hard_problem, last_numbers, problem


def test_every_step_of_a_solution_is_true_and_the_last_one_is_the_answer() -> None:
    rng = torch.Generator().manual_seed(0)
    for hard in (False, True):
        for _ in range(300):
            made = problem(rng, hard)
            steps, answer = made.solution.split(" # ")
            for step in steps.split(" ; "):
                left, _, right = step.partition("=")
                assert eval(left) == int(right)
            assert int(answer) == made.answer
            assert made.answer == int(steps.rpartition("=")[2]) >= 0
            assert len(encode(made.question)) <= PROMPT
            assert len(encode(made.solution)) < LENGTH
            asked = {word for word in made.question.split() if word.isdigit()}
            assert asked <= set(re.findall(r"\d+", steps))


def test_a_question_is_fixed_by_its_pool_and_index() -> None:
    assert hard_problem("reported", 3) == hard_problem("reported", 3)
    assert len({hard_problem(pool, i).question for pool in ("reported", "tune") for i in range(50)}) == 100


@pytest.mark.parametrize(
    ("solution", "number"),
    [
        ("4*12=48 # 48/", 48),
        ("48 # 5 7/", 57),
        ("007 # tom/", 7),
        ("# /", -1),
        ("12", -1),
        ("5/", 5),
        ("1234567890/", -1),
    ],
)
def test_the_last_number_of_a_solution(solution: str, number: int) -> None:
    """Neighbouring digits are one number, since spaces are no symbols; what never ends has none."""
    row = encode(solution)
    x = torch.tensor([row + [END if END in row else SYMBOLS.index("tom")] * (LENGTH - len(row))])
    assert last_numbers(x).tolist() == [number]


def test_solutions_are_shown_as_they_were_written() -> None:
    row = encode("4*12=48 ; 48+9=57 # 57/")
    assert decode(torch.tensor([row])) == ["4*12=48 ; 48+9=57 # 57"]


def test_a_prompt_conditions_scores_and_samples() -> None:
    """Against the same weights run over question and solution as one string, in float32."""
    torch.manual_seed(0)
    whole = Transformer(dataclasses.replace(SHAPE, length=PROMPT + LENGTH, prompt=0))
    net = solver(whole.state_dict(), "tom has 4 pens")
    x = net.sample(30, torch.Generator().manual_seed(1))
    asked = torch.tensor(encode("tom has 4 pens")).expand(30, -1)
    with torch.no_grad():
        logits = whole.logits(torch.cat([asked, x], dim=1))[:, asked.shape[1] :]
    steps = torch.log_softmax(logits.double(), dim=-1).gather(-1, x[..., None]).squeeze(-1)
    expected = (steps * net.counted(x)).sum(dim=1)
    torch.testing.assert_close(net.log_prob(x), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(net.log_likelihood(x).double(), expected, rtol=0, atol=1e-4)
    assert net.clone().prompt.tolist() == net.prompt.tolist()
    assert "prompt" not in net.state_dict()


def test_training_rows_hold_question_and_solution() -> None:
    made = problem(torch.Generator().manual_seed(5), hard=False)
    rows, where = training_rows([made])
    question, solution = encode(made.question), encode(made.solution)
    assert rows[0].tolist()[: len(question) + len(solution)] == question + solution
    assert rows[0][where[0]].tolist() == [*solution, END]


@pytest.mark.slow
def test_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    """From the checkpoint at step 100 on: equal to the run in one piece."""
    recipe = WordRecipe(steps=102, batch=2)
    lines: list[str] = []
    whole = train_solver(recipe, tmp_path / "solver.pt", lines.append)
    assert len(lines) == 1
    rest = train_solver(recipe, tmp_path / "solver.pt", lines.append)
    assert len(lines) == 1  # steps up to 100 were not taken again
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rest.parameters(), strict=True))


def test_questions_far_from_the_range_are_not_looked_at_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 samples may hold 0 to 20 successes, 20,000 others 2 to 80, as the recipe says."""
    net = Transformer(SHAPE)
    for few, many, expected in ((20, 2, True), (0, 80, True), (21, 40, False), (5, 1, False), (5, 81, False)):
        seeds: list[int] = []

        def counted(
            net: Transformer, answer: int, samples: int, seed: int, hits: dict[int, int], seeds: list[int]
        ) -> dict[str, Any]:
            seeds.append(seed)
            return {"rate": hits[samples] / samples}

        fixed = functools.partial(counted, hits={2_000: few, 20_000: many}, seeds=seeds)
        monkeypatch.setattr(word_pretrain, "measure", fixed)
        assert word_pretrain.passes(net, 7, index=3) is expected
        assert len(set(seeds)) == len(seeds)
        assert 3 not in seeds  # the samples that the base rate is measured on


@pytest.mark.slow
def test_a_base_rate_is_a_count_with_its_tail_enrichment() -> None:
    """Counted again here on the same samples of an untrained network."""
    torch.manual_seed(0)
    net = solver(Transformer(SHAPE).state_dict(), "tom")
    found = measure(net, 7, 600, seed=0)
    x = net.sample(600, torch.Generator().manual_seed(0))
    hits = int((last_numbers(x) == 7).sum())
    assert found["rate"] == hits / 600 > 0
    assert found["interval"][0] <= hits / 600 <= found["interval"][1]
