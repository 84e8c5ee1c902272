"""Ids, references and plug-ins; hashes of sources; the layout of the packages."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import baselines
from baselines import BASELINES
from suite import registry
from suite.errors import UserError

PLUGIN = '''"""A method of one's own: does nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


def run(config: Config, prior, oracle, rng):
    yield from ()
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return path


@pytest.mark.parametrize("kind", ["task", "baseline"])
def test_every_id_loads(kind: registry.Kind) -> None:
    for ref in registry.ids(kind):
        entry = registry.load(kind, ref)
        assert (entry.id, entry.kind) == (ref, kind)
        assert entry.source.name.endswith(".py")
        assert registry.title(kind, ref), f"{ref} has no docstring"


def test_table_and_files_of_baselines_agree() -> None:
    files = Path(str(baselines.__file__)).parent.glob("*.py")
    assert {target.partition(":")[0].rpartition(".")[2] for target in BASELINES.values()} == {
        path.stem for path in files if "\ndef run(" in path.read_text()
    }


def test_controls_are_baselines() -> None:
    assert registry.controls() <= set(registry.ids("baseline"))
    assert {"uniform", "temperature", "tail", "blind", "rnd-filter"} == registry.controls()


def test_unknown_ids_suggest_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown task 'gausian-v1'; did you mean 'gaussian-v1'\? possible: gaussian"):
        registry.load("task", "gausian-v1")


def test_module_reference_is_its_own_id() -> None:
    assert registry.load("task", "tasks.gaussian:Gaussian").id == "tasks.gaussian:Gaussian"


def test_what_was_moved_is_named_where_it_lies_now(tmp_path: Path) -> None:
    path = tmp_path / "old.py"
    path.write_text("import torch\nfrom suite.ledger import Ledger\n")
    with pytest.raises(UserError, match=r"old.py:2: .*'suite.ledger'; it is suite.store.ledger now$"):
        registry.load("task", f"{path}:Task")
    path.write_text("import suite.nowhere\n")
    with pytest.raises(UserError, match=r"No module named 'suite.nowhere'$"):
        registry.load("task", f"{path}:Task")
    with pytest.raises(UserError, match=r"has no 'Addition'; did you mean tasks.addition.task:Addition\?$"):
        registry.load("task", "tasks.addition:Addition")


def test_file_reference(plugin: Path) -> None:
    entry = registry.load("baseline", f"{plugin}:run")
    assert entry.id == "mine.py:run"
    assert entry.source == plugin
    assert entry.config_class.__name__ == "Config"


def test_an_edited_plugin_is_loaded_anew(plugin: Path) -> None:
    before = registry.load("baseline", f"{plugin}:run")
    plugin.write_text(PLUGIN.replace("does nothing", "does more"))
    after = registry.load("baseline", f"{plugin}:run")
    assert after.target is not before.target
    assert registry.source_sha256(after) != registry.source_sha256(before)


