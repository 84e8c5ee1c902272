"""Performance profiles: on what share of runs a method improves by more than a factor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.board.row import Row
from reports.figures import style
from reports.tables.text import plain
from suite.store.records import Record, finished

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = (
    "Performance profiles: the share of runs whose final success rate is more than τ times the base rate, every "
    "task weighing the same (Dolan and Moré 2002; Agarwal et al. 2021). Higher is better. A method is compared "
    "over the tasks it ran on; their number stands in the legend."
)


def figure(records: Sequence[Record], rows: Sequence[Row]) -> Figure | None:
    """One panel over all tasks; None below two methods with an improvement."""
    scores = of_methods(records, rows)
    if len(scores) < 2:
        return None
    controls = {row.baseline for row in rows if row.control}
    colours = style.colours(scores)
    values = sorted({value for tasks in scores.values() for task in tasks.values() for value in task if value > 0})
    if not values:
        return None
    taus = [values[0] / 2, *values, values[-1] * 1.5]
    with style.canvas(9, 4.6) as drawing:
        ax = drawing.subplots()
        for name, tasks in scores.items():
            label = f"{plain(name)} ({len(tasks)} task{'s' if len(tasks) > 1 else ''})"
            shares = [share_above(tasks, tau) for tau in taus]
            line = "--" if name in controls else "-"
            ax.step(taus, shares, where="post", color=colours[name], linestyle=line, linewidth=2, label=label)
        ax.axvline(1, color="0.6", linewidth=1, linestyle=":")
        ax.set(
            xscale="log", ylim=(-0.02, 1.02), xlabel="τ, final success rate over base", ylabel="share of runs above τ"
        )
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
        style.literal(ax)
    return drawing


def of_methods(records: Sequence[Record], rows: Sequence[Row]) -> dict[str, dict[str, list[float]]]:
    """{baseline: {setting: improvement of every finished run}} of the rows."""
    runs = {record.cell: record for record in finished(records)}
    scores: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for row in rows:
        gains = [runs[cell].result.improvement_final for cell in row.cells if cell in runs]
        known = [gain for gain in gains if gain is not None]
        if known:
            scores[row.baseline].setdefault(str(row.setting), []).extend(known)
    return dict(scores)


def share_above(tasks: dict[str, list[float]], tau: float) -> float:
    """The mean over tasks of the share of runs above tau."""
    return sum(sum(gain > tau for gain in gains) / len(gains) for gains in tasks.values()) / len(tasks)
