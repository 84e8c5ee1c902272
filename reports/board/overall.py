"""Several tasks at once: each method's mean rank, and its gain over the base in the middle of all runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from reports import stats
from reports.board.row import Row, blocks
from reports.stats import Rank

MIN_SEEDS = 5
"""Below this many seeds on a task the bootstrap covers too little, and is not shown."""


@dataclasses.dataclass(frozen=True)
class Overall:
    """A method over the tasks of one protocol, duplicate policy and budget."""

    protocol: str
    duplicates: str
    budget: int
    tasks: tuple[str, ...]
    method: str
    control: bool
    rank: float
    rank_low: float
    rank_high: float
    improvement_iqm: float | None
    improvement_iqm_low: float | None
    improvement_iqm_high: float | None


def overall(rows: Sequence[Row]) -> list[Overall]:
    """The methods of each (protocol, duplicates, budget) with at least two tasks, the best mean rank first.

    A method counts where it has final rates on every task; a task where at least two rows have one. Budgets and
    protocols are kept apart.
    """
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        if row.rank is not None and "tuning" not in row.tags:
            groups.setdefault((row.protocol, row.duplicates, row.budget), []).append(row)
    return [one for place, group in sorted(groups.items()) for one in _group(place, group)]


def _group(place: tuple[str, str, int], rows: Sequence[Row]) -> list[Overall]:
    by_task: dict[tuple[str, str], dict[str, Row]] = {}
    for peers in sorted(blocks(rows), key=len):  # of several held-out modes, the one with most rows
        by_task[peers[0].task, peers[0].task_config] = {row.name: row for row in peers}
    by_task = dict(sorted(by_task.items()))
    everywhere = set.intersection(*(set(block) for block in by_task.values()))
    names = sorted(everywhere)
    if len(by_task) < 2 or len(names) < 2:
        return []
    level = 1 - 0.05 / len(by_task)
    ranks: dict[str, list[Rank]] = {name: [] for name in names}
    for block in by_task.values():
        samples = [block[name].final_sample for name in names]
        for name, rank in zip(names, stats.ranks(samples, stats.pairs(samples), level), strict=True):
            if rank is not None:
                ranks[name].append(rank)
    tasks = tuple(" ".join(filter(None, key)) for key in by_task)
    made = []
    for name in names:
        mine = [block[name] for block in by_task.values()]
        places, gain = stats.mean_rank(ranks[name]), _gain(mine)
        made.append(Overall(*place, tasks, name, mine[0].control, *places, *gain))
    return sorted(made, key=lambda one: (one.rank, one.method))


def _gain(rows: Sequence[Row]) -> tuple[float | None, float | None, float | None]:
    scores = []
    for row in rows:
        values, base = row.final_sample.values, row.base_rate
        if len(values) < MIN_SEEDS or min(values) <= 0 or not base:
            return None, None, None
        scores.append([math.log(value / base) for value in values])
    value, low, high = stats.iqm_interval(scores)
    return math.exp(value), math.exp(low), math.exp(high)
