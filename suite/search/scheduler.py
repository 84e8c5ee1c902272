"""The study for W&B's own Optuna scheduler: `wandb sweep-scheduler ID` on a sweep with `scheduler: {engine: optuna}`.

The sweep file names this file as `scheduler.source` and :func:`study` as `scheduler.optimizer`. W&B asks the study for
configurations and tells it the objective; its agents run them through `suite trial`. All seeds of a configuration are
one W&B run there, so nothing is pruned. What SUITE_STORAGE names (an SQLAlchemy URL) keeps the study, else memory does.

Source: wandb 0.31, wandb/sdk/sweeps/scheduler/optuna.py, `build_optuna_optimizer`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from optuna.study import Study

from suite.search.study import connect, open_study
from suite.search.sweep import parse

if TYPE_CHECKING:
    from wandb.sdk.sweeps.sweep_info import SweepInfo


def study(sweep: SweepInfo) -> Study:
    """The suite's study of a W&B sweep, its sampler pinned and seeded, its first trial the shipped defaults.

    Raises:
        UserError: the sweep is none that `suite sweep` would run, or its study is of another one.
    """
    url = os.environ.get("SUITE_STORAGE")
    return open_study(parse(sweep.config), connect(url) if url else None, f"wandb-{sweep.id}", prune=False)
