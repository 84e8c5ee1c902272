"""What bars, compute, profiles, epochs and galleries show."""

from __future__ import annotations

import json
import logging
import warnings
from typing import Any

import msgspec
import pytest
from matplotlib.figure import Figure

from reports.board import leaderboard
from reports.figures import bars, compute, curves, gallery, of_report, profiles, scaling, style
from reports.read import series
from suite.store import records


def read(results: Any) -> tuple[list[records.Record], list[Any]]:
    found = records.scan(results.folder)[0]
    return found, leaderboard.rows(found)


def test_bars_hold_each_row_against_base_and_best_control(results: Any) -> None:
    """0.1 / 4e-4 = 250 over base, 0.1 / 0.01 = 10 over the control; the control itself stands at 1."""
    results.add(rates=(4e-4, 0.1))
    results.add("tail", rates=(4e-4, 0.01))
    _, (method, control) = read(results)
    assert bars.over_base(method).value == pytest.approx(250)
    assert bars.over_control(method).value == pytest.approx(10)
    assert bars.over_control(method).low is None  # one seed: untestable
    assert bars.over_control(control).value == pytest.approx(1)
    assert bars.over_control(control).seeds == pytest.approx([1])
    figure = bars.figure([method, control])
    assert figure is not None
    assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx([249, 24])  # from 1 on


def test_compute_counts_what_a_method_pays_for(results: Any) -> None:
    """3e12 training + 2e12 filtering + 1e12 verifying; the 9e12 of held-out measurement are the suite's."""
    results.add()
    found, rows = read(results)
    assert series.flops(found[0]) == 6e12
    figure = compute.figure(found, rows)
    assert figure is not None
    large = figure.axes[0].collections[-1].get_offsets()
    assert [list(map(float, point)) for point in large] == [[6e12, pytest.approx(0.1)]]


def test_profiles_weigh_tasks_alike(results: Any) -> None:
    """Above 10 x: both seeds on one task, one of four on the other, so (1 + 1/4) / 2."""
    assert profiles.share_above({"a": [20, 30], "b": [1, 2, 3, 40]}, 10) == pytest.approx(0.625)
    results.add(rates=(1e-3, 0.1))
    assert profiles.figure(*read(results)) is None  # nothing to compare
    results.add("rnd", rates=(1e-3, 0.002))
    figure = profiles.figure(*read(results))
    assert figure is not None
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["banel (1 task)", "rnd (1 task)"]


def test_epochs_make_a_curve_where_nothing_else_differs(results: Any) -> None:
    for epochs, rate in ((1, 1e-3), (10, 4e-3), (100, 1e-2)):
        results.add(rates=(1e-3, rate), config={"epochs": epochs, "batch": 500})
        results.add(seed=1, rates=(1e-3, 4 * rate), config={"epochs": epochs, "batch": 500})
    results.add(rates=(1e-3, 0.5), config={"epochs": 10, "batch": 250})  # another curve, of one point
    results.add("blind", rates=(1e-3, 0.5), config={"epochs": 10})  # a control
    found, _ = read(results)
    groups = sorted(scaling.by_epochs(found).values(), key=len)
    assert list(groups[0]) == [10]
    assert {epochs: sorted(gains) for epochs, gains in groups[1].items()} == {
        1: pytest.approx([1, 4]), 10: pytest.approx([4, 16]), 100: pytest.approx([10, 40])
    }  # fmt: skip
    figure = scaling.figure(found, {1: 4.4})
    assert figure is not None
    (curve,) = (line for line in figure.axes[0].lines if len(line.get_xdata()) == 3)
    assert list(curve.get_ydata()) == pytest.approx([2, 8, 20])  # geometric means


def test_a_seed_of_a_control_without_a_success_is_not_left_out(results: Any) -> None:
    """Base 1e-3, ends at 2e-3 and at 0: a mean of the first alone would say 2."""
    results.add("uniform", rates=(1e-3, 2e-3))
    results.add("uniform", seed=1, rates=(1e-3, 0.0))
    found, _ = read(results)
    assert sorted(scaling.controls(found, found[0])["uniform"]) == pytest.approx([0, 2])


def test_improvements_are_over_the_base_of_all_runs_together(results: Any) -> None:
    """Counted bases of 1e-3 and 3e-3 are one base of 2e-3."""
    for seed, base in enumerate((1e-3, 3e-3)):
        results.add("uniform", seed=seed, rates=(base, 1e-2), n=10_000)
    found, _ = read(results)
    assert scaling.controls(found, found[0])["uniform"] == pytest.approx([5, 5])


def test_the_best_so_far_is_chosen_on_one_half_and_shown_from_the_other(results: Any) -> None:
    """The first half picks round 1 (9 of 50 over 1 and 8); its second half has 2 of 50, and that is what counts."""
    measured = results.add(n=100).result.curve[0]
    curve = [
        msgspec.structs.replace(measured, nre=nre, halves=halves)
        for nre, halves in ((0, (1, 50, 1, 50)), (500, (9, 50, 2, 50)), (1000, (8, 50, 30, 50)))
    ]
    assert [at.rate for at in series.best_so_far(curve)] == [0.02, 0.04, 0.04]


