"""The code of docs/adding-a-task.md and docs/adding-a-baseline.md runs as it stands there; docs/tree.md is true."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import suite
from suite import cli, registry
from suite import config as configs
from suite.search.sweep import NAMES
from suite.store import records

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def page() -> str:
    return (DOCS / "adding-a-task.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_worked_example_runs_by_the_commands_under_it(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, example), (commands,) = blocks(page, "python"), blocks(page, "sh")
    assert len(example.splitlines()) < 60
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUITE_RESULTS", str(tmp_path / "results"))
    Path("my_task.py").write_text(example)
    for command in commands.replace("--seeds 8", "--seeds 1").splitlines():
        program, *args = shlex.split(command)
        assert program == "suite"
        assert cli.main(args + (["--tracking", "off", "--quiet"] if args[0] != "list" else [])) == 0
    facts = json.loads(Path("measured.json").read_text())["my_task.py:Brackets"]
    assert facts["base_rate"] == pytest.approx(132 * 0.09**6, rel=1e-5)  # Catalan's number C_6 = 132
    assert facts["tail_enrichment"] >= 10
    done, broken = records.scan(None)
    assert len(done) == 1 + 5
    assert not broken
    assert {record.status for record in done} == {"finished"}


def test_the_smallest_task_and_both_baselines_run(page: str, tmp_path: Path) -> None:
    lock, _ = blocks(page, "python")
    method, stateful, rewards = blocks((DOCS / "adding-a-baseline.md").read_text(), "python")
    stateful = method.partition("def run(")[0] + stateful
    for name, text in (("lock", lock), ("method", method), ("stateful", stateful), ("rewards", rewards)):
        (tmp_path / f"{name}.py").write_text(text)
    for name, protocol in (
        ("method", "failures-only"),
        ("stateful", "failures-only"),
        ("rewards", "all-rewards"),
    ):
        record = suite.run(
            f"{tmp_path}/lock.py:Lock",
            f"{tmp_path}/{name}.py:run",
            budget=1000,
            protocol=protocol,
            results=tmp_path / "results",
            tracking="off",
        )
        assert record.result.error is None
        assert record.result.nre == 1000
        assert record.result.base.success_rate == pytest.approx(1e-3)


def test_the_lines_for_python_run_in_a_process_of_their_own(tmp_path: Path) -> None:
    """Nothing else has imported what they name."""
    (code,) = blocks((DOCS / "statistics.md").read_text(), "python")
    options: dict[str, Any] = {"budget": 500, "tracking": "off", "results": tmp_path / "results"}
    suite.bench(["gaussian-v1", "lock-v1"], ["pretrained", "uniform"], seeds=2, **options)
    code += "print([row.baseline for row in rows], len(tests), len(methods), broken_files)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "['pretrained', 'uniform', 'pretrained', 'uniform'] 2 2 []\n"


def test_the_tree_names_what_is_there() -> None:
    """Every file and folder of docs/tree.md, and every package below the top level is in it."""
    root = DOCS.parent
    top, inner, named = "", "", set()
    for line in blocks((DOCS / "tree.md").read_text(), "")[0].splitlines():
        names = line[: 2 + 25] if not line.startswith("  ") else re.split(r"\s{2,}", line.strip())[0]
        inner = "" if not line.startswith("  ") else top
        for name in re.findall(r"[\w-]+(?:/|\.\w+)", names):
            path = root / inner / name
            assert path.exists(), f"docs/tree.md names {path}"
            named.add(path)
        if not inner:
            top = line.split("/")[0]
    packages = {
        path.parent
        for name in ("suite", "tasks", "baselines", "reports")
        for path in (root / name).glob("*/__init__.py")
    }
    assert packages <= named


def test_the_pages_state_the_numbers_that_were_measured() -> None:
    """Every id with a measured base rate has one row in one page, and its numbers are those of `suite list`."""
    from suite import registry

    pages = "\n".join(path.read_text() for path in sorted((DOCS / "tasks").glob("*.md")))
    rows = re.findall(r"^\| `([\w-]+)` \| ([\d.e-]+)[^|]*\| ([^|]*) \| ([\d.]+)", pages, re.M)
    known = [ref for ref in registry.ids("task") if registry.facts_of_task(ref)["base_rate"] is not None]
    assert sorted(ref for ref, *_ in rows) == sorted(known)
    for ref, base, _, tail in rows:
        facts = registry.facts_of_task(ref)
        assert float(base) == pytest.approx(facts["base_rate"], rel=0.01)
        assert float(tail) == pytest.approx(facts["tail_enrichment"], rel=0.01)


def test_the_service_of_the_verifiers_page_answers_the_run_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (DOCS / "verifiers.md").read_text()
    lab, assay, others = blocks(page, "python")
    _, export, run = blocks(page, "sh")[0].splitlines()
    monkeypatch.chdir(tmp_path)
    Path("lab.py").write_text(lab)
    Path("assay.py").write_text(assay)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    assert export == "export SUITE_VERIFIER_URL=http://127.0.0.1:8000"
    monkeypatch.setenv("SUITE_VERIFIER_URL", f"http://127.0.0.1:{port}")
    words = [*shlex.split(run)[1:], "--tracking", "off", "--quiet", "--results", "results"]
    monkeypatch.setenv("SUITE_VERIFIER_RETRIES", "0")
    assert cli.main(words) == 75  # the service has not begun
    monkeypatch.setenv("SUITE_VERIFIER_RETRIES", "8")
    service = subprocess.Popen([sys.executable, "lab.py", str(port)])
    try:
        assert cli.main(words) == 0
    finally:
        service.kill()
        service.wait()
    (record,), _ = records.scan("results")
    assert record.result.nre == 1000
    assert record.meta.cost == (0.02, "USD")
    answers = json.loads(Path("answers.json").read_text())
    assert sum(map(len, answers.values())) == 1000
    assert sum(map(sum, answers.values())) == record.result.successes
    exec(others, {})  # the classes are called as they want


def test_every_option_of_a_command_in_the_documentation_exists() -> None:
    """Of `run`, `bench` and `trial` a method's fields, and a task's as `--task.FIELD`, are options too."""
    fields = {
        f"--{spec.name}"
        for name in registry.ids("baseline")
        for spec in configs.specs(registry.load("baseline", name).config_class)
    }
    with_fields = ("run", "bench", "trial")
    named = "|".join(sorted(cli.COMMANDS, key=len, reverse=True))
    pages = [page for page in DOCS.rglob("*.md") if page.parent.name != "log"]
    pages += [DOCS.parent / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    unknown, seen = [], 0
    for page in pages:
        for command, words in re.findall(rf"\bsuite ({named})\b([^\n`#]*)", page.read_text()):
            found = cli.group.get_command(click.Context(cli.group), command)
            assert found is not None
            known = {option for parameter in found.params for option in parameter.opts} | {"--help"}
            for option in re.findall(r"(?<![\w-])--[A-Za-z][\w.-]*", words):
                seen += 1
                own = command in with_fields and (option in fields or option.startswith("--task."))
                if option not in known and not own and not (command == "trial" and option[2:] in NAMES):
                    unknown.append(f"{page.name}: suite {command} {option}")
    assert unknown == []
    assert seen > 100
