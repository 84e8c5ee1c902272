"""The sweep file: W&B's own sweep schema, with what the suite must know as constant parameters.

The schema allows no top-level keys of ours, so task, baseline, seeds and so on stand among the `parameters`, each as
`{value: …}`; the other parameters are fields of the baseline's config. So one file runs here (`suite sweep FILE`) and
by agents (`wandb sweep FILE`, then `wandb agent ID`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from suite import config as configs
from suite import registry
from suite.cells.spec import SETTINGS, CellSpec
from suite.config import FieldSpec, nearest, setting, specs
from suite.engine import ENGINE
from suite.errors import UserError
from suite.search.over_controls import controls
from suite.store.records import canonical

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

METHODS = ("bayes", "random", "custom")
"""W&B's methods that run here: `bayes` and `custom` (with W&B's Optuna scheduler) by TPE, `random` by random search."""

METRICS = {
    "success_rate": "geometric mean over seeds of the success rate after the last evaluation",
    "success_rate_auc": "geometric mean over seeds of the area under the success rate over log NRE",
    "posterior_match": "geometric mean over seeds of the posterior match after the last evaluation",
    "distinct_successes": "mean over seeds of the distinct successes among 10,000 final samples",
    "over_controls": "J − SE: how far above the best control, over tasks and seeds (suite/search/over_controls.py)",
}
"""What a finished trial logs, and so what a sweep can be after."""

KEYS = ("program", "command", "name", "description", "entity", "project", "method", "metric", "metrics", "parameters",
        "scheduler", "early_terminate", "run_cap")  # fmt: skip
"""Top-level keys of W&B's schema, with those of its schedulers (`metrics`, `scheduler`)."""
OF_AGENTS = {
    "early_terminate": "`suite sweep` prunes by the parameter p_threshold",
    "run_cap": "`suite sweep` takes --trials",
}
"""Keys that W&B alone obeys, and what stands for them here."""
DEPTH = 20
"""Levels that a sweep's content may nest: YAML can name a list as an item of itself."""

COMMAND = ["${env}", "suite", "trial", "--config", "${args_json_file}"]
TASK_FIELD = "task."
"""What the name of a parameter starts with that is a field of the task's config."""


@dataclass(frozen=True)
class Settings:
    """The settings of a search that are none of a single run; constant parameters of the file."""

    report_tasks: str = setting("", help="the tasks that the winner is meant to be reported on, by commas")
    controls: str = setting("", help="the best control on each task that is tuned on: TASK=RATE/MATCH by commas")
    seeds: int = setting(4, valid=(1, None), help="seeds of one configuration; each is a step that the pruner sees")
    first_seed: int = setting(1000, valid=(0, None), help="the first of them; reports start at 0, so none is shared")
    p_threshold: float = setting(0.3, valid=(0, 1), help="a seed's p value below which a trial is pruned; 0: never")

    @property
    def reported(self) -> list[str]:
        """The tasks to report on."""
        return names_in(self.report_tasks)

    @property
    def seed_list(self) -> list[int]:
        """The seeds of every trial, the same for all."""
        return list(range(self.first_seed, self.first_seed + self.seeds))


def names_in(text: str) -> list[str]:
    """The names in a text, by commas."""
    return [name for name in (part.strip() for part in text.split(",")) if name]


SEARCH = tuple(spec.name for spec in specs(Settings))
OF_CELL = ("task", "baseline", *(spec.name for spec in SETTINGS if spec.name != "seed"))
"""The settings of each cell of a sweep, as :class:`suite.cells.spec.CellSpec` has them."""
NAMES = (*SEARCH, *OF_CELL)
OTHER_DEFAULTS = {"points": "final"}
"""Settings whose default in a sweep is another than that of a single run."""


