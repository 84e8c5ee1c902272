"""Rows of the leaderboard from records on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from reports.board import leaderboard
from reports.figures import scaling
from reports.read import select
from suite.engine import ENGINE
from suite.measure import intervals
from suite.store import records

Rows = Callable[[], dict[str, Any]]


def test_a_row_by_hand(results: Any, rows: Rows) -> None:
    results.add(seed=0, rates=(4e-4, 0.2, 0.1), result={"first_success": 300, "successes": 2})
    results.add(seed=1, rates=(4e-4, 2e-4, 1e-3), meta={"tuning": {"study": "s", "nre": 500, "heldout": 0}})
    row = rows()["banel"]
    assert (row.task, row.baseline, row.protocol, row.budget) == ("addition-v1", "banel", "failures-only", 1000)
    assert (row.seeds, row.seed_list, row.failed, row.control) == (2, (0, 1), 0, False)
    assert row.base_rate == pytest.approx(4e-4)
    assert row.success_final_geomean == pytest.approx(0.01)
    assert row.success_final_mean == pytest.approx(0.0505)
    assert row.success_final_median == pytest.approx(0.0505)
    assert row.success_final_std == pytest.approx(0.099 / math.sqrt(2))
    assert row.success_final_seeds == (0.1, 1e-3)
    assert row.success_best_mean == pytest.approx(0.1005)
    assert row.success_best_geomean == pytest.approx(math.sqrt(0.2 * 1e-3))
    assert row.improvement_final_geomean == pytest.approx(25)
    assert row.improvement_final_mean == pytest.approx((250 + 2.5) / 2)
    assert row.improvement_best_mean == pytest.approx((500 + 2.5) / 2)
    assert row.estimator == "exact"
    assert row.best_selected_on == "same"
    assert (row.effective_successes, row.distinct_successes) == (300, 30)  # of the last of three points
    assert (row.distinct_share, row.valid_share, row.entropy, row.kl_prior) == (0.9, 0.75, 11.5, 1.0)
    assert (row.successes_mean, row.nre_mean, row.seconds_mean, row.seconds_heldout_mean) == (1, 1000, 60, 5)
    assert row.flops_mean == 6e12  # 3 + 2 + 1, without the 9 of held-out measurement
    assert row.tuning_nre == 500
    assert (row.first_success_median, row.first_success_seeds) == (300, 1)  # S(300) = 1/2
    assert (row.nre_to_10x, row.nre_to_10x_seeds) == (500, 1)
    assert (row.nre_to_100x, row.nre_to_100x_seeds) == (500, 1)


def test_interval_of_the_final_rate_stays_a_probability(results: Any, rows: Rows) -> None:
    results.add(seed=0, rates=(4e-4, 0.9))
    results.add(seed=1, rates=(4e-4, 0.1))
    row = rows()["banel"]
    assert intervals.t_interval_log([0.9, 0.1])[2] > 1  # what it would be
    assert row.success_final_geomean_high == 1
    assert row.success_final_geomean_low == pytest.approx(intervals.t_interval_log([0.9, 0.1])[1])


def test_estimator_is_that_of_the_final_policy(results: Any, rows: Rows) -> None:
    record = results.add(rates=(4e-4, 0.1))
    path = record.folder / "record.json"
    content = json.loads(path.read_text())
    content["result"]["curve"][-1]["estimator"] = "exact/accept"  # a filtered policy, while the prior's is exact
    path.write_text(json.dumps(content))
    assert rows()["banel"].estimator == "exact/accept"


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "all-rewards"},
        {"duplicates": "cache"},
        {"budget": 500},
        {"n": 10000},
        {"device": "cuda"},
        {"threads": 2},
        {"config": {"epochs": 2}},
        {"task_config": {"digits": 3}},
        {"task": "addition-nozeros-v1"},
    ],
)
def test_nothing_is_averaged_across_settings(results: Any, other: dict[str, Any]) -> None:
    results.add(rates=(4e-4, 0.1))
    results.add(rates=(4e-4, 0.2), **other)
    made = leaderboard.rows(records.scan(results.folder)[0])
    assert sorted(row.success_final_mean for row in made) == pytest.approx([0.1, 0.2])


def test_configurations_are_told_apart_by_what_differs(results: Any, rows: Rows) -> None:
    results.add(config={"epochs": 10, "filter": {"factor": 4.0}, "batch": 500})
    results.add(config={"epochs": 20, "filter": {"factor": 4.0}, "batch": 500})
    results.add(config={"epochs": 20, "filter": {"factor": 2.0}, "batch": 500})
    results.add("rnd", config={"lr": 0.1})
    assert set(rows()) == {
        "banel (epochs=10, filter.factor=4.0)",
        "banel (epochs=20, filter.factor=4.0)",
        "banel (epochs=20, filter.factor=2.0)",
        "rnd",
    }


def test_a_field_that_a_configuration_lacks_is_not_a_null(results: Any, rows: Rows) -> None:
    results.add(config={"epochs": None})
    results.add(config={})
    assert set(rows()) == {"banel (epochs=null)", "banel (no epochs)"}


def test_the_best_control_has_the_largest_median_of_final_rates(results: Any, rows: Rows) -> None:
    for seed in range(8):
        results.add(seed=seed, rates=(4e-4, 0.1 + 0.01 * seed))
        results.add("blind", seed, (4e-4, 0.9 if seed == 0 else 1e-3), best=0.95)  # mean 0.113, median 0.001
        results.add("tail", seed, (4e-4, 0.02 + 0.001 * seed))  # mean and median 0.0235
        results.add("uniform", seed, (4e-4, 0.005))
    made = rows()
    assert made["banel"].best_control == "tail"
    assert made["banel"].improvement_over_control == pytest.approx(0.135 / 0.0235)
    assert made["banel"].improvement_over_control_low == pytest.approx(0.1 / 0.9)  # whichever truly is the best
    assert made["tail"].improvement_over_control_note == "the best oracle-free control"
    assert made["tail"].improvement_over_control is None


@pytest.mark.parametrize(
    ("place", "best"),
    [
        ({"duplicates": "cache"}, "tail"),
        ({"threads": 2}, "tail"),
        ({"budget": 500}, "tail"),
        ({"budget": 500, "config": {"batch": 100}}, None),  # which makes as many rounds as the budget has batches
        ({"protocol": "all-rewards"}, "tail"),
        ({"n": 100}, None),
        ({"task_config": {"digits": 3}}, None),
    ],
)
def test_a_control_serves_every_protocol_duplicate_policy_and_budget(
    results: Any, rows: Rows, place: dict[str, Any], best: str | None
) -> None:
    """It asks for no reward. Table and figure of scaling take the same controls."""
    results.add(rates=(4e-4, 0.1))
    results.add("tail", rates=(4e-4, 0.01), **place)
    assert rows()["banel"].best_control == best
    found = records.scan(results.folder)[0]
    (method,) = [record for record in found if record.baseline == "banel"]
    assert list(scaling.controls(found, method)) == ([] if best is None else [best])


def test_a_control_that_ran_in_several_settings_counts_once(results: Any, rows: Rows) -> None:
    """That of the run's own setting, 0.02; else that with the most seeds."""
    results.add(rates=(4e-4, 0.1))
    results.add("tail", rates=(4e-4, 0.02))
    for seed in range(2):
        results.add("tail", seed, rates=(4e-4, 0.5), budget=500)
    assert rows()["banel"].best_control_rate == pytest.approx(0.02)
    results.add("rnd", rates=(4e-4, 0.1), protocol="all-rewards")
    assert rows()["rnd"].best_control_rate == pytest.approx(0.5)


