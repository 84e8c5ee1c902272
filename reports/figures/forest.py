"""The forest plot: each method's final success rate over that of the best control, on every task, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.board.row import Row
from reports.figures import style
from reports.tables.columns import untestable
from reports.tables.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Final success rate over that of the best oracle-free control: geometric mean over seeds with its 95 % interval. "
    "A whisker that crosses 1 is no evidence of a gain. Hollow, without whisker: too few seeds to test. Arrow: beyond "
    "the axis. Of several configurations of a method the one with the most seeds is shown, then the first of the table."
)
SHOWN = (1e-3, 1e3)
"""Ratios that the axis holds; what lies beyond is drawn at its end, with an arrow."""
LANE = 0.17
"""Distance of two methods on one task, in units of the distance of two tasks."""


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
    with style.canvas(10.5, 1.3 + 0.52 * len(tasks)) as drawing:
        ax = drawing.subplots()
        for y, methods in enumerate(tasks.values()):
            if y % 2:
                ax.axhspan(y - 0.5, y + 0.5, color="0.96", linewidth=0, zorder=0)
            for lane, name in enumerate(names):
                if name in methods:
                    _whisker(ax, methods[name], y + LANE * (lane - (len(names) - 1) / 2), chosen[name])
        ax.axvline(1, color="0.15", linewidth=1.2, zorder=1)
        for name in names:
            ax.plot([], [], "o", color=chosen[name], label=plain(name))
        ax.set(xscale="log", xlim=SHOWN, ylim=(len(tasks) - 0.5, -0.5))
        ax.set_xlabel("final success rate ÷ best control that spends no evaluation    (right of the line: better)")
        ax.set_yticks(range(len(tasks)), [plain(name) for name in tasks])
        ax.tick_params(axis="y", length=0)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(names), frameon=False)
        style.literal(ax, categories=True)
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


def _whisker(ax: Axes, row: Row, y: float, colour: str) -> None:
    least, most = SHOWN
    value = min(max(_ratio(row), least), most)
    tested = not untestable(row)
    low, high = row.improvement_over_control_low, row.improvement_over_control_high
    if tested and low is not None and high is not None:
        ax.plot([max(low, least), min(high, most)], [y, y], color=colour, linewidth=1.8, alpha=0.75, zorder=2)
        for beyond, end, marker in ((low < least, least, "<"), (high > most, most, ">")):
            if beyond:
                ax.plot(end, y, marker, color=colour, markersize=5, clip_on=False, zorder=3)
    marker = "<" if _ratio(row) < least else ">" if _ratio(row) > most else "o"
    face = colour if tested else "white"
    ax.plot(value, y, marker, color=colour, markerfacecolor=face, markersize=6.5, clip_on=False, zorder=4)
