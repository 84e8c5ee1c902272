"""The settings of a run: declared once, and taken by every way in which a run is asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import suite
from reports.gate import plan as gate_plan
from suite import cli, registry
from suite.cells import dispatch, grid, runner
from suite.cells.dispatch import Call
from suite.cells.identity import identify, spec_of
from suite.cells.spec import FIELDS, SETTINGS, CellSpec
from suite.engine import ENGINE
from suite.errors import UserError
from suite.search.objective import configuration
from suite.search.sweep import parse
from suite.store import records, schema
from suite.store.schema import plain

OTHER: dict[str, Any] = {
    "task": "toys.py:Uncounted",
    "baseline": "methods.py:greedy",
    "seed": 3,
    "budget": 60,
    "config": {"batch": 10},
    "task_config": {"codes": 32},
    "protocol": "all-rewards",
    "duplicates": "cache",
    "heldout": "off",
    "points": "final",
    "device": "cuda",
    "threads": 2,
}
"""For every field a value that is not its default."""

every_field = pytest.mark.parametrize("name", [field.name for field in FIELDS])


@pytest.fixture
def spec(plugin: Callable[[str], str]) -> CellSpec:
    return CellSpec(plugin("toys.py:Codes"), plugin("methods.py:learner"))


@pytest.fixture
def changed(plugin: Callable[[str], str], spec: CellSpec) -> Callable[[str], CellSpec]:
    """The cell with another value in one field."""

    def change(name: str) -> CellSpec:
        value = plugin(OTHER[name]) if name in ("task", "baseline") else OTHER[name]
        return dataclasses.replace(spec, **{name: value})

    return change


class Asked(Exception):
    """Raised in place of a run, with what was to be run."""


def asked(action: Callable[[], object]) -> list[CellSpec]:
    with pytest.raises(Asked) as caught:
        action()
    return list(caught.value.args)


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_cell(spec: CellSpec, **options: Any) -> None:
        raise Asked(spec)

    def run_grid(specs: list[CellSpec], **options: Any) -> None:
        raise Asked(*specs)

    monkeypatch.setattr(runner, "run_cell", run_cell)
    monkeypatch.setattr("suite.commands.bench.run_grid", run_grid)  # first: it takes the name when it is imported
    monkeypatch.setattr(grid, "run_grid", run_grid)


def flags(spec: CellSpec, *, bench: bool) -> list[str]:
    """The command line of a cell, every setting written out."""
    more = "s" if bench else ""
    words = [f"--task{more}", spec.task, f"--baseline{more}", spec.baseline]
    words += [f"--task.{field}={value}" for field, value in spec.task_config.items()]
    words += [f"--{field}={value}" for field, value in spec.config.items()]
    for name, value in spec.settings().items():
        words += [f"--seeds={value},"] if bench and name == "seed" else [f"--{name}={value}"]
    return words


# -- every field is taken everywhere -------------------------------------------------------------------------------


def test_this_file_knows_another_value_of_every_field(spec: CellSpec) -> None:
    """Add a value to OTHER for a new field: the tests below then ask for it."""
    assert list(OTHER) == [field.name for field in dataclasses.fields(CellSpec)] == [field.name for field in FIELDS]
    for name, value in OTHER.items():
        assert value != getattr(spec, name)


@every_field
def test_the_identity_holds_it(name: str, spec: CellSpec, changed: Callable[[str], CellSpec]) -> None:
    """`auto` stands for `exact` here; every other value is in the identity as it was given."""
    one = changed(name)
    identity = identify(one)
    assert identity.cell != identify(spec).cell
    content = identity.content
    for part in ("task", "baseline"):
        assert getattr(content, part).id.endswith(getattr(one, part).rpartition("/")[2])
    assert content.task.config["codes"] == one.task_config.get("codes", 64)
    assert content.baseline.config["batch"] == one.config.get("batch", 20)
    resolved = {"heldout": {"auto": "10000" if name == "task" else "exact"}.get(one.heldout, one.heldout)}
    assert {s.name: getattr(content, s.name) for s in SETTINGS} == one.settings() | resolved
    assert content.settings().keys() == {s.name for s in SETTINGS} - {"seed"}


@every_field
def test_a_record_gives_its_settings_back(
    name: str, changed: Callable[[str], CellSpec], plugin: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`suite verify --rerun` runs the cell of the record, and no other; plug-in files lie where it is started."""
    monkeypatch.chdir(Path(plugin("toys.py")).parent)
    identity = identify(changed(name))
    assert identify(spec_of(identity.content)).cell == identity.cell


@every_field
@pytest.mark.parametrize("command", ["run", "bench"])
def test_the_command_line_takes_it(name: str, command: str, changed: Callable[[str], CellSpec]) -> None:
    one = changed(name)
    (found,) = asked(lambda: cli.main([command, *flags(one, bench=command == "bench")]))
    # the fields of configs arrive as text, and are read when the cell is identified
    assert dataclasses.replace(found, config=one.config, task_config=one.task_config) == one
    assert identify(found).cell == identify(one).cell


@every_field
@pytest.mark.parametrize("front", [suite.run, suite.bench], ids=["run", "bench"])
def test_python_takes_it(name: str, front: Callable[..., object], changed: Callable[[str], CellSpec]) -> None:
    one = changed(name)
    given = {field.name: getattr(one, field.name) for field in FIELDS}
    if front is suite.bench:
        given = {{"task": "tasks", "baseline": "baselines", "seed": "seeds"}.get(key, key): given[key] for key in given}
        given |= {key: [given[key]] for key in ("tasks", "baselines", "seeds")}
    assert asked(lambda: front(**given)) == [one]


