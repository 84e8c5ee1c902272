"""The forest plot shows each method's ratio to the best control where it belongs."""

from __future__ import annotations

from typing import Any

import pytest

from reports.board import leaderboard
from reports.figures import forest, of_report, style
from suite.store import records


def rows_of(results: Any) -> list[leaderboard.Row]:
    return leaderboard.rows(records.scan(results.folder)[0])


def eight(results: Any, baseline: str, final: float, task: str) -> None:
    """Eight seeds about `final`, a tenth up and down."""
    for seed in range(8):
        results.add(baseline, seed=seed, task=task, rates=(4e-4, final * (1.1 if seed % 2 else 1 / 1.1)))


def marks(figure: Any) -> dict[tuple[float, float], str]:
    """{(ratio, height): marker} of what is drawn as a point."""
    lines = [line for line in figure.axes[0].lines if line.get_marker() not in ("", "None") and len(line.get_xdata())]
    return {(float(line.get_xdata()[0]), round(float(line.get_ydata()[0]), 3)): line.get_marker() for line in lines}


def test_the_task_with_the_highest_ratio_is_on_top_and_the_interval_is_the_rows(results: Any) -> None:
    """0.1 over 0.01 is 10, on the second line 0.02 over 0.01 is 2; the line at 1 is where the control stands."""
    for task, final in (("gaussian-v1", 0.02), ("decoys-v1", 0.1)):
        eight(results, "banel", final, task)
        eight(results, "uniform", 0.01, task)
    rows = rows_of(results)
    figure = forest.figure(rows)
    assert figure is not None
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["decoys-v1", "gaussian-v1"]
    points = sorted(marks(figure), key=lambda point: point[1])
    assert [x for x, _ in points] == pytest.approx([10, 2])
    (row,) = [row for row in rows if row.task == "decoys-v1" and row.baseline == "banel"]
    whiskers = [list(map(float, line.get_xdata())) for line in ax.lines if len(line.get_xdata()) == 2]
    assert [row.improvement_over_control_low, row.improvement_over_control_high] in whiskers


def test_what_is_beyond_the_axis_has_an_arrow_and_what_is_untestable_no_whisker(results: Any) -> None:
    results.add("banel", rates=(4e-4, 1e-9))
    results.add("uniform", rates=(4e-4, 0.01))
    figure = forest.figure(rows_of(results))
    assert figure is not None
    assert marks(figure) == {(forest.SHOWN[0], 0.0): "<"}
    assert [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.8] == []


def test_without_a_control_there_is_nothing_to_draw(results: Any) -> None:
    results.add("banel")
    assert forest.figure(rows_of(results)) is None


@pytest.mark.usefixtures("unencoded")
def test_a_report_of_several_tasks_has_one(results: Any) -> None:
    for task in ("gaussian-v1", "decoys-v1"):
        results.add("banel", task=task)
        results.add("uniform", task=task)
    found = records.scan(results.folder)[0]
    rows = leaderboard.rows(found)
    assert "forest" in [drawn.name for drawn in of_report(found, rows)[0]]
    assert "forest" not in [drawn.name for drawn in of_report(found[:2], rows[:1])[0]]
    assert style.colours(["banel"]) == {"banel": style.BASELINES["banel"]}
