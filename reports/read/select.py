"""Which records count, and what a reader has to be told about the others."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from reports.read import shipped
from reports.read.shipped import ShippedRecord
from suite import registry
from suite.engine import ENGINE
from suite.errors import UserError
from suite.store import records as store
from suite.store.records import Record, canonical
from suite.store.schema import FailedResult


def read(*results: Path | str | None) -> tuple[list[Record], list[str]]:
    """All records below the results folders, and one line for each file that is none.

    Args:
        results: folders; none, or None, is $SUITE_RESULTS, else ./results.

    Raises:
        UserError: no such folder, or one without a readable record.
    """
    whole: list[Record] = []
    broken: list[str] = []
    for folder in dict.fromkeys(map(store.results_folder, results or [None])):
        found, lines = _read(folder)
        whole += found
        broken += lines
    return whole, broken


def _read(folder: Path) -> tuple[list[Record], list[str]]:
    if not folder.is_dir():
        raise UserError(f"no results folder {folder}; give one with --results, or make it with `suite bench`")
    found, broken = store.scan(folder)
    if not found:
        last = f"{len(broken)} broken files, the first: {broken[0]}" if broken else "it holds no cells"
        raise UserError(f"no records in {folder}: {last}; make some with `suite bench --results {folder}`")
    return found, broken


def task_key(record: Record) -> tuple[str, str]:
    """(task id, task config): what a policy is measured on, whatever version of the task's source."""
    return record.task, record.configs[0]


def setting_key(record: Record) -> tuple[Hashable, ...]:
    """What the rows of one table and the runs of one panel share."""
    own = record.identity
    return (*task_key(record), own.protocol, own.duplicates, own.budget, own.heldout)


def serves(control: Record, record: Record) -> bool:
    """Whether a run may be held against a run of a control: on the same task, measured in the same way.

    A control asks for no reward, so protocol and duplicate policy are nothing to it. Nor is the budget, except to one
    that makes as many rounds as the budget has batches of its field `batch`.
    """
    alike = task_key(control) == task_key(record) and control.identity.heldout == record.identity.heldout
    rounds = "batch" in control.identity.baseline.config
    return alike and (not rounds or control.identity.budget == record.identity.budget)


def rivals(record: Record, controls: Sequence[Sequence[Record]]) -> list[Sequence[Record]]:
    """Of the rows of controls those that a run is held against: each control and configuration once.

    A control that ran in several settings is taken from the run's own, else from the one with the most seeds.

    Args:
        controls: the records of each row, as :func:`by_row` has them.
    """
    found: dict[Hashable, Sequence[Record]] = {}
    own = setting_key(record)

    def rank(group: Sequence[Record]) -> tuple[bool, int]:
        return setting_key(group[0]) == own, len(store.finished(group))

    for group in controls:
        name = group[0].baseline, group[0].configs[1]
        if serves(group[0], record) and (name not in found or rank(group) > rank(found[name])):
            found[name] = group
    return list(found.values())


def by_row(records: Sequence[Record]) -> list[list[Record]]:
    """The records of each row, by seed."""
    groups: dict[Hashable, list[Record]] = {}
    for record in sorted(records, key=lambda r: r.seed):
        groups.setdefault(row_key(record), []).append(record)
    return list(groups.values())


def row_key(record: Record) -> tuple[Hashable, ...]:
    """Everything that no average may run across: the identity without seed and without source versions."""
    return (*task_key(record), record.baseline, record.configs[1], *record.identity.settings().values())


