"""Success rate against reward evaluations, of the current policy and of the best one so far."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports import stats
from reports.board.row import Row, blocks
from reports.figures import style
from reports.read import series
from reports.read.series import Which
from reports.tables.render import title
from reports.tables.text import plain, rate
from suite.store.records import FinishedRecord, Record, finished

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

CAPTION = (
    "Held-out success rate against reward evaluations. Thick: geometric mean over seeds, its band the 95 % "
    "t-interval of the mean logarithm (from three seeds on); thin: every seed (up to ten). Dashed: controls that "
    "ask for no reward. Dotted: the pre-trained model. Right: the best policy so far, oracle-selected. A "
    "triangle: no success among the held-out samples, at its upper bound."
)
TRIANGLE: dict[str, Any] = {"marker": "v", "s": 25, "linewidths": 0}
MOST_LINES = 10
"""Seeds of a method that are drawn one by one."""
LEAST_BAND = 3
"""Seeds from which on a band is drawn; that of two would span orders of magnitude and hide all else."""


def figure(records: Sequence[Record], rows: Sequence[Row]) -> Figure | None:
    """One line of two panels for each setting of the rows: success rate (log) against NRE, current and best.

    A method is a colour; its geometric mean over seeds breaks where a seed has no success in its held-out sample.
    A control spends nothing and is a dashed line at the geometric mean of its final rates; the prior is dotted.

    Args:
        records: those behind the rows; others are not drawn.
        rows: of one task, from :func:`reports.board.leaderboard.rows`.

    Returns:
        The figure, or None where nothing was measured: held-out off, or failed runs only.
    """
    panels = [block for block in blocks(rows) if any(row.base_rate for row in block)]
    if not panels:
        return None
    runs = {record.cell: record for record in finished(records)}
    with style.canvas(12, 4.6 * len(panels)) as drawing:
        axes = drawing.subplots(len(panels), 2, squeeze=False, sharey="row")
        for (left, right), block in zip(axes, panels, strict=True):
            _panel(left, block, runs, "current")
            lines = _panel(right, block, runs, "best")
            left.set_ylabel("held-out success rate")
            left.set_title(title(block[0]), loc="left", pad=22, parse_math=False)
            for ax, name in ((left, "current policy"), (right, "best so far (oracle-selected)")):
                ax.text(0, 1.015, name, transform=ax.transAxes, color="0.35", fontsize="small")
            names = [textwrap.fill(plain(name), 28) for name in lines]
            right.legend(list(lines.values()), names, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
            style.literal(right)
    return drawing


def _panel(ax: Axes, block: Sequence[Row], runs: dict[str, FinishedRecord], which: Which) -> dict[str, Artist]:
    """Draw one panel; what its legend names."""
    shades = style.shades(block, style.colours(row.baseline for row in block))
    base = next(row.base_rate for row in block if row.base_rate)
    lines: dict[str, Artist] = {"prior": ax.axhline(base, color="0.6", linestyle=":", linewidth=1.2, zorder=1)}
    hidden, rates = False, [base]
    for row, colour in zip(block, shades, strict=True):
        if not row.control and row.seeds:
            points = _points([runs[cell] for cell in row.cells if cell in runs], which)
            lines[row.name], unseen = _method(ax, points, colour)
            hidden = hidden or unseen
            rates += points.loc[points["rate"] > 0, "rate"].tolist()
    dashes = iter(itertools.cycle(style.DASHES))
    for row, colour in zip(block, shades, strict=True):
        level = row.success_final_geomean or row.success_final_upper
        if row.control and level:
            kind = "best control" if row.name == row.best_control else "control"
            bound = "" if row.success_final_geomean else f", {rate(None, level)}"
            dash = (0, next(dashes))
            rates.append(level)
            lines[f"{row.name} ({kind}{bound})"] = ax.axhline(level, color=colour, linestyle=dash, linewidth=1.6)
    if hidden:
        lines["no success seen: upper bound"] = ax.scatter([], [], **TRIANGLE, color="0.3")
    ax.set(yscale="log", xlim=(0, block[0].budget), xlabel="reward evaluations (NRE)")
    if which == "current":  # the best so far lies within; wide bands are cut, seeds never
        ax.set_ylim(min(rates) / 2, min(1.3, max(rates) * 2))
    return lines


def _points(records: Sequence[FinishedRecord], which: Which) -> pd.DataFrame:
    """Columns seed, nre, rate, low and high, of the points that were measured."""
    import pandas as pd

    found = [(record.seed, *at) for record in records for at in series.of(record, which) if at.rate is not None]
    return pd.DataFrame(found, columns=["seed", "nre", "rate", "low", "high"]).astype(float)


def _method(ax: Axes, points: pd.DataFrame, colour: str) -> tuple[Line2D, bool]:
    """Draw the seeds of one method, their geometric mean and its band; the mean, and whether there are triangles."""
    import seaborn as sns  # type: ignore[import-untyped]

    seen = points[points["rate"] > 0]
    if points["seed"].nunique() <= MOST_LINES and not seen.empty:
        thin = {"estimator": None, "color": colour, "linewidth": 0.8, "alpha": 0.45, "legend": False}
        sns.lineplot(seen, x="nre", y="rate", units="seed", ax=ax, **thin)
    unseen = points[(points["rate"] == 0) & (points["high"] > 0)]
    ax.scatter(unseen["nre"], unseen["high"], **TRIANGLE, color=colour, alpha=0.5, clip_on=False)
    places, means = _geometric(points)
    if points["seed"].nunique() >= LEAST_BAND:
        low = [mean.low or math.nan for mean in means]
        high = [math.nan if mean.high is None else min(1.0, mean.high) for mean in means]
        ax.fill_between(places, low, high, color=colour, alpha=0.13, linewidth=0)
    (line,) = ax.plot(places, [mean.value or math.nan for mean in means], color=colour, linewidth=2.6, zorder=3)
    return line, not unseen.empty


def _geometric(points: pd.DataFrame) -> tuple[list[float], list[stats.Estimate]]:
    """(NRE of all points, geometric mean over seeds at each with its 95 % interval); a seed holds its last rate."""
    tables = {
        name: points.pivot_table(index="nre", columns="seed", values=name, aggfunc="last").ffill().dropna()
        for name in ("rate", "low", "high")
    }
    lines = zip(*(table.to_numpy().tolist() for table in tables.values()), strict=True)
    return tables["rate"].index.tolist(), [stats.geometric_mean(stats.Sample(*line)) for line in lines]
