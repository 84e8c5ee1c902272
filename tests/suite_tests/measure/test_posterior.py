"""Posterior match: by hand on four strings, by enumeration, from a sample, and what it is on every enumerated task."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import suite
from suite import config as configs
from suite import registry
from suite.cells.verify import verify_one
from suite.generators import Table
from suite.measure import posterior
from suite.measure.posterior import Posterior, estimate, fidelity
from suite.policy import Acceptance, Filtered, Policy
from suite.store.records import FinishedRecord
from suite.store.schema import Estimate
from suite.task import PriorSuccesses, Task

PRIOR = [0.7, 0.2, 0.08, 0.02]
"""Four strings; the last two succeed, so b = 0.1 and p* = (0.8, 0.2)."""


class Four:
    config = None

    def __init__(self, successes: tuple[int, ...] = (2, 3)) -> None:
        self.successes = torch.tensor(successes, dtype=torch.long)[:, None]

    def prior(self) -> Table:
        return Table(torch.tensor(PRIOR).log())

    def verify(self, x: Tensor) -> Tensor:
        return torch.isin(x[:, 0], self.successes[:, 0])

    def show(self, x: Tensor) -> list[str]:
        return [str(int(code)) for code in x[:, 0]]

    def success_log_probs(self, policy: Policy) -> Tensor:
        return policy.log_prob(self.successes)


def table(p: list[float]) -> Table:
    return Table(torch.tensor(p).log())


def match_of(policy: Policy, task: Any = None) -> Any:
    task = task or Four()
    return Posterior(task, task.prior()).enumerated(policy, task.success_log_probs(policy))


# -- by hand -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (PRIOR, 0.1),  # b
        ([0, 0, 0.8, 0.2], 1.0),  # the posterior itself
        ([0, 0, 1, 0], 0.8),  # a point mass: p* of its string
        ([0, 0, 0, 1], 0.2),
        ([1, 0, 0, 0], 0.0),
        # (√(0.8 · 0.25) + √(0.2 · 0.25))² = 0.2 + 0.05 + 2 √0.01
        ([0.25, 0.25, 0.25, 0.25], 0.45),
    ],
)
def test_four_strings(policy: list[float], expected: float) -> None:
    found = match_of(table(policy))
    assert found.value == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert (found.low, found.high, found.estimator, found.n) == (found.value, found.value, "exact", None)


def test_a_prior_that_never_succeeds_has_no_posterior() -> None:
    assert match_of(table(PRIOR), Four(())) is None


def test_a_filtered_policys_match_has_the_interval_of_its_normaliser() -> None:
    """It keeps strings 2 and 3 and nothing else: with acceptance 0.1 it is the posterior."""
    kept = table([0.0, 0.0, 0.5, 0.5])  # the ratio to this model is finite on 2 and 3 alone
    policy = Filtered(table(PRIOR), [(kept, -math.inf)], Acceptance(100, 1000))
    found = match_of(policy)
    assert found.estimator == "exact/accept"
    assert found.value == pytest.approx(1.0, rel=1e-6)
    assert found.low == pytest.approx(0.1 / 0.1203, rel=1e-2)  # Clopper and Pearson: 100 of 1,000 is 0.082 to 0.120
    assert found.high == 1.0


@given(
    st.lists(st.floats(0.001, 1), min_size=6, max_size=6),
    st.lists(st.floats(0, 1), min_size=6, max_size=6).filter(lambda p: sum(p) > 1e-3),
)
def test_the_match_never_exceeds_the_success_rate(prior: list[float], policy: list[float]) -> None:
    """Cauchy and Schwarz, with four successes of six strings."""
    p, q = (torch.tensor(one, dtype=torch.float64) / sum(one) for one in (prior, policy))
    found = fidelity(p[:4].log(), q[:4].log())
    assert found is not None
    assert found <= float(q[:4].sum()) * (1 + 1e-9)


# -- every enumerated task ---------------------------------------------------------------------------------------------


ENUMERATED = [
    ref
    for ref in registry.ids("task")
    if registry.facts_of_task(ref).get("estimator") == "exact" and not ref.startswith("addition")
]


@functools.cache
def built(ref: str) -> Task:
    entry = registry.load("task", ref)
    task: Task = entry.target(configs.build(entry.config_class, {}))
    return task


def exact_match(task: Task, policy: Policy) -> float:
    log_p = getattr(task, "success_log_probs", lambda _: None)(policy)
    found = Posterior(task, task.prior()).enumerated(policy, log_p)
    assert found is not None
    return found.value


@pytest.mark.parametrize("ref", ENUMERATED)
def test_on_every_enumerated_task_the_prior_has_its_base_rate(ref: str) -> None:
    task = built(ref)
    base = registry.facts_of_task(ref)["base_rate"]
    assert exact_match(task, task.prior()) == pytest.approx(base, rel=1e-6)
    uniform = task.prior().uniform()
    rate = suite.task.exact(task, uniform)
    assert rate is not None
    assert 0 < exact_match(task, uniform) <= rate * (1 + 1e-9)


@pytest.mark.parametrize("ref", [ref for ref in ENUMERATED if not ref.startswith("ehrlich")])
def test_on_every_listed_task_posterior_and_point_mass(ref: str) -> None:
    """By the formula's two factors: log π = log p* has match 1, and all mass on one success has its p*."""
    task = built(ref)
    log_prior = task.success_log_probs(task.prior())  # type: ignore[attr-defined]
    log_star = log_prior - torch.logsumexp(log_prior, dim=0)
    assert fidelity(log_prior, log_star) == pytest.approx(1.0, abs=1e-9)
    where = int(log_prior.argmax())
    point = torch.full_like(log_prior, -math.inf)
    point[where] = 0.0
    assert fidelity(log_prior, point) == pytest.approx(float(log_star[where].exp()), rel=1e-9)


