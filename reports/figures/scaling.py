"""Compute scaling: improvement by epochs of the failure model, the knob that costs compute and no evaluation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from reports.board import leaderboard
from reports.figures import style
from reports.read import select
from reports.tables.text import plain
from suite.measure.means import geometric_mean
from suite.store.records import Record, canonical, finished
from suite.store.schema import rate_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Improvement of the final success rate over base by epochs of the failure model, which cost compute and no "
    "evaluation. Dot: one seed; line: geometric mean over seeds; dotted: controls that ask for no reward. The "
    "paper's values, where shown, are means of five seeds read off its figure, for another target and base."
)
FIELD = "epochs"
LEAST = 3
"""Values of the knob that make a curve."""

Scaling = dict[int, list[float]]


def figure(records: Sequence[Record], paper: Mapping[int, float] | None = None) -> Figure | None:
    """One panel for each method and setting that ran with at least three numbers of epochs, alike in all else.

    Args:
        records: of one task.
        paper: improvement by epochs to draw beside them.
    """
    groups = {key: group for key, group in by_epochs(records).items() if len(group) >= LEAST}
    if not groups:
        return None
    colours = style.colours(name for name, _, _ in groups)
    with style.canvas(8, 4.4 * len(groups)) as drawing:
        axes = drawing.subplots(len(groups), squeeze=False)[:, 0]
        places = settings(records)
        for ax, ((name, _, where), group) in zip(axes, groups.items(), strict=True):
            first = places[where]
            _panel(ax, name, group, colours[name])
            ax.set_title(plain(first.task))
            for control, gains in controls(records, first).items():
                if mean := geometric_mean(gains):
                    colour = style.colours([control])[control]
                    ax.axhline(mean, linestyle=":", color=colour, label=f"control: {control}")
            if paper:
                ax.plot(
                    list(paper), list(paper.values()), "D--", color="0.55", markersize=4, label="the paper (mean of 5)"
                )
            ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
            style.literal(ax)
    return drawing


def by_epochs(records: Sequence[Record]) -> dict[tuple[str, str, Hashable], Scaling]:
    """{(baseline, its other fields, setting): {epochs: improvement of every seed}}, epochs ascending."""
    groups: dict[tuple[str, str, Hashable], Scaling] = defaultdict(lambda: defaultdict(list))
    for record, gain in improvements(records):
        config = record.identity.baseline.config
        epochs = config.get(FIELD)
        if isinstance(epochs, int) and not record.identity.baseline.control:
            rest = {name: value for name, value in config.items() if name != FIELD}
            groups[record.baseline, canonical(rest), select.setting_key(record)][epochs].append(gain)
    return {key: dict(sorted(group.items())) for key, group in groups.items()}


def improvements(records: Sequence[Record]) -> Iterator[tuple[Record, float]]:
    """Final success rate of each finished run over the base that all runs measured together, as in the leaderboard."""
    bases = leaderboard.base_rates(records)
    for record in finished(records):
        final, base = rate_of(record.final), bases[leaderboard.base_key(record)].value
        if final is not None and base:
            yield record, final / base


def settings(records: Sequence[Record]) -> dict[Hashable, Record]:
    """The first record of each setting, by :func:`reports.read.select.setting_key`."""
    places: dict[Hashable, Record] = {}
    for record in records:
        places.setdefault(select.setting_key(record), record)
    return places


def controls(records: Sequence[Record], of: Record) -> dict[str, list[float]]:
    """{control: final improvement of every seed}, of the controls that a run is held against, as in the leaderboard."""
    groups = select.rivals(of, [group for group in select.by_row(records) if group[0].identity.baseline.control])
    serving = {record.cell for group in groups for record in group}
    gains: dict[str, list[float]] = defaultdict(list)
    for record, gain in improvements(records):
        if record.cell in serving:
            gains[record.baseline].append(gain)
    return dict(sorted(gains.items()))


def _panel(ax: Axes, name: str, group: Scaling, colour: str) -> None:
    for epochs, gains in group.items():
        ax.scatter([epochs] * len(gains), gains, color=colour, s=20, alpha=0.7, linewidth=0)
    known = {epochs: mean for epochs, gains in group.items() if (mean := geometric_mean(gains))}
    ax.plot(list(known), list(known.values()), color=colour, linewidth=2.4, label=f"{plain(name)}, geometric mean")
    ax.axhline(1, color="0.15", linewidth=1)
    ax.set(xscale="log", yscale="log", xlabel="epochs of the failure model, E", ylabel="final success rate over base")
    ax.set_xticks(list(group), [str(epochs) for epochs in group])
    ax.minorticks_off()
