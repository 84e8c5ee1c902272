"""Tests between the rows of each setting: who is better than whom, at a family-wise level of 5 %."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence

from reports import stats
from reports.board.row import Row
from reports.tables.render import blocks, escape, pipe_table, title
from reports.tables.text import NONE, interval, number

LEGEND = (
    "Ratio: the geometric mean of the final rate of the first over that of the second, with Welch's 95 % t-interval "
    "on logs, each for itself. p: of a ratio of 1, after Holm's correction for all pairs of the table, those of two "
    "controls too.",
    "P(first above second): over pairs of seeds, ties one half, with Newcombe's 95 % interval.",
    f"untestable: fewer than {stats.MIN_SEEDS} seeds on a side that varies.",
)


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


def to_markdown(rows: Sequence[Row], found: Sequence[PairTest]) -> str:
    """A table of the tests of each setting."""
    parts = ["# Tests between methods"]
    head = ["method", "against", "ratio [95 %]", "p (Holm)", "P(first above second) [95 %]", "conclusion"]
    for block in blocks(rows):
        parts.append(f"## {escape(title(block[0]))}")
        mine = [test for test in found if _setting(test) == block[0].setting]
        if mine:
            parts.append(pipe_table(head, [_cells(test) for test in mine]))
        elif len(block) > stats.MOST_ROWS:
            parts.append(f"{len(block)} rows, more than {stats.MOST_ROWS}: pick some with --baseline.")
        else:
            parts.append("Nothing to compare.")
    parts += ["## How to read this", "\n".join(f"- {line}" for line in LEGEND)]
    return "\n\n".join(parts) + "\n"


def to_csv(found: Sequence[PairTest]) -> str:
    """One line per test, the columns of :class:`PairTest`; empty is unknown."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(PairTest))
    writer.writerows(dataclasses.astuple(test) for test in found)
    return text.getvalue()


def _setting(test: PairTest) -> tuple[str, str, str, str, int, str]:
    return test.task, test.task_config, test.protocol, test.duplicates, test.budget, test.heldout


def _cells(test: PairTest) -> list[str]:
    return [
        test.first,
        test.second,
        _ratio(test),
        NONE if test.p_holm is None else number(test.p_holm, 2),
        interval(test.probability, test.probability_low, test.probability_high, 2),
        test.conclusion,
    ]


def _ratio(test: PairTest) -> str:
    if test.ratio is None and test.ratio_low:
        return f"> {number(test.ratio_low)}"
    return interval(test.ratio, test.ratio_low, test.ratio_high)
