"""The plan of a gate: which cells run with how many seeds, and which of their numbers must not get worse.

A plan is a YAML file written by hand, `plan.yaml` in the folder of the reference:

    seeds: {reference: 96, pr: 6, nightly: 24}
    cells:
      banel-distils:                    # a name of one's own
        task: gaussian-v1               # id, module:Name, or path/to/file.py:Name from the plan's folder
        baseline: banel
        budget: 400
        heldout: auto                   # and the other settings of a run, with config and task_config as objects
        modes: [pr, nightly]
        quantities: {first_lift: higher, kl_prior: lower}   # the direction that is better
        lock: true                      # optional: the task is a lock whose `secret` takes the seed's number; nobody
                                        # may know more of it than its failures say (suite/measure/leak.py)
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from reports.gate.files import typed
from reports.gate.quantities import Better, check_name
from suite.cells.spec import CellSpec
from suite.config import nearest
from suite.errors import UserError

Mode = Literal["pr", "nightly"]
MODES: tuple[str, ...] = get_args(Mode)
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
LEAST_SEEDS = 4
"""Fewer fresh seeds say next to nothing; whether so many can ever be red depends on the plan and is checked there."""


@dataclasses.dataclass(frozen=True)
class GatedCell:
    """One cell of a plan: the settings of its runs, and what is held against the reference."""

    name: str
    settings: CellSpec
    """Of all its runs, but for the seed."""
    modes: Sequence[Mode] = get_args(Mode)
    quantities: Mapping[str, Better] = dataclasses.field(default_factory=dict)
    lock: bool = False

    def spec(self, seed: int) -> CellSpec:
        """The run with one seed."""
        task_config = {**self.settings.task_config, **({"secret": seed} if self.lock else {})}
        return dataclasses.replace(self.settings, seed=seed, task_config=task_config)


OF_GATE = {field.name for field in dataclasses.fields(GatedCell)} - {"name", "settings"}
OF_RUN = {field.name for field in dataclasses.fields(CellSpec)} - {"seed"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """All gated cells by name, and how many seeds, from 0 on, run in each mode."""

    cells: dict[str, GatedCell]
    seeds: dict[str, int]

    def gated(self, mode: str) -> list[GatedCell]:
        """The cells of a mode; all for `reference`."""
        return [cell for cell in self.cells.values() if mode == "reference" or mode in cell.modes]

    def seeds_of(self, mode: str) -> range:
        return range(self.seeds[mode])


def read(reference: Path) -> Plan:
    """The plan in a reference's folder.

    Raises:
        UserError: no such file, not YAML, or a field that a plan cannot have; the message names it.
    """
    path = reference / "plan.yaml"
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(
            f"--reference {reference}: no plan.yaml in it ({error.strerror}); docs/ci.md shows how to write one"
        ) from error
    except (yaml.YAMLError, ValueError) as error:  # a ValueError is no UTF-8, or no date that there is
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or set(content) != {"seeds", "cells"}:
        got = ", ".join(map(str, content)) if isinstance(content, dict) else repr(content)
        raise UserError(f"{path}: a plan has exactly the keys seeds and cells, got {got}; docs/ci.md shows one")
    if not isinstance(content["cells"], dict) or not content["cells"]:
        raise UserError(f"{path}: cells must name at least one cell; a gate that compares nothing is no gate")
    cells = {str(name): _cell(path, str(name), fields) for name, fields in content["cells"].items()}
    return Plan(cells, _seeds(path, content["seeds"]))


def _seeds(path: Path, seeds: object) -> dict[str, int]:
    wanted = {"reference", *MODES}
    if not isinstance(seeds, dict) or set(seeds) != wanted or not all(type(n) is int for n in seeds.values()):
        raise UserError(f"{path}: seeds must give whole numbers for reference, pr and nightly, got {seeds}")
    if min(seeds.values()) < LEAST_SEEDS or max(seeds.values()) > seeds["reference"]:
        raise UserError(f"{path}: seeds {seeds}: each from {LEAST_SEEDS} on, and none above the reference's")
    return dict(seeds)


def _cell(path: Path, name: str, fields: object) -> GatedCell:
    known = OF_GATE | OF_RUN
    if not isinstance(fields, dict):
        raise UserError(f"{path}: cell {name} must be a mapping of {', '.join(sorted(known))}")
    if not re.fullmatch(NAME, name):
        raise UserError(f"{path}: cell {name!r}: a name is made of letters, digits, - and _; files are called by it")
    for field in fields:
        if field not in known:
            raise UserError(f"{path}: cell {name} has no field {field!r}{nearest(str(field), known)}")
    for field in ("task", "baseline", "budget"):
        if field not in fields:
            raise UserError(f"{path}: cell {name} lacks {field}")
    hints = typing.get_type_hints(GatedCell)
    of_gate: dict[str, Any] = {
        field: typed(hints[field], value, f"{path}: cell {name}, {field}", "docs/ci.md explains the fields")
        for field, value in fields.items()
        if field in OF_GATE
    }
    try:
        settings = CellSpec(**{field: value for field, value in fields.items() if field in OF_RUN})
    except UserError as error:
        raise UserError(f"{path}: cell {name}, {error}; docs/ci.md explains the fields") from error
    cell = GatedCell(name, settings, **of_gate)
    for quantity in cell.quantities:
        check_name(quantity)
    if not cell.modes:
        raise UserError(f"{path}: cell {name} has no modes: some of {', '.join(MODES)}")
    settings = dataclasses.replace(
        settings, task=_place(path.parent, settings.task), baseline=_place(path.parent, settings.baseline)
    )
    return dataclasses.replace(cell, settings=settings, modes=tuple(cell.modes))


def _place(folder: Path, ref: str) -> str:
    """A reference to a plug-in file as a path from here instead of from the plan's folder."""
    where, colon, name = ref.rpartition(":")
    return f"{folder / where}{colon}{name}" if where.endswith(".py") else ref