def test_a_deterministic_control_needs_no_eight_seeds(results: Any, rows: Rows) -> None:
    for seed in range(8):
        results.add(seed=seed, rates=(4e-4, 0.1 + 0.01 * seed))
    for seed in range(2):
        results.add("uniform", seed, (4e-4, 0.053))
    assert rows()["banel"].improvement_over_control_note == "interval above 1"


def test_two_seeds_are_untestable(results: Any, rows: Rows) -> None:
    for seed in range(2):
        results.add(seed=seed, rates=(4e-4, 0.1 + 0.01 * seed))
        results.add("tail", seed, (4e-4, 0.01 + 0.001 * seed))
    assert rows()["banel"].improvement_over_control_note.startswith("untestable: 2 of the method and 2 of the")


def test_a_control_below_the_base_is_pointed_out(results: Any, rows: Rows) -> None:
    results.add(rates=(4e-4, 0.1))
    results.add("uniform", rates=(4e-4, 1e-4))
    assert rows()["banel"].best_control_note == "it is below the base"


def test_a_control_that_may_be_better_than_the_best_is_pointed_out(results: Any, rows: Rows) -> None:
    results.add(rates=(0.01, 0.1), n=1000)
    results.add("uniform", rates=(0.01, 1e-3), n=1000)
    results.add("tail", rates=(0.01, 0.0), n=1000)  # upper end 1 - 0.025^(1/1000) = 0.0037
    row = rows()["banel"]
    assert row.best_control == "uniform"
    assert row.best_control_note.startswith("it is below the base; tail is only known to be below 0.0037")


