"""The leaderboard: one flat row per task, method and setting, over the seeds that ran it."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from reports import select, stats
from reports.rates import Rates
from suite import records as engine
from suite.records import Record, canonical

DIVERSITY = (
    "distinct_share",
    "distinct_successes",
    "effective_successes",
    "valid_share",
    "entropy",
    "kl_prior",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the leaderboard; `None` is unknown or censored, never zero.

    Success rates are held-out probabilities; NRE counts reward evaluations. A rate of which no success was
    seen in the held-out sample is None and has its upper bound beside it. Means, medians and deviations are
    over seeds.
    """

    task: str
    task_config: str
    """What sets this configuration of the task apart from others in the table; empty where there is one."""
    baseline: str
    config: str
    """The same for the method, with device and threads."""
    control: bool
    """An oracle-free control: it learns from no evaluation."""
    protocol: str
    duplicates: str
    budget: int
    heldout: str
    seeds: int
    """Finished runs."""
    seed_list: tuple[int, ...]
    failed: int
    """Failed runs, which count in no statistic."""
    verified: bool | None
    """True if `suite verify` confirmed every finished cell, False if it refuted one, else None."""
    estimator: str
    base_rate: float | None
    success_final_geomean: float | None
    success_final_geomean_low: float | None
    """95 % t-interval of the mean logarithm over seeds, taken back by exp."""
    success_final_geomean_high: float | None
    success_final_upper: float | None
    """Geometric mean of the seeds' upper bounds, where one of them has no success in its held-out sample."""
    success_final_mean: float | None
    success_final_median: float | None
    success_final_std: float | None
    success_final_seeds: tuple[float | None, ...]
    """Each seed's final success rate in the order of `seed_list`, with the ends of its interval."""
    success_final_seeds_low: tuple[float | None, ...]
    success_final_seeds_high: tuple[float | None, ...]
    success_best_geomean: float | None
    """Cumulative best over the curve, oracle-selected: chosen by held-out estimates no method may see."""
    success_best_geomean_low: float | None
    success_best_geomean_high: float | None
    success_best_upper: float | None
    success_best_mean: float | None
    best_selected_on: str | None
    """`half`: chosen on one held-out half and measured on the other; `same`: on the same, so optimistic."""
    improvement_final_geomean: float | None
    """Success rate over the run's own base, geometric and arithmetic mean of the ratios."""
    improvement_final_mean: float | None
    improvement_best_geomean: float | None
    improvement_best_mean: float | None
    best_control: str | None
    """The control with the largest geometric mean of the final rate, in the same setting."""
    best_control_rate: float | None
    """That geometric mean."""
    best_control_note: str
    """What to know about it: it lies below the base, or another may be better."""
    improvement_over_control: float | None
    """Ratio of the geometric means of the final rates, with Welch's 95 % t-interval on logs."""
    improvement_over_control_low: float | None
    improvement_over_control_high: float | None
    improvement_over_control_note: str
    distinct_share: float | None
    """Medians over seeds of the final policy, down to `kl_prior`."""
    distinct_successes: float | None
    effective_successes: float | None
    valid_share: float | None
    entropy: float | None
    kl_prior: float | None
    successes_mean: float | None
    """Successes among the charged evaluations."""
    first_success_median: float | None
    """Kaplan-Meier median of the evaluation that first succeeded, with the number of seeds that had one."""
    first_success_seeds: int
    nre_mean: float | None
    nre_to_10x: float | None
    """Kaplan-Meier median of the NRE at which a point's whole interval is above 10 x base; seeds with one."""
    nre_to_10x_seeds: int | None
    nre_to_100x: float | None
    nre_to_100x_seeds: int | None
    seconds_mean: float | None
    """Training, filtering and verifying; held-out measurement apart."""
    seconds_heldout_mean: float | None
    flops_mean: float | None
    """Model compute of training, filtering and verifying, without held-out measurement."""
    tuning_nre: int | None
    """Evaluations that choosing this configuration had cost, as its tuning provenance says."""
    cells: tuple[str, ...]
    """The folders below RESULTS/cells, ledgers included, that stand behind this row."""

    @property
    def name(self) -> str:
        """The method, with its configuration where several are in the table."""
        return f"{self.baseline} ({self.config})" if self.config else self.baseline

    @property
    def setting(self) -> tuple[str, str, str, str, int, str]:
        """What rows must share to stand in one table."""
        return self.task, self.task_config, self.protocol, self.duplicates, self.budget, self.heldout


