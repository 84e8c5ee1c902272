"""The composite action, the workflows and the YAML of docs/ci.md, as far as they can be checked without a runner."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from reports.gate import cli as gate_cli

ROOT = Path(__file__).parents[3]
ACTION = ROOT / ".github/actions/check"
DOCS = ROOT / "docs/ci.md"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def documented() -> str:
    """The first YAML block of docs/ci.md: a whole workflow."""
    return DOCS.read_text().partition("```yaml\n")[2].partition("```")[0]


def workflows() -> dict[str, Any]:
    found = {path.name: load(path) for path in (ROOT / ".github/workflows").glob("*.yml")}
    return found | {"docs/ci.md": yaml.safe_load(documented())}


def test_the_documented_workflow_has_five_lines() -> None:
    assert len(documented().splitlines()) == 5
    events = workflows()["docs/ci.md"][True]  # YAML 1.1 reads the key `on` as true
    assert set(events) == {"pull_request", "schedule"}


@pytest.mark.parametrize("name", workflows())
def test_each_step_of_a_workflow_exists_and_gets_inputs_that_it_has(name: str) -> None:
    inputs = load(ACTION / "action.yml")["inputs"]
    required = {key for key, value in inputs.items() if value.get("required")}
    for job in workflows()[name]["jobs"].values():
        assert job["runs-on"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if step.get("uses", "").partition("@")[0].endswith(".github/actions/check"):
                assert required <= set(step["with"]) <= set(inputs)
            if step.get("run", "").startswith(".ci/"):
                assert (ROOT / step["run"].split()[0]).stat().st_mode & 0o111


def test_a_pull_request_is_timed_against_the_branch_it_goes_to() -> None:
    """`make gate` passes $AGAINST on, and the checkout holds the history that the shared commit is found in."""
    job = workflows()["ci.yml"]["jobs"]["ci"]
    assert "format('origin/{0}', github.base_ref)" in job["env"]["AGAINST"]
    assert job["steps"][0]["with"]["fetch-depth"] == 0
    words = ["make", "-n", "gate", "AGAINST=origin/main"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "tests.benchmarks.speed --against 'origin/main'" in done.stdout


def test_the_action_refers_to_steps_inputs_and_files_that_exist() -> None:
    text, action = (ACTION / "action.yml").read_text(), load(ACTION / "action.yml")
    steps = action["runs"]["steps"]
    assert action["runs"]["using"] == "composite"
    for step in steps:
        assert ("uses" in step) != ("run" in step)
        assert "run" not in step or step["shell"] == "bash"  # a composite action's commands must name their shell
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(action["inputs"])
    assert set(re.findall(r"steps\.(\w+)\.", text)) == {step["id"] for step in steps if "id" in step}
    written = {name for step in steps for name in re.findall(r'echo "(\w+)=', step.get("run", ""))}
    assert set(re.findall(r"steps\.names\.outputs\.(\w+)", text)) == written
    assert (ACTION / "../../..").resolve() == ROOT  # where the action finds the suite from its own folder
    assert "hashFiles" not in text  # these two look in the caller's workspace alone
    assert not any("cache" in step.get("with", {}) for step in steps if "setup-python" in step.get("uses", ""))


def test_the_action_runs_a_command_that_the_gate_has() -> None:
    (step,) = [step for step in load(ACTION / "action.yml")["runs"]["steps"] if step.get("name") == "Check"]
    options = {word for parameter in gate_cli.check.params for word in parameter.opts}
    assert set(re.findall(r"--[\w-]+", step["run"])) <= options
    assert step["run"].startswith("suite check --run --results .gate ")


def test_the_names_of_the_caches_are_made_by_the_action_s_own_command(tmp_path: Path) -> None:
    """Run as a runner does it: the file of outputs gets three names, and other pins or another source give others."""
    (step,) = [step for step in load(ACTION / "action.yml")["runs"]["steps"] if step.get("id") == "names"]

    def names(suite: Path) -> dict[str, str]:
        output = tmp_path / "output"
        output.write_text("")
        environment = {"SUITE": str(suite), "GITHUB_OUTPUT": str(output), "PATH": f"{tmp_path}:/usr/bin:/bin"}
        subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], env=environment, check=True)
        return dict(line.split("=", 1) for line in output.read_text().splitlines())

    pip = tmp_path / "pip"
    pip.write_text("#!/bin/sh\necho /home/runner/.cache/pip\n")
    pip.chmod(0o755)
    suite = tmp_path / "suite"
    for folder in ("suite", "tasks", "baselines", "reports"):
        (suite / folder).mkdir(parents=True)
        (suite / folder / "a.py").write_text("")
    (suite / "constraints.txt").write_text("torch==1\n")
    first = names(suite)
    assert first["pip"] == "/home/runner/.cache/pip"
    (suite / "constraints.txt").write_text("torch==2\n")
    (suite / "tasks/a.py").write_text("1\n")
    second = names(suite)
    assert {key for key in first if first[key] != second[key]} == {"pins", "code"}