def test_without_controls_there_is_no_headline(results: Any, rows: Rows) -> None:
    results.add()
    row = rows()["banel"]
    assert (row.best_control, row.improvement_over_control) == (None, None)
    assert row.improvement_over_control_note == "no oracle-free control ran here"


def test_no_success_in_a_sample_is_an_upper_bound_and_no_zero(results: Any, rows: Rows) -> None:
    results.add(seed=0, rates=(4e-3, 0.01), n=1000)
    results.add(seed=1, rates=(4e-3, 0.0), n=1000)
    results.add(seed=2, rates=(4e-3, 0.0), n=1000)
    results.add(seed=3, rates=(4e-3, 0.0), n=1000)
    row = rows()["banel"]
    upper = 1 - 0.025 ** (1 / 1000)
    assert row.success_final_seeds == (0.01, None, None, None)
    assert row.success_final_seeds_high[1] == pytest.approx(upper)
    assert (row.success_final_geomean, row.improvement_final_geomean) == (None, None)
    high = intervals.clopper_pearson(10, 1000)[1]
    bound = intervals.t_interval_log([high, upper, upper, upper])[2]  # over the upper ends of the runs
    assert (row.success_final_upper, row.success_final_geomean_low) == (pytest.approx(bound), 0)
    assert row.expected_evaluations_low == pytest.approx(1 / bound)
    assert row.expected_evaluations_high is None
    assert row.success_final_mean == pytest.approx(0.0025)


def test_a_row_that_saw_no_success_has_no_zero_anywhere(results: Any, rows: Rows) -> None:
    for seed in range(2):
        results.add(seed=seed, rates=(0.0, 0.0), n=1000)
    row = rows()["banel"]
    names = ("base_rate", "success_final_mean", "success_final_median", "success_final_std", "success_best_mean")
    assert {name: getattr(row, name) for name in names} == dict.fromkeys(names)
    assert (row.improvement_final_mean, row.nre_to_10x) == (None, None)
    assert row.nre_to_10x_seeds == 0  # 10 x the upper end of the base: not surely reached


def test_a_computed_zero_is_a_zero(results: Any, rows: Rows) -> None:
    for seed in range(2):
        results.add(seed=seed, rates=(4e-4, 0.0))
    row = rows()["banel"]
    assert (row.success_final_mean, row.success_final_seeds, row.success_final_upper) == (0, (0, 0), 0)


