"""What a configuration is worth on several tuning tasks: how far it stands above the best control on each of them.

Of one run, u = ½ (log₁₀(r / r_c) + log₁₀(m / m_c)), each term clipped to [−2, 2]: r is the final success rate, m the
posterior match, and r_c, m_c the best control's on that task. The clip keeps one task from carrying the mean.

J = mean over tasks of ½ · mean_s u + ½ · CVaR₂₅%,s u, where CVaR₂₅% is the mean of the lowest quarter of the seeds: a
configuration that fails on one seed of four is worth less than one that never does (docs/sweeps.md). Configurations
are compared by J − SE, with SE = √(Σ_t s_t² / n_t) / T, the standard error of the mean over T tasks of n_t seeds each.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from suite.errors import UserError
from suite.store.records import FinishedRecord, Record, finished

MOST = 2.0
"""Largest |log₁₀| of a ratio that counts."""
TAIL = 0.25
"""Share of the seeds, the lowest, whose mean is half of J."""
UNKNOWN = "-"


class Control(NamedTuple):
    """The best control on one task; the best success rate and the best match may be those of two controls."""

    success_rate: float
    posterior_match: float | None
    """None where the task cannot measure it; the success rate then counts alone."""


class Score(NamedTuple):
    """A configuration's J and its standard error."""

    j: float
    se: float

    @property
    def lower(self) -> float:
        """What configurations are compared by."""
        return self.j - self.se


def controls(text: str) -> dict[str, Control]:
    """The best controls as a sweep file has them: `TASK=SUCCESS_RATE/POSTERIOR_MATCH`, by commas; `-` is unknown.

    Raises:
        UserError: it is of another form, or a rate is not in (0, 1].
    """
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        task, _, rates = part.rpartition("=")
        rate, _, match = rates.partition("/")
        try:
            control = Control(float(rate), None if match == UNKNOWN else float(match))
            usable = all(0 < value <= 1 for value in control if value is not None)
        except ValueError:
            usable = False
        if not task or not usable:
            raise UserError(
                f"controls: {part!r} is not TASK=SUCCESS_RATE/POSTERIOR_MATCH with rates above 0, such as"
                " gaussian-tune-v1=0.065/0.031, or 0.065/- where no match is known"
            )
        found[task] = control
    return found


def text_of(best: Mapping[str, Control]) -> str:
    """The text that :func:`controls` reads, with four digits."""
    return ",".join(
        f"{task}={one.success_rate:.4g}/{UNKNOWN if one.posterior_match is None else f'{one.posterior_match:.4g}'}"
        for task, one in best.items()
    )


def best_controls(records: Iterable[Record], tasks: Sequence[str]) -> dict[str, Control]:
    """The best control on each task: of each control the median over its seeds, of these the highest.

    Raises:
        UserError: a task has no finished run of a control, or none with a success.
    """
    ran = [record for record in finished(list(records)) if record.identity.baseline.control]
    found = {}
    for task in tasks:
        by_control: dict[str, list[FinishedRecord]] = {}
        for record in ran:
            if record.identity.task.id == task:
                by_control.setdefault(str(record.identity.baseline), []).append(record)
        rates = [_median([rate_of(one) for one in seeds]) for seeds in by_control.values()]
        matches = [_median([match_of(one) for one in seeds]) for seeds in by_control.values()]
        best = Control(max(filter(None, rates), default=0.0), max(filter(None, matches), default=None))
        if not best.success_rate:
            raise UserError(
                f"no control with a success on {task} is there; run `suite bench --tasks {task} --baselines"
                " uniform,temperature,tail,blind,rnd-filter` with the same --results first"
            )
        found[task] = best
    return found


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def rate_of(record: FinishedRecord) -> float | None:
    """The final success rate of a run."""
    return record.result.curve[-1].success_rate


def match_of(record: FinishedRecord) -> float | None:
    """The final posterior match of a run."""
    match = record.result.curve[-1].posterior_match
    return None if match is None else match.value


def above(record: FinishedRecord, control: Control) -> float:
    """u of one run.

    Raises:
        UserError: it has no success rate, or no match where the control has one.
    """
    pairs = [(rate_of(record), control.success_rate, "success rate")]
    if control.posterior_match is not None:
        pairs.append((match_of(record), control.posterior_match, "posterior match"))
    for value, _, name in pairs:
        if value is None:
            task = record.identity.task.id
            raise UserError(f"metric over_controls needs the {name}, which was not measured on {task}")
    return statistics.fmean(clipped(value, best) for value, best, _ in pairs if value is not None)


def clipped(rate: float, control: float) -> float:
    """log₁₀(rate / control), in [−2, 2]; a rate of 0 is −2."""
    return max(-MOST, min(MOST, math.log10(rate / control))) if rate > 0 else -MOST


def score(by_task: Iterable[Sequence[float]]) -> Score:
    """J and its standard error, from u of each task's seeds; the error of a single seed is taken for 0."""
    tasks = [sorted(seeds) for seeds in by_task]
    halves = [0.5 * statistics.fmean(u) + 0.5 * statistics.fmean(u[: math.ceil(TAIL * len(u))]) for u in tasks]
    variance = sum(statistics.variance(u) / len(u) for u in tasks if len(u) > 1)
    return Score(statistics.fmean(halves), math.sqrt(variance) / len(tasks))