BROKEN = [
    ("def run(:\n", r"mine\.py:1: syntax error"),
    (PLUGIN + "\n\nprint(1 / 0)\n", r"mine\.py:17: ZeroDivisionError: division by zero"),
    (PLUGIN + "\n\nimport no_such_module\n", r"mine\.py:17: ModuleNotFoundError: .*no_such_module"),
    (PLUGIN.replace("def run", "def rum"), r"has no 'run'; did you mean 'rum'\?"),
    (PLUGIN.replace("(frozen=True)", ""), r"Config must be a frozen dataclass"),
    (PLUGIN.replace("config: Config", "config"), r"first parameter is annotated"),
    (PLUGIN.replace("config: Config", "config: Confg"), r"cannot resolve its type annotations: .*Confg"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_broken_plugins_say_where(plugin: Path, text: str, message: str) -> None:
    plugin.write_text(text)
    with pytest.raises(UserError, match=message):
        registry.load("baseline", f"{plugin}:run")


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("/no/such/file.py:run", r"no file /no/such/file.py"),
        ("no_such_module:run", r"no module 'no_such_module' is installed"),
        ("baselines.banel:rum", r"has no 'rum'"),
        ("baselines.banel:Config", r"must be a function"),
    ],
)
def test_references_to_nothing(ref: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.load("baseline", ref)


@pytest.fixture
def published(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """Entry points of `suite.baselines`, as an installed distribution would publish them."""
    monkeypatch.syspath_prepend(str(plugin.parent))
    points: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints(p for p in points if p.group == group))
    registry._table.cache_clear()
    yield points
    registry._table.cache_clear()
    sys.modules.pop("mine", None)


def test_entry_points_are_imported_only_when_asked_for(published: list[EntryPoint]) -> None:
    published.append(EntryPoint("mine", "mine:run", "suite.baselines"))
    assert registry.ids("baseline")[-1] == "mine"
    assert registry.title("baseline", "mine") == "A method of one's own: does nothing."
    assert "mine" not in sys.modules
    assert registry.load("baseline", "mine").id == "mine"
    assert "mine" in sys.modules


@pytest.mark.parametrize("names", [["banel"], ["twice", "twice"]])
def test_an_id_registered_twice_is_an_error(published: list[EntryPoint], names: list[str]) -> None:
    published.extend(EntryPoint(name, "mine:run", "suite.baselines") for name in names)
    with pytest.raises(UserError, match=f"baseline id '{names[0]}' is registered twice"):
        registry.ids("baseline")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `house` of three methods: one imports a helper that imports another, in different ways."""
    folder = tmp_path / "house"
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "deep" / "__init__.py").write_text("from . import leaf\n")
    (folder / "deep" / "leaf.py").write_text("LEAF = 1\n")
    (folder / "helper.py").write_text("import house.deep\n")
    (folder / "lazy.py").write_text("")
    (folder / "method.py").write_text(
        PLUGIN + "\n\nfrom house import helper\nfrom .lone import run as other\n\n\ndef f():\n    import house.lazy\n"
    )
    (folder / "lone.py").write_text(PLUGIN)
    (folder / "unused.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "house"]:
        del sys.modules[name]


def sha256(package: Path, ref: str) -> str:
    """The hash that a new process would find."""
    registry.source_sha256.cache_clear()
    return registry.source_sha256(registry.load("baseline", ref))


@pytest.mark.parametrize(
    ("edited", "changes"),
    [
        ("method.py", True),
        ("helper.py", True),
        ("deep/__init__.py", True),
        ("deep/leaf.py", True),
        ("lone.py", True),
        ("lazy.py", True),
        ("unused.py", False),
        ("__init__.py", False),
    ],
)
def test_hash_covers_what_is_imported(package: Path, edited: str, changes: bool) -> None:
    before = sha256(package, "house.method:run")
    path = package / edited
    path.write_text(path.read_text() + "# edited\n")
    assert (sha256(package, "house.method:run") != before) is changes


def test_hash_is_kept_while_the_process_runs_the_old_code(package: Path) -> None:
    before = sha256(package, "house.lone:run")
    path = package / "lone.py"
    path.write_text(path.read_text() + "# edited\n")
    assert registry.source_sha256(registry.load("baseline", "house.lone:run")) == before


def test_hash_does_not_depend_on_the_folder(package: Path, tmp_path: Path) -> None:
    copies = [tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"]
    for copy in copies:
        copy.parent.mkdir()
        shutil.copy(package / "lone.py", copy)
    first, second = (registry.source_sha256(registry.load("baseline", f"{copy}:run")) for copy in copies)
    assert first == second


def test_another_package_of_our_name_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks.py").write_text("")
    monkeypatch.delitem(sys.modules, "tasks", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=rf"import tasks finds {tmp_path}/tasks\.py"):
        registry.check_layout()


def test_tags_are_those_of_registered_tasks_and_mark_what_is_for_tuning() -> None:
    """Tasks tagged `tuning` are left out where a report looks over several tasks."""
    import tasks

    assert set(tasks.TAGS) <= set(tasks.TASKS)
    assert [ref for ref in tasks.TASKS if "-tune-" in ref and "tuning" not in registry.tags(ref)] == []
    assert registry.tags("no-such-task") == ()