def test_held_out_off_leaves_only_what_the_ledger_says(results: Any, rows: Rows) -> None:
    fields = {"first_success": 700, "successes": 3}
    results.add(rates=(None, None), heldout="off", result=fields)
    results.add("tail", rates=(None, None), heldout="off")
    row = rows()["banel"]
    assert (row.success_final_mean, row.base_rate, row.nre_to_10x_seeds, row.effective_successes) == (None,) * 4
    assert (row.first_success_median, row.successes_mean, row.nre_mean) == (700, 3, 1000)
    assert row.improvement_over_control_note == "held-out measurement is off"


def test_failed_runs_are_counted_and_left_out(results: Any, rows: Rows) -> None:
    results.add(seed=0, rates=(4e-4, 0.1))
    results.add(seed=1, error="loss is nan")
    row = rows()["banel"]
    assert (row.seeds, row.failed, row.seed_list) == (1, 1, (0,))
    assert row.success_final_mean == pytest.approx(0.1)


def test_a_row_of_failed_runs_only_is_empty(results: Any, rows: Rows) -> None:
    results.add(error="loss is nan")
    row = rows()["banel"]
    assert (row.seeds, row.failed, row.success_final_mean, row.nre_mean, row.verified) == (0, 1, None, None, None)


@pytest.mark.parametrize(("verdicts", "expected"), [((True, True), True), ((True, False), False), ((True, None), None)])
def test_verified_only_where_every_cell_is(
    results: Any, rows: Rows, verdicts: tuple[bool | None, ...], expected: bool | None
) -> None:
    for seed, verdict in enumerate(verdicts):
        record = results.add(seed=seed)
        if verdict is not None:
            results.verify(record, verdict)
    assert rows()["banel"].verified is expected


def test_rows_of_an_edited_method_are_those_of_its_newest_source(results: Any, rows: Rows) -> None:
    results.add(seed=0, rates=(4e-4, 0.1), source="old", meta={"finished": "2026-01-01T00:00:00+00:00"})
    results.add(seed=1, rates=(4e-4, 0.2), source="old", meta={"finished": "2026-01-01T00:00:00+00:00"})
    results.add(seed=0, rates=(4e-4, 0.3), source="new", meta={"finished": "2026-01-02T00:00:00+00:00"})
    assert rows()["banel"].success_final_seeds == (0.3,)
    _, left_out = select.current(records.scan(results.folder)[0])
    assert left_out == ["2 records of an earlier version of the method's source left out: banel"]


def test_rows_of_two_engines_are_those_of_the_engine_that_ran_last(results: Any, rows: Rows) -> None:
    """As after an update: one seed ran again by now. What an earlier engine left is said, and never averaged in."""
    for seed in (0, 1):
        results.add(seed=seed, rates=(4e-4, 0.1), engine=ENGINE - 1, meta={"finished": "2026-01-01T00:00:00+00:00"})
    results.add("tail", rates=(4e-4, 0.2), engine=ENGINE - 1, meta={"finished": "2026-01-01T00:00:00+00:00"})
    results.add(seed=0, rates=(4e-4, 0.3), meta={"finished": "2026-01-02T00:00:00+00:00"})
    assert rows()["banel"].success_final_seeds == (0.3,)
    assert rows()["tail"].success_final_seeds == (0.2,)
    kept, left_out = select.current(records.scan(results.folder)[0])
    assert left_out == ["2 records of an earlier version of the engine left out: banel"]
    lines = select.notices(kept)
    assert lines[0] == (
        f"1 records are of engine {ENGINE - 1}, this is engine {ENGINE}, whose results may differ: "
        "`suite bench` would run them again"
    )
    assert f"mixed engine: {ENGINE - 1}, {ENGINE}; nothing is averaged across them" in lines


def test_records_of_before_engines_had_numbers_are_read_as_engine_0(results: Any, rows: Rows) -> None:
    path = results.add().folder / "record.json"
    content = json.loads(path.read_text())
    del content["identity"]["engine"], content["meta"]["version"]
    content["meta"]["engine"] = "0.1.0"
    content["cell"] = records.cell_of(content["identity"])
    path.write_text(json.dumps(content))
    assert list(rows()) == ["banel"]
    (older,) = records.scan(results.folder)[0]
    assert older.identity.engine == 0
    assert select.notices([older])[0].startswith(f"1 records are of engine 0, this is engine {ENGINE}")


