"""The study for W&B's own Optuna scheduler: `wandb sweep-scheduler ID` on a sweep with `scheduler: {engine: optuna}`.

The sweep file names this file as `scheduler.source` and :func:`study` as `scheduler.optimizer`. W&B asks the study for
configurations and tells it the objective; its agents run them through `suite trial`. All seeds of a configuration are
one W&B run there, so nothing is pruned. What SUITE_STORAGE names (an SQLAlchemy URL) keeps the study, else memory does.

At each start W&B tells the study all runs that the sweep has had so far. So it begins empty each time: one that is in
the storage from the last start is made anew, else it would have all its trials twice.

Source: wandb 0.31, wandb/sdk/sweeps/scheduler/optuna.py, `build_optuna_optimizer`, `OptunaDeclarativeOptimizer`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from suite.search.study import Reproducible, connect, load_study, new_study
from suite.search.sweep import Sweep, parse

if TYPE_CHECKING:
    from wandb.sdk.sweeps.sweep_info import SweepInfo


class DefaultsFirst(Reproducible):
    """The sampler of `suite sweep`, which gives the shipped defaults to trial 0.

    There they are a waiting trial. Here they must not be: W&B would take it for the next run that it tells the study
    of, and would run the defaults again after each start.
    """

    def __init__(self, sweep: Sweep) -> None:
        super().__init__(sweep)
        self._defaults = sweep.defaults()
        self._as_text = sweep.to_optuna(self._defaults)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(study, trial) if trial.number else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if trial.number or param_name not in self._defaults:
            return super().sample_independent(study, trial, param_name, param_distribution)
        value = self._defaults[param_name]
        if isinstance(param_distribution, CategoricalDistribution) and value not in param_distribution.choices:
            return self._as_text[param_name]
        return value


def study(sweep: SweepInfo) -> Study:
    """The suite's study of a W&B sweep, empty, its sampler pinned and seeded, its first trial the shipped defaults.

    Raises:
        UserError: the sweep is none that `suite sweep` would run, or its study is of another one.
    """
    content, name, url = parse(sweep.config), f"wandb-{sweep.id}", os.environ.get("SUITE_STORAGE")
    storage = connect(url) if url else None
    if storage is not None and name in optuna.get_all_study_names(storage):
        load_study(content, storage, name)  # refuses another sweep's, and one of other code
        optuna.delete_study(study_name=name, storage=storage)
    return new_study(content, storage, name, DefaultsFirst(content))
