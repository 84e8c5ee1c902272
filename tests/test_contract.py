"""What every registered task and baseline keeps to, and that tables and files hold together."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import json
import math
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import baselines
import suite
import tasks
from baselines import BASELINES, CONTROLS
from suite import config as configs
from suite import registry
from suite import task as engine
from suite.errors import UserError
from suite.measure.facts import uniform_rate
from suite.oracle import Oracle
from suite.policy import Generator, Policy, Tempered
from suite.protocol import PROTOCOLS, WORKS_UNDER
from suite.store.records import Record, canonical
from suite.store.schema import plain
from suite.task import Task
from tasks import TAGS, TASKS

TOYS = Path(__file__).parent / "plugins" / "toys.py"
SAME_CLASS = (
    *("addition-tune-v1", "addition-nozeros-tune-v1", "addition6-tune-v1", "addition6-nozeros-tune-v1"),
    "digits-0to6-tune-v1",
)
"""The same code as another task with other weights: left to the slow tests."""

FLAT = ("addition-nozeros-v1", "addition6-nozeros-v1", "word-problems-v1")
"""The paper's, whose successes are no ten times more frequent in the tail; their pages in docs/tasks say why."""

ELSEWHERE = ("gsm8k-hard-v1", "gsm8k-hard-tune-v1", "mnist-0to6-v1", "mnist-0to6-tune-v1")
"""Models and datasets are downloads: test_gsm8k_hard.py and test_mnist.py in tests/tasks_tests run with local ones."""

every_task = pytest.mark.parametrize(
    "ref",
    [
        *(
            pytest.param(ref, marks=pytest.mark.slow if ref in SAME_CLASS else ())
            for ref in TASKS
            if ref not in ELSEWHERE
        ),
        pytest.param(f"{TOYS}:Codes", id="Codes"),
        pytest.param(f"{TOYS}:Strings", id="Strings"),
    ],
)
every_baseline = pytest.mark.parametrize("name", BASELINES)


@functools.cache
def task_of(ref: str) -> Task:
    entry = registry.load("task", ref)
    made: Task = entry.target(configs.build(entry.config_class, {}))
    return made


@functools.cache
def prior_of(ref: str) -> tuple[Generator, Tensor]:
    """The prior and 300 of its samples."""
    prior = task_of(ref).prior()
    return prior, prior.sample(300, torch.Generator().manual_seed(0))


@functools.cache
def base_rate_of(ref: str) -> float | None:
    """The prior's enumerated success rate, a second's work on the largest tasks."""
    return engine.exact(task_of(ref), prior_of(ref)[0])