def test_an_ehrlich_functions_match_is_a_sum_over_its_successes() -> None:
    """Against all 4^5 strings written out."""
    entry = registry.load("task", "ehrlich-v1")
    config = {"vocab": 4, "length": 5, "motifs": 1, "motif_length": 2, "span": 2, "rare": 2}
    task = entry.target(configs.build(entry.config_class, config))
    prior = task.prior()
    policy = prior.clone()
    space = torch.tensor(list(itertools.product(range(4), repeat=5)))
    policy.fit(space[task.verify(space)][:3], lr=1e-2, epochs=3, generator=torch.Generator())
    good = space[task.verify(space)]
    expected = fidelity(prior.log_prob(good), policy.log_prob(good))
    assert expected is not None
    assert exact_match(task, policy) == pytest.approx(expected, rel=1e-6)
    assert exact_match(task, policy.tempered(2.0)) == pytest.approx(
        fidelity(prior.log_prob(good), policy.tempered(2.0).log_prob(good)), rel=1e-6
    )


@pytest.mark.parametrize("ref", ["decoys-v1", "countdown-v1", "hypergrid-v1", "gaussian-v1", "queens-tune-v1"])
def test_a_sample_of_successes_agrees_with_enumeration(ref: str) -> None:
    """200 successes drawn from p* as p* says: each of three policies' intervals holds the exact match at 99.9 %."""
    task = built(ref)
    prior = task.prior()
    log_prior = task.success_log_probs(prior)  # type: ignore[attr-defined]
    base = float(log_prior.exp().sum())
    drawn = torch.multinomial(torch.softmax(log_prior, dim=0), 200, replacement=True, generator=seeded(3))
    for policy in (prior, prior.uniform(), prior.tempered(2.0)):
        log_p = task.success_log_probs(policy)  # type: ignore[attr-defined]
        found = estimate((0.5 * (log_p - log_prior)[drawn]).exp(), base, float(log_p.exp().sum()), level=0.999)
        exact = fidelity(log_prior, log_p)
        assert exact is not None
        assert found.low * (1 - 1e-6) <= exact <= found.high * (1 + 1e-6)


