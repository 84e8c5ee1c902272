"""The forest plot: each method's final success rate and posterior match over the best control's, on every task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from reports.board.row import Row
from reports.figures import style
from reports.tables.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Left: final success rate, how often a method succeeds, over that of the best oracle-free control. Right: the "
    "posterior match, how much of what succeeds it covers, over the best control's. Medians over seeds with "
    "95 % intervals. "
    "A whisker that crosses 1 is no evidence of a gain. Hollow, without whisker: too few seeds to test. Arrow: beyond "
    "the axis. Of several configurations of a method the one with the most seeds is shown, then the first of the table."
)
SHOWN = (1e-3, 1e3)
"""Ratios that the axis holds; what lies beyond is drawn at its end, with an arrow."""
LANE = 0.17
"""Distance of two methods on one task, in units of the distance of two tasks."""


class Panel(NamedTuple):
    """One side of the plot: a rate, and where a row has its ratio to the best control."""

    name: str
    field: str

    def of(self, row: Row) -> tuple[float | None, float | None, float | None, bool]:
        """(ratio, low, high, whether it is tested)."""
        ratio, low, high, note = (getattr(row, self.field + end) for end in ("", "_low", "_high", "_note"))
        return ratio, low, high, not note.startswith("untestable")


PANELS = (Panel("success rate", "improvement_over_control"), Panel("posterior match", "match_over_control"))


def figure(rows: Sequence[Row]) -> Figure | None:
    """One line per task, the task with the highest ratio on top; None where no method has a known ratio.

    Args:
        rows: from :func:`reports.board.leaderboard.rows`; controls are what the others are held against.
    """
    tasks = by_task(rows)
    if not tasks:
        return None
    names = list(dict.fromkeys(row.baseline for row in sorted(rows, key=_order) if not row.control))
    names = [name for name in names if any(name in methods for methods in tasks.values())]
    chosen = style.colours(names)
    panels = [
        panel for panel in PANELS if any(panel.of(row)[0] for methods in tasks.values() for row in methods.values())
    ]
    with style.canvas(10.5, 1.3 + 0.52 * len(tasks)) as drawing:
        axes = drawing.subplots(ncols=len(panels), sharey=True, squeeze=False)[0]
        for ax, panel in zip(axes, panels, strict=True):
            for y, methods in enumerate(tasks.values()):
                if y % 2:
                    ax.axhspan(y - 0.5, y + 0.5, color="0.96", linewidth=0, zorder=0)
                for lane, name in enumerate(names):
                    if name in methods:
                        _whisker(ax, panel, methods[name], y + LANE * (lane - (len(names) - 1) / 2), chosen[name])
            ax.axvline(1, color="0.15", linewidth=1.2, zorder=1)
            ax.set(xscale="log", xlim=SHOWN, ylim=(len(tasks) - 0.5, -0.5))
            ax.set_xlabel(f"{panel.name} ÷ best control's (right: better)")
            ax.tick_params(axis="y", length=0)
        for name in names:
            axes[0].plot([], [], "o", color=chosen[name], label=plain(name))
        axes[0].set_yticks(range(len(tasks)), [plain(name) for name in tasks])
        drawing.legend(
            *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(names), frameon=False
        )
        style.literal(axes[0], categories=True)
    return drawing


def by_task(rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """{task: {method: its row}} of the methods with a known ratio, the task with the highest one first."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.control or not row.improvement_over_control:
            continue
        methods = found.setdefault(f"{row.task} ({row.task_config})" if row.task_config else row.task, {})
        if row.baseline not in methods or row.seeds > methods[row.baseline].seeds:
            methods[row.baseline] = row
    return dict(sorted(found.items(), key=lambda item: -max(_ratio(row) for row in item[1].values())))


def _ratio(row: Row) -> float:
    return row.improvement_over_control or 0.0


def _order(row: Row) -> tuple[int, str]:
    """The order of the methods in the table of colours, others after them."""
    known = list(style.BASELINES)
    return (known.index(row.baseline) if row.baseline in known else len(known), row.baseline)


def _whisker(ax: Axes, panel: Panel, row: Row, y: float, colour: str) -> None:
    least, most = SHOWN
    ratio, low, high, tested = panel.of(row)
    if ratio is None:
        return
    value = min(max(ratio, least), most)
    if tested and low is not None and high is not None:
        ax.plot([max(low, least), min(high, most)], [y, y], color=colour, linewidth=1.8, alpha=0.75, zorder=2)
        for beyond, end, marker in ((low < least, least, "<"), (high > most, most, ">")):
            if beyond:
                ax.plot(end, y, marker, color=colour, markersize=5, clip_on=False, zorder=3)
    marker = "<" if ratio < least else ">" if ratio > most else "o"
    face = colour if tested else "white"
    ax.plot(value, y, marker, color=colour, markerfacecolor=face, markersize=6.5, clip_on=False, zorder=4)
