"""The paper's numbers, with what limits them, beside ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports import stats
from reports.board.row import Row
from reports.tables.render import pipe_table
from reports.tables.text import NONE, interval, number, plain, rate
from suite.measure.means import geometric_mean

PAPER: dict[str, Any] = json.loads((Path(__file__).parent / "paper.json").read_text())


def limits(part: str) -> str:
    """What keeps the paper's numbers of a part from being held against ours, as a Markdown list."""
    lines = [*PAPER[part].get("limits", []), *PAPER["limits"]]
    return "\n".join([f"The paper's numbers: {PAPER['source']}.", "", *(f"- {line}" for line in lines)])


def attack_table(rows: Sequence[Row]) -> str:
    """Mean, median, SD and improvement of the paper and of ours, then our controls; Markdown."""
    theirs: Mapping[str, Mapping[str, float | None]] = PAPER["attack-table"]["rows"]
    ordered = [row for name in theirs for row in rows if row.baseline == name]
    ordered += [row for row in rows if row.baseline not in theirs and not row.control]
    ordered += [row for row in rows if row.control]
    head = ["method", "seeds", "mean, paper", "mean, ours", "median, paper", "median, ours", "SD, paper", "SD, ours"]
    head += ["× base, paper", "× base, ours (mean)", "final, geo. mean [95 %]", "× best control [95 %]"]
    return pipe_table(head, [_attack_line(row, theirs.get(row.baseline, {})) for row in ordered])


def _attack_line(row: Row, paper: Mapping[str, float | None]) -> list[str]:
    final = row.success_final_geomean_low, row.success_final_geomean_high
    over = row.improvement_over_control_low, row.improvement_over_control_high
    return [
        plain(f"control: {row.name}" if row.control else row.name),
        str(row.seeds),
        rate(paper.get("mean")),
        rate(row.success_final_mean, row.success_final_upper),
        rate(paper.get("median")),
        rate(row.success_final_median, row.success_final_upper),
        number(paper.get("std")),
        number(row.success_final_std),
        number(paper.get("improvement"), 4),
        number(row.improvement_final_mean),
        interval(row.success_final_geomean, *final),
        NONE if row.control else interval(row.improvement_over_control, *over),
    ]


def compute_scaling(by_epochs: Mapping[int, Sequence[float]]) -> str:
    """Improvement over base by epochs of the failure model: every seed, geometric and arithmetic mean, the paper."""
    theirs = improvement_by_epochs()
    body = []
    for epochs in sorted({*by_epochs, *theirs}):
        gains = list(by_epochs.get(epochs, ()))
        body.append([str(epochs), *_seeds(gains), number(stats.mean(gains)), number(theirs.get(epochs))])
    return pipe_table(["epochs E", "× base, each seed", "geo. mean", "mean", "paper (mean of 5)"], body)


def controls(by_name: Mapping[str, Sequence[float]]) -> str:
    """Improvement of each control over base: every seed and the geometric mean, – where a seed had no success."""
    body = [[plain(f"control: {name}"), *_seeds(gains)] for name, gains in by_name.items()]
    return pipe_table(["control", "× base, each seed", "geo. mean"], body)


def _seeds(gains: Sequence[float]) -> tuple[str, str]:
    """Improvements over base: each, and their geometric mean."""
    geometric = geometric_mean(gains) if gains else None
    return ", ".join(number(gain, 2) for gain in gains) or "not run", number(geometric or None)


def improvement_by_epochs() -> dict[int, float]:
    """The paper's compute-scaling curve."""
    return {int(epochs): gain for epochs, gain in PAPER["compute-scaling"]["improvement"].items()}


REASONING_METHODS = ("banel", "rnd")
"""The methods of the paper's figure on reasoning."""


def reasoning(rows: Sequence[Row]) -> str:
    """Best and final rates of ours by question, and below them the paper's six questions."""
    head = ["question", "method", "seeds", "base", "best (oracle-selected), geo. mean", "final, geo. mean"]
    ours = [
        [
            plain(row.task_config or row.task),
            plain(f"control: {row.name}" if row.control else row.name),
            str(row.seeds),
            rate(row.base_rate),
            rate(row.success_best_geomean, row.success_best_upper),
            rate(row.success_final_geomean, row.success_final_upper),
        ]
        for row in rows
    ]
    best: Mapping[str, Mapping[str, float]] = PAPER["reasoning-curves"]["best"]
    theirs = [[name, *(rate(values[method]) for method in REASONING_METHODS)] for name, values in best.items()]
    return f"{pipe_table(head, ours)}\n\n{pipe_table(['paper, question', 'BaNEL', 'RND'], theirs)}"
