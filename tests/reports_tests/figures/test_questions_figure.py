"""The best policy so far by question."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.colors import to_hex

from reports.board import leaderboard
from reports.figures import questions, style
from suite.measure.intervals import clopper_pearson
from suite.store import records


def drawn(results: Any) -> Any:
    found = records.scan(results.folder)[0]
    return questions.figure(found, leaderboard.rows(found), ("banel", "rnd"))


def in_colour(axes: Any, baseline: str) -> list[Any]:
    return [line for line in axes.lines if to_hex(line.get_color()).upper() == style.BASELINES[baseline]]


def test_the_median_seed_is_thick_with_its_own_interval(results: Any) -> None:
    """Best of 20, 30 and 90 hits of 1,000: the second seed; the last round falls to 10, the best so far does not."""
    for seed, hits in enumerate((90, 20, 30)):
        results.add(seed=seed, rates=(0.001, hits / 1000, 0.01), n=1000)
    (axes,) = drawn(results).axes
    thick, *thin = in_colour(axes, "banel")
    assert [line.get_linewidth() for line in (thick, *thin)] == [2.2, 0.8, 0.8]
    assert list(thick.get_xdata()) == [0, 500, 1000, 1000]
    assert list(thick.get_ydata()) == [0.001, 0.03, 0.03, 0.03]
    (band,) = axes.collections
    edges = {float(y) for x, y in band.get_paths()[0].vertices if x > 500}
    assert sorted(edges) == pytest.approx(clopper_pearson(30, 1000))


def test_every_question_has_a_panel_and_one_legend_names_all(results: Any) -> None:
    for question in range(4):
        config = {"task": "word-problems-v1", "task_config": {"question": question}}
        for baseline, end in (("banel", 0.02), ("rnd", 0.01), ("pretrained", 4e-4), ("tail", 0.005)):
            results.add(baseline, rates=(4e-4, end), **config)
    figure = drawn(results)
    shown = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in shown] == [f"question={i} · base 4.0e-4" for i in range(4)]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["banel", "rnd", "pre-trained", "control: tail"]
    for ax in shown:
        assert not in_colour(ax, "pretrained")
        (control,) = in_colour(ax, "tail")
        assert list(control.get_ydata()) == pytest.approx([0.005, 0.005])


def test_without_a_method_nothing_is_drawn(results: Any) -> None:
    results.add("tail")
    assert drawn(results) is None