# -- tables and files -------------------------------------------------------------------------------------------


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """Every module below a package, those of its folders too."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


def test_every_file_with_a_run_is_in_the_table_of_baselines() -> None:
    found = {f"{module.__name__}:run" for module in modules(baselines) if hasattr(module, "run")}
    assert found == set(BASELINES.values())
    assert len(set(BASELINES.values())) == len(BASELINES)


def is_task(thing: type) -> bool:
    """A class that leaves parts to those made from it is no task yet."""
    return all(hasattr(thing, part) for part in ("prior", "verify", "show")) and not inspect.isabstract(thing)


def test_every_task_class_is_in_the_table_of_tasks() -> None:
    found = {
        f"{module.__name__}:{name}"
        for module in modules(tasks)
        for name, thing in vars(module).items()
        if inspect.isclass(thing) and thing.__module__ == module.__name__ and is_task(thing)
    }
    assert found == set(TASKS.values())
    assert len(set(TASKS.values())) == len(TASKS)


def test_ids_of_tasks_carry_versions_and_controls_are_baselines() -> None:
    assert all(name.rpartition("-v")[2].isdecimal() for name in TASKS)
    assert set(CONTROLS) <= set(BASELINES)
    assert len(set(CONTROLS)) == len(CONTROLS)


@pytest.mark.parametrize("kind_and_id", [*(("task", i) for i in TASKS), *(("baseline", i) for i in BASELINES)])
def test_a_configuration_is_frozen_and_goes_through_json_and_text(kind_and_id: tuple[Any, str]) -> None:
    cls = registry.load(*kind_and_id).config_class
    default = configs.build(cls, {})
    assert configs.build(cls, json.loads(json.dumps(configs.to_dict(default)))) == default
    assert configs.build(cls, {name: str(value) for name, value in configs.to_dict(default).items()}) == default
    for spec in configs.specs(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(default, spec.name, spec.default)
        assert spec.help
        ends = spec.choices or [end for end in (spec.low, spec.high) if end is not None]
        for value in ends:
            changed = configs.build(cls, {spec.name: str(value)})
            assert configs.build(cls, configs.to_dict(changed)) == changed
            assert getattr(changed, spec.name) == value


@every_baseline
def test_no_field_has_the_name_of_an_option_of_a_run(name: str) -> None:
    taken = set(inspect.signature(suite.run).parameters)
    assert {spec.name for spec in configs.specs(registry.load("baseline", name).config_class)} & taken == set()


# -- tasks -----------------------------------------------------------------------------------------------------------


@every_task
def test_the_prior_is_a_generator(ref: str) -> None:
    task, (prior, x) = task_of(ref), prior_of(ref)
    assert isinstance(task, Task)
    assert isinstance(prior, Generator)
    assert (x.dtype, x.shape) == (torch.int64, (300, prior.length))
    assert int(x.min()) >= 0
    assert int(x.max()) < prior.vocab_size
    assert torch.equal(x, task.prior().sample(300, torch.Generator().manual_seed(0)))
    assert not torch.equal(x, prior.sample(300, torch.Generator().manual_seed(1)))


@every_task
def test_log_prob_is_one_finite_number_for_each_sample(ref: str) -> None:
    prior, x = prior_of(ref)
    for policy in (prior, prior.tempered(2.0)):
        log_p = policy.log_prob(x)
        assert (log_p.dtype, log_p.shape) == (torch.float64, (300,))
        assert bool((log_p <= 1e-9).all())
        assert bool(log_p.isfinite().all())
    again = prior.log_prob(torch.cat([x[:5], x[:5]]))
    assert torch.equal(again[:5], again[5:])


@every_task
def test_the_uniform_policy_gives_every_sample_the_same_probability(ref: str) -> None:
    """Over well-formed samples, or, for networks that do not know them, over symbols: then over equal lengths."""
    task, (prior, _) = task_of(ref), prior_of(ref)
    uniform = prior.uniform()
    x = uniform.sample(300, torch.Generator().manual_seed(0))
    assert (x.dtype, x.shape) == (torch.int64, (300, prior.length))
    log_p = uniform.log_prob(x)
    if prior.length == 1 or not isinstance(uniform, Tempered):
        assert float(log_p.max() - log_p.min()) < 1e-9
        valid = engine.valid(task, x)
        assert valid is None or bool(valid.all())


@every_task
def test_rewards_are_one_truth_value_for_each_sample(ref: str) -> None:
    task, (prior, x) = task_of(ref), prior_of(ref)
    x = torch.cat([x, prior.uniform().sample(100, torch.Generator().manual_seed(1))])
    before = x.clone()
    rewards = task.verify(x)
    assert (rewards.dtype, rewards.shape) == (torch.bool, (400,))
    assert torch.equal(x, before)
    assert torch.equal(task.verify(x.flip(0)), rewards.flip(0))  # a sample's reward is its own
    assert torch.equal(engine.verify_heldout(task, x), rewards)
    valid = engine.valid(task, x)
    if valid is not None:
        assert (valid.dtype, valid.shape) == (torch.bool, (400,))
        assert not (rewards & ~valid).any()


@every_task
def test_show_gives_a_string_or_an_image_for_each_sample(ref: str) -> None:
    task, (_, x) = task_of(ref), prior_of(ref)
    shown = task.show(x[:20])
    assert len(shown) == 20
    if isinstance(shown, Tensor):
        assert shown.ndim == 3
        assert 0 <= float(shown.min()) <= float(shown.max()) <= 1
    else:
        assert all(isinstance(text, str) and text and "\n" not in text for text in shown)


@every_task
def test_the_tag_exact_says_whether_a_task_enumerates_its_successes(ref: str) -> None:
    assert ref not in TASKS or (base_rate_of(ref) is not None) == ("exact" in TAGS[ref])


@pytest.mark.slow
@every_task
def test_the_exact_rate_is_the_sum_over_the_successes(ref: str) -> None:
    """And a Monte Carlo count agrees with it."""
    task, (prior, _) = task_of(ref), prior_of(ref)
    if base_rate_of(ref) is None:
        assert engine.success_log_probs(task, prior) is None
        return
    hot = prior.tempered(3.0)  # succeeds often enough to count
    rate, log_p = engine.exact(task, hot), engine.success_log_probs(task, hot)
    assert rate is not None
    if log_p is not None:  # else it is summed without a list of them
        assert log_p.dtype == torch.float64
        assert rate == pytest.approx(float(np.exp(log_p.numpy()).sum()), rel=1e-12)
    x = hot.sample(4000, torch.Generator().manual_seed(2))
    hits = int(engine.verify_heldout(task, x).sum())
    assert hits == pytest.approx(4000 * rate, abs=5 * max(1.0, math.sqrt(4000 * rate * (1 - rate))))


REFERRING = ("gaussian", "addition", "addition-nozeros", "decoys", "hypergrid", "queens", "countdown", "ehrlich")
"""Families that give `references()`, policies that a method can be compared with."""


@every_task
def test_who_gives_references_is_known(ref: str) -> None:
    family = ref.removesuffix("-v1").removesuffix("-tune")
    assert ref not in TASKS or hasattr(task_of(ref), "references") == (family in REFERRING)


@pytest.mark.parametrize("ref", [f"{family}-v1" for family in REFERRING])
def test_references_are_policies_that_succeed_more_often(ref: str) -> None:
    task = task_of(ref)
    references: dict[str, Policy] = task.references()  # type: ignore[attr-defined]
    assert references
    for policy in references.values():
        assert isinstance(policy, Policy)
        rate, base = engine.exact(task, policy), base_rate_of(ref)
        assert rate is not None
        assert base is not None
        assert rate > base


@pytest.mark.parametrize("ref", TASKS)
def test_the_facts_of_every_task_are_known_before_any_method_runs(ref: str) -> None:
    """The tail of structured tasks holds ten times as many successes, a control's none more (docs/protocol.md)."""
    facts = registry.facts_of_task(ref)
    assert facts, f"run `suite list --measure {ref}`"
    if facts["base_rate"] is None:  # what it needs could not be installed where it was measured
        assert facts["extra"]
        return
    assert facts["low"] <= facts["base_rate"] <= facts["high"]
    if "-tune-" not in ref:
        assert facts["base_rate"] >= 1e-5 * (1 - 1e-9)
        assert facts["low"] <= 2e-3 if ref == "word-problems-v1" else facts["base_rate"] <= 1e-3  # paper, figure 5
    if ref.startswith("lock"):
        assert 0.5 <= facts["tail_enrichment"] <= 2
    elif "-tune-" not in ref and ref not in FLAT:
        assert facts["tail_enrichment"] >= 10