def rows(records: Sequence[Record]) -> list[Row]:
    """The rows of all records, methods before controls in each setting, the largest final rate first.

    Nothing is averaged across tasks, configurations, protocols, duplicate policies, budgets, held-out modes,
    devices or thread counts. Records that :func:`reports.select.current` leaves out do not count.
    """
    kept, _ = select.current(records)
    groups: dict[Hashable, list[Record]] = {}
    for record in sorted(kept, key=lambda r: r.seed):
        groups.setdefault(select.row_key(record), []).append(record)
    tasks, configs = labels(list(groups.values()))
    entrants = [Entrant.of(*parts) for parts in zip(groups.values(), tasks, configs, strict=True)]
    return sorted((_row(entrant, entrants) for entrant in entrants), key=_order)


@dataclasses.dataclass(frozen=True)
class Entrant:
    """The records behind one row, with the labels that set them apart and their final rates."""

    records: Sequence[Record]
    finished: Sequence[Record]
    task_config: str
    config: str
    final: Rates

    @classmethod
    def of(cls, records: Sequence[Record], task_config: str, config: str) -> Entrant:
        finished = [record for record in records if record.status == "finished"]
        return cls(records, finished, task_config, config, Rates.of(finished, "final"))

    @property
    def control(self) -> bool:
        return bool(self.records[0].identity["baseline"]["control"])

    @property
    def name(self) -> str:
        return f"{self.records[0].baseline} ({self.config})" if self.config else self.records[0].baseline

    @property
    def arena(self) -> tuple[Hashable, ...]:
        """What a method and the controls it is held against have in common."""
        first = self.records[0]
        return (*select.task_key(first), *(first.identity[key] for key in ("protocol", "budget", "heldout")))


def headline(entrant: Entrant, entrants: Sequence[Entrant]) -> dict[str, Any]:
    """The fields of a row on the best oracle-free control of its arena and the improvement over it.

    The best control is the one with the largest geometric mean of the final rate. Choosing it on the data it
    is judged by flatters the controls, so the improvement errs towards too small.
    """
    rivals = [other for other in entrants if other.control and other.arena == entrant.arena]
    known = [(rival.final.geomean.value, rival) for rival in rivals if rival.final.geomean is not None]
    if not known:
        if entrant.records[0].identity["heldout"] == "off":
            note = "held-out measurement is off"
        else:
            note = "no control with a success on every seed" if rivals else "no oracle-free control ran here"
        return _headline(None, None, "", stats.Comparison(None, None, None, note))
    level, best = max(known, key=lambda pair: pair[0])
    base = stats.mean(best.final.bases)
    caveats = ["it is below the base"] if base is not None and level < base else []
    bounds = {rival.name: rival.final.upper for rival in rivals if rival.final.upper is not None}
    unsure = {name: end for name, end in bounds.items() if end > level}
    caveats += [f"{name} is only known to be below {end:.2g}" for name, end in unsure.items()]
    if entrant.control:
        note = "the best oracle-free control" if entrant is best else "an oracle-free control"
        improvement = stats.Comparison(None, None, None, note)
    elif not entrant.finished:
        improvement = stats.Comparison(None, None, None, "no finished run")
    else:
        mine, its = entrant.final, best.final
        improvement = stats.compare(mine.values, its.values, method_exact=mine.exact, control_exact=its.exact)
    return _headline(best.name, level, "; ".join(caveats), improvement)


def _headline(control: str | None, level: float | None, caveats: str, improvement: stats.Comparison) -> dict[str, Any]:
    return {
        "best_control": control,
        "best_control_rate": level,
        "best_control_note": caveats,
        "improvement_over_control": improvement.value,
        "improvement_over_control_low": improvement.low,
        "improvement_over_control_high": improvement.high,
        "improvement_over_control_note": improvement.note,
    }


def labels(groups: Sequence[Sequence[Record]]) -> tuple[list[str], list[str]]:
    """(task labels, method labels) of groups: the settings in which each differs from others of its id."""
    first = [group[0] for group in groups]
    tasks = [(record.task, _flat(record.identity["task"]["config"])) for record in first]
    methods = []
    for record in first:
        places = {"points": record.points} | {name: record.identity[name] for name in ("device", "threads")}
        methods.append(((record.task, record.baseline), {**_flat(record.identity["baseline"]["config"]), **places}))
    return _differences(tasks), _differences(methods)


