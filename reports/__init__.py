"""Reading of results: statistics, tables, figures. Records come in, nothing goes back into them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from suite.store.records import Record

POINT = (
    "round",
    "nre",
    "success_rate",
    "low",
    "high",
    "estimator",
    "n",
    "distinct_successes",
    "distinct_share",
    "effective_successes",
    "valid_share",
    "entropy",
    "kl_prior",
)
"""What a row of :func:`load` takes from a point of the curve, as it stands in the record."""

NUMBERS = (*POINT[2:5], *POINT[6:], "base_rate", "improvement")


def load(results: Path | str | None = None) -> pd.DataFrame:
    """The records below a results folder as a tidy table, one row per (run, point of its curve).

    Columns, in this order; missing values are unknown or censored, never zero:

    - of the run: `cell`, `task`, `task_config` (JSON), `baseline`, `config` (JSON), `control` (bool), `seed`,
      `protocol`, `duplicates`, `budget` (evaluations), `heldout`, `points`, `device`, `threads`, `status`
      (`finished` or `failed`);
    - of the point: `round` (0 is the prior), `nre` (evaluations spent so far), `success_rate` with its 95 %
      interval `low`..`high`, `estimator` and sample size `n`, `distinct_successes` per 10,000 draws,
      `distinct_share`, `effective_successes`, `valid_share`, `entropy` (nats per sample), `kl_prior` (nats);
    - `base_rate`, the success rate of the prior in this run, and `improvement` = success_rate / base_rate;
    - `metrics.NAME` for each metric that a method gave, `quantities.NAME` for each number of the task's own.

    A file that is no record is skipped with a warning.

    Args:
        results: the results folder; None is $SUITE_RESULTS, else ./results.

    Raises:
        UserError: no such folder, or no record in it.
    """
    from reports.read import select

    records, broken = select.read(results)
    for line in broken:
        warnings.warn(line, stacklevel=2)
    return frame(select.told_apart(records))


def frame(records: Sequence[Record]) -> pd.DataFrame:
    """The table of :func:`load` for records that were read already."""
    import pandas as pd

    table = pd.DataFrame([row for record in records for row in _points(record)])
    numbers = [name for name in table.columns if name in NUMBERS or name.startswith(("metrics.", "quantities."))]
    return table.convert_dtypes().astype(dict.fromkeys(numbers, "Float64"))


def _points(record: Record) -> list[dict[str, Any]]:
    from msgspec.structs import asdict

    from suite.store.schema import rate_of

    run: dict[str, Any] = {
        "cell": record.cell,
        "task": record.task,
        "task_config": record.configs[0],
        "baseline": record.baseline,
        "config": record.configs[1],
        "control": record.identity.baseline.control,
        "seed": record.seed,
        **record.identity.settings(),
        "status": record.status,
    }
    base = rate_of(record.result.base)
    rows = []
    for point in record.result.curve:
        rate, fields = point.success_rate, asdict(point)
        improvement = rate / base if rate is not None and base else None
        metrics = {f"metrics.{name}": value for name, value in point.metrics.items()}
        quantities = {f"quantities.{name}": value for name, value in (point.quantities or {}).items()}
        measured: dict[str, Any] = {name: fields[name] for name in POINT}
        measured |= {"base_rate": base, "improvement": improvement, **metrics, **quantities}
        rows.append(run | measured)
    return rows