def test_galleries_show_samples_as_they_are_but_on_few_lines(results: Any) -> None:
    nasty = "<script>alert(1)</script> a|b\nnext $\\frac$ " + "x" * 100
    record = results.add(rates=(4e-4, 0.01, 0.1))
    content = json.loads((record.folder / "record.json").read_text())
    for point in content["result"]["curve"]:
        point["samples"] = [nasty]
    (record.folder / "record.json").write_text(json.dumps(content))
    figure = gallery.figure(*read(results))
    assert figure is not None
    (text,) = (text.get_text() for text in figure.axes[0].texts)
    # three rounds share 90 letters: lines of 30, whole words, all but the first indented
    assert text == "<script>alert(1)</script> a|b\n  next $\\frac$ " + "x" * 15 + "…"


def test_letters_that_the_font_lacks_warn_nobody(results: Any) -> None:
    """matplotlib warned of each glyph, in the middle of a report's lines."""
    record = results.add(rates=(4e-4, 0.01, 0.1))
    content = json.loads((record.folder / "record.json").read_text())
    for point in content["result"]["curve"]:
        point["samples"] = ["\u6570\u5b66"]
    (record.folder / "record.json").write_text(json.dumps(content))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        drawn, failures = of_report(*read(results))
    assert [str(warning.message) for warning in heard] == []
    assert "samples-addition-v1" in [figure.name for figure in drawn]
    assert failures == []


def test_a_gallery_names_no_success_rate_of_zero(results: Any) -> None:
    """No success in 10,000 draws is 0 to 3.69e-4, Clopper and Pearson's 1 - 0.025^(1/10000)."""
    record = results.add(rates=(4e-4, 0.0), n=10_000)
    content = json.loads((record.folder / "record.json").read_text())
    for point in content["result"]["curve"]:
        point["samples"] = ["1+1="]
    (record.folder / "record.json").write_text(json.dumps(content))
    figure = gallery.figure(*read(results))
    assert figure is not None
    assert [ax.get_title(loc="left").splitlines()[1] for ax in figure.axes] == [
        "prior, success 4.0e-4",
        "1,000 NRE, success < 3.7e-4",
    ]


def test_rounds_are_spread_from_first_to_last(results: Any) -> None:
    record = results.add(rates=[4e-4] * 16)
    assert [point.round for point in gallery.rounds(record.result.curve, 5)] == [0, 4, 8, 11, 15]


def test_the_typical_run_is_the_median_seed(results: Any) -> None:
    runs = [results.add(seed=seed, rates=(4e-4, rate)) for seed, rate in enumerate((0.5, 0.1, 0.3))]
    typical = series.typical(runs)
    assert typical is not None
    assert typical.seed == 2


@pytest.mark.slow
@pytest.mark.usefixtures("unencoded")
def test_names_of_figures_are_files_and_different(results: Any) -> None:
    for task in ("a/b:C", "a b:C"):
        results.add(task=task)
        results.add("tail", task=task)
    names = [item.name for item in of_report(*read(results))[0]]
    assert "curves-a-b-C" in names
    assert "curves-a-b-C-2" in names
    assert len(set(names)) == len(names)


@pytest.mark.usefixtures("unencoded")
def test_a_figure_that_fails_costs_that_figure_and_leaves_a_line(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    results.add()
    results.add("tail")

    def broken(rows: object) -> None:
        raise RuntimeError("no such axis")

    monkeypatch.setattr(bars, "figure", broken)
    drawn, failures = of_report(*read(results))
    assert [item.name for item in drawn] == ["curves-addition-v1", "compute-addition-v1", "profiles"]
    assert failures == ["figure improvement-addition-v1 could not be drawn: RuntimeError: no such axis"]


def test_a_figure_that_cannot_be_written_costs_that_figure_too(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures are encoded where they are drawn: a title that matplotlib reads as a broken formula fails there."""
    results.add()
    whole = Figure()
    whole.subplots().set_title("$\\nosuch{$")
    monkeypatch.setattr(curves, "figure", lambda records, rows: whole)
    drawn, (failure,) = of_report(*read(results))
    assert "curves-addition-v1" not in [item.name for item in drawn]
    assert failure.startswith("figure curves-addition-v1 could not be drawn: ValueError: ")


def test_warnings_of_the_plotting_library_stay_off_the_terminal(
    recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A sign that the font lacks warns when the figure is laid out and when it is encoded."""
    with style.canvas(3, 2) as drawing:
        drawing.subplots().set_title("\u4e2d")
        logging.getLogger("matplotlib.font_manager").warning("findfont: no such family")
    style.encode(drawing, "png")
    assert [str(one.message) for one in recwarn] == []
    assert caplog.records == []
