"""What a search has found and what it has cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from suite.errors import UserError
from suite.search import study as studies
from suite.search.sweep import Sweep
from suite.store.records import results_folder
from suite.store.schema import Tuning, plain


def trials(study: Study) -> list[dict[str, Any]]:
    """The trials of a study as plain data, one row each, ready for `pandas.DataFrame`.

    Returns:
        Rows with `number`, `state` (complete, pruned, fail, running, waiting), `params`, `values` (one per
        objective, None where it did not complete), `seeds` ({seed: value that the pruner saw}), `defaults` (whether it
        is the shipped one), `nre`, `heldout` (evaluations of its cells; None where the trial does not say: it has not
        ended, its process was killed, or an agent ran it), `cells` and `error`.
    """
    return rows(study.get_trials(deepcopy=False))


def rows(trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """What :func:`trials` says of these."""
    found = []
    for trial in trials:
        spent: dict[str, list[int]] | None = trial.user_attrs.get("spent")
        found.append(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "params": dict(trial.params),
                "values": list(trial.values) if trial.state == TrialState.COMPLETE else None,
                "seeds": {int(step): value for step, value in trial.intermediate_values.items()},
                "defaults": bool(trial.user_attrs.get("defaults")),
                "nre": None if spent is None else sum(nre for nre, _ in spent.values()),
                "heldout": None if spent is None else sum(heldout for _, heldout in spent.values()),
                "cells": list(spent or ()),
                "error": trial.user_attrs.get("error"),
            }
        )
    return found


def cost(sweep: Sweep, study: Study, results: Path | None) -> dict[str, int]:
    """{nre, heldout, cut_off}: all evaluations of all trials, pruned, failed and killed ones too; each cell once.

    A trial of `suite sweep` says itself what it spent. Of one that was killed, or that an agent ran, the cells are
    looked up; `cut_off` of them have no record, so that their held-out evaluations are a lower bound.

    Args:
        results: where the cells are.

    Raises:
        UserError: a trial has completed and nothing is there of one of its cells, so that its cost is unknown.
    """
    from suite.search.spent import Spent, cells, total

    found: dict[str, Spent] = {}
    every = study.get_trials(deepcopy=False)
    for trial in every:
        found |= {cell: Spent(*pair) for cell, pair in trial.user_attrs.get("spent", {}).items()}
    for trial in every:
        drawn = drawn_by(sweep, trial)
        if drawn is None or ("spent" in trial.user_attrs and studies.ended(trial)):
            continue
        for cell in cells(sweep, drawn, results):
            if cell.spent is not None:
                found.setdefault(cell.cell, cell.spent)
            elif trial.state == TrialState.COMPLETE:
                raise UserError(
                    f"trial {trial.number} of the study {study.study_name} has completed, but seed {cell.seed} of it is"
                    f" not below {results_folder(results)}, so what it cost is unknown; give --results the folder"
                    " that its agent wrote to"
                )
    return total(found)


def drawn_by(sweep: Sweep, trial: FrozenTrial) -> dict[str, Any] | None:
    """The values of a trial's searched parameters, without W&B's constants; None where it never got to have all."""
    if trial.state == TrialState.WAITING or not set(sweep.distributions) <= set(trial.params):
        return None
    return sweep.from_optuna(trial.params)


def best(sweep: Sweep, study: Study, results: Path | None = None) -> dict[str, Any]:
    """The winning configuration as `run` and `bench` take it with `--config`, with `tuning`: what it cost.

    Chosen among the trials that completed all their seeds: a pruned one has been seen on too few. Of several
    objectives the first decides, among the trials that no other beats in all.

    Raises:
        UserError: no trial has completed, or what one has cost is unknown.
    """
    winner = studies.leading(study)
    if winner is None:
        raise UserError(f"no trial of the study {study.study_name} has completed; run `suite sweep` first")
    drawn = drawn_by(sweep, winner) or {}
    return written(
        sweep,
        drawn,
        study=study.study_name,
        cost=cost(sweep, study, results),
        trials=sum(studies.ended(trial) for trial in study.get_trials(deepcopy=False)),
        winner=winner.number,
        metrics=winner.values,
    )


def written(
    sweep: Sweep,
    drawn: dict[str, Any],
    *,
    study: str,
    cost: dict[str, int],
    trials: int,
    winner: int | str | None,
    metrics: Sequence[float],
) -> dict[str, Any]:
    """The winner as a file for `--config`: its values, the task's config, and `tuning`, its provenance."""
    tuning = Tuning(
        study=study,
        **cost,
        trials=trials,
        winner=winner,
        defaults_won=drawn == sweep.defaults(),
        metrics=dict(zip(sweep.metrics, metrics, strict=True)),
        task=sweep.cell.task,
        report_tasks=sweep.settings.reported,
        seeds=sweep.settings.seed_list,
        budget=sweep.cell.budget,
    )
    task = {"task": dict(sweep.cell.task_config)} if sweep.cell.task_config else {}
    return {**sweep.cell.config, **drawn, **task, "tuning": plain(tuning)}
