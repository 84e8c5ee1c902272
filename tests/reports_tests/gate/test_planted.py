"""A small sample of the two long studies behind the gate, tests/gate/planted/."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

PLANTED = Path(__file__).parents[2] / "gate" / "planted"
sys.path.insert(0, str(PLANTED))

import false_alarms  # noqa: E402
import planted  # noqa: E402
from plants import PLANTS, SLOW_SAMPLER  # noqa: E402

from reports.gate import plan as gate_plan  # noqa: E402
from suite.errors import UserError  # noqa: E402


def test_there_are_at_least_fifteen_plants_and_each_edits_what_stands_there(tmp_path: Path) -> None:
    plants = (*PLANTS, SLOW_SAMPLER)
    assert len(plants) >= 15
    assert len({plant.name for plant in plants}) == len(plants)
    for plant in plants:
        for edit in plant.edits:
            assert (planted.ROOT / edit.file).read_text().count(edit.old) == 1, plant.name


SMALL = """
seeds: {reference: 12, pr: 4, nightly: 4}
cells:
  distillation:
    task: gaussian-v1
    baseline: banel
    budget: 100
    task_config: {sigma: 1.0}
    config: {batch: 100, pool: 500, epochs: 3, filter_factor: 2.0, distil_lr: 0.001, distil_epochs: 1}
    quantities: {first_lift: higher}
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_planted_regression_is_caught_and_unchanged_code_is_not(tmp_path: Path) -> None:
    """Distilling the rejected lowers the first lift from about +0.3 to about −0.3, ten standard deviations."""
    from suite.cli import main

    reference = tmp_path / "reference"
    reference.mkdir()
    (reference / "plan.yaml").write_text(SMALL)
    words = ["check", "--reference", str(reference), "--results", str(tmp_path / "results"), "--run"]
    assert main([*words, "--update"]) == 0
    tree = planted.copied(tmp_path / "tree")
    planted.planted(next(plant for plant in PLANTS if plant.name == "distillation on the rejected"), tree)
    verdict = planted.gate(tree, tmp_path / "fresh", "--no-equality", "--reference", str(reference))
    assert verdict["red"], json.dumps(verdict)
    assert "distillation first_lift" in planted.evidence(verdict)[0]
    pool = tmp_path / "pool"
    found = false_alarms.study(reference, "pr", runs=8, evaluations=50, kept_in=pool)
    assert found["invariants_broken"] == []
    assert found["disjoint"]["of"] == 2
    assert found["resampled"]["red"] <= 5
    (kept,) = pool.iterdir()
    kept.write_text(json.dumps({"values": {"first_lift": [-9.0] * 8}, "broken": []}))  # as if all had got worse
    assert false_alarms.study(reference, "pr", runs=8, evaluations=50, kept_in=pool)["disjoint"]["red"] == 2


@pytest.mark.parametrize(
    ("runs", "names", "message"),
    [
        (240, ["lock"], "no quantity of theirs is tested"),
        (240, ["tial"], "mode pr has no such cell.*tail"),
        (5, ["tail"], "takes 6 runs"),
    ],
)
def test_a_study_that_could_show_nothing_is_named(runs: int, names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        false_alarms.chosen(gate_plan.read(false_alarms.REFERENCE), "pr", runs, names)
