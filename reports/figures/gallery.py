"""What the policies write, by round: text as it is in the records, images drawn anew from the saved policies."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports.board.row import Row
from reports.figures import style
from reports.read import series
from reports.tables.text import measured, plain
from suite.store.records import FinishedRecord, Record
from suite.store.schema import Point

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Samples, first draws and not chosen ones, of each method's typical run: the seed whose final success rate is "
    "the median. Text by round, as it was recorded; images, which no record holds, drawn anew from the prior, the "
    "best and the final policy that the run has saved."
)
COLUMNS = 5
"""Rounds of text that are shown, at most."""
SHOWN = 6
"""Samples of each round."""
LETTERS, TALL = 90, 2
"""Letters in a line, all rounds together, and lines of a sample before it is cut."""


def figure(records: Sequence[Record], rows: Sequence[Row]) -> Figure | None:
    """One line of the gallery for each row; None where neither text nor policies were kept.

    Args:
        records: of one task.
        rows: of the same task.
    """
    runs = {record.cell: record for record in records}
    shown = [run for row in rows if (run := series.typical([runs[c] for c in row.cells if c in runs]))]
    texts = [run for run in shown if any(point.samples for point in run.result.curve)]
    if texts:
        return _texts(texts)
    pictures = [(run, found) for run in shown if (found := images(run))]
    return _pictures(pictures) if pictures else None


def rounds(curve: Sequence[Point], most: int = COLUMNS) -> list[Point]:
    """At most so many points of a curve: the first, the last and evenly spread ones between."""
    if len(curve) <= most:
        return list(curve)
    places = dict.fromkeys(round(i * (len(curve) - 1) / (most - 1)) for i in range(most))
    return [curve[i] for i in places]


def cut(text: str, wide: int = LETTERS // COLUMNS) -> str:
    """A sample on a few short lines, all but the first indented; control characters cannot move anything there."""
    lines = textwrap.wrap(plain(text), wide, subsequent_indent="  ") or [""]
    return "\n".join(lines[:TALL]) + ("…" if len(lines) > TALL else "")


def _texts(runs: Sequence[FinishedRecord]) -> Figure:
    points = [rounds(run.result.curve) for run in runs]
    columns = max(map(len, points))
    wide = LETTERS // columns
    shown = [cut(sample, wide) for line in points for point in line for sample in point.samples[:SHOWN]]
    tall = max((sample.count("\n") + 1 for sample in shown), default=1)
    with style.canvas(12, len(runs) * (0.5 + 0.2 * tall * SHOWN)) as drawing:
        axes = drawing.subplots(len(runs), columns, squeeze=False)
        for line, run, curve in zip(axes, runs, points, strict=True):
            for ax in line:
                ax.set_axis_off()
            for ax, point in zip(line, curve, strict=False):
                _heading(ax, run, point)
                body = "\n".join(cut(sample, wide) for sample in point.samples[:SHOWN])
                place = {"transform": ax.transAxes, "va": "top", "family": "monospace", "fontsize": "small"}
                ax.text(0, 0.97, body, parse_math=False, **place)
    return drawing


def _heading(ax: Axes, run: Record, point: Point) -> None:
    name = f"{plain(run.baseline)}, seed {run.seed}" if not point.round else f"round {point.round}"
    where = "prior" if not point.round else f"{point.nre:,} NRE"
    _title(ax, run, f"{name}\n{where}, success {measured(point)}")


def _title(ax: Axes, run: Record, text: str) -> None:
    """A heading that can be read, over a line in the method's colour, which on white may be too light for letters."""
    colour = style.colours([run.baseline])[run.baseline]
    ax.set_title(text, loc="left", fontsize="small", pad=8, parse_math=False)
    ax.plot([0, 0.95], [1.02, 1.02], color=colour, linewidth=2, transform=ax.transAxes, clip_on=False)


def images(record: Record, n: int = SHOWN) -> dict[str, np.ndarray[Any, Any]]:
    """{prior, best, final: images (n, H, W) in [0, 1]} drawn from a run's policies; empty where it has none.

    Empty too where the task writes text, or is not registered here: a record may come from another machine, and code
    that it names is not run.
    """
    import torch

    from suite import config, registry, seeding
    from suite.cells.identity import build_task
    from suite.errors import UserError
    from suite.store import weights

    saved = {which: record.folder / f"policy-{which}.safetensors" for which in ("best", "final")}
    if not all(path.exists() for path in saved.values()) or not registry.is_registered("task", record.task):
        return {}
    try:
        entry = registry.load("task", record.task)
        task = build_task(entry, config.build(entry.config_class, record.identity.task.config))
    except UserError:
        return {}
    prior = task.prior()
    policies = {"prior": prior} | {which: weights.load(path, prior) for which, path in saved.items()}
    drawn: dict[str, np.ndarray[Any, Any]] = {}
    for which, policy in policies.items():
        generator = torch.Generator().manual_seed(seeding.derive(record.seed, "gallery", which))
        picture = task.show(policy.sample(n, generator))
        if isinstance(picture, list):
            return {}
        drawn[which] = picture.numpy()
    return drawn


def _pictures(runs: Sequence[tuple[FinishedRecord, dict[str, np.ndarray[Any, Any]]]]) -> Figure:
    with style.canvas(12, 1.2 * len(runs)) as drawing:
        axes = drawing.subplots(len(runs), 3, squeeze=False)
        for line, (run, found) in zip(axes, runs, strict=True):
            for ax, (which, pictures) in zip(line, found.items(), strict=True):
                ax.imshow(list(_strip(pictures)), cmap="gray", vmin=0, vmax=1)
                ax.set_axis_off()
                point = {"prior": run.result.base, "best": run.best, "final": run.final}[which]
                text = f"{plain(run.baseline)}, seed {run.seed}: {which}, success {measured(point)}"
                _title(ax, run, text)
    return drawing


def _strip(pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Images (n, H, W) side by side in a grey frame, (H + 2, n (W + 1) + 1)."""
    import numpy as np

    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 0)), constant_values=0.6)
    strip: np.ndarray[Any, Any] = np.concatenate(list(padded), axis=1)
    return np.pad(strip, ((0, 0), (0, 1)), constant_values=0.6)
