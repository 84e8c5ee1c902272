"""One colour for each baseline, the same in every figure, told apart by colour-blind readers too."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from reports.board.row import Row

# Okabe and Ito's palette (2008) for the methods; darker and lighter kin of it for the controls, which are
# dashed.
BASELINES = {
    "banel": "#D55E00",
    "rnd": "#0072B2",
    "count": "#009E73",
    "pseudo-count": "#CC79A7",
    "shortfall": "#E69F00",
    "unlikelihood": "#661100",
    "nsr": "#6699CC",
    "npo": "#DD7788",
    "reinforce": "#004488",
    "grpo": "#BB5566",
    "cem": "#997700",
    "raft": "#228833",
    "pretrained": "#000000",
    "uniform": "#AA7700",
    "temperature": "#56B4E9",
    "tail": "#882255",
    "blind": "#332288",
    "rnd-filter": "#999933",
    "pointmass": "#777777",
}
# Tol's "muted" palette, for methods that are not ours.
OTHERS = ("#44AA99", "#CC6677", "#117733", "#DDCC77", "#AA4499", "#88CCEE")
DASHES = ((5, 2), (2, 1.5), (7, 2, 1.5, 2), (1, 1.2), (9, 3), (5, 1.5, 1, 1.5, 1, 1.5))
KINDS = ("svg", "pdf", "png")
"""The formats in which every figure is written."""
LARGEST_SVG = 90_000
"""Bytes from which on a figure is put on a page as pixels."""


def colours(baselines: Iterable[str]) -> dict[str, str]:
    """A colour for each baseline id: fixed for the suite's own, in alphabetical order for all others."""
    names = sorted(set(baselines))
    strangers = [name for name in names if name not in BASELINES]
    spare = {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(strangers)}
    return {name: BASELINES.get(name) or spare[name] for name in names}


def shades(block: Sequence[Row], chosen: dict[str, str]) -> list[str]:
    """A colour for each row: its baseline's, lighter for all but the last of its configurations."""
    import seaborn as sns  # type: ignore[import-untyped]

    total, met, result = Counter(row.baseline for row in block), Counter[str](), []
    for row in block:
        met[row.baseline] += 1
        palette = sns.light_palette(chosen[row.baseline], total[row.baseline] + 2)
        result.append(palette.as_hex()[met[row.baseline] + 1])
    return result


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the plotting libraries' warnings and log lines from the terminal of somebody who asked for a report."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


@contextlib.contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches in the look that all share.

    Its layout is settled once, when the block ends: to settle it again for each format would double their time.
    """
    with quiet():
        import seaborn as sns
        from matplotlib.figure import Figure

    with quiet(), sns.axes_style("ticks"), sns.plotting_context("notebook", rc={"axes.titlesize": "medium"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        sns.despine(fig=figure)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def literal(ax: Axes, *, categories: bool = False) -> None:
    """Show title, labels and legend as they are: a name with dollar signs is no formula.

    Args:
        categories: the ticks of the y axis are names too, and not powers of ten.
    """
    texts = [ax.title, ax.xaxis.label, ax.yaxis.label, *(ax.get_yticklabels() if categories else [])]
    legend = ax.get_legend()
    for text in [*texts, *([] if legend is None else legend.get_texts())]:
        text.set_parse_math(False)


def encode(figure: Figure, kind: str, *, dpi: int = 150, outlines: bool = True) -> bytes:
    """The figure as an `svg`, `pdf` or `png` file, the same bytes for the same figure.

    Args:
        dpi: of pixels, for `png`.
        outlines: letters of an `svg` as outlines, which look the same everywhere; else as text, which is smaller.
    """
    import matplotlib

    file = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}[kind]
    with quiet(), matplotlib.rc_context({"svg.hashsalt": "suite", "svg.fonttype": "path" if outlines else "none"}):
        figure.savefig(file, format=kind, dpi=dpi, metadata=metadata)
    return file.getvalue()


def html(figure: Figure) -> str:
    """The figure as a part of a page: SVG with text or, where that is large, an image of pixels."""
    svg = encode(figure, "svg", outlines=False).decode()
    svg = svg[svg.index("<svg") :]
    if len(svg) <= LARGEST_SVG:
        return svg
    pixels = base64.b64encode(encode(figure, "png", dpi=100)).decode()
    return f'<img alt="" src="data:image/png;base64,{pixels}">'
