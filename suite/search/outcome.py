"""What a search has found and what it has cost."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from suite.errors import UserError
from suite.search import study as studies
from suite.search.sweep import Sweep


def trials(study: Study) -> list[dict[str, Any]]:
    """The trials of a study as plain data, one row each, ready for `pandas.DataFrame`.

    Returns:
        Rows with `number`, `state` (complete, pruned, fail, running, waiting), `params`, `values` (one per
        objective, None where it did not complete), `seeds` ({seed: value that the pruner saw}), `defaults` (whether it
        is the shipped one), `nre`, `heldout` (evaluations of its cells), `cells` and `error`.
    """
    rows = []
    for trial in study.get_trials(deepcopy=False):
        spent: dict[str, list[int]] = trial.user_attrs.get("spent", {})
        rows.append(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "params": dict(trial.params),
                "values": list(trial.values) if trial.state == TrialState.COMPLETE else None,
                "seeds": {int(step): value for step, value in trial.intermediate_values.items()},
                "defaults": bool(trial.user_attrs.get("defaults")),
                "nre": sum(nre for nre, _ in spent.values()),
                "heldout": sum(heldout for _, heldout in spent.values()),
                "cells": list(spent),
                "error": trial.user_attrs.get("error"),
            }
        )
    return rows


def cost(sweep: Sweep, study: Study, results: Path | None) -> dict[str, int]:
    """{nre, heldout}: all evaluations of all trials, pruned, failed and killed ones too; each cell once.

    Args:
        results: where the cells are; the ledgers of trials whose process was killed are read there.
    """
    cells: dict[str, list[int]] = {}
    for trial in study.get_trials(deepcopy=False):
        cells |= trial.user_attrs.get("spent", {})
    for trial in study.get_trials(deepcopy=False):
        for cell, spent in _unfinished(sweep, trial, results):
            cells.setdefault(cell, spent)
    return {"nre": sum(nre for nre, _ in cells.values()), "heldout": sum(heldout for _, heldout in cells.values())}


def _unfinished(sweep: Sweep, trial: FrozenTrial, results: Path | None) -> Iterable[tuple[str, list[int]]]:
    """The cells of a trial that was interrupted, as far as their ledgers got."""
    from suite.identity import identify
    from suite.ledger import Ledger
    from suite.search.loop import configuration

    if trial.state in (TrialState.COMPLETE, TrialState.WAITING) or set(trial.params) != set(sweep.distributions):
        return
    call = configuration(sweep, trial.params).call
    for identity in (identify(**call(seed)) for seed in sweep.settings.seed_list):
        record = identity.finished(results)
        book = identity.folder(results) / "ledger.sqlite"
        if record is not None:
            yield identity.cell, [record.result["nre"], record.result["heldout_evaluations"]]
        elif book.exists():
            ledger = Ledger(book)
            try:
                yield identity.cell, [ledger.nre, 0]
            finally:
                ledger.close()


def best(sweep: Sweep, study: Study, results: Path | None = None) -> dict[str, Any]:
    """The winning configuration as `run` and `bench` take it with `--config`, with `tuning`: what it cost.

    Chosen among the trials that completed all their seeds: a pruned one has been seen on too few. Of several
    objectives the first decides, among the trials that no other beats in all.

    Raises:
        UserError: no trial has completed.
    """
    winner = studies.leading(study)
    if winner is None:
        raise UserError(f"no trial of the study {study.study_name} has completed; run `suite sweep` first")
    every = study.get_trials(deepcopy=False)
    tuning: dict[str, Any] = {
        "study": study.study_name,
        **cost(sweep, study, results),
        "trials": sum(studies.ended(trial) for trial in every),
        "winner": winner.number,
        "defaults_won": bool(winner.user_attrs.get("defaults")),
        "metrics": dict(zip(sweep.metrics, winner.values, strict=True)),
        "task": sweep.settings.task,
        "report_tasks": sweep.settings.reported,
        "seeds": sweep.settings.seed_list,
        "budget": sweep.settings.budget,
    }
    content: dict[str, Any] = {**sweep.fixed, **winner.params}
    if sweep.task_config:
        content["task"] = sweep.task_config
    return content | {"tuning": tuning}
