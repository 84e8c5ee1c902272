"""The search for a configuration: one sweep file, run by Optuna here or by Weights & Biases' agents anywhere.

space.py       a config's tunable fields as W&B parameters, and W&B parameters as Optuna distributions
sweep.py       the sweep file: what it may hold, and what it means
objective.py   the cells of one configuration, and what they are worth
study.py       storage, sampler, pruner and study
loop.py        trials, in this process or in many
spent.py       what the cells of a configuration have cost
mirror.py      what W&B is told of a search
outcome.py     trials as plain data, the winner, and what the search has cost
agents.py      the same of a sweep that W&B's agents ran, from its records
scheduler.py   the study that W&B's own Optuna scheduler asks
"""

from __future__ import annotations

from suite.search.agents import best_of_agents
from suite.search.loop import tune
from suite.search.outcome import best, trials
from suite.search.sweep import Sweep, read

__all__ = ["Sweep", "best", "best_of_agents", "read", "trials", "tune"]
