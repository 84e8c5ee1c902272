"""The tidy table of all points."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import reports
from suite.errors import UserError

RUN = (
    *("cell", "task", "task_config", "baseline", "config", "control", "seed"),
    *("protocol", "duplicates", "budget", "heldout", "points", "device", "threads", "status"),
)


def test_one_row_for_each_run_and_point(results: Any) -> None:
    results.add(seed=0, rates=(4e-4, 2e-3, 0.1), config={"epochs": 20})
    results.add("tail", seed=1, rates=(4e-4, 0.02))
    table = reports.load(results.folder)
    assert list(table.columns) == [*RUN, *reports.POINT, "base_rate", "improvement", "metrics.failure_model_loss"]
    banel = table[table["baseline"] == "banel"]
    assert banel["nre"].tolist() == [0, 500, 1000]
    assert banel["improvement"].tolist() == pytest.approx([1, 5, 250])
    assert banel["config"].unique().tolist() == ['{"epochs":20}']
    assert table["control"].tolist().count(True) == 2


def test_unknown_is_missing_and_not_zero(results: Any) -> None:
    results.add(rates=(None, None), heldout="off")
    table = reports.load(results.folder)
    assert table["success_rate"].isna().all()
    assert table["improvement"].isna().all()
    assert table["success_rate"].dtype == table["n"].dtype == "Float64"
    assert pd.isna(table["metrics.failure_model_loss"].iloc[0])


def test_broken_files_are_skipped_with_a_warning(results: Any) -> None:
    results.add()
    (results.folder / "cells" / "aa").mkdir()
    (results.folder / "cells" / "aa" / "record.json").write_text("{")
    with pytest.warns(UserWarning, match="not a record"):
        table = reports.load(results.folder)
    assert table["cell"].nunique() == 1


def test_no_results_are_bad_input(results: Any) -> None:
    with pytest.raises(UserError, match="no results folder"):
        reports.load(results.folder)
