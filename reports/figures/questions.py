"""One small panel for each question: the best policy so far of each method, as the paper's figure on reasoning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.board.row import Row, blocks
from reports.figures import style
from reports.read import series
from reports.read.series import At
from reports.tables.text import plain, rate
from suite.store.records import FinishedRecord, Record, finished

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "The best policy so far, oracle-selected on one half of the held-out samples and measured on the other. Thick: "
    "the seed whose end is the median, its band that run's Clopper-Pearson 95 % interval; thin: the other seeds. "
    "Dotted: the pre-trained model. Dashed: the best control that asks for no reward."
)
COLUMNS = 3


def figure(records: Sequence[Record], rows: Sequence[Row], methods: Sequence[str]) -> Figure | None:
    """Panels on one logarithmic axis, one for each setting of the rows; None where no method was measured.

    Args:
        records: those behind the rows; others are not drawn.
        rows: of one task at several questions, from :func:`reports.board.leaderboard.rows`.
        methods: the baselines whose curves are drawn.
    """
    runs = {record.cell: record for record in finished(records)}
    panels = []
    for block in blocks(rows):
        shown = [row for row in block if row.baseline in methods]
        curves = {row.name: _curves([runs[cell] for cell in row.cells if cell in runs]) for row in shown}
        if any(curves.values()):
            panels.append((block, shown, curves))
    if not panels:
        return None
    lines: dict[str, Artist] = {}
    height = math.ceil(len(panels) / COLUMNS)
    width = min(len(panels), COLUMNS)
    with style.canvas(4 * width, 3.2 * height + 0.6) as drawing:
        axes = drawing.subplots(height, width, squeeze=False, sharex=True, sharey=True)
        for ax, (block, shown, curves) in zip(axes.flat, panels, strict=False):
            lines |= _panel(ax, block, shown, curves)
        for ax in axes.flat[len(panels) :]:
            ax.set_axis_off()
        drawing.supxlabel("reward evaluations (NRE)", fontsize="medium")
        drawing.supylabel("held-out success rate, best so far", fontsize="medium")
        drawing.legend(lines.values(), map(plain, lines), loc="outside upper center", ncols=len(lines), frameon=False)
    return drawing


def _curves(records: Sequence[FinishedRecord]) -> list[list[At]]:
    """The best so far of every run that was measured, the run with the median end first."""
    curves = [series.of(record, "best") for record in records]
    known = sorted((curve for curve in curves if curve[-1].rate is not None), key=lambda curve: curve[-1].rate or 0.0)
    if known:
        known.insert(0, known.pop((len(known) - 1) // 2))
    return known


def _panel(
    ax: Axes, block: Sequence[Row], shown: Sequence[Row], curves: dict[str, list[list[At]]]
) -> dict[str, Artist]:
    """Draw one question; what the legend names."""
    lines: dict[str, Artist] = {}
    for row, colour in zip(shown, style.shades(shown, style.colours(row.baseline for row in shown)), strict=True):
        for place, curve in enumerate(curves[row.name]):
            nre = [*(at.nre for at in curve), row.budget]  # the last best policy stays the best one
            best, low, high = ([*column, column[-1]] for column in zip(*(at[1:] for at in curve), strict=True))
            main = place == 0
            (line,) = ax.step(nre, best, where="post", color=colour, linewidth=2.2 if main else 0.8)
            if main:
                ax.fill_between(nre, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
                lines[row.name] = line
            else:
                line.set_alpha(0.5)
    first = block[0]
    if first.base_rate:
        lines["pre-trained"] = ax.axhline(first.base_rate, color="0.5", linestyle=":", linewidth=1.2, zorder=1)
    if first.best_control and first.best_control_rate:
        colour = style.colours([first.best_control])[first.best_control]
        label = f"control: {first.best_control}"
        lines[label] = ax.axhline(first.best_control_rate, color=colour, linestyle=(0, style.DASHES[0]), linewidth=1.4)
    ax.set(yscale="log", xlim=(0, first.budget))
    ax.set_title(
        plain(f"{first.task_config or first.task} · base {rate(first.base_rate)}"), loc="left", parse_math=False
    )
    return lines