@dataclass(frozen=True)
class Sweep:
    """A sweep file that was read and checked."""

    content: dict[str, Any]
    settings: Settings
    cell: CellSpec
    """What all cells have in common; its `config` has the fields that are not searched, its `task` all tasks."""
    distributions: dict[str, BaseDistribution]
    metrics: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """sha256 of the file's content, its comments and layout left out."""
        return hashlib.sha256(canonical(self.content).encode()).hexdigest()

    @property
    def study(self) -> str:
        """The name of its study: another content, another study."""
        first, *others = self.tasks
        tasks = f"{first}+{len(others)}" if others else first
        return f"{self.cell.baseline}-{tasks}-{self.digest[:12]}".replace("/", "-")

    @property
    def tasks(self) -> list[str]:
        """The tasks that are tuned on."""
        return names_in(self.cell.task)

    @property
    def unused(self) -> list[str]:
        """One line for each key of the file that W&B obeys and `suite sweep` does not."""
        return [f"{key} is obeyed by W&B alone; {instead}" for key, instead in OF_AGENTS.items() if key in self.content]

    @property
    def random(self) -> bool:
        return bool(self.content["method"] == "random")

    def sources(self) -> dict[str, str | int]:
        """What tells the code that gives the trials their values: the hashes of its sources, the engine's number."""
        hashes = [registry.source_sha256(registry.load("task", task)) for task in self.tasks]
        baseline = registry.source_sha256(registry.load("baseline", self.cell.baseline))
        return {"task": ",".join(hashes), "baseline": baseline, "engine": ENGINE}

    def defaults(self) -> dict[str, Any]:
        """The shipped defaults of what is searched, where they lie in the search space."""
        cls = registry.load("baseline", self.cell.baseline).config_class
        values = configs.to_dict(configs.build(cls, self.cell.config))
        kept = self.to_optuna({name: values[name] for name in self.distributions})
        return {name: values[name] for name, space in self.distributions.items() if _contains(space, kept[name])}

    def to_optuna(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Values of searched fields as the study keeps them: lists and objects as JSON text."""
        from suite.search.space import choice

        return {name: choice(self._fields[name], value) for name, value in drawn.items()}

    def from_optuna(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the searched fields among a trial's parameters, as JSON values of their types."""
        given = {name: params[name] for name in self.distributions if name in params}
        return {name: configs.json_of(configs.value_of(self._fields[name], value)) for name, value in given.items()}

    @cached_property
    def _fields(self) -> dict[str, FieldSpec]:
        return {spec.name: spec for spec in specs(registry.load("baseline", self.cell.baseline).config_class)}


def read(path: Path) -> Sweep:
    """The sweep in a file.

    Raises:
        UserError: anything that `suite sweep` could not run, in one line that names the file.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {error}") from error
    try:
        sweep = parse(content)
        for key in sweep.content:
            if key not in KEYS:
                raise UserError(f"key {key!r} is none of W&B's schema{nearest(key, KEYS)}")
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return sweep


def parse(content: object) -> Sweep:
    """The sweep that the content of a file describes; UserError as in :func:`read`."""
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise UserError("not a sweep: expected W&B's schema, `method`, `metric` and `parameters`")
    _check_plain(content)
    method = content.get("method")
    if method not in METHODS:
        raise UserError(f"method {method!r} is unknown here{nearest(str(method), METHODS)}")
    given = content["parameters"]
    for name, parameter in given.items():
        if not isinstance(parameter, dict):
            raise UserError(f"parameter {name}: expected an object such as {{value: 1}}, got {parameter!r}")
        if "value" not in parameter and (name in NAMES or name.startswith(TASK_FIELD)):
            raise UserError(f"parameter {name} is the suite's and must be a constant, {{value: …}}")
    constants = {name: parameter["value"] for name, parameter in given.items() if "value" in parameter}
    settings, cell = split(constants)
    distributions = _space(cell, {name: p for name, p in given.items() if name not in NAMES})
    return Sweep(content, settings, cell, distributions, _metrics(content, settings, cell))


def _check_plain(value: object, *place: str) -> None:
    """UserError where the content holds what JSON cannot, as YAML may: agents and studies get it as JSON."""
    where = "/".join(place)
    if len(place) > DEPTH:
        raise UserError(f"nested deeper than {DEPTH} levels at {where}")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise UserError(f"key {key!r}{' in ' + where if place else ''} is no text; put it in quotes")
            _check_plain(inner, *place, key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_plain(item, *place, str(index))
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}: {value} is no finite number")
    elif not isinstance(value, str | int | float | None):
        raise UserError(
            f"{where}: {value} is of YAML's type {type(value).__name__}, which JSON lacks; put it in quotes"
        )


def split(values: Mapping[str, Any]) -> tuple[Settings, CellSpec]:
    """The settings of a search and those of its cells, with the given fields of both configs, all checked.

    Args:
        values: a flat mapping, as an agent hands it to `suite trial`: Python values, JSON or text.

    Raises:
        UserError: a setting, a task, a baseline or a field that is unknown, or a value that is not valid.
    """
    settings = configs.build(Settings, {name: values[name] for name in SEARCH if name in values})
    if not values.get("task") or not values.get("baseline"):
        raise UserError("`task` and `baseline` must be given")
    rest = {name: value for name, value in values.items() if name not in NAMES}
    task_config = {name.removeprefix(TASK_FIELD): v for name, v in rest.items() if name.startswith(TASK_FIELD)}
    config = {name: value for name, value in rest.items() if not name.startswith(TASK_FIELD)}
    of_cell = {name: values[name] for name in OF_CELL if name in values}
    cell = CellSpec(**(OTHER_DEFAULTS | of_cell), config=config, task_config=task_config)
    tasks = names_in(cell.task)
    for name in tasks:
        if name in settings.reported or tasks.count(name) > 1:
            reason = "reported on it too" if name in settings.reported else "named twice"
            raise UserError(f"tuned on {name} and {reason}: name another task to tune on")
    for name in settings.reported:
        registry.load("task", name)
    if len(tasks) > 1 and cell.task_config:
        raise UserError(f"{TASK_FIELD}{min(cell.task_config)}: fields of a task's config go with one task, not several")
    for name in tasks:
        configs.build(registry.load("task", name).config_class, cell.task_config)
    configs.build(registry.load("baseline", cell.baseline).config_class, cell.config)
    return settings, cell


def typed(values: Mapping[str, Any], settings: Settings, cell: CellSpec) -> dict[str, Any]:
    """The given values of :func:`split`, each as a JSON value of its field's type: `--epochs=9` is the number 9."""
    task = configs.build(registry.load("task", names_in(cell.task)[0]).config_class, cell.task_config)
    method = configs.build(registry.load("baseline", cell.baseline).config_class, cell.config)
    of_task = {f"{TASK_FIELD}{name}": value for name, value in configs.to_dict(task).items()}
    known = configs.to_dict(method) | of_task | configs.to_dict(settings) | cell.settings()
    return {name: known.get(name, value) for name, value in values.items()}


def _space(cell: CellSpec, given: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """The distributions of all parameters that are no constants."""
    from suite.search.space import distribution

    cls = registry.load("baseline", cell.baseline).config_class
    fields = {spec.name: spec for spec in specs(cls)}
    if taken := sorted(set(fields) & set(NAMES)):
        raise UserError(f"baseline {cell.baseline!r}: its field {taken[0]!r} is a sweep's own name; rename it")
    space = {}
    for name, parameter in given.items():
        if name.startswith(TASK_FIELD):
            continue
        if name not in fields:
            raise UserError(f"parameter {name!r} is no field of {cell.baseline}{nearest(name, fields)}")
        found = distribution(fields[name], parameter)
        if found is not None:
            space[name] = found
    if not space:
        raise UserError(f"nothing to search: no parameter of {cell.baseline} has a range or `values`")
    return space


def _metrics(content: Mapping[str, Any], settings: Settings, cell: CellSpec) -> tuple[str, ...]:
    """The names of the objectives, from `metric`, or from `metrics` where there are several."""
    listed = content.get("metrics") or [content.get("metric")]
    if not isinstance(listed, list):
        raise UserError(f"metrics: expected a list of objects {{name, goal}}, got {listed!r}")
    names: list[str] = []
    for metric in listed:
        name = metric.get("name") if isinstance(metric, dict) else metric
        if not isinstance(metric, dict) or not isinstance(name, str) or name not in METRICS:
            raise UserError(f"metric {name!r} is never logged{nearest(str(name), METRICS)}")
        if metric.get("goal") != "maximize":
            raise UserError(f"metric {name}: `goal: maximize` is missing")
        names.append(name)
    if "success_rate_auc" in names and cell.points != "all":
        raise UserError("metric success_rate_auc needs the whole curve: set `points: {value: all}`")
    tasks = names_in(cell.task)
    if len(tasks) > 1 and names != ["over_controls"]:
        raise UserError(f"metric {names[0]} is of one task, and {len(tasks)} are tuned on; write over_controls")
    if "over_controls" in names:
        known = controls(settings.controls)
        ids = [registry.load("task", task).id for task in tasks]
        if missing := [task for task in ids if task not in known]:
            raise UserError(f"metric over_controls needs the best control on {missing[0]}: add it to `controls`")
    return tuple(names)


def _contains(space: BaseDistribution, value: object) -> bool:
    """Whether a value may be drawn from a distribution."""
    try:
        return bool(space._contains(space.to_internal_repr(value)))
    except (TypeError, ValueError):
        return False
