"""Importance and parallel coordinates from the records of a sweep's trials."""

from __future__ import annotations

import math
from typing import Any

import pytest

from reports.figures import sweeps
from suite.store import records


@pytest.fixture
def study(results: Any) -> list[sweeps.Trial]:
    """24 trials on two seeds; the score is 10^-|log2(epochs) - 3|, whatever the filter factor."""
    for i in range(24):
        epochs, factor = 2 ** (i % 6), 1.5 + (i * 7 % 24) / 2
        rate = 10.0 ** -abs(math.log2(epochs) - 3)
        for seed in (0, 1):
            config = {"epochs": epochs, "filter_factor": factor, "batch": 500, "memory": ["round", "all"][i // 6 % 2]}
            results.add(seed=seed, rates=(1e-4, rate), config=config, meta={"sweep": {"study": "s", "trial": i}})
    results.add("rnd", rates=(1e-4, 0.5))  # of no study
    found = sweeps.studies(records.scan(results.folder)[0])
    assert list(found) == ["s"]
    return found["s"]


def test_trials_are_configurations_scored_by_the_geometric_mean(study: list[sweeps.Trial]) -> None:
    assert len(study) == 24
    assert set(study[0].values) == {"epochs", "filter_factor", "memory"}  # batch never varied
    (best,) = {trial.values["epochs"] for trial in study if trial.score == 1}
    assert best == 8


def test_the_knob_that_decides_is_the_important_one(study: list[sweeps.Trial]) -> None:
    ranges = {n: sweeps.Range.of("banel", n, [t.values[n] for t in study]) for n in study[0].values}
    weights = sweeps.importance(study, ranges)
    assert next(iter(weights)) == "epochs"
    assert weights["epochs"] > 0.6
    assert sum(weights.values()) == pytest.approx(1)


def test_ranges_are_those_of_the_search_and_logarithmic_where_it_is() -> None:
    """BaNEL's epochs are searched over 1..100 on a log scale: 10 lies in the middle."""
    pytest.importorskip("baselines")
    a_range = sweeps.Range.of("banel", "epochs", [2, 50])
    assert (a_range.low, a_range.high, a_range.log, a_range.whole) == (1, 100, True, True)
    assert a_range.place(10) == pytest.approx(0.5)
    other = sweeps.Range.of("unknown.py:run", "x", [1.0, 3.0])
    assert (other.low, other.high, other.place(2.0)) == (1.0, 3.0, 0.5)


def test_a_line_for_each_trial(study: list[sweeps.Trial]) -> None:
    figure = sweeps.figure(study)
    assert figure is not None
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()][-1] == "epochs"
    assert len([line for line in right.lines if len(line.get_xdata()) == 4]) == 24  # three knobs and the score


def test_a_handful_of_trials_says_nothing(study: list[sweeps.Trial]) -> None:
    assert sweeps.figure(study[:4]) is None


def test_what_was_cut_short_is_counted_and_neither_scored_nor_drawn(results: Any) -> None:
    """Six configurations of four seeds and two pruned after two, the latter of the highest rates."""
    for i in range(8):
        for seed in range(2 if i >= 6 else 4):
            meta = {"sweep": {"study": "s", "trial": i}}
            config = {"epochs": 1 + i, "filter_factor": 8.0 - i}
            results.add(seed=seed, rates=(1e-4, (1 + i) / 10), config=config, meta=meta)
    found = sweeps.studies(records.scan(results.folder)[0])["s"]
    assert {trial.values["epochs"]: trial.complete for trial in found} == {1 + i: i < 6 for i in range(8)}
    figure = sweeps.figure(found)
    assert figure is not None
    left, right = figure.axes
    assert left.get_title("left") == "banel, 6 trials, 2 cut short"
    assert len([line for line in right.lines if len(line.get_xdata()) == 3]) == 6  # two knobs and the score
    assert "0.6" in {text.get_text() for text in right.texts}  # the upper end of the scores


def test_a_seed_without_a_success_counts_as_half_a_hit(results: Any) -> None:
    """As the search itself has it: sqrt(0.5/10,000 * 0.04)."""
    for seed, rate in ((0, 0.0), (1, 0.04)):
        results.add(seed=seed, rates=(1e-4, rate), n=10_000, meta={"sweep": {"study": "s", "trial": 0}})
    (trial,) = sweeps.studies(records.scan(results.folder)[0])["s"]
    assert trial.score == pytest.approx((0.5 / 10_000 * 0.04) ** 0.5)
    assert trial.complete


def test_a_trial_that_went_on_as_another_is_one_configuration(results: Any) -> None:
    for seed, trial in ((0, 1), (1, 2)):
        results.add(seed=seed, rates=(1e-4, 0.1), meta={"sweep": {"study": "s", "trial": trial}})
    (one,) = sweeps.studies(records.scan(results.folder)[0])["s"]
    assert one.complete


def test_trials_by_hand_are_no_study(results: Any) -> None:
    results.add(meta={"sweep": {"study": None, "trial": "0123"}})
    assert sweeps.studies(records.scan(results.folder)[0]) == {}


def test_a_knob_that_is_a_list_is_drawn(results: Any) -> None:
    for i, steps in enumerate([[1], [1, 2], [3], [1], [2], [1, 2]]):
        config = {"steps": steps, "lr": 0.1 * (1 + i)}
        results.add(rates=(1e-4, 0.1 + i / 20), config=config, meta={"sweep": {"study": "s", "trial": i}})
    assert sweeps.figure(sweeps.studies(records.scan(results.folder)[0])["s"]) is not None
