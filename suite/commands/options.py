"""The options of `run` and `bench`: some of their own, one per setting of a cell, and one per field of the configs.

A bare `--field` is the baseline's, `--task.field` the task's. They are known only when the arguments name a task and
a baseline, so the arguments are looked through for these first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from suite import registry
from suite.cells.spec import SETTINGS
from suite.config import FieldSpec, closest, range_text, specs, type_name
from suite.errors import UserError
from suite.store import json_file
from suite.store.schema import Tuning, tuning_of

Function = TypeVar("Function", bound=Callable[..., Any])


def switch(*names: str, help: str) -> Callable[[Function], Function]:
    """A flag that may also be written `--flag=True` and `--flag=False`, as W&B agents do."""
    return click.option(*names, is_flag=False, flag_value=True, default=False, type=bool, metavar="", help=help)


def setting_options() -> list[click.Option]:
    """One option for each setting of a cell."""
    return [click.Option([f"--{spec.name}"], help=describe(spec)) for spec in SETTINGS]


def settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """Take the settings of a cell out of a command's parameters; those that were not given keep their defaults."""
    taken = {spec.name: given.pop(spec.name, None) for spec in SETTINGS}
    return {name: value for name, value in taken.items() if value is not None}


tracking_option = click.option(
    "--tracking",
    type=click.Choice(("offline", "online", "off")),
    default="offline",
    show_default=True,
    help="Weights & Biases.",
)

_SHARED = (
    click.option("--results", type=click.Path(path_type=Path), help="Folder of records [$SUITE_RESULTS or results]."),
    tracking_option,
    click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        help="JSON object of the baseline's fields, with \"task\": {…} for the task's.",
    ),
    switch("--force", help="Run again what has a record."),
    switch("--quiet", help="Print nothing but errors."),
)


def cell_options(function: Function) -> Function:
    """The flags that `run` and `bench` have in common, beside the settings of a cell."""
    for option in reversed(_SHARED):
        function = option(function)
    return function


class Fields(NamedTuple):
    """What the configs are built from: the file's values, overruled by those of the command line."""

    config: dict[str, object]
    task_config: dict[str, object]
    tuning: Tuning | None


def fields_of(config_file: Path | None, given: dict[str, Any]) -> Fields:
    """The fields of the configs in a command's other parameters, laid over the file's values."""
    config, task_config, tuning = _read(config_file) if config_file else ({}, {}, None)
    for name, value in given.items():
        kind, _, field = name.partition("__")
        if value is not None:
            (task_config if kind == "task" else config)[field] = value
    return Fields(config, task_config, tuning)


def _read(path: Path) -> tuple[dict[str, object], dict[str, object], Tuning | None]:
    content = json_file.read(path, flag="--config", advice='an example is {"epochs": 9, "task": {"sigma": 1.0}}')
    task_config, tuning = content.pop("task", {}), content.pop("tuning", None)
    if not isinstance(task_config, dict) or not isinstance(tuning, dict | None):
        raise UserError(f'--config {path}: "task" and "tuning" must be JSON objects')
    try:
        return content, task_config, None if tuning is None else tuning_of(tuning)
    except UserError as error:
        raise UserError(f"--config {path}: {error}") from error


class CellCommand(click.Command):
    """A command whose options include the settings of a cell and the fields of the configs that its arguments name.

    Args:
        task_flag, baseline_flag: the options that name them, by commas where they are plural.
        without: settings of a cell that are no option of this command.
    """

    def __init__(
        self, *args: Any, task_flag: str, baseline_flag: str, without: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.flags = {"task": task_flag, "baseline": baseline_flag}
        settings = [option for option in setting_options() if option.name not in without]
        self.params = self.static = [*self.params, *settings]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        refs = {kind: split(peek(args, flag)) for kind, flag in self.flags.items()}
        helps = "--help" in args
        for kind, flag in self.flags.items():
            if not refs[kind] and not helps:
                raise UserError(f"{flag} is missing; `suite list` shows what there is")
        self.params = self.static + field_options(refs["task"], refs["baseline"], self.static)
        given = list(args)
        try:
            return super().parse_args(ctx, given)
        except click.NoSuchOption as error:
            names = [name for option in self.params for name in option.opts]
            guess = closest(error.option_name, names)
            raise UserError(f"no option or field {error.option_name};{guess} --help lists all") from error


def peek(args: Sequence[str], flag: str) -> str:
    """The last value of `flag` in the arguments, `--flag value` or `--flag=value`; empty if there is none."""
    value = ""
    for i, arg in enumerate(args):
        if arg == flag and i + 1 < len(args):
            value = args[i + 1]
        elif arg.startswith(flag + "="):
            value = arg[len(flag) + 1 :]
    return value


def split(text: str) -> list[str]:
    """`a,b` as [a, b]."""
    return [part for part in (part.strip() for part in text.split(",")) if part]


def field_options(
    tasks: Sequence[str], baselines: Sequence[str], flags: Sequence[click.Parameter]
) -> list[click.Parameter]:
    """One option for every field of the configs; of a field that several have, the first one's help.

    Raises:
        UserError: an unknown reference, or a field of a baseline that is called like one of `flags`.
    """
    taken = {name for flag in flags for name in flag.opts} | {"--help", "--tuning"}
    options: dict[str, click.Parameter] = {}
    for ref in baselines:
        for spec in specs(registry.load("baseline", ref).config_class):
            name = f"--{spec.name}"
            if name in taken:
                raise UserError(f"baseline {ref!r}: its field {spec.name!r} is taken by the flag {name}; rename it")
            options.setdefault(name, click.Option([name, f"baseline__{spec.name}"], help=describe(spec)))
    for ref in tasks:
        for spec in specs(registry.load("task", ref).config_class):
            name = f"--task.{spec.name}"
            options.setdefault(name, click.Option([name, f"task__{spec.name}"], help=describe(spec)))
    return list(options.values())


def describe(spec: FieldSpec) -> str:
    """A field's help: what it is, what it accepts, its default."""
    if spec.choices is not None:
        accepts = " | ".join(str(choice) for choice in spec.choices)
    else:
        accepts = type_name(spec.type) + (f", {range_text(spec.valid)}" if spec.valid else "")
    searched = f"; searched {spec.low:g} to {spec.high:g}" if spec.low is not None and spec.high is not None else ""
    text = f"{spec.help[:1].upper()}{spec.help[1:]}. " if spec.help else ""
    return f"{text}[{accepts}{searched}; default {'null' if spec.default is None else spec.default}]"
