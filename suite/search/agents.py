"""The winner of a sweep that W&B's agents ran, from the records that `suite trial` wrote.

W&B keeps no study that could be asked: the configurations are those of the sweep's records (`meta.sweep`), and of the
notes that trials leave before they begin, so that one that was killed is not forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite import config as configs
from suite import registry
from suite.config import nearest
from suite.errors import UserError
from suite.search.objective import values
from suite.search.outcome import written
from suite.search.sweep import Sweep, split
from suite.store import disk, json_file, records
from suite.store.records import FinishedRecord, Record, canonical, results_folder

NOTE = "trial.json"
"""In `trials/<trial>` of the results folder: the W&B sweep, and the flat parameters of the trial."""


def note(folder: Path, sweep: str, values: Mapping[str, Any]) -> None:
    """Leave in a trial's folder what it is about to run."""
    folder.mkdir(parents=True, exist_ok=True)
    disk.write(folder / NOTE, json.dumps({"sweep": sweep, "values": dict(values)}) + "\n")


def best_of_agents(sweep: Sweep, name: str, results: Path | None = None) -> dict[str, Any]:
    """The winning configuration of the W&B sweep `name`, as :func:`suite.search.best` gives it.

    Chosen among the configurations of which all seeds have a finished record. All evaluations are counted of every
    cell of every configuration, failed and killed ones too, each cell once.

    Args:
        sweep: the file that `wandb sweep` was given.

    Raises:
        UserError: there are no records of that sweep, they are of another file or of other code, or no configuration
            has all its seeds.
    """
    from suite.search.spent import Spent, cells, total

    tried, held = _tried(sweep, name, results)
    found: dict[str, Spent] = {}
    finished: list[tuple[dict[str, float], list[FinishedRecord], dict[str, Any]]] = []
    failed = 0
    for drawn in tried:
        seeds = list(cells(sweep, drawn, results))
        found |= {cell.cell: cell.spent for cell in seeds if cell.spent is not None}
        ran = [cell.record for cell in seeds if cell.record is not None]
        whole = records.finished(ran)
        failed += len(whole) < len(ran)
        if len(whole) == len(seeds):
            finished.append((values(whole, sweep.settings, sweep.cell), whole, drawn))
    if strange := sorted(held - found.keys()):
        raise UserError(
            f"records of the W&B sweep {name}, such as {strange[0]}, are not what this file runs: it is another sweep,"
            " or the code has changed since; give the file and the code that the agents had"
        )
    if not finished:
        raise UserError(f"no configuration of the W&B sweep {name} has finished all its {sweep.settings.seeds} seeds")
    found_values, won, drawn = max(finished, key=lambda one: one[0][sweep.metrics[0]])
    return written(
        sweep,
        drawn,
        study=name,
        cost=total(found),
        trials=len(finished) + failed,
        winner=next((trial for study, trial in map(_origin, won) if study == name), None),
        metrics=[found_values[metric] for metric in sweep.metrics],
    )


def _tried(sweep: Sweep, name: str, results: Path | None) -> tuple[list[dict[str, Any]], set[str]]:
    """The drawn values of each configuration of the W&B sweep, each once, and the cells of its records."""
    found = records.scan(results)[0]
    mine = [record for record in found if _origin(record)[0] == name]
    tried = [record.identity.baseline.config for record in mine] + _noted(name, results)
    if not tried:
        known = {study for study, _ in map(_origin, found) if study}
        raise UserError(f"no trial of a W&B sweep {name} below {results_folder(results)}{nearest(name, sorted(known))}")
    for config in tried:
        if missing := sweep.distributions.keys() - config.keys():
            raise UserError(f"the trials of the W&B sweep {name} have no field {min(missing)!r}: give its own file")
    drawn = [{field: config[field] for field in sweep.distributions} for config in tried]
    return list({canonical(values): values for values in drawn}.values()), {record.cell for record in mine}


def _origin(record: Record) -> tuple[str | None, str | None]:
    """The study and the trial that a record was made for."""
    sweep = record.meta.sweep
    return (sweep.study, str(sweep.trial)) if sweep is not None else (None, None)


def _noted(name: str, results: Path | None) -> list[dict[str, Any]]:
    """The configs, defaults included, of the trials that left a note that they are of the W&B sweep `name`."""
    configurations = []
    for path in sorted((results_folder(results) / "trials").glob(f"*/{NOTE}")):
        content = json_file.read(path, flag="--results", advice="delete it; `suite trial` writes it")
        if content.get("sweep") == name:
            _, cell = split(content["values"])
            cls = registry.load("baseline", cell.baseline).config_class
            configurations.append(configs.to_dict(configs.build(cls, cell.config)))
    return configurations
