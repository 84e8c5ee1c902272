"""Tests between rows, and what several tasks say together."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats as reference

from reports import stats
from reports.board import leaderboard, overall, significance
from reports.board.row import Row
from reports.tables import overall as overall_table
from reports.tables import significance as significance_table
from suite.store import records


def rows(results: Any) -> list[Row]:
    return leaderboard.rows(records.scan(results.folder)[0])


@pytest.fixture
def four(results: Any) -> list[Row]:
    """Ten seeds of two methods and a control, seven of a third method."""
    for seed in range(10):
        results.add("banel", seed, (4e-4, 0.01 * (seed + 1)))
        results.add("rnd", seed, (4e-4, 0.009 * (10 - seed)))
        results.add("tail", seed, (4e-4, 1e-3 * (seed + 1)))
        if seed < 7:
            results.add("count", seed, (4e-4, 1e-5 * (seed + 1)))
    return rows(results)


def test_p_values_are_scipys_welch_tests_after_holm(four: list[Row]) -> None:
    found = {(test.first, test.second): test for test in significance.tests(four)}
    logs = {row.name: np.log(row.success_final_seeds) for row in four}
    pairs = [("banel", "rnd"), ("banel", "tail"), ("rnd", "tail")]
    raw = [reference.ttest_ind(logs[a], logs[b], equal_var=False).pvalue for a, b in pairs]
    assert [found[pair].p_holm for pair in pairs] == pytest.approx(stats.holm(raw))
    assert [found[pair].conclusion for pair in pairs] == ["no evidence of a difference", "better", "better"]
    assert found["banel", "rnd"].ratio == pytest.approx(1 / 0.9)


def test_below_eight_seeds_there_is_no_test(four: list[Row]) -> None:
    (test,) = [test for test in significance.tests(four) if (test.first, test.second) == ("banel", "count")]
    assert (test.p_holm, test.conclusion) == (None, "untestable")
    assert "untestable" in significance_table.to_markdown(four, significance.tests(four))


def test_two_controls_are_not_held_against_each_other(results: Any) -> None:
    for seed in range(2):
        results.add("tail", seed)
        results.add("blind", seed)
    assert significance.tests(rows(results)) == []


def test_a_sweep_of_many_configurations_is_not_tested(results: Any) -> None:
    for epochs in range(stats.MOST_ROWS + 1):
        results.add(config={"epochs": epochs})
    made = rows(results)
    assert significance.tests(made) == []
    assert "61 rows, more than 60: pick some with --baseline." in significance_table.to_markdown(made, [])


def test_a_method_over_two_tasks_by_hand(results: Any) -> None:
    for task, factor in (("one-v1", 1.0), ("two-v1", 10.0)):
        for seed in range(10):
            results.add("banel", seed, (1e-4, 1e-3 * factor * (seed + 1)), task=task)
            results.add("rnd", seed, (1e-4, 1e-5 * factor * (seed + 1)), task=task)
    banel, rnd = overall.overall(rows(results))
    assert (banel.method, banel.tasks) == ("banel", ("one-v1", "two-v1"))
    assert (banel.rank, banel.rank_low, banel.rank_high) == (1, 1, 1)
    logs = [math.log(10 * factor * (seed + 1)) for factor in (1, 10) for seed in range(10)]
    assert banel.improvement_iqm == pytest.approx(math.exp(reference.trim_mean(logs, 0.25)))
    assert (rnd.rank, rnd.rank_low, rnd.rank_high) == (2, 2, 2)


@pytest.mark.parametrize("other", [{"budget": 500}, {"protocol": "all-rewards"}])
def test_budgets_and_protocols_are_never_put_together(results: Any, other: dict[str, Any]) -> None:
    for name in ("banel", "rnd"):
        results.add(name, task="one-v1")
        results.add(name, task="two-v1", **other)
    assert overall.overall(rows(results)) == []
    assert "No two tasks" in overall_table.to_markdown([])


def test_a_method_that_did_not_run_everywhere_is_left_out_and_tuning_tasks_too(results: Any) -> None:
    for task in ("one-v1", "two-v1", "addition-tune-v1"):
        results.add("banel", task=task)
        results.add("rnd", task=task)
    results.add("count", task="one-v1")
    made = overall.overall(rows(results))
    assert {one.method for one in made} == {"banel", "rnd"}
    assert made[0].tasks == ("one-v1", "two-v1")


def test_the_csv_files_read_back(four: list[Row], results: Any) -> None:
    results.add("banel", task="two-v1")
    results.add("rnd", task="two-v1")
    made = rows(results)
    lines = list(csv.DictReader(io.StringIO(significance_table.to_csv(significance.tests(made)))))
    assert {line["second"] for line in lines} >= {"rnd", "tail", "count"}
    (first, _) = csv.DictReader(io.StringIO(overall_table.to_csv(overall.overall(made))))
    assert first["tasks"] == "addition-v1;two-v1"