@every_task
def test_the_facts_are_those_of_the_task(ref: str) -> None:
    if ref not in TASKS:
        return
    task, facts = task_of(ref), registry.facts_of_task(ref)
    assert facts["space"] == getattr(task, "space", None)
    assert facts["extra"] == getattr(task, "extra", None)
    assert facts["config"] == configs.to_dict(task.config)
    rate = base_rate_of(ref)
    assert facts["estimator"] == ("monte-carlo" if rate is None else "exact")
    if rate is not None:
        assert rate == pytest.approx(facts["base_rate"], rel=1e-4)
        assert uniform_rate(task) == pytest.approx(facts["uniform_rate"], rel=1e-4)


def test_the_exact_rate_of_gaussian_v1_by_hand() -> None:
    """Bins of 0.2 on [−3, 3], N(0, 0.5²) on them, success at ±2: 1.0706e-4."""
    centres = [-3 + 0.2 * i for i in range(31)]
    density = [math.exp(-((c / 0.5) ** 2) / 2) for c in centres]
    expected = sum(d for c, d in zip(centres, density, strict=True) if abs(abs(c) - 2) < 1e-6) / sum(density)
    task = task_of("gaussian-v1")
    assert expected == pytest.approx(1.0706e-4, rel=1e-4)
    assert engine.exact(task, task.prior()) == pytest.approx(expected, rel=1e-6)
    total = task.prior().log_prob(torch.arange(31)[:, None]).exp().sum()
    assert float(total) == pytest.approx(1.0, abs=1e-12)
    assert [i for i in range(31) if task.verify(torch.tensor([[i]]))] == [5, 25]
    assert task.show(torch.tensor([[5], [15], [25]])) == ["-2.0", "+0.0", "+2.0"]
    tune = task_of("gaussian-tune-v1")
    assert tune.show((tune.verify(torch.arange(31)[:, None])).nonzero()) == ["-2.2", "+2.2"]


# -- baselines -------------------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {"batch": 100, "pool": 300, "features": 8, "predictor_epochs": 2}
"""Fields that make a run short, for the baselines that have them."""


def run(name: str, results: Path, task: str = "gaussian-v1", **options: Any) -> Record:
    fields = {spec.name for spec in configs.specs(registry.load("baseline", name).config_class)}
    config = {field: value for field, value in SMALL.items() if field in fields}
    weakest = WORKS_UNDER[registry.uses(registry.load("baseline", name)) or "rewards"][0]
    options = {"budget": 400, "results": results, "tracking": "off", "protocol": weakest} | options
    return suite.run(task, name, config=config, **options)


