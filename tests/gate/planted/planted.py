r"""Plant regressions one at a time in a copy of the tree, run the gate there, and note what catches them.

    python tests/gate/planted/planted.py [--only PART-OF-NAME] [--mode nightly] \
        [--markdown docs/planted.md] > planted.jsonl

One JSON line per plant: whether the gate was red, by which evidence, with and without equality of seeded results.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(Path(__file__).parent))

from plants import PLANTS, SLOW_SAMPLER, Plant  # noqa: E402

PACKAGES = ("suite", "tasks", "baselines", "reports")
REFERENCE = "tests/gate/reference/suite"


def copied(tree: Path) -> Path:
    """The packages, with the gate's reference, in a folder of their own."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "tests").mkdir()
    shutil.copytree(ROOT / "tests/benchmarks", tree / "tests/benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    return tree


def planted(plant: Plant, tree: Path) -> None:
    """Edit the copy; an edit whose text does not stand there exactly once is an error, not a plant."""
    for edit in plant.edits:
        path = tree / edit.file
        source = path.read_text()
        if source.count(edit.old) != 1:
            raise SystemExit(f"{plant.name}: {edit.file} has {source.count(edit.old)} times {edit.old!r}")
        path.write_text(source.replace(edit.old, edit.new))


def python(tree: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *args], cwd=tree, env=environment, capture_output=True, text=True)


def gate(tree: Path, results: Path, *options: str) -> dict[str, Any]:
    """What `suite check` says in the copy."""
    out = results / "check"
    shutil.rmtree(out, ignore_errors=True)
    done = python(tree, "-m", "suite", "check", "--run", "--results", str(results), "--reference", REFERENCE, *options)
    if done.returncode not in (0, 1):
        return {"exit": done.returncode, "red": False, "error": done.stderr.strip().splitlines()[-1:]}
    content: dict[str, Any] = json.loads((out / "check.json").read_text())
    return content | {"exit": done.returncode}


def evidence(verdict: dict[str, Any]) -> list[str]:
    """The red evidence, the strongest first."""
    tests = [f"{c['cell']} {c['quantity']} (p {c['p_holm']:.1g})" for c in verdict.get("comparisons", ()) if c["red"]]
    broken = [f"{f['cell']} {f['invariant']}" for f in verdict.get("invariants", ()) if not f["ok"]]
    return [*(f"invariant: {line}" for line in broken), *(f"test: {line}" for line in tests)]


def judged(plant: Plant, mode: str = "pr") -> dict[str, Any]:
    """Plant it, run the gate with equality, and judge the same records without."""
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder) / "tree")
        planted(plant, tree)
        if plant is SLOW_SAMPLER:
            return slow(plant, tree)
        results = Path(folder) / "results"
        usual = gate(tree, results, "--mode", mode)
        blind = gate(tree, results, "--mode", mode, "--no-equality")
    changed = [e["cell"] for e in usual.get("equality", ()) if e["sameness"] == "changed"]
    return {
        "plant": plant.name,
        "mode": mode,
        "red": usual["red"],
        "red_without_equality": blind["red"],
        "changed": changed,
        "evidence": evidence(blind),
        "error": usual.get("error"),
    }


def slow(plant: Plant, tree: Path) -> dict[str, Any]:
    """The gate on speed in the edited copy, against a baseline that this tree makes now."""
    baseline = tree / "speed.json"
    made = python(ROOT, "-m", "tests.benchmarks.speed", "--baseline", str(baseline), "--only", "sampling")
    done = python(tree, "-m", "tests.benchmarks.speed", "--baseline", str(baseline), "--only", "sampling")
    red = made.returncode == 0 and done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if "SLOWER" in line]
    return {
        "plant": plant.name,
        "red": red,
        "red_without_equality": red,
        "changed": [],
        "evidence": [f"speed: {line}" for line in lines],
        "error": None if red else (made.stderr + done.stderr)[-300:],
    }


def to_markdown(rows: Iterable[dict[str, Any]]) -> str:
    """The table of docs/ci.md."""
    lines = ["| planted | red | red without equality | evidence (first two) |", "|---|---|---|---|"]
    for row in rows:
        shown = "; ".join(row["evidence"][:2]) or (
            "changed: " + ", ".join(row["changed"]) if row["changed"] else "none"
        )
        marks = ("yes" if row[key] else "**no**" for key in ("red", "red_without_equality"))
        lines.append(f"| {row['plant']} | {' | '.join(marks)} | {shown} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="plants whose name holds this")
    parser.add_argument("--mode", default="pr", choices=("pr", "nightly"))
    parser.add_argument("--markdown", type=Path, help="where the table goes")
    options = parser.parse_args()
    rows = []
    for plant in (*PLANTS, SLOW_SAMPLER):
        if options.only in plant.name:
            rows.append(judged(plant, options.mode))
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    if options.markdown:
        options.markdown.write_text(to_markdown(rows))


if __name__ == "__main__":
    main()
