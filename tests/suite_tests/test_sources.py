"""Files of the user that a plug-in imports are part of its hash."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import suite
from suite import registry, sources
from suite.errors import UserError

TASK = '''"""A lock whose secret stands in a helper."""

from dataclasses import dataclass

import torch

from helper import SECRET
from suite.generators import Table


@dataclass(frozen=True)
class Config:
    pass


class Lock:
    config: Config

    def __init__(self, config):
        self.config = config

    def prior(self):
        return Table(torch.tensor([1.0, 2.0, 3.0]).log())

    def verify(self, x):
        return x[:, 0] == SECRET

    def show(self, x):
        return [str(code) for code in x[:, 0].tolist()]

    def exact(self, policy):
        return float(policy.log_prob(torch.tensor([[SECRET]])).exp())
'''


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[Path]:
    """A task that imports the `helper.py` beside it, which Python does not find there by itself."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "helper.py").write_text("SECRET = 0\n")
    (folder / "lock.py").write_text(TASK)
    before = set(sys.modules)
    yield folder / "lock.py"
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("helper", "deeper", "kit", "queue_of_mine"):
            del sys.modules[name]


@pytest.fixture
def found(lock: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with its folder on the import path, as PYTHONPATH puts it."""
    monkeypatch.syspath_prepend(str(lock.parent))
    return lock


def forget(*names: str) -> None:
    """As a new process: nothing of these was imported."""
    for name in names:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def test_a_changed_helper_is_another_cell(found: Path, tmp_path: Path) -> None:
    """Base rates by hand: weights 1, 2, 3, so code 0 has 1/6 and code 2 has 3/6."""
    options = {"budget": 10, "results": tmp_path / "results", "tracking": "off"}
    first = suite.run(f"{found}:Lock", "uniform", **options)
    (found.parent / "helper.py").write_text("SECRET = 2\n")
    forget("helper", *(name for name in sys.modules if name.startswith("suite.plugins.lock_")))
    registry.source_sha256.cache_clear()
    sources._imported.clear()
    second = suite.run(f"{found}:Lock", "uniform", **options)
    assert (first.result.base.success_rate, second.result.base.success_rate) == pytest.approx((1 / 6, 3 / 6))


def test_a_helper_edited_while_the_process_runs_the_old_one_is_refused(found: Path) -> None:
    registry.load("task", f"{found}:Lock")
    helper = found.parent / "helper.py"
    helper.write_text("SECRET = 2\n")
    found.write_text(TASK + "# edited\n")
    with pytest.raises(UserError, match=f"^{helper} was edited after this process imported it; start again"):
        registry.load("task", f"{found}:Lock")


def test_a_helper_edited_within_the_second_is_run_as_it_is_now(found: Path) -> None:
    """Python takes what it compiled for a file of the same length and the same second."""
    first = registry.load("task", f"{found}:Lock").target.verify.__globals__["SECRET"]
    (found.parent / "helper.py").write_text("SECRET = 2\n")
    forget("helper")
    sources._imported.clear()
    found.write_text(TASK + "# edited\n")
    assert (first, registry.load("task", f"{found}:Lock").target.verify.__globals__["SECRET"]) == (0, 2)


@pytest.mark.parametrize(
    ("statement", "edited", "counts"),
    [
        ("import helper", "helper.py", True),
        ("import deeper", "helper.py", True),
        ("from kit.part import f", "kit/part.py", True),
        ("from kit import part", "kit/part.py", True),
        ("import kit.part", "kit/part.py", True),
        ("import kit.part", "helper.py", False),
        ("import torch", "helper.py", False),
        ("def f():\n    import helper", "helper.py", True),
    ],
)
def test_what_counts(found: Path, statement: str, edited: str, counts: bool) -> None:
    """Of a package without __init__.py too, as `kit` is."""
    folder = found.parent
    (folder / "deeper.py").write_text("import helper\n")
    (folder / "kit").mkdir()
    (folder / "kit" / "part.py").write_text("def f(): pass\n")
    plugin = folder / "plugin.py"
    plugin.write_text(f"{statement}\n")
    before = sources.sha256_of(plugin)
    file = folder / edited
    file.write_text(file.read_text() + "# edited\n")
    assert (sources.sha256_of(plugin) != before) is counts


def test_a_registered_task_that_a_plug_in_imports_counts(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text("from tasks.lock import Lock\nfrom suite.generators import Table\n")
    own, others = sources._sources(plugin)
    assert own == {plugin}
    assert {path.name for path in others} == {"lock.py"}


def test_what_is_registered_has_no_other_files() -> None:
    """So its hash is of its own package alone."""
    for kind in ("task", "baseline"):
        for ref in registry.ids(kind):
            assert sources._sources(registry.locate(kind, ref).resolve())[1] == set(), ref


def test_a_helper_that_is_not_found_is_a_hint(lock: Path) -> None:
    with pytest.raises(UserError) as raised:
        registry.load("task", f"{lock}:Lock")
    assert str(raised.value) == (
        f"{lock}:7: ModuleNotFoundError: No module named 'helper'; helper.py lies beside it: "
        f"type PYTHONPATH={lock.parent} before the command"
    )


def test_another_helper_of_the_same_name_is_refused(found: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "helper.py").write_text("SECRET = 1\n")
    (other / "lock.py").write_text(TASK)
    registry.load("task", f"{found}:Lock")
    with pytest.raises(UserError, match=f"^{other}/lock.py imports {found.parent}/helper.py, not {other}/helper.py"):
        registry.load("task", f"{other}/lock.py:Lock")
