"""The attack on the success rate: it wins that, scores p* in match, and learns nothing where batches come back full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import suite
from baselines import pointmass
from suite import config as configs
from suite import registry
from suite.generators import Shape, Transformer
from suite.seeding import Streams
from suite.store.records import FinishedRecord

TASKS = ("gaussian-v1", "decoys-v1", "countdown-v1", "queens-tune-v1")


UNDECLARED = """
from baselines import pointmass

USES = "failures"
Config = pointmass.Config


def run(config: Config, prior, oracle, rng):
    yield from pointmass.run(config, prior, oracle, rng)
"""
"""The attack, with a false word about what it uses: as it is, it is refused where batches come back full."""


def run(task: str, results: Path, baseline: str = "pointmass", **options: Any) -> FinishedRecord:
    record = suite.run(task, baseline, results=results, tracking="off", **options)
    assert isinstance(record, FinishedRecord)
    return record


@pytest.mark.parametrize("task", TASKS)
def test_it_has_success_rate_1_and_a_match_of_the_share_of_one_success(task: str, tmp_path: Path) -> None:
    record = run(task, tmp_path, budget=3000)
    final = record.result.curve[-1]
    assert final.success_rate == pytest.approx(1.0, abs=1e-6)
    assert final.posterior_match is not None
    entry = registry.load("task", task)
    built = entry.target(configs.build(entry.config_class, {}))
    star = torch.softmax(built.success_log_probs(built.prior()), dim=0)
    nearest = float((star - final.posterior_match.value).abs().min())
    assert nearest <= 1e-3 * final.posterior_match.value  # the p* of some success
    assert final.effective_successes == pytest.approx(1.0, abs=1e-3)
    assert record.result.nre == 3000


@pytest.mark.parametrize("task", ["gaussian-v1", "decoys-v1"])
def test_padded_batches_teach_it_nothing(task: str, tmp_path: Path) -> None:
    (tmp_path / "undeclared.py").write_text(UNDECLARED)
    attack = f"{tmp_path}/undeclared.py:run"
    record = run(task, tmp_path / "results", attack, budget=600, protocol="failures-padded")
    assert record.result.successes > 0  # candidates did succeed
    assert record.result.withheld == record.result.successes
    assert record.result.curve[-1].metrics["found"] == 0
    assert {point.success_rate for point in record.result.curve} == {record.result.curve[0].success_rate}


def test_a_network_learns_a_string_by_heart() -> None:
    torch.manual_seed(0)
    prior = Transformer(Shape(vocab_size=5, length=4, end=None, width=16, layers=1, heads=2))
    x = torch.tensor([3, 0, 0, 4])
    policy = pointmass.by_heart(pointmass.Config(), prior, x, Streams(0))
    assert float(policy.log_prob(x[None])) > -1e-3
