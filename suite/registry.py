"""Ids of tasks and baselines, and what stands behind them; nothing is imported until it is asked for.

A reference is an id of the literal tables `tasks.TASKS` and `baselines.BASELINES`, a name under the entry
point groups `suite.tasks` and `suite.baselines`, `module:Name`, or `path/to/file.py:Name`.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import importlib.util
import inspect
import json
import sys
import traceback
import typing
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import msgspec

from suite import plugins, sources
from suite.config import nearest, specs
from suite.errors import UserError, one_line
from suite.global_state import restored
from suite.protocol import WORKS_UNDER, Uses
from suite.store.schema import Estimate, TaskIdentity, Tuning

Kind = Literal["task", "baseline"]
KINDS: tuple[Kind, ...] = ("task", "baseline")
_TABLES = {"task": ("tasks", "TASKS"), "baseline": ("baselines", "BASELINES")}
FACTS = "measured.json"
"""In the tasks' package: what is known of each before any method runs. Written by :mod:`suite.measure.facts`."""
_ROOT = Path(__file__).resolve().parents[1]


class Entry(NamedTuple):
    """A task class or a baseline's `run`, with the class of its configuration and its source file."""

    id: str
    kind: Kind
    target: Callable[..., Any]
    config_class: type[Any]
    source: Path


def ids(kind: Kind) -> list[str]:
    """The ids of the table, then those of entry points; UserError where two of them are the same."""
    return list(_table(kind))


def controls() -> frozenset[str]:
    """The ids of the baselines that use no answer of the oracle."""
    check_layout()
    return frozenset(importlib.import_module("baselines").CONTROLS)


@functools.cache
def tags(task_id: str) -> tuple[str, ...]:
    """The tags of a task id; none for a task that is not in the table."""
    check_layout()
    table: dict[str, tuple[str, ...]] = importlib.import_module("tasks").TAGS
    return table.get(task_id, ())


def uses(entry: Entry) -> Uses | None:
    """What a baseline learns from, as the constant `USES` of its file says; None where it says nothing.

    Raises:
        UserError: it says something else than :data:`suite.protocol.Uses`.
    """
    declared = getattr(sys.modules.get(entry.target.__module__), "USES", None)
    if declared is not None and declared not in WORKS_UNDER:
        known = ", ".join(map(repr, WORKS_UNDER))
        raise UserError(f"baseline {entry.id!r}: USES = {declared!r}; write one of {known}")
    return typing.cast("Uses | None", declared)


def tuning_of_defaults(entry: Entry) -> Tuning | None:
    """What it cost to find the shipped defaults of a registered baseline: study, nre, heldout; None if unknown."""
    path = entry.source.parent / "tuning.json"
    if entry.id not in _table("baseline") or not path.exists():
        return None
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Tuning]).get(entry.id)


def facts_of_task(ref: str) -> dict[str, Any]:
    """What `suite list --measure` found of a task; empty if it was not run. Nothing is imported.

    Raises:
        UserError: there is no such task.
    """
    return _facts(locate("task", ref), id_of(ref))


def _facts(source: Path, task_id: str) -> dict[str, Any]:
    path = facts_file(source)
    facts: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return facts.get(task_id, {})


def measured_base(task: TaskIdentity, file: Path | None) -> Estimate | None:
    """The base success rate that `suite list --measure` found of a task; None where it is unknown.

    It counts where it was found with this config and this source. Nothing is imported.

    Args:
        file: of a plug-in.
    """
    try:
        source = file or locate("task", task.id)
        facts = _facts(source, id_of(task.id))
        sha256 = facts.get("source_sha256") or sources.sha256_of(source)
    except (UserError, OSError, ValueError):  # it is not here, or what is here cannot be read
        return None
    if facts.get("base_rate") is None or (facts.get("config"), sha256) != (task.config, task.source_sha256):
        return None
    return Estimate(facts["base_rate"], facts["low"], facts["high"], facts["estimator"], facts["n"])


