"""The files that a task's or a method's code is made of, and one hash over them; nothing of them is run."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path

from suite.errors import UserError

PACKAGES = ("suite", "tasks", "baselines", "reports")
"""The packages of the project."""
_ENGINE = ("suite", "reports")
"""Those whose changes are told by the engine's number, or change no result."""


def sha256_of(source: Path) -> str:
    """One hash over a source file, all modules of its own package and all other files of the user that it imports.

    Directly or not; so an edit of a shared helper changes it, while an edit of another task or baseline does not. What
    is installed (site-packages) does not count, nor the suite itself, whose version is the number of its engine.

    Raises:
        UserError: a helper is not the one that lies beside the file.
    """

    def line(path: Path) -> str:
        return f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n"

    own, others = _sources(source.resolve())
    lines = [line(path) for path in sorted(own)] + sorted(line(path) for path in others)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


_imported: dict[Path, bytes] = {}
"""Helpers of users that this process has imported, as they were then."""


def check_imported(source: Path) -> None:
    """UserError where this process runs an earlier version of a user's helper than its file holds."""
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for path in _sources(source.resolve())[1]:
        content = path.read_bytes()
        if str(path) in loaded and _imported.setdefault(path, content) != content:
            raise UserError(f"{path} was edited after this process imported it; start again (a notebook: its kernel)")


def _sources(path: Path) -> tuple[set[Path], set[Path]]:
    """(the file and those of its top-level package, other files of the user), by import statements, transitively."""
    own: set[Path] = set()
    others: set[Path] = set()
    top = _top(path)
    package = None if top == path.parent else top / path.relative_to(top).parts[0]
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current not in own and current not in others:
            mine = current == path or (package is not None and current.is_relative_to(package))
            (own if mine else others).add(current)
            if current.suffix == ".py":
                waiting.extend(_imported_files(current))
    return own, others


def _top(path: Path) -> Path:
    """The folder that a file's outermost package lies in; the file's own where it is in none."""
    top = path.parent
    while (top / "__init__.py").exists():
        top = top.parent
    return top


def _imported_files(path: Path) -> Iterable[Path]:
    """The files of the user that `path` imports: of its top-level package, and others that are not installed."""
    top = _top(path)
    package = path.relative_to(top).parts[:-1]
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError):
        return  # it cannot be imported either
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            names = [".".join([*base, alias.name]) for alias in node.names]
        for name in names:
            within = bool(package) and name.split(".")[0] == package[0]
            file = file_of(top.joinpath(*name.split("."))) if within else _file_of_user(name, path)
            if file is not None:
                yield file


def _file_of_user(name: str, by: Path) -> Path | None:
    """The file that `by` imports from outside of its package; None where it is installed. Nothing is imported.

    Raises:
        UserError: another file of this name lies beside `by`, which Python does not take.
    """
    first, *rest = name.split(".")
    if first in _ENGINE or not first:
        return None
    places = (by.with_name(f"{first}.py"), by.with_name(first) / "__init__.py")
    beside = [place for place in places if place.is_file() and _top(by) == by.parent]
    spec = _spec(first)
    if spec is None:
        return next(iter(beside), None)
    file: Path | None = None
    if spec.submodule_search_locations:
        found = (file_of(Path(place).joinpath(*rest)) for place in spec.submodule_search_locations)
        file = next((one for one in found if one is not None), None)
    if file is None and spec.has_location and spec.origin is not None:
        file = Path(spec.origin)
    if file is None or (_is_installed(file) and first not in PACKAGES):
        return None
    if beside and not file.resolve().is_relative_to(by.parent.resolve()):
        raise UserError(f"{by} imports {file}, not {beside[0]} beside it; rename one of them")
    return file


def _spec(name: str) -> ModuleSpec | None:
    """Where Python finds a module or package, or has found it."""
    try:
        return getattr(sys.modules.get(name), "__spec__", None) or importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _is_installed(file: Path) -> bool:
    """Whether a file came with Python or from an index, so that nobody edits it."""
    homes = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), site.getusersitepackages())
    return bool({"site-packages", "dist-packages"} & set(file.parts)) or any(map(file.is_relative_to, homes))


def file_of(module: Path) -> Path | None:
    """The file of a module given as a path without suffix; of its parent where it is a name inside that."""
    for candidate in (module.with_name(module.name + ".py"), module / "__init__.py"):
        if candidate.is_file():
            return candidate
    parent = module.parent
    for candidate in (parent.with_name(parent.name + ".py"), parent / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
