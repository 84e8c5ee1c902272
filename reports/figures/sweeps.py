"""What a sweep taught: which knobs mattered, and where good configurations lie."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from reports.figures import style
from reports.tables.text import plain
from suite.measure.means import geometric_mean
from suite.store.records import FinishedRecord, Record, canonical, finished
from suite.store.schema import rate_of

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "A sweep. Left: importance of each knob for being among the best tenth (PED-ANOVA, Watanabe et al. 2023). "
    "Right: every configuration as a line through its values, scaled to the range that was tried (logarithmic "
    "where the search was), the best dark. Score: geometric mean over seeds of the final success rate, no success as "
    "half a hit. Configurations that were pruned, failed or cut short, so without all seeds, are left out and counted."
)
LEAST = 5
"""Trials below which nothing is said of importance."""


class Trial(NamedTuple):
    """One configuration of a study: the values of the knobs that varied, and its score."""

    baseline: str
    values: dict[str, Any]
    score: float
    """Geometric mean over the seeds that it has, above zero as a search takes it."""
    complete: bool
    """It has all seeds that any configuration of the study has; a score over fewer is not comparable."""


def studies(records: Sequence[Record]) -> dict[str, list[Trial]]:
    """{study: configurations} from records whose meta says `"sweep": {"study", "trial"}`.

    A configuration is one trial or several: one that was interrupted goes on as another. A knob is a field of the
    method's config that takes more than one value in the study. A trial that was run by hand is of no study.
    """
    found: dict[str, dict[str, list[FinishedRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in finished(records):
        study = record.meta.sweep.study if record.meta.sweep is not None else None
        if study is not None and rate_of(record.final) is not None:
            found[study][record.configs[1]].append(record)
    return {study: _trials(list(groups.values())) for study, groups in found.items()}


def _trials(groups: Sequence[Sequence[FinishedRecord]]) -> list[Trial]:
    from suite.search.objective import success_rate

    configs = [group[0].identity.baseline.config for group in groups]
    names = [name for name in configs[0] if len({str(config.get(name)) for config in configs}) > 1]
    seeds = {record.seed for group in groups for record in group}
    return [
        Trial(
            group[0].baseline,
            {name: _hashable(config.get(name)) for name in names},
            geometric_mean([success_rate(record) for record in group]),
            {record.seed for record in group} == seeds,
        )
        for group, config in zip(groups, configs, strict=True)
    ]


def _hashable(value: Any) -> Any:
    """A knob's value; a list or an object as JSON text, one category."""
    return canonical(value) if isinstance(value, list | dict) else value


def figure(trials: Sequence[Trial]) -> Figure | None:
    """Importance beside parallel coordinates of the complete ones; None below five or without a knob that varied."""
    left_out = sum(not trial.complete for trial in trials)
    trials = [trial for trial in trials if trial.complete]
    if len(trials) < LEAST or not trials[0].values:
        return None
    ranges = {name: Range.of(trials[0].baseline, name, [t.values[name] for t in trials]) for name in trials[0].values}
    weights = importance(trials, ranges)
    colour = style.colours([trials[0].baseline])[trials[0].baseline]
    title = f"{plain(trials[0].baseline)}, {len(trials)} trials" + (f", {left_out} cut short" if left_out else "")
    with style.canvas(12, 1.8 + 0.35 * max(6, len(weights))) as drawing:
        left, right = drawing.subplots(1, 2, width_ratios=[1, 2])
        names = list(weights)[::-1]
        left.barh([plain(name) for name in names], [weights[name] for name in names], color=colour, alpha=0.7)
        left.set(xlabel="importance", xlim=(0, 1))
        left.set_title(title, loc="left", parse_math=False)
        _parallel(right, trials, ranges, colour)
        style.literal(left, categories=True)
    return drawing