# -- from a sample -----------------------------------------------------------------------------------------------------


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_estimate_by_hand() -> None:
    """Ratios 1 and 3 a hundred times each: mean 2, b 4 = 0.04; s² = 1.005, so 4 (s / 2)² / 200 = 0.00503.

    (Σ x)² / Σ x² = 160 effective terms: Student's quantile is 1.97494; the variance of log b is 0.99 / 200.
    """
    ratio = torch.tensor([1.0, 3.0], dtype=torch.float64).repeat(100)
    found = estimate(ratio, 0.01, most=0.5)
    width = 1.97494 * math.sqrt(4 * (200 / 199) / 4 / 200 + 0.99 / 200)
    assert found.value == pytest.approx(0.04)
    assert found.low == pytest.approx(0.04 * math.exp(-width), rel=1e-4)
    assert found.high == pytest.approx((math.sqrt(0.04 * math.exp(width)) + math.sqrt(3 / 200 * 0.5)) ** 2, rel=1e-4)
    assert (found.estimator, found.n) == ("sampled", 200)


def test_a_policy_that_has_none_of_the_sample_may_still_have_what_it_misses() -> None:
    found = estimate(torch.zeros(200, dtype=torch.float64), 0.01, most=0.9)
    assert (found.value, found.low, found.high) == (0.0, 0.0, pytest.approx(3 / 200 * 0.9))


def test_one_success_that_has_the_whole_sum_leaves_no_lower_end() -> None:
    """A collapsed policy whose string happened to be drawn once: the estimate is 100 times p* = 5e-5, and says so."""
    ratio = torch.full((200,), 1e-9, dtype=torch.float64)
    ratio[0] = math.sqrt(1 / (5e-5 * 0.01))
    found = estimate(ratio, 0.01, most=1.0)
    assert found.low < 5e-5 < found.value


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "docs" / "experiments" / "match_coverage.py"
    spec = importlib.util.spec_from_file_location("match_coverage", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_its_interval_covers_also_where_policies_have_collapsed(simulation: ModuleType) -> None:
    """300 runs a law; at a true coverage of 0.95 a law falls below 0.91 once in a thousand."""
    generator = seeded()
    for name, p, policy in simulation.laws(generator):
        _, both, _, _ = simulation.coverage(p, policy, 300, generator)
        assert both >= 0.91, name


class Sampled(Four):
    """Its successes are not listed; 200 of the prior are known."""

    success_log_probs = None  # type: ignore[assignment]
    strings = torch.tensor([[2]] * 160 + [[3]] * 40)
    draws = 2000

    def prior_successes(self) -> PriorSuccesses:
        return PriorSuccesses(self.strings, self.draws)


def test_a_task_may_bring_its_own_successes() -> None:
    task = Sampled()
    held = Posterior(task, task.prior())  # type: ignore[arg-type]
    assert held.fault() is None
    found = held.sampled(table([0, 0, 1, 0]), Estimate(1.0, 1.0, 1.0, "exact", None))
    # ratio √(1 / 0.08) on four fifths of the sample: 0.1 · (0.8 / √0.08)² = 0.8
    assert found is not None
    assert found.value == pytest.approx(0.8, rel=1e-6)


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        ([[2]] * 199, "it has 199 successes of the prior, 200 are needed"),
        ([[2]] * 199 + [[1]], "1 of its 200 successes are none for this verifier"),
    ],
)
def test_a_sample_that_cannot_be_used_says_why(strings: list[list[int]], message: str) -> None:
    task = Sampled()
    task.strings = torch.tensor(strings)
    assert Posterior(task, task.prior()).fault() == message  # type: ignore[arg-type]


def test_a_success_that_the_prior_cannot_draw_is_a_fault() -> None:
    task = Sampled()
    prior = table([0.7, 0.2, 0.1, 0.0])
    prior.log_prob = lambda x: torch.where(x[:, 0] == 3, -math.inf, -1.0)  # type: ignore[method-assign]
    assert Posterior(task, prior).fault() == "it has successes that the prior cannot draw"  # type: ignore[arg-type]


