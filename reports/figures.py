"""Success rate against reward evaluations: every seed thin, their geometric mean thick, controls dashed."""

from __future__ import annotations

import io
import itertools
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import reports
from reports import style
from reports.leaderboard import Row
from reports.tables import blocks, title
from reports.text import plain, rate
from suite.records import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

TRIANGLE: dict[str, Any] = {"marker": "v", "s": 25, "linewidths": 0}


def curves(records: Sequence[Record], rows: Sequence[Row]) -> Figure | None:
    """One panel for each setting of the rows: success rate (log) against NRE.

    A method is a colour; each seed is a thin line, the geometric mean over seeds a thick one, which breaks
    where a seed has no success in its held-out sample: such a point is a triangle at its upper bound. A
    control spends nothing and is a dashed line at the geometric mean of its final rates; the prior is dotted.

    Args:
        records: those behind the rows; others are not drawn.
        rows: of one task, from :func:`reports.leaderboard.rows`.

    Returns:
        The figure, or None where nothing was measured: held-out off, or failed runs only.
    """
    panels = [block for block in blocks(rows) if any(row.base_rate for row in block)]
    if not panels:
        return None
    import seaborn as sns  # type: ignore[import-untyped]
    from matplotlib.figure import Figure

    points = reports.frame([record for record in records if record.status == "finished"])
    colours = style.colours(row.baseline for row in rows)
    with sns.axes_style("ticks"), sns.plotting_context("notebook"):
        figure = Figure(figsize=(9, 5 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), squeeze=False)[:, 0]
        for ax, block in zip(axes, panels, strict=True):
            _panel(ax, block, points, colours)
        sns.despine(fig=figure)
    return figure


def encode(figure: Figure, kind: str) -> bytes:
    """The figure as a `png` or `svg` file, the same bytes for the same figure."""
    import matplotlib

    file = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "suite"}):
        figure.savefig(file, format=kind, dpi=150, metadata=metadata)
    return file.getvalue()


def _panel(ax: Axes, block: Sequence[Row], points: pd.DataFrame, colours: dict[str, str]) -> None:
    shades = _shades(block, colours)
    base = next(row.base_rate for row in block if row.base_rate)
    lines: dict[str, Artist] = {"prior": ax.axhline(base, color="0.6", linestyle=":", linewidth=1.2, zorder=1)}
    hidden = False
    for row, colour in zip(block, shades, strict=True):
        if not row.control and row.seeds:
            lines[row.name], unseen = _method(ax, points[points["cell"].isin(row.cells)], colour)
            hidden = hidden or unseen
    dashes = iter(itertools.cycle(style.DASHES))
    for row, colour in zip(block, shades, strict=True):
        level = row.success_final_geomean or row.success_final_upper
        if row.control and level:
            kind = "best control" if row.name == row.best_control else "control"
            bound = "" if row.success_final_geomean else f", {rate(None, level)}"
            dash = (0, next(dashes))
            lines[f"{row.name} ({kind}{bound})"] = ax.axhline(level, color=colour, linestyle=dash, linewidth=1.6)
    if hidden:
        lines["no success seen: upper bound"] = ax.scatter([], [], **TRIANGLE, color="0.3")
    ax.set(yscale="log", xlim=(0, block[0].budget), xlabel="reward evaluations (NRE)")
    ax.set_ylabel("held-out success rate")
    ax.set_title(title(block[0]), loc="left", fontsize="medium", parse_math=False)
    names = [textwrap.fill(plain(name), 30) for name in lines]
    legend = ax.legend(list(lines.values()), names, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _method(ax: Axes, points: pd.DataFrame, colour: str) -> tuple[Line2D, bool]:
    """Draw the seeds of one method and their geometric mean; the thick line, and whether there are triangles."""
    import numpy as np
    import seaborn as sns

    known = points[points["success_rate"].notna()].astype({"success_rate": float, "high": float, "nre": float})
    seen = known[known["success_rate"] > 0]
    sns.lineplot(
        seen,
        x="nre",
        y="success_rate",
        units="seed",
        estimator=None,
        color=colour,
        linewidth=0.8,
        alpha=0.5,
        ax=ax,
    )
    unseen = known[(known["success_rate"] == 0) & (known["high"] > 0)]
    ax.scatter(unseen["nre"], unseen["high"], **TRIANGLE, color=colour, alpha=0.5, clip_on=False)
    table = known.pivot_table(index="nre", columns="seed", values="success_rate", aggfunc="last").ffill()
    with np.errstate(divide="ignore"):
        middle = np.exp(np.log(table.to_numpy()).mean(axis=1))  # (points,)
    (line,) = ax.plot(table.index, np.where(middle > 0, middle, np.nan), color=colour, linewidth=2.8, zorder=3)
    return line, not unseen.empty


def _shades(block: Sequence[Row], colours: dict[str, str]) -> list[str]:
    """A colour for each row: its baseline's, lighter for all but the last of its configurations."""
    import seaborn as sns

    total, met, shades = Counter(row.baseline for row in block), Counter[str](), []
    for row in block:
        met[row.baseline] += 1
        palette = sns.light_palette(colours[row.baseline], total[row.baseline] + 2)
        shades.append(palette.as_hex()[met[row.baseline] + 1])
    return shades