def test_records_of_an_earlier_task_are_never_compared_with_later_ones(results: Any, rows: Rows) -> None:
    results.add("tail", rates=(4e-4, 0.5), task_source="old", meta={"finished": "2026-01-01T00:00:00+00:00"})
    results.add(rates=(4e-4, 0.1), task_source="new", meta={"finished": "2026-01-02T00:00:00+00:00"})
    assert list(rows()) == ["banel"]


def test_two_records_of_one_cell_that_disagree_are_named_and_count_once(results: Any, rows: Rows) -> None:
    first = results.add(rates=(4e-4, 0.1), meta={"finished": "2026-01-01T00:00:00+00:00"})
    second = results.add(rates=(4e-4, 0.2), folder="copy", meta={"finished": "2026-01-02T00:00:00+00:00"})
    assert first.cell == second.cell
    assert rows()["banel"].success_final_seeds == (0.1,)
    (line,) = select.current(records.scan(results.folder)[0])[1]
    assert line.startswith(f"two records of cell {first.cell} disagree (banel on addition-v1, seed 0)")
    assert str(first.folder) in line
    assert str(second.folder) in line


def test_two_equal_records_of_one_cell_are_one(results: Any) -> None:
    results.add()
    results.add(folder="copy")
    kept, lines = select.current(records.scan(results.folder)[0])
    assert (len(kept), lines) == (1, [])


def test_methods_come_before_controls_the_best_first(results: Any, rows: Rows) -> None:
    for name, rate in {"rnd": 1e-3, "banel": 0.1, "tail": 0.5, "uniform": 0.6}.items():
        results.add(name, rates=(4e-4, rate))
    results.add("count", error="failed")
    assert list(rows()) == ["banel", "rnd", "count", "uniform", "tail"]


# -- a base rate that was measured before any method ran ---------------------------------------------------------------

MEASURED = {"base_rate": 1e-3, "low": 8.7e-4, "high": 1.15e-3, "estimator": "monte-carlo", "n": 200_000}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (MEASURED, 201 / 210_000),  # 1 of 10,000 in the run, 200 of 200,000 before it
        (MEASURED | {"estimator": "exact", "n": None}, 1e-3),
        (MEASURED | {"config": {"codes": 3}}, 1e-4),  # of another task than ran
        (MEASURED | {"source_sha256": "old"}, 1e-4),
        ({**MEASURED, "base_rate": None}, 1e-4),
    ],
)
def test_the_measured_base_rate_of_a_task_counts(
    results: Any, rows: Rows, facts: dict[str, Any], expected: float
) -> None:
    """From one hit in 10,000 a base of 1e-4 was taken, and the method that did nothing was 4 times as good."""
    results.folder.mkdir()
    known = {"task.py:Task": {"config": {}, "source_sha256": "now"} | facts}
    (results.folder.parent / "measured.json").write_text(json.dumps(known))
    meta = {"files": {"task": "../../../task.py"}}
    results.add("pretrained", rates=(1e-4, 4e-4), n=10_000, task="task.py:Task", task_source="now", meta=meta)
    row = rows()["pretrained"]
    assert row.base_rate == pytest.approx(expected)
    assert row.improvement_final_geomean == pytest.approx(4e-4 / expected)


def test_a_measured_base_rate_that_cannot_be_read_is_none(results: Any, rows: Rows) -> None:
    results.folder.mkdir()
    (results.folder.parent / "measured.json").write_text("{")
    meta = {"files": {"task": "../../../task.py"}}
    results.add("pretrained", rates=(1e-4, 4e-4), n=10_000, task="task.py:Task", meta=meta)
    assert rows()["pretrained"].base_rate == pytest.approx(1e-4)
