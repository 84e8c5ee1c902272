"""One colour for each baseline, the same in every figure, told apart by colour-blind readers too."""

from __future__ import annotations

from collections.abc import Iterable

# Okabe and Ito's palette (2008) for the methods; darker and lighter kin of it for the controls, which are
# dashed.
BASELINES = {
    "banel": "#D55E00",
    "rnd": "#0072B2",
    "count": "#009E73",
    "pseudo-count": "#CC79A7",
    "pretrained": "#000000",
    "uniform": "#AA7700",
    "temperature": "#56B4E9",
    "tail": "#882255",
    "blind": "#332288",
    "rnd-filter": "#999933",
}
# Tol's "muted" palette, for methods that are not ours.
OTHERS = ("#44AA99", "#CC6677", "#117733", "#DDCC77", "#AA4499", "#88CCEE")
DASHES = ((5, 2), (2, 1.5), (7, 2, 1.5, 2), (1, 1.2), (9, 3), (5, 1.5, 1, 1.5, 1, 1.5))


def colours(baselines: Iterable[str]) -> dict[str, str]:
    """A colour for each baseline id: fixed for the suite's own, in alphabetical order for all others."""
    names = sorted(set(baselines))
    strangers = [name for name in names if name not in BASELINES]
    spare = {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(strangers)}
    return {name: BASELINES.get(name) or spare[name] for name in names}
