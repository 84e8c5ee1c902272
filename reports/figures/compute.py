"""Who buys reward efficiency with compute: model FLOPs against success rate, and against evaluations needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports import stats
from reports.board.row import Row, blocks
from reports.figures import style
from reports.read.series import flops
from reports.tables.render import title
from reports.tables.text import plain
from suite.store.records import FinishedRecord, Record, finished
from suite.store.schema import rate_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Model compute (training, filtering and verifying; held-out measurement apart) against the final success "
    "rate, and against the evaluations until a point lies above 10 × base with its whole interval. Small: one "
    "seed; large: geometric mean, or the Kaplan-Meier median on the right; square: a control. At the right "
    "panel's upper edge, hollow: not reached within the budget."
)


def figure(records: Sequence[Record], rows: Sequence[Row]) -> Figure | None:
    """One line of two panels for each setting of the rows; None where nothing was measured."""
    panels = [block for block in blocks(rows) if any(row.success_final_geomean for row in block)]
    if not panels:
        return None
    runs = {record.cell: record for record in finished(records)}
    with style.canvas(12, 4.4 * len(panels)) as drawing:
        axes = drawing.subplots(len(panels), 2, squeeze=False)
        for (left, right), block in zip(axes, panels, strict=True):
            shades = style.shades(block, style.colours(row.baseline for row in block))
            for row, colour in zip(block, shades, strict=True):
                mine = [runs[cell] for cell in row.cells if cell in runs]
                _success(left, row, mine, colour)
                _needed(right, row, mine, colour)
            amounts = [flops(runs[cell]) for row in block for cell in row.cells if cell in runs]
            for ax in (left, right):
                ax.set_xlabel("model FLOPs")
                _set_left_edge(ax, amounts)
            left.set(yscale="log", ylabel="final success rate")
            left.set_title(title(block[0]), loc="left", parse_math=False)
            right.set(ylabel="NRE to 10 × base", ylim=(-0.03 * block[0].budget, 1.06 * block[0].budget))
            right.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
            style.literal(right)
    return drawing


def _set_left_edge(ax: Axes, amounts: Sequence[float]) -> None:
    """A logarithmic axis with a place for zero: what is below a third of the smallest amount is drawn linearly."""
    positive = [amount for amount in amounts if amount > 0]
    smallest = min(positive, default=1.0)
    ax.set_xscale("symlog", linthresh=smallest / 2, linscale=0.6)
    ax.set_xlim(-smallest / 8, max(positive, default=1.0) * 2)


def _success(ax: Axes, row: Row, runs: Sequence[FinishedRecord], colour: str) -> None:
    marker = "s" if row.control else "o"
    seen = [(flops(run), rate) for run in runs if (rate := rate_of(run.final))]
    ax.scatter([x for x, _ in seen], [y for _, y in seen], s=14, color=colour, alpha=0.5, marker=marker, linewidth=0)
    if row.success_final_geomean and row.flops_mean is not None:
        ax.scatter([row.flops_mean], [row.success_final_geomean], s=90, color=colour, marker=marker, zorder=3)


def _needed(ax: Axes, row: Row, runs: Sequence[FinishedRecord], colour: str) -> None:
    marker = "s" if row.control else "o"
    for run in runs:
        base = rate_of(run.result.base)
        nre = stats.nre_to(run.result.curve, 10 * base if base else None)
        look: dict[str, Any] = {"color": colour} if nre is not None else {"facecolor": "none", "edgecolor": colour}
        y: float = row.budget if nre is None else nre
        ax.scatter([flops(run)], [y], s=14, alpha=0.5, marker=marker, **look)
    look = {"color": colour} if row.nre_to_10x is not None else {"facecolor": "none", "edgecolor": colour}
    y = row.budget if row.nre_to_10x is None else row.nre_to_10x
    if row.flops_mean is not None:
        ax.scatter([row.flops_mean], [y], s=90, marker=marker, label=plain(row.name), zorder=3, **look)