def test_successes_of_another_shape_are_an_error() -> None:
    task = Sampled()
    task.strings = torch.zeros(200)
    with pytest.raises(ValueError, match=r"prior_successes\(\) must answer with \(strings int64 \(M, T\), draws ≥ M\)"):
        Posterior(task, task.prior())  # type: ignore[arg-type]


def test_successes_are_drawn_until_the_last_that_is_wanted() -> None:
    """b = 0.1: the draws are as many as it took; below 200 successes there is no sample."""
    task = Four()
    made = posterior.draw(task, 300, seeded(), most=100_000, pool=500)
    assert made is not None
    assert len(made.strings) == 300
    assert task.verify(made.strings).all()
    again = task.prior().sample(500, seeded())
    assert torch.equal(made.strings[: int(task.verify(again).sum())], again[task.verify(again)])
    assert 300 / made.draws == pytest.approx(0.1, abs=4.4 * math.sqrt(0.1 * 0.9 / 3000))
    assert posterior.draw(task, 300, seeded(), most=1000, pool=500) is None


# -- in a run ----------------------------------------------------------------------------------------------------------


def test_a_run_says_the_match_of_every_policy_and_verify_measures_it_again(tmp_path: Path) -> None:
    record = suite.run("gaussian-v1", "banel", seed=1, budget=2000, results=tmp_path, tracking="off")
    assert isinstance(record, FinishedRecord)
    for point in record.result.curve:
        assert point.posterior_match is not None
        assert point.success_rate is not None
        assert point.posterior_match.value <= point.success_rate * (1 + 1e-9)
    base, final = record.result.base, record.result.final
    assert base is not None
    assert final is not None
    assert base.posterior_match is not None
    assert base.posterior_match.value == pytest.approx(base.success_rate, rel=1e-6)
    assert final.posterior_match == record.result.curve[-1].posterior_match
    assert "final measurements" in [check.name for check in verify_one(record).checks]
    assert verify_one(record).verified


def test_a_forged_match_is_refuted(tmp_path: Path) -> None:
    record = suite.run("gaussian-v1", "pretrained", seed=1, budget=500, results=tmp_path, tracking="off")
    path = record.folder / "record.json"
    forged = re.sub(r'("posterior_match":\s*\{\s*"value":\s*)[0-9.e-]+', r"\g<1>0.9", path.read_text())
    path.write_text(forged)
    assert not verify_one(suite.store.records.read(path)).verified


PLUGIN = """
import torch
from suite.config import setting
from suite.generators import Table
from suite.task import PriorSuccesses
from dataclasses import dataclass

@dataclass(frozen=True)
class Config:
    size: int = setting(200, help="successes of the prior")

class Four:
    config: Config
    def __init__(self, config):
        self.config = config
    def prior(self):
        return Table(torch.tensor([0.7, 0.2, 0.08, 0.02]).log())
    def verify(self, x):
        return x[:, 0] > 1
    def show(self, x):
        return [str(int(code)) for code in x[:, 0]]
    def prior_successes(self):
        strings = torch.tensor([[2], [2], [2], [2], [3]]).repeat(self.config.size // 5, 1)
        return PriorSuccesses(strings, self.config.size * 10)
"""


def test_a_plugins_sample_is_used_and_a_bad_one_is_a_warning_before_anything_is_charged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = tmp_path / "four.py"
    task.write_text(PLUGIN)
    run: Callable[..., Any] = suite.run
    options: dict[str, Any] = {"budget": 500, "heldout": 1000, "tracking": "off", "results": tmp_path / "results"}
    good = run(f"{task}:Four", "pretrained", **options)
    assert good.status == "finished", good.result.error  # the verifier was asked for each of the sample: not the method
    assert good.final.posterior_match.value == pytest.approx(0.1, rel=1e-6)
    assert good.final.posterior_match.estimator == "sampled"
    assert capsys.readouterr().err == ""
    bad = run(f"{task}:Four", "pretrained", task_config={"size": 100}, **options)
    assert bad.final.posterior_match is None
    assert (
        "warning: no posterior match on four.py:Four: it has 100 successes of the prior, 200 are"
        in capsys.readouterr().err
    )
