"""How much better: over the pre-trained model, and over the best that can be had without asking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from reports.board.row import Row, blocks
from reports.figures import style
from reports.tables.columns import untestable
from reports.tables.render import title
from reports.tables.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Improvement of the final success rate over the pre-trained model (left) and over the best oracle-free "
    "control (right). Bar: geometric mean over seeds, whisker: 95 % interval, dot: one seed, hatched: a control. "
    "A whisker that crosses 1 is no evidence of a gain; untestable comparisons have no whisker."
)


SHORT = 100
"""A logarithmic axis that spans less than this factor has labels between the powers of ten: 1, 2, 5, 10."""


class Factor(NamedTuple):
    """An improvement with its interval, and that of every seed in which a success was seen."""

    value: float | None
    low: float | None
    high: float | None
    seeds: list[float]


def figure(rows: Sequence[Row]) -> Figure | None:
    """One line of two panels for each setting of the rows; None where no improvement is known."""
    panels = [block for block in blocks(rows) if any(over_base(row).value for row in block)]
    if not panels:
        return None
    tall = sum(1.5 + 0.36 * len(block) for block in panels)
    with style.canvas(12, tall) as drawing:
        heights = [1.5 + 0.36 * len(block) for block in panels]
        axes = drawing.subplots(len(panels), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
        for (left, right), block in zip(axes, panels, strict=True):
            _panel(left, block, over_base, "final success rate over base")
            control = block[0].best_control
            _panel(right, block, over_control, f"over the best control, {control}" if control else "no control ran")
            right.set_yticklabels([])
            left.set_title(title(block[0]), loc="left", parse_math=False)
    return drawing


def over_base(row: Row) -> Factor:
    """The final rate over the base rate: geometric mean with its interval, that of the base included."""
    if not row.base_rate:
        return Factor(None, None, None, [])
    ends = row.improvement_final_geomean_low, row.improvement_final_geomean_high
    return Factor(row.improvement_final_geomean, *ends, [r / row.base_rate for r in _seen(row)])


def over_control(row: Row) -> Factor:
    """The final rate over the best control's; a control's own is shown beside, without interval."""
    if not row.best_control_rate:
        return Factor(None, None, None, [])
    seeds = [r / row.best_control_rate for r in _seen(row)]
    if row.control:
        mean = row.success_final_geomean
        return Factor(None if mean is None else mean / row.best_control_rate, None, None, seeds)
    ends = (row.improvement_over_control_low, row.improvement_over_control_high)
    return Factor(row.improvement_over_control, *((None, None) if untestable(row) else ends), seeds)


def _seen(row: Row) -> list[float]:
    return [r for r in row.success_final_seeds if r]


def _plain(value: float, _: int | None) -> str:
    return f"{value:g}"


def _panel(ax: Axes, block: Sequence[Row], factor: Callable[[Row], Factor], label: str) -> None:
    """Horizontal bars from 1 on a logarithmic axis, the first row on top."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    shades = style.shades(block, style.colours(row.baseline for row in block))
    for y, (row, colour) in enumerate(zip(block, shades, strict=True)):
        found = factor(row)
        if found.value:
            hatch: dict[str, Any] = {"hatch": "////", "edgecolor": "white"} if row.control else {}
            ax.barh(y, found.value - 1, left=1, height=0.62, color=colour, alpha=0.55, linewidth=0, **hatch)
            ax.plot([found.value] * 2, [y - 0.31, y + 0.31], color=colour, linewidth=2.5)
        if found.low and found.high and found.low < found.high:
            ax.plot([found.low, found.high], [y, y], color="0.15", linewidth=1.3, zorder=3)
        ax.scatter(found.seeds, [y] * len(found.seeds), s=12, color=colour, edgecolor="0.15", linewidth=0.4, zorder=4)
    ax.axvline(1, color="0.15", linewidth=1)
    ax.set(xscale="log", xlabel=label, ylim=(len(block) - 0.4, -0.6))
    low, high = ax.get_xlim()
    if high < SHORT * low:  # else powers of ten are labels enough
        ax.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        ax.xaxis.set(major_formatter=FuncFormatter(_plain), minor_formatter=FuncFormatter(_plain))
    ax.set_yticks(range(len(block)), [plain(row.name) for row in block])
    style.literal(ax, categories=True)