class Range(NamedTuple):
    """The values a knob could take: numbers low..high, or choices."""

    low: float
    high: float
    log: bool
    whole: bool
    choices: tuple[Any, ...] | None

    @classmethod
    def of(cls, baseline: str, name: str, values: Sequence[Any]) -> Range:
        """The search range of the method's config, widened to the values that were tried."""
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
            return cls(0, 0, False, False, tuple(sorted(set(values), key=str)))
        low, high, log = _declared(baseline, name)
        tried = [*values, *(end for end in (low, high) if end is not None)]
        return cls(min(tried), max(tried), log and min(tried) > 0, all(isinstance(v, int) for v in values), None)

    def place(self, value: Any) -> float:
        """Where in 0..1 a value lies."""
        if self.choices is not None:
            return self.choices.index(value) / max(1, len(self.choices) - 1)
        scale = math.log if self.log else float
        low, high = scale(self.low), scale(self.high)
        return (scale(value) - low) / (high - low)

    def distribution(self) -> optuna.distributions.BaseDistribution:
        from optuna import distributions

        if self.choices is not None:
            return distributions.CategoricalDistribution(self.choices)
        if self.whole:
            return distributions.IntDistribution(int(self.low), int(self.high), log=self.log)
        return distributions.FloatDistribution(self.low, self.high, log=self.log)


def _declared(baseline: str, name: str) -> tuple[float | None, float | None, bool]:
    """(low, high, log) of a tunable field; unknown where the method is not registered here: its code is not run."""
    from suite import config, registry
    from suite.errors import UserError

    if not registry.is_registered("baseline", baseline):
        return None, None, False
    try:
        fields = {spec.name: spec for spec in config.specs(registry.load("baseline", baseline).config_class)}
    except UserError:
        return None, None, False
    spec = fields.get(name)
    return (spec.low, spec.high, spec.log) if spec is not None else (None, None, False)


def importance(trials: Sequence[Trial], ranges: Mapping[str, Range]) -> dict[str, float]:
    """Share of each knob, the largest first, over trials rebuilt as an Optuna study in memory; they sum to 1."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize")
    finally:
        optuna.logging.set_verbosity(level)
    distributions = {name: a_range.distribution() for name, a_range in ranges.items()}
    for trial in trials:
        study.add_trial(
            optuna.trial.create_trial(params=trial.values, distributions=distributions, value=math.log(trial.score))
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _parallel(ax: Axes, trials: Sequence[Trial], ranges: Mapping[str, Range], colour: str) -> None:
    """One line per trial; the last axis is the logarithm of the score."""
    import pandas as pd
    import seaborn as sns  # type: ignore[import-untyped]
    from pandas.plotting import parallel_coordinates

    scores = [math.log(trial.score) for trial in trials]
    span = (max(scores) - min(scores)) or 1.0
    shades = sns.light_palette(colour, 101).as_hex()
    ordered = sorted(trials, key=lambda trial: trial.score)
    lines = [{plain(n): r.place(trial.values[n]) for n, r in ranges.items()} for trial in ordered]
    table = pd.DataFrame(lines)
    table["score"] = [(math.log(trial.score) - min(scores)) / span for trial in ordered]
    table["trial"] = range(len(ordered))
    picked = [shades[int(100 * place)] for place in table["score"]]
    parallel_coordinates(table, "trial", ax=ax, color=picked, linewidth=1.6)
    ax.get_legend().remove()  # type: ignore[union-attr]
    ax.grid(False)
    ax.set_yticks([])
    ends = [(_end(r, 0), _end(r, 1)) for r in ranges.values()]
    ends.append((f"{min(t.score for t in trials):.2g}", f"{max(t.score for t in trials):.2g}"))
    for x, (low, high) in enumerate(ends):
        ax.text(x, -0.03, low, ha="center", va="top", fontsize="small", parse_math=False)
        ax.text(x, 1.02, high, ha="center", va="bottom", fontsize="small", parse_math=False)
    ax.set_ylim(-0.1, 1.1)
    ax.tick_params(axis="x", rotation=20, length=0, pad=8)


def _end(a_range: Range, which: int) -> str:
    if a_range.choices is not None:
        return str(a_range.choices[-which])
    return f"{(a_range.low, a_range.high)[which]:.3g}"
