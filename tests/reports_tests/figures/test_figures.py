"""What the curves show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from reports.board import leaderboard
from reports.figures import curves, style
from suite.store import records


def panel(results: Any) -> Any:
    found = records.scan(results.folder)[0]
    figure = curves.figure(found, leaderboard.rows(found))
    assert figure is not None
    return figure.axes[0]


def thick(axes: Any) -> list[Any]:
    return [line for line in axes.lines if line.get_linewidth() > 2]


def test_geometric_mean_is_thick_and_seeds_are_thin_in_the_methods_colour(results: Any) -> None:
    results.add(seed=0, rates=(4e-4, 1e-3, 0.01))
    results.add(seed=1, rates=(4e-4, 9e-3, 0.04))
    axes = panel(results)
    (middle,) = thick(axes)
    assert to_hex(middle.get_color()).upper() == style.BASELINES["banel"]
    assert list(middle.get_xdata()) == [0, 500, 1000]
    assert list(middle.get_ydata()) == pytest.approx([4e-4, 3e-3, 0.02])  # sqrt(1 x 9), sqrt(1 x 4)
    thin = [line for line in axes.lines if line.get_linewidth() < 1 and len(line.get_xdata())]
    assert len(thin) == 2
    assert axes.get_yscale() == "log"


def test_seeds_on_other_grids_hold_their_last_rate(results: Any) -> None:
    results.add(seed=0, rates=(4e-4, 1e-3, 0.01), nre=[0, 400, 1000])
    results.add(seed=1, rates=(4e-4, 9e-3), nre=[0, 700])
    (middle,) = thick(panel(results))
    assert list(middle.get_xdata()) == [0, 400, 700, 1000]
    expected = np.sqrt([4e-4 * 4e-4, 1e-3 * 4e-4, 1e-3 * 9e-3, 0.01 * 9e-3])
    assert list(middle.get_ydata()) == pytest.approx(expected)


def test_a_point_without_success_is_a_triangle_at_its_bound_and_a_gap(results: Any) -> None:
    results.add(seed=0, rates=(0.01, 0.0, 0.02), n=1000)
    axes = panel(results)
    (middle,) = thick(axes)
    assert np.isnan(middle.get_ydata()).tolist() == [False, True, False]
    (offsets, *_) = (collection.get_offsets() for collection in axes.collections)
    assert np.asarray(offsets).tolist() == [[500, pytest.approx(1 - 0.025 ** (1 / 1000))]]


def test_a_method_without_any_success_is_triangles_alone(results: Any) -> None:
    results.add("banel", rates=(0.0, 0.0), n=1000)
    results.add("rnd", rates=(0.01, 0.01), n=1000)
    axes = panel(results)
    heights = [np.asarray(collection.get_offsets())[:, 1].tolist() for collection in axes.collections]
    assert [pytest.approx(1 - 0.025 ** (1 / 1000))] * 2 in heights


def test_controls_are_dashed_at_their_final_rate(results: Any) -> None:
    results.add()
    results.add("tail", rates=(4e-4, 0.02))
    axes = panel(results)
    (control,) = (line for line in axes.lines if to_hex(line.get_color()).upper() == style.BASELINES["tail"])
    assert control.is_dashed()
    assert list(control.get_ydata()) == [0.02, 0.02]
    labels = [text.get_text() for text in axes.figure.axes[1].get_legend().get_texts()]
    assert labels == ["prior", "banel", "tail (best control)"]


def test_nothing_measured_is_nothing_drawn(results: Any) -> None:
    results.add(rates=(None, None), heldout="off")
    results.add(seed=1, error="failed")
    found = records.scan(results.folder)[0]
    assert curves.figure(found, leaderboard.rows(found)) is None


def test_names_are_no_formulas(results: Any) -> None:
    results.add("$x^", rates=(4e-4, 0.1))
    found = records.scan(results.folder)[0]
    figure = curves.figure(found, leaderboard.rows(found))
    assert figure is not None
    assert style.encode(figure, "png").startswith(b"\x89PNG")


def test_colours_are_fixed_and_different() -> None:
    assert len(set(style.BASELINES.values()) | set(style.OTHERS)) == len(style.BASELINES) + len(style.OTHERS)
    assert style.colours(["rnd", "mine.py:run"])["rnd"] == style.colours(["rnd", "banel"])["rnd"]


def test_every_shipped_baseline_has_its_colour() -> None:
    baselines = pytest.importorskip("baselines")
    assert set(baselines.BASELINES) <= set(style.BASELINES)
