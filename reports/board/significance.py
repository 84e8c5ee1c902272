"""Tests between the rows of each setting: who is better than whom, at a family-wise level of 5 %."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from reports import stats
from reports.board.row import Row, blocks


@dataclasses.dataclass(frozen=True)
class PairTest:
    """Two rows of one setting, the first ranked no lower than the second."""

    task: str
    task_config: str
    protocol: str
    duplicates: str
    budget: int
    heldout: str
    first: str
    second: str
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    p_holm: float | None
    """Holm's p-value; None where the pair is untestable, or both are known without error."""
    probability: float | None
    """P(a seed of the first ends above one of the second), with its 95 % interval."""
    probability_low: float | None
    probability_high: float | None
    conclusion: str
    """`better`, `no evidence of a difference`, `untestable`, or why else there is no test."""


def tests(rows: Sequence[Row]) -> list[PairTest]:
    """All pairs of rows of each setting but those of two controls, the better ranked first.

    Rows without a final rate take no part, nor do settings of more than :data:`reports.stats.MOST_ROWS` rows.
    """
    made = []
    for block in blocks(rows):
        entered = sorted((row for row in block if row.rank is not None), key=lambda row: row.rank or 0.0)
        samples = [row.final_sample for row in entered]
        for pair in stats.pairs(samples):
            first, second = entered[pair.first], entered[pair.second]
            if not (first.control and second.control):
                made.append(_test(first, second, pair))
    return made


def _test(first: Row, second: Row, pair: stats.Pair) -> PairTest:
    mine, its = first.final_sample, second.final_sample
    chance = None
    if mine.known and its.known:
        pass  # two numbers, not two samples
    elif mine.known:
        turned = stats.probability_of_improvement(its.values, mine.values, control_known=True)
        chance = turned and (1 - turned[0], 1 - turned[2], 1 - turned[1])
    else:
        chance = stats.probability_of_improvement(mine.values, its.values, control_known=its.known)
    made = pair.comparison
    return PairTest(
        *first.setting,
        first=first.name,
        second=second.name,
        ratio=made.value,
        ratio_low=made.low,
        ratio_high=made.high,
        p_holm=pair.p_holm,
        probability=chance and chance[0],
        probability_low=chance and chance[1],
        probability_high=chance and chance[2],
        conclusion=_conclusion(pair),
    )


def _conclusion(pair: stats.Pair) -> str:
    if pair.differs():
        return "better" if (pair.comparison.low or 0.0) > 1 else "worse"
    if pair.p_holm is not None:
        return "no evidence of a difference"
    return "untestable" if pair.comparison.untestable else pair.comparison.note
