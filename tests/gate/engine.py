"""The sources behind a cell's numbers, as they were accepted with a number of the engine: engine.json beside this file.

    python tests/gate/engine.py    accept the sources of today; `make engine` does it

It runs the gate's cells with the accepted sources and with those of today, half a minute each, and refuses if one has
another result under the same number: docs/decisions/009. Comments, docstrings and blank lines do not count.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tokenize
from pathlib import Path
from typing import Any

import yaml

from suite.engine import ENGINE

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = Path(__file__).with_suffix(".json")
REFERENCE = Path(__file__).with_name("reference") / "suite"
SEEDS = 4
"""Of each cell of the gate's plan, in a comparison of two sources."""

NUMERICS = (
    "suite/generators/*.py",
    "suite/counted.py",
    "suite/policy.py",
    "suite/oracle.py",
    "suite/seeding.py",
    "suite/compute.py",
    "suite/task.py",
    "suite/cells/runner.py",
    "suite/measure/estimators.py",
    "suite/measure/importance.py",
    "suite/measure/intervals.py",
    "suite/measure/posterior.py",
    "suite/measure/successes.py",
    "suite/store/ledger.py",
    "suite/store/weights.py",
)
"""What can change the result of a cell, of what is no source of its task or its baseline."""
NO_NUMBERS = {
    "suite/_version.py": "text",
    "suite/attempts.py": "hands on what is noted of requests",
    "suite/cells/checkpoint.py": "what a resumed run goes on from, to the same result",
    "suite/cells/continued.py": "copies a ledger",
    "suite/cells/folder.py": "where a record lies",
    "suite/cells/identity.py": "the cell's name, which changes with it",
    "suite/cells/spec.py": "the same",
    "suite/config.py": "values of a config, which are in the name",
    "suite/engine.py": "the number itself",
    "suite/errors.py": "text",
    "suite/global_state.py": "puts back what a user's code set",
    "suite/guard.py": "refuses, and draws nothing",
    "suite/measure/curves.py": "read from records",
    "suite/plugins.py": "finds plug-ins, whose hashes are in the name",
    "suite/protocol.py": "names of protocols, which are in the cell's name",
    "suite/registry.py": "finds sources, whose hashes are in the name",
    "suite/sources.py": "hashes that are in the name",
    "suite/store/assets.py": "hashes of files",
    "suite/store/disk.py": "how files are written",
    "suite/store/provenance.py": "`meta`, which is no part of the result",
    "suite/store/records.py": "how a record is written",
    "suite/store/state.py": "how that is written",
    "suite/store/schema.py": "what a record consists of",
    "suite/tracking/run.py": "a mirror of the record",
}
"""What the runner imports besides, and why it changes no result."""


def sources() -> dict[str, str]:
    """{file: sha256 of its code} of all that is numerics."""
    paths = sorted(path for pattern in NUMERICS for path in ROOT.glob(pattern))
    return {path.relative_to(ROOT).as_posix(): digest(path.read_text()) for path in paths}


def digest(source: str) -> str:
    """sha256 of Python source without its comments, docstrings, blank lines and blanks at the ends of lines."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            assert node.end_lineno is not None
            for row in range(node.lineno - 1, node.end_lineno):
                lines[row] = ""
    code = "\n".join(line.rstrip() for line in lines if line.strip())
    return hashlib.sha256(code.encode()).hexdigest()


def accepted() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(ACCEPTED.read_text())
    return content


def changed_cells() -> tuple[list[str], int, str]:
    """The gate's cells with other results than the accepted sources give; the number of cells; the commit of these.

    Both run here, on one machine: the sources of the commit that last wrote engine.json in a checkout of its own.
    """
    commit = _git("log", "-1", "--format=%H", "--", str(ACCEPTED.relative_to(ROOT)))
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "checkout"
        _git("worktree", "add", "--detach", str(before), commit)
        try:
            was = _results(before, Path(folder) / "before")
        finally:
            _git("worktree", "remove", "--force", str(before))
        now = _results(ROOT, Path(folder) / "now")
    return [name for name in now if now[name] != was[name]], len(now), commit[:7]


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()


def _results(tree: Path, reference: Path) -> dict[str, list[str]]:
    """{cell: hashes of its results by seed} of this tree's gate, run by the sources in `tree`."""
    shutil.copytree(REFERENCE, reference, ignore=shutil.ignore_patterns("cells", "ledgers", "manifest.json"))
    plan = yaml.safe_load((reference / "plan.yaml").read_text())
    plan["seeds"] = dict.fromkeys(plan["seeds"], SEEDS)
    (reference / "plan.yaml").write_text(yaml.safe_dump(plan))
    command = [sys.executable, "-P", "-m", "suite", "check", "--run", "--update", "--reference", str(reference)]
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--results", f"{reference}-runs"], cwd=tree, env=environment, check=True)
    cells = {path.stem: json.loads(path.read_text()) for path in sorted((reference / "cells").glob("*.json"))}
    return {name: [seed["result_sha256"] for seed in cell["seeds"].values()] for name, cell in cells.items()}


def main() -> None:
    if sources() != accepted()["sources"] and accepted()["engine"] == ENGINE:
        changed, cells, commit = changed_cells()
        print(f"{len(changed)} of {cells} cells changed since {commit}")
        if changed:
            raise SystemExit(f"changed: {', '.join(changed)}; add 1 to ENGINE in suite/engine.py, then run this again")
    ACCEPTED.write_text(json.dumps({"engine": ENGINE, "sources": sources()}, indent=1) + "\n")
    print(f"accepted {len(sources())} sources with engine {ENGINE}; wrote {ACCEPTED.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