def no_nan(constant: str) -> None:
    raise AssertionError(constant)


@every_baseline
@pytest.mark.parametrize("task", ["gaussian-v1", pytest.param(f"{TOYS}:Strings", id="Strings", marks=pytest.mark.slow)])
def test_a_baseline_keeps_to_its_budget_and_its_record_is_whole(tmp_path: Path, name: str, task: str) -> None:
    record = run(name, tmp_path, task)
    assert record.status == "finished", record.result.error
    control = name in CONTROLS
    assert record.identity.baseline.control is control
    assert record.result.nre == (0 if control else 400)
    curve = record.result.curve
    nre = [point.nre for point in curve]
    assert [point.round for point in curve] == list(range(len(curve)))
    assert len(curve) >= 2
    assert nre == sorted(nre)
    assert nre == ([0] * len(curve) if control else [0, 100, 200, 300, 400])
    text = (record.folder / "record.json").read_text()
    assert json.loads(text, parse_constant=no_nan)["result"] == plain(record.result)
    for point in curve:
        assert 0 <= point.success_rate <= 1
        assert point.low <= point.success_rate <= point.high
        assert point.entropy is not None
        assert point.kl_prior is not None
        assert len(point.samples) == 8
    tallies = record.result.compute
    assert tallies.heldout.tokens > 0
    learns = name not in ("pretrained", "uniform", "temperature")
    if registry.uses_of(name) == "rewards":  # of failures alone it learns nothing
        learns = record.result.successes > 0
    assert (tallies.training.tokens > 0) == learns


@pytest.mark.slow
@every_baseline
def test_a_baseline_is_the_same_twice(tmp_path: Path, name: str) -> None:
    one, two = (run(name, tmp_path / place, f"{TOYS}:Strings", heldout="200", budget=200) for place in "ab")
    assert canonical(one.result) == canonical(two.result)


@every_baseline
def test_a_baseline_says_what_it_uses_and_runs_where_it_is_shown(tmp_path: Path, name: str) -> None:
    said = registry.uses_of(name)
    assert said is not None
    assert registry.uses(registry.load("baseline", name)) == said
    for protocol in set(PROTOCOLS) - set(WORKS_UNDER[said]):
        with pytest.raises(UserError, match=f"{name} uses {said}, which --protocol {protocol} does not show"):
            run(name, tmp_path, protocol=protocol)
    assert not list(tmp_path.iterdir())


WITHHELD = [name for name in BASELINES if registry.uses_of(name) != "rewards"]


@pytest.mark.parametrize("name", WITHHELD)
def test_failures_only_withholds_every_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """16 of 64 codes succeed: nothing that the oracle returns does, and the record says how many there were."""
    returned: list[int] = []
    collect = Oracle.collect

    def listening(oracle: Oracle, policy: Policy, n: int) -> Tensor:
        failures = collect(oracle, policy, n)
        returned.extend(failures[:, 0].tolist())
        return failures

    monkeypatch.setattr(Oracle, "collect", listening)
    record = run(name, tmp_path, f"{TOYS}:Codes", task_config={"codes": 64, "successes": 16}, protocol="failures-only")
    assert record.status == "finished", record.result.error
    winners = set(torch.randperm(64, generator=torch.Generator().manual_seed(0))[:16].tolist())
    assert not winners & set(returned)
    assert record.result.withheld == record.result.successes == record.result.nre - len(returned)
    assert (record.result.withheld > 0) == (name not in CONTROLS)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_blind_to_rewards(tmp_path: Path, name: str) -> None:
    """The same policies whatever succeeds: only the success rates differ."""
    one, two = (
        run(name, tmp_path / str(secret), f"{TOYS}:Codes", task_config={"codes": 64, "successes": 16, "secret": secret})
        for secret in (1, 2)
    )
    for a, b in zip(one.result.curve, two.result.curve, strict=True):
        assert (a.entropy, a.kl_prior, a.samples) == (b.entropy, b.kl_prior, b.samples)
    assert one.result.curve[-1].distinct_share != two.result.curve[-1].distinct_share


def test_banel_leaves_the_bulk_of_the_illustration(tmp_path: Path) -> None:
    """gaussian-v1, the paper's figure: the best round succeeds at least ten times as often as the prior."""
    config = {"batch": 100, "pool": 500, "epochs": 20, "filter_factor": 4, "failure_lr": 1e-3, "distil_lr": 1e-3}
    record = suite.run(
        "gaussian-v1", "banel", budget=400, config=config | {"distil_epochs": 1}, results=tmp_path, tracking="off"
    )
    assert record.result.improvement_best > 10