def _differences(items: Sequence[tuple[Hashable, Mapping[str, Any]]]) -> list[str]:
    """`key=value` of the keys whose value is not the same in all items of one id."""
    result = []
    for name, values in items:
        peers = [peer for other, peer in items if other == name]
        keys = dict.fromkeys(key for peer in peers for key in peer)
        varying = [key for key in keys if len({_setting(peer, key) for peer in peers}) > 1]
        result.append(", ".join(_setting(values, key) for key in varying))
    return result


def _setting(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return f"no {key}"
    value = values[key]
    return f"{key}={value if isinstance(value, str) else canonical(value)}"


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _row(entrant: Entrant, entrants: Sequence[Entrant]) -> Row:
    first, finished = entrant.records[0], entrant.finished
    identity = first.identity
    final, best = entrant.final, Rates.of(finished, "best")
    return Row(
        task=first.task,
        task_config=entrant.task_config,
        baseline=first.baseline,
        config=entrant.config,
        control=entrant.control,
        protocol=identity["protocol"],
        duplicates=identity["duplicates"],
        budget=identity["budget"],
        heldout=str(identity["heldout"]),
        seeds=len(finished),
        seed_list=tuple(record.seed for record in finished),
        failed=len(entrant.records) - len(finished),
        verified=_all_verified(finished),
        estimator=_words(record.result["curve"][-1]["estimator"] for record in finished),
        base_rate=final.seen(stats.mean(final.bases)),
        success_final_median=final.seen(stats.median(final.values)),
        success_final_std=final.seen(stats.sd(final.values)),
        success_final_seeds=final.seeds,
        success_final_seeds_low=final.lows,
        success_final_seeds_high=final.highs,
        best_selected_on=_words(record.best["selected_on"] for record in finished if record.best) or None,
        cells=tuple(record.cell for record in entrant.records),
        **headline(entrant, entrants),
        **final.summary("final"),
        **best.summary("best"),
        **_diversity(finished),
        **_cost(finished),
        **_reached(finished),
    )


def _diversity(finished: Sequence[Record]) -> dict[str, Any]:
    last = [record.result["curve"][-1] for record in finished]
    return {name: stats.median(_known(point[name] for point in last)) for name in DIVERSITY}


def _cost(finished: Sequence[Record]) -> dict[str, Any]:
    def apart(amounts: Mapping[str, float]) -> float:
        return sum(amounts[phase] for phase in ("training", "filtering", "verifying"))

    flops = [{name: tally["flops"] for name, tally in r.result["compute"].items()} for r in finished]
    tuning = _known((record.meta.get("tuning") or {}).get("nre") for record in finished)
    return {
        "nre_mean": stats.mean([record.result["nre"] for record in finished]),
        "successes_mean": stats.mean(_known(record.result["successes"] for record in finished)),
        "seconds_mean": stats.mean([apart(record.meta["seconds"]) for record in finished]),
        "seconds_heldout_mean": stats.mean([record.meta["seconds"]["heldout"] for record in finished]),
        "flops_mean": stats.mean([apart(amounts) for amounts in flops]),
        "tuning_nre": int(max(tuning)) if tuning else None,
    }


def _reached(finished: Sequence[Record]) -> dict[str, Any]:
    ends = [record.result["nre"] for record in finished]
    first = [record.result["first_success"] for record in finished]
    fields: dict[str, Any] = {
        "first_success_median": stats.censored_median(first, ends),
        "first_success_seeds": len(_known(first)),
    }
    bases = [(record.result["base"] or {}).get("success_rate") for record in finished]
    for factor in (10, 100):
        curves = zip(finished, bases, strict=True)
        times = [stats.nre_to(record.result["curve"], factor, base) for record, base in curves]
        fields[f"nre_to_{factor}x"] = stats.censored_median(times, ends)
        fields[f"nre_to_{factor}x_seeds"] = len(_known(times)) if all(bases) and bases else None
    return fields


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _words(values: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(values))


def _all_verified(finished: Sequence[Record]) -> bool | None:
    verdicts = [engine.verified(record) for record in finished]
    if False in verdicts:
        return False
    return None if None in verdicts or not verdicts else True


def _order(row: Row) -> tuple[Any, ...]:
    rate, upper = row.success_final_geomean, row.success_final_upper
    return (*row.setting, row.control, rate is None, -(rate or 0.0), -(upper or 0.0), row.name)