def current(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """The records a leaderboard may use, and one line for each thing left out.

    One record per cell (of two that disagree, a finished and then the earlier one). Of records made by
    several versions of a task's or a method's source, or by several engines, those of the version that ran last:
    `suite bench` would run the others again. Of those that come with the suite the rows that were not run here.
    """
    own = [record for record in records if not isinstance(record, ShippedRecord)]
    kept, lines = _one_per_cell(told_apart(own))
    kept, old = _newest(kept, task_key, lambda r: (r.identity.task.source_sha256, canonical(r.identity.task.assets)))
    lines += _left_out(old, "of the task's source or weights", lambda r: r.task)
    kept, old = _newest(kept, row_key, lambda r: r.identity.baseline.source_sha256)
    lines += _left_out(old, "of the method's source", lambda r: r.baseline)
    kept, old = _newest(kept, row_key, lambda r: r.identity.engine)
    lines += _left_out(old, "of the engine", lambda r: r.baseline)
    return kept + _beside(kept, [record for record in records if isinstance(record, ShippedRecord)]), lines


def _beside(own: Sequence[Record], shipped: Sequence[ShippedRecord]) -> list[Record]:
    """The shipped records of rows that no record of one's own has; of whatever sources and engine they are."""
    rows = {row_key(record) for record in store.finished(own)}
    return [record for record in shipped if row_key(record) not in rows]


def told_apart(records: Sequence[Record]) -> list[Record]:
    """The records with the folder in the id of plug-ins whose files have the same name: `easy/task.py:Task`.

    Files of different content at different places are different plug-ins; one at one place that changed is a later
    version of it, and one of the same content at another place is the same, moved.
    """
    for kind in registry.KINDS:
        places: dict[str, dict[Path, set[str]]] = {}
        for record in records:
            if (place := record.plugin_file(kind)) is not None:
                own = getattr(record.identity, kind)
                places.setdefault(own.id, {}).setdefault(place, set()).add(own.source_sha256)
        names = {name: _names_of(found) for name, found in places.items() if len(found) > 1}
        records = [_renamed(record, kind, names) for record in records]
    return list(records)


def _names_of(places: Mapping[Path, set[str]]) -> dict[Path, str]:
    """`folder/file.py` of each place, with as many folders as tell the plug-ins apart; none where there is one."""
    groups: list[tuple[set[Path], set[str]]] = []
    for place, hashes in places.items():
        shared = [group for group in groups if group[1] & hashes]
        groups = [group for group in groups if group not in shared]
        groups.append(({place}.union(*(g[0] for g in shared)), hashes.union(*(g[1] for g in shared))))
    if len(groups) == 1:
        return {}
    ids = [min(group[0]) for group in groups]
    depth = next(n for n in itertools.count(2) if len({path.parts[-n:] for path in ids}) == len(ids))
    return {
        place: Path(*one.parts[-depth:]).as_posix()
        for one, group in zip(ids, groups, strict=True)
        for place in group[0]
    }


def _renamed(record: Record, kind: registry.Kind, names: Mapping[str, Mapping[Path, str]]) -> Record:
    own, place = getattr(record.identity, kind), record.plugin_file(kind)
    file = None if place is None else names.get(own.id, {}).get(place)
    if file is None:
        return record
    named = msgspec.structs.replace(own, id=f"{file}:{own.id.rpartition(':')[2]}")
    return dataclasses.replace(record, identity=msgspec.structs.replace(record.identity, **{kind: named}))


def check_some_finished(records: Sequence[Record]) -> None:
    """UserError where all runs failed: there is nothing to report but why."""
    if records and not any(record.status == "finished" for record in records):
        first = min(records, key=lambda record: (_finished(record), record.seed))
        why = f"the first was {_name(first)}: {_error(first)}"
        raise UserError(
            f"nothing to report: all {len(records)} runs failed; {why}; mend it and type the same `suite run` or "
            "`suite bench` again"
        )


def notices(records: Sequence[Record]) -> list[str]:
    """What the reader of a table of these records has to know: failures, mixtures, single seeds."""
    lines = []
    failed = [record for record in records if record.status != "finished"]
    if failed:
        lines.append(f"{len(failed)} of {len(records)} runs failed and count in no statistic")
    lines += [f"failed: {_name(record)}: {_error(record)}" for record in failed[:5]]
    if len(failed) > 5:
        lines.append(f"failed: and {len(failed) - 5} more")
    others = Counter(record.identity.engine for record in records if record.identity.engine != ENGINE)
    for number, count in sorted(others.items()):
        lines.append(
            f"{count} records are of engine {number}, this is engine {ENGINE}, whose results may differ: "
            "`suite bench` would run them again"
        )
    lines += shipped.notices(records)
    settings = [record.identity.settings() | {"engine": record.identity.engine} for record in records]
    for field in settings[0] if settings else ():
        values = {one[field] for one in settings}
        if len(values) > 1:
            lines.append(f"mixed {field}: {', '.join(map(str, sorted(values)))}; nothing is averaged across them")
    seeds = Counter(row_key(record) for record in records if record.status == "finished")
    alone = {f"{r.baseline} on {r.task}" for r in records if seeds[row_key(r)] == 1}
    if alone:
        lines.append(f"one seed only, so no interval and no test: {', '.join(sorted(alone))}")
    return lines


def _one_per_cell(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    cells: dict[str, list[Record]] = {}
    for record in records:
        cells.setdefault(record.cell, []).append(record)
    kept, lines = [], []
    for cell, copies in cells.items():
        first, *others = sorted(copies, key=lambda r: (r.status != "finished", _finished(r), str(r.folder)))
        kept.append(first)
        for other in others:
            if other.result != first.result:
                where = f"{first.folder} (used) and {other.folder}"
                lines.append(f"two records of cell {cell} disagree ({_name(first)}), {_why(first, other)}: {where}")
    return kept, lines


def _why(first: Record, other: Record) -> str:
    """Equal cells must agree on one platform only: results differ with the processor and the version of torch."""
    if first.status != other.status:
        return "one failed"
    if first.meta.platform != other.meta.platform:
        return "made on different platforms"
    return "though made on equal platforms: `suite verify --rerun` tells which is right"


def _newest(
    records: Sequence[Record],
    group: Callable[[Record], Hashable],
    version: Callable[[Record], Hashable],
) -> tuple[list[Record], list[Record]]:
    """(records of the version that finished last in their group, all others)."""
    versions = [(group(record), version(record)) for record in records]
    order = sorted(range(len(records)), key=lambda i: _finished(records[i]))
    last = dict(versions[i] for i in order)
    newest = [last[place] == mine for place, mine in versions]
    kept = [record for record, new in zip(records, newest, strict=True) if new]
    return kept, [record for record, new in zip(records, newest, strict=True) if not new]


def _left_out(old: Iterable[Record], what: str, name: Callable[[Record], str]) -> list[str]:
    counts = Counter(name(record) for record in old)
    return [f"{n} records of an earlier version {what} left out: {key}" for key, n in sorted(counts.items())]


def _finished(record: Record) -> str:
    return record.meta.finished or record.meta.started or ""


def _name(record: Record) -> str:
    return f"{record.baseline} on {record.task}, seed {record.seed}"


def _error(record: Record) -> str:
    if not isinstance(record.result, FailedResult):
        return ""
    error = record.result.error
    return error.line()[:200]
