"""The leaderboard: one flat row per task, method and setting, over the seeds that ran it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from reports import stats
from reports.board.rates import Rates, area, fields
from reports.board.row import Row
from reports.read import select, shipped
from suite import registry
from suite.store import records as engine
from suite.store.records import FinishedRecord, Record, canonical
from suite.store.schema import Estimate, Placed

__all__ = ["Row", "rows"]


def rows(records: Sequence[Record]) -> list[Row]:
    """The rows of all records, methods before controls in each setting, the largest final rate first.

    Nothing is averaged across tasks, configurations, protocols, duplicate policies, budgets, held-out modes,
    devices or thread counts. Records that :func:`reports.read.select.current` leaves out do not count.
    """
    kept, _ = select.current(records)
    groups = select.by_row(kept)
    tasks, configs = labels(groups)
    bases = base_rates(kept)
    entrants = [
        Entrant.of(group, task, config, bases.get(base_key(group[0]), stats.Estimate(None, None, None)))
        for group, task, config in zip(groups, tasks, configs, strict=True)
    ]
    settings: dict[Hashable, list[Entrant]] = {}
    for one in entrants:
        settings.setdefault(select.setting_key(one.records[0]), []).append(one)
    places = {id(one): place for peers in settings.values() for one, place in _places(peers)}
    controls = {id(one.records): one for one in entrants if one.control}
    made: list[Row] = []
    for peers in settings.values():
        rivals = select.rivals(peers[0].records[0], [one.records for one in controls.values()])
        made += [_row(one, [controls[id(group)] for group in rivals], places[id(one)]) for one in peers]
    return sorted(made, key=_order)


def base_key(record: Record) -> tuple[Hashable, ...]:
    """What records must share to have measured the same prior in the same way."""
    return (*select.task_key(record), record.identity.heldout)


def base_rates(records: Iterable[Record]) -> dict[Hashable, stats.Estimate]:
    """The success rate of each task's prior, by :func:`base_key`: from all its runs, and from `suite list --measure`.

    What was measured beside the task counts as one more run; where it is exact, and the runs' are counted, alone.
    """
    points: dict[Hashable, list[Estimate]] = {}
    first: dict[Hashable, Record] = {}
    for record in engine.finished(records):
        key = base_key(record)
        points.setdefault(key, []).append(record.result.curve[0])
        first.setdefault(key, record)
    return {key: stats.pooled_rate(_with_facts(first[key], measured)) for key, measured in points.items()}


def _with_facts(record: Record, measured: list[Estimate]) -> list[Estimate]:
    known = registry.measured_base(record.identity.task, record.plugin_file("task"))
    if known is None or not all(point.counted() for point in measured):
        return measured
    return [known] if known.estimator == "exact" else [*measured, known]


@dataclasses.dataclass(frozen=True)
class Entrant:
    """The records behind one row, with the labels that set them apart and their final rates."""

    records: Sequence[Record]
    finished: Sequence[FinishedRecord]
    task_config: str
    config: str
    final: Rates
    match: Rates
    """Posterior matches of the final policies."""

    @classmethod
    def of(cls, records: Sequence[Record], task_config: str, config: str, base: stats.Estimate) -> Entrant:
        finished = engine.finished(records)
        ends = [run.final for run in finished]
        return cls(records, finished, task_config, config, Rates.of(ends, base), Rates.of(matches(ends), base))

    @property
    def control(self) -> bool:
        return self.records[0].identity.baseline.control

    @property
    def name(self) -> str:
        return f"{self.records[0].baseline} ({self.config})" if self.config else self.records[0].baseline


def matches(points: Sequence[Placed | None]) -> list[Estimate | None]:
    """The posterior match of each point as an estimate; None where there is none."""
    found = [None if point is None else point.posterior_match for point in points]
    return [None if m is None else Estimate(m.value, m.low, m.high, "none", m.n) for m in found]


Which = Callable[[Entrant], Rates]


def headline(entrant: Entrant, rivals: Sequence[Entrant]) -> dict[str, Any]:
    """The fields of a row on the best oracle-free controls that serve it and the improvement over them.

    The control shown is the one with the largest median, of the final success rate or of the match. The interval is
    against the best, whichever truly is: it takes in every control that can be tested.
    """
    level, best, over = _over_best(entrant, rivals, lambda one: one.final)
    match_level, match_best, match_over = _over_best(entrant, rivals, lambda one: one.match)
    chance: tuple[float | None, float | None, float | None] | None = None
    if best is not None and not entrant.control and entrant.finished:
        mine, its = entrant.final.sample, best.final.sample
        chance = stats.probability_of_improvement(mine.values, its.values, control_known=its.known)
    return {
        "best_control": best.name if best else None,
        "best_control_rate": level,
        "best_control_note": "" if best is None else _caveats(best, rivals),
        **_improvement("improvement_over_control", over),
        "match_best_control": match_best.name if match_best else None,
        "match_best_control_rate": match_level,
        **_improvement("match_over_control", match_over),
        "collapsed": _collapsed(over, match_over),
        **fields("probability_of_improvement", stats.Estimate(*(chance or (None, None, None)))),
        **fields("below_base_share", entrant.final.below_base()),
    }


def _over_best(
    entrant: Entrant, rivals: Sequence[Entrant], which: Which
) -> tuple[float | None, Entrant | None, stats.Comparison]:
    """(the best control's median, that control, the improvement over the best) of one of the two rates."""
    known = [(level, rival) for rival in rivals if (level := which(rival).median.value) is not None]
    if not known:
        if entrant.records[0].identity.heldout == "off":
            note = "held-out measurement is off"
        else:
            note = "no control with a success on half of its seeds" if rivals else "no oracle-free control ran here"
        return None, None, stats.Comparison(None, None, None, note)
    level, best = max(known, key=lambda pair: pair[0])
    contenders = [which(one).sample for one in rivals if one is best or _testable(which(one))]
    if entrant.control:
        note = "the best oracle-free control" if entrant is best else "an oracle-free control"
        return level, best, stats.Comparison(None, None, None, note)
    if not entrant.finished:
        return level, best, stats.Comparison(None, None, None, "no finished run")
    return level, best, stats.over_best(which(entrant).sample, contenders)


def _collapsed(over: stats.Comparison, match: stats.Comparison) -> bool | None:
    if over.untestable or match.untestable or over.low is None or match.low is None:
        return None
    return over.low > 1 and not match.low > 1


def _improvement(name: str, found: stats.Comparison) -> dict[str, Any]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_note": found.note}


def _testable(control: Rates) -> bool:
    sample = control.sample
    return bool(sample.values) and (sample.known or len(sample) >= stats.MIN_SEEDS)


def _caveats(best: Entrant, rivals: Sequence[Entrant]) -> str:
    contenders = [one for one in rivals if one is best or _testable(one.final)]
    level, base = best.final.median.value or 0.0, best.final.base.value
    caveats = ["it is below the base"] if base is not None and level < base else []
    unseen = [rival for rival in rivals if rival.final.median.value is None]
    bounds = {rival.name: stats.median(rival.final.sample.highs) for rival in unseen}
    caveats += [f"{name} is only known to be below {end:.2g}" for name, end in bounds.items() if end and end > level]
    few = [rival.name for rival in rivals if rival.final.sample.values and rival not in contenders]
    caveats += [f"not in the interval, fewer than {stats.MIN_SEEDS} seeds: {', '.join(few)}"] if few else []
    return "; ".join(caveats)


def _places(peers: Sequence[Entrant]) -> list[tuple[Entrant, stats.Rank | None]]:
    samples = [peer.final.sample for peer in peers]
    return list(zip(peers, stats.ranks(samples, stats.pairs(samples)), strict=True))


def labels(groups: Sequence[Sequence[Record]]) -> tuple[list[str], list[str]]:
    """(task labels, method labels) of groups: the settings in which each differs from others of its id."""
    first = [group[0] for group in groups]
    tasks = [(record.task, _flat(record.identity.task.config)) for record in first]
    methods = []
    for record in first:
        own = record.identity
        places = {"points": own.points, "device": own.device, "threads": own.threads}
        methods.append(((record.task, record.baseline), {**_flat(own.baseline.config), **places}))
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


def _row(entrant: Entrant, rivals: Sequence[Entrant], rank: stats.Rank | None) -> Row:
    first, finished = entrant.records[0], entrant.finished
    identity = first.identity
    final, base = entrant.final, entrant.final.base
    return Row(
        task=first.task,
        task_config=entrant.task_config,
        baseline=first.baseline,
        config=entrant.config,
        control=entrant.control,
        uses=next((record.meta.uses for record in finished), None),
        protocol=identity.protocol,
        duplicates=identity.duplicates,
        budget=identity.budget,
        heldout=identity.heldout,
        tags=registry.tags(first.task),
        seeds=len(finished),
        seed_list=tuple(record.seed for record in finished),
        failed=len(entrant.records) - len(finished),
        verified=_all_verified(finished),
        estimator=_words(record.result.curve[-1].estimator for record in finished),
        base_rate=base.value,
        base_rate_low=base.low,
        base_rate_high=base.high,
        rank=rank.value if rank else None,
        rank_low=rank.low if rank else None,
        rank_high=rank.high if rank else None,
        success_final_std=final.seen(stats.sd(final.sample.values)),
        success_final_iqm=final.seen(stats.iqm(final.sample.values)),
        success_final_seeds=final.seeds,
        success_final_seeds_low=final.lows,
        success_final_seeds_high=final.highs,
        best_selected_on=_words(record.best.selected_on for record in finished if record.best) or None,
        shipped=shipped.commits(entrant.records) or None,
        cells=tuple(record.cell for record in entrant.records),
        **headline(entrant, rivals),
        **final.summary("final"),
        **entrant.match.as_match(),
        **final.deployed(),
        **Rates.of([record.best for record in finished], base).summary("best"),
        **area(finished),
        **_diversity(finished),
        **_cost(finished),
        **_reached(finished, base),
    )


def _diversity(finished: Sequence[FinishedRecord]) -> dict[str, Any]:
    last = [record.result.curve[-1] for record in finished]
    columns: dict[str, Iterable[float | None]] = {
        "distinct_share": (point.distinct_share for point in last),
        "distinct_successes": (point.distinct_successes for point in last),
        "effective_successes": (point.effective_successes for point in last),
        "valid_share": (point.valid_share for point in last),
        "entropy": (point.entropy for point in last),
        "kl_prior": (point.kl_prior for point in last),
    }
    return {name: stats.median(_known(values)) for name, values in columns.items()}


def _cost(finished: Sequence[FinishedRecord]) -> dict[str, Any]:
    spent = [record.result.compute.of_method() for record in finished]
    seconds = [record.meta.seconds for record in finished if record.meta.seconds is not None]
    batches = [one for record in finished if (one := record.meta.smallest_batch) is not None]
    tuning = [record.meta.tuning for record in finished if record.meta.tuning is not None]
    nre = stats.mean([record.result.nre for record in finished])
    each = next((record.meta.cost for record in reversed(finished) if record.meta.cost is not None), None)
    return {
        "nre_mean": nre,
        "cost": None if each is None or nre is None else (each[0] * nre, each[1]),
        "successes_mean": stats.mean([record.result.successes for record in finished]),
        "seconds_mean": stats.mean([one.of_method() for one in seconds]),
        "seconds_heldout_mean": stats.mean([one.heldout for one in seconds]),
        "flops_mean": stats.mean([one.flops for one in spent]),
        "tokens_mean": stats.mean([one.tokens for one in spent]),
        "smallest_batch": min(batches, default=None),
        "tuning_nre": max((one.nre for one in tuning if one.nre is not None), default=None),
        "tuning_heldout": max((one.heldout for one in tuning if one.heldout is not None), default=None),
    }


def _reached(finished: Sequence[FinishedRecord], base: stats.Estimate) -> dict[str, Any]:
    """Fields on times; k x base is held against the upper end of the base rate."""
    ends = [record.result.nre for record in finished]
    first = [record.result.first_success for record in finished]
    fields: dict[str, Any] = {
        "first_success_median": stats.censored_median(first, ends),
        "first_success_seeds": len(_known(first)),
    }
    for factor in (10, 100):
        target = None if base.high is None else factor * base.high
        times = [stats.nre_to(record.result.curve, target) for record in finished]
        fields[f"nre_to_{factor}x"] = stats.censored_median(times, ends)
        fields[f"nre_to_{factor}x_seeds"] = len(_known(times)) if target and finished else None
    return fields


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _words(values: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(values))


def _all_verified(finished: Sequence[FinishedRecord]) -> bool | None:
    verdicts = [engine.verified(record) for record in finished]
    if False in verdicts:
        return False
    return None if None in verdicts or not verdicts else True


def _order(row: Row) -> tuple[Any, ...]:
    rate, upper = row.success_final_median, row.success_final_upper
    return (*row.setting, row.control, rate is None, -(rate or 0.0), -(upper or 0.0), row.name)