@pytest.mark.parametrize("front", [suite.run, suite.bench], ids=["run", "bench"])
def test_python_has_the_same_defaults(front: Callable[..., object]) -> None:
    parameters = inspect.signature(front).parameters
    for field in SETTINGS:
        if field.name != "seed" or front is suite.run:
            assert parameters[field.name].default == field.default


@every_field
def test_a_sweep_takes_it(name: str, changed: Callable[[str], CellSpec], plugin: Callable[[str], str]) -> None:
    """Two methods, of which one field is searched and others may be set; a sweep's seeds are counted from its first."""
    one, searched = changed(name), "batch"
    if name != "baseline":
        searched, fixed = "temperature", {"draws": 4} if name == "config" else {}
        one = dataclasses.replace(one, baseline=plugin("tuned.py:run"), config=fixed)
    constants = {"task": one.task, "baseline": one.baseline, "first_seed": one.seed, "seeds": 1, **one.config}
    constants |= {f"task.{field}": value for field, value in one.task_config.items()}
    constants |= {setting: value for setting, value in one.settings().items() if setting != "seed"}
    content = {
        "method": "random",
        "metric": {"name": "success_rate", "goal": "maximize"},
        "parameters": {key: {"value": value} for key, value in constants.items()} | {searched: {"values": [5, 9]}},
    }
    (found,) = configuration(parse(content), {searched: 9}).specs()
    assert found == dataclasses.replace(one, config={**one.config, searched: 9})


@every_field
def test_a_gates_plan_takes_it(name: str, tmp_path: Path, changed: Callable[[str], CellSpec]) -> None:
    one = changed(name)
    fields = {field.name: getattr(one, field.name) for field in FIELDS if field.name != "seed"}
    content = {"seeds": {"reference": 4, "pr": 4, "nightly": 4}, "cells": {"one": fields}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(content))
    assert gate_plan.read(tmp_path).cells["one"].spec(one.seed) == one


@every_field
def test_a_worker_gets_it(name: str, changed: Callable[[str], CellSpec]) -> None:
    one = changed(name)
    call = pickle.loads(pickle.dumps(Call("cell", one, "results", "off", None)))
    assert asked(lambda: dispatch._run(call)) == [one]


# -- values --------------------------------------------------------------------------------------------------------


def test_yaml_and_python_may_give_heldout_as_they_read_it() -> None:
    """YAML reads `heldout: off` as False."""
    given = [False, 4000, "is:200", "auto"]
    assert [CellSpec("t", "b", heldout=value).heldout for value in given] == ["off", "4000", "is:200", "auto"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("budget", 0, "budget=0: must be at least 1; the nearest valid value is 1"),
        ("seed", -1, "seed=-1: must be at least 0; the nearest valid value is 0"),
        ("threads", "two", "threads='two': expected a whole number"),
        ("heldout", True, "heldout=True: expected text"),
        (
            "protocol",
            "failure-only",
            "did you mean 'failures-only'? possible: failures-only, failures-padded, all-rewards",
        ),
        ("device", "gpu", "device='gpu': not a choice; did you mean 'cpu'? possible: auto, cpu, cuda"),
        ("config", [1], r"config=[1]: expected an object of fields and values"),
    ],
)
def test_a_bad_value_is_named_with_the_nearest_valid_one(name: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        CellSpec("gaussian-v1", "banel", **{name: value})
    assert message in str(caught.value)


# -- names ---------------------------------------------------------------------------------------------------------


def test_the_content_of_an_identity_is_this_and_nothing_else(spec: CellSpec) -> None:
    """Hashes of the two files are taken by the test; what else is hashed would give every cell another name."""
    identity = identify(spec)
    task, baseline = identity.task, identity.baseline
    assert plain(identity.content) == {
        "task": {
            "id": task.id,
            "config": {"codes": 64, "successes": 4, "secret": 0},
            "source_sha256": registry.source_sha256(task),
            "assets": {},
        },
        "baseline": {
            "id": baseline.id,
            "config": {"batch": 20},
            "source_sha256": registry.source_sha256(baseline),
            "control": False,
        },
        "engine": ENGINE,
        "seed": 0,
        "protocol": "failures-only",
        "duplicates": "charge",
        "budget": 7500,
        "heldout": "exact",
        "points": "all",
        "device": "cpu",
        "threads": 1,
    }


def test_a_content_has_the_name_that_it_always_had() -> None:
    """Whatever is changed in how a cell is asked for: the same content is the same cell, with and without an engine."""
    content = {
        "task": {"id": "gaussian-v1", "config": {"sigma": 1.0}, "source_sha256": "a" * 64, "assets": {}},
        "baseline": {"id": "banel", "config": {"batch": 100}, "source_sha256": "b" * 64, "control": False},
        "seed": 3,
        "protocol": "failures-only",
        "duplicates": "charge",
        "budget": 7500,
        "heldout": "exact",
        "points": "all",
        "device": "cpu",
        "threads": 1,
    }
    for number, name in ((None, "718ae7bcda9925f34478"), (1, "85b6d3f89265aa4264e3")):
        named = content if number is None else content | {"engine": number}
        text = json.dumps(named, sort_keys=True, separators=(",", ":"))
        assert records.cell_of(named) == hashlib.sha256(text.encode()).hexdigest()[:20] == name
        assert records.cell_of(schema.identity_of(named)) == name