def facts_file(source: Path) -> Path:
    """Where the facts of a task with this source file stand: at the top of its package, else beside the file."""
    folder = source.resolve().parent
    while (folder / "__init__.py").exists() and (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return folder / FACTS


def load(kind: Kind, ref: str) -> Entry:
    """The task or baseline that `ref` names.

    Raises:
        UserError: an unknown id (with the nearest one), a file or a name that does not exist, a module that
            cannot be imported (with file and line), or an object without a frozen configuration dataclass.
    """
    table = _table(kind)
    place = table.get(ref, ref)
    if ":" not in place:
        raise UserError(f"unknown {kind} {ref!r}{nearest(ref, table)} (or path/to/file.py:Name, module:Name)")
    where, _, name = place.rpartition(":")
    module = _import_file(Path(where)) if is_file(place) else _import_module(where, ref)
    target = getattr(module, name, None)
    if not callable(target):
        own = vars(module).items()
        names = [key for key, item in own if getattr(item, "__module__", "") == module.__name__]
        below = [place for place in table.values() if place.startswith(f"{where}.") and place.endswith(f":{name}")]
        hint = f"; did you mean {below[0]}?" if below else nearest(name, names)
        raise UserError(f"{kind} {ref!r}: {where} has no {name!r}{hint}")
    config_class = _config_class(kind, target, ref)
    specs(config_class)
    entry = Entry(id_of(ref), kind, target, config_class, Path(typing.cast(str, module.__file__)))
    source_sha256(entry)
    return entry


def id_of(ref: str) -> str:
    """The id of what a reference names: of a plug-in's file its name without the folder."""
    where, _, name = ref.rpartition(":")
    return f"{Path(where).name}:{name}" if is_file(ref) else ref


def is_file(ref: str) -> bool:
    """Whether a reference, or the id of what it names, is a plug-in's file and a name in it."""
    return ref.rpartition(":")[0].endswith(".py")


def is_registered(kind: Kind, ref: str) -> bool:
    """Whether a reference is an id of the project or of an installed package, not a place that it names itself."""
    return ref in _table(kind)


def locate(kind: Kind, ref: str) -> Path:
    """The source file behind a reference; nothing of it is run, nor of the packages that it lies in.

    Raises:
        UserError: there is none.
    """
    where = _table(kind).get(ref, ref).rpartition(":")[0]
    if where.endswith(".py"):
        path: Path | None = Path(where) if Path(where).is_file() else None
    else:
        top, *below = where.split(".")
        spec = importlib.util.find_spec(top) if top else None
        path = None if spec is None or spec.origin is None else Path(spec.origin)
        if below:
            folders = (spec.submodule_search_locations if spec is not None else None) or ()
            found = (sources.file_of(Path(folder).joinpath(*below)) for folder in folders)
            path = next((file for file in found if file is not None), None)
    if path is None:
        raise UserError(f"{kind} {ref!r}: no file {where}" if where else f"unknown {kind} {ref!r}")
    return path


def absolute(ref: str) -> str:
    """The reference for a process that stands in another directory: the file of a plug-in with its whole path."""
    where, _, name = ref.rpartition(":")
    return f"{Path(where).absolute()}:{name}" if is_file(ref) else ref


def kind_of(ref: str) -> Kind:
    """Whether a reference is a task or a baseline: by the tables, else by what its file defines; nothing is run.

    Raises:
        UserError: it is neither.
    """
    for kind in KINDS:
        if is_registered(kind, ref):
            return kind
    if ":" not in ref:
        known = [*_table("task"), *_table("baseline")]
        raise UserError(f"unknown task or baseline {ref!r}{nearest(ref, known)} (or path/to/file.py:Name, module:Name)")
    name = ref.rpartition(":")[2]
    tree = ast.parse(locate("task", ref).read_bytes())
    return "baseline" if any(isinstance(n, ast.FunctionDef) and n.name == name for n in tree.body) else "task"


def title(kind: Kind, ref: str) -> str:
    """The first line of a task's class docstring, or of a baseline's file or function; nothing is imported."""
    name = _table(kind).get(ref, ref).rpartition(":")[2]
    tree = ast.parse(locate(kind, ref).read_bytes())
    named = [n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == name]
    own, whole = ast.get_docstring(named[0]) if named else None, ast.get_docstring(tree)
    return ((own or whole if kind == "task" else whole or own) or "").partition("\n")[0]


def uses_of(ref: str) -> str | None:
    """The constant `USES` of a baseline's file; nothing is imported."""
    for node in ast.parse(locate("baseline", ref).read_bytes()).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["USES"]:
            return str(ast.literal_eval(node.value))
    return None


def failure(path: Path, error: BaseException) -> str:
    """`file:line: Error: message`: of the syntax error, else of the last line of `path` that was running."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: syntax error: {error.msg}"
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    lines = [f.lineno for f in traceback.extract_tb(first.__traceback__) if Path(f.filename) == path]
    return f"{path}:{lines[-1] if lines else 1}: {one_line(error)}{_moved(first)}"


def _moved(error: BaseException) -> str:
    """Where a module of ours lies now that an import looks for at another place: `; it is suite.store.assets now`."""
    package, _, rest = (getattr(error, "name", None) or "").partition(".")
    if not isinstance(error, ModuleNotFoundError) or package not in sources.PACKAGES or not rest:
        return ""
    found = sorted((_ROOT / package).rglob(f"{rest.rpartition('.')[2]}.py"))
    places = [".".join(path.relative_to(_ROOT).with_suffix("").parts) for path in found]
    return f"; it is {' or '.join(places)} now" if places else ""


@functools.cache
def source_sha256(entry: Entry) -> str:
    """:func:`suite.sources.sha256_of` of the entry, taken when it is loaded and then kept.

    An edit made later is not what this process runs; UserError where it runs an earlier version of a helper.
    """
    sources.check_imported(entry.source)
    return sources.sha256_of(entry.source)


def check_layout(root: Path = _ROOT) -> None:
    """UserError where another package named suite, tasks, baselines or reports wins on the import path."""
    for name in sources.PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise UserError(f"the package {name!r} is not installed beside {root / 'suite'}; run `make install`")
        places = spec.submodule_search_locations
        place = Path(next(iter(places)) if places else str(spec.origin)).resolve()
        if place != root / name:
            raise UserError(f"import {name} finds {place}, not {root / name}: rename it, or start Python elsewhere")


@functools.cache
def _table(kind: Kind) -> dict[str, str]:
    """id -> "module:Name" for all that is registered."""
    check_layout()
    package, name = _TABLES[kind]
    table: dict[str, str] = dict(getattr(importlib.import_module(package), name))
    for point in entry_points(group=f"suite.{package}"):
        if point.name in table:
            raise UserError(
                f"{kind} id {point.name!r} is registered twice: {table[point.name]} and {point.value}; "
                "rename one, or uninstall its package"
            )
        table[point.name] = point.value
    return table


def _import_file(path: Path) -> ModuleType:
    """The module of a plug-in file; a new one where the file was edited."""
    if not path.is_file():
        raise UserError(f"no file {path}")
    path = path.resolve()
    with _importing(str(path)):
        try:
            return importlib.import_module(plugins.name_of(path))
        except (Exception, SystemExit) as error:
            raise UserError(failure(path, error) + _beside(path, error)) from error


def _beside(path: Path, error: Exception | SystemExit) -> str:
    """What to type where a plug-in imports a file that lies beside it, which Python does not look for there."""
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not name:
        return ""
    found = next((place for place in (path.with_name(f"{name}.py"), path.with_name(name)) if place.exists()), None)
    return "" if found is None else f"; {found.name} lies beside it: type PYTHONPATH={path.parent} before the command"


def _import_module(name: str, ref: str) -> ModuleType:
    try:
        with _importing(name):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise UserError(
                f"{ref!r}: no module {name!r} is installed; for a file type path/to/file.py:Name"
            ) from error
        raise UserError(failure(_origin(name), error)) from error
    except Exception as error:
        raise UserError(failure(_origin(name), error)) from error


@contextlib.contextmanager
def _importing(owner: str) -> Iterator[None]:
    """Around the import of a user's code: what it prints goes to stderr, what it sets for all is put back.

    Nothing that it imports is compiled to disk: Python would take what was compiled for the file, had it been edited
    within a second to something as long.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with restored(owner), contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.dont_write_bytecode = before


def _origin(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    return Path(str(spec.origin if spec else name))


def _config_class(kind: Kind, target: Callable[..., Any], ref: str) -> type[Any]:
    """The type of a task's attribute `config`, or of the first parameter of a baseline."""
    try:
        hints = typing.get_type_hints(target)
    except (NameError, TypeError) as error:
        raise UserError(f"{kind} {ref!r}: cannot resolve its type annotations: {error}") from error
    if kind == "task":
        name, wanted = "config", "a class with an annotation `config: MyTaskConfig`"
        known = inspect.isclass(target)
    else:
        name = next(iter(inspect.signature(target).parameters), "config")
        wanted = "a function whose first parameter is annotated, `config: MyConfig`"
        known = inspect.isfunction(target)
    if not known or not inspect.isclass(hints.get(name)):
        raise UserError(f"{kind} {ref!r} must be {wanted} (a frozen dataclass)")
    return typing.cast(type[Any], hints[name])
