"""`suite sweep`, `sweep-best` and `trial` on the command line: one line for bad input, exit codes, W&B's files."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from suite import cli
from suite.search import study
from suite.store import records
from suite.store.schema import plain

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def content(plugin: Callable[[str], str]) -> dict[str, Any]:
    """A small sweep over tests/plugins/tuned.py."""
    constants = {"task": "gaussian-v1", "baseline": plugin("tuned.py:run"), "seeds": 2, "budget": 20}
    return {
        "program": "suite",
        "method": "bayes",
        "metric": {"name": "success_rate", "goal": "maximize"},
        "parameters": {
            **{name: {"value": value} for name, value in constants.items()},
            "temperature": {"distribution": "log_uniform_values", "min": 0.5, "max": 10.0},
        },
    }


def refused(args: list[str], capsys: Captured) -> str:
    """The one line of a command that exits with 2."""
    assert cli.main(args) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def changed(content: dict[str, Any], place: str, value: object) -> dict[str, Any]:
    """The content with the value at a place such as `parameters/budget`."""
    copy: dict[str, Any] = json.loads(json.dumps(content))
    *path, last = place.split("/")
    inner = copy
    for name in path:
        inner = inner[name]
    inner[last] = value
    return copy


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("method", "bayse", "method 'bayse' is unknown here; did you mean 'bayes'? possible: bayes, random, custom"),
        ("metric", {"name": "sucess_rate", "goal": "maximize"}, "never logged; did you mean 'success_rate'?"),
        ("metric", {"name": "success_rate", "goal": "minimize"}, "`goal: maximize` is missing"),
        ("metric/name", "success_rate_auc", "set `points: {value: all}`"),
        ("parameters", [], "not a sweep: expected W&B's schema"),
        ("parameters/temprature", {"min": 1.0, "max": 2.0}, "no field of"),
        ("parameters/temperature/min", -1.0, "its range leaves what the field accepts (valid: at least 0.001)"),
        ("parameters/temperature", 3, "expected an object such as {value: 1}, got 3"),
        ("parameters/temperature", {"value": 2.0}, "nothing to search"),
        ("parameters/seeds", {"min": 1, "max": 3}, "is the suite's and must be a constant"),
        ("parameters/seeds", {"value": 0}, "seeds=0: must be at least 1"),
        ("parameters/task", {"value": "gausian-v1"}, "unknown task 'gausian-v1'; did you mean 'gaussian-v1'?"),
        ("parameters/report_tasks", {"value": "gaussian-v1"}, "name another task to tune on"),
        ("parameters/protocol", {"value": "none"}, "protocol='none': not a choice"),
        ("parameters/task.bin", {"value": 1}, "no field 'bin'"),
        ("metric", {"name": ["x"], "goal": "maximize"}, "metric ['x'] is never logged"),
        ("metrics", 5, "metrics: expected a list of objects {name, goal}, got 5"),
        ("foo", 1, "key 'foo' is none of W&B's schema; possible: program"),
        ("erly_terminate", {"type": "hyperband"}, "did you mean 'early_terminate'?"),
    ],
)
def test_a_bad_sweep_file_is_one_line_and_leaves_no_study(
    place: str, value: object, message: str, content: dict[str, Any], tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(changed(content, place, value)))
    assert message in refused(["sweep", str(file), "--results", str(tmp_path / "results")], capsys)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "description: 2020-01-01",
            "description: 2020-01-01 is of YAML's type date, which JSON lacks; put it in quotes",
        ),
        ("description: [{at: 2020-01-01T10:00:00Z}]", "description/0/at: 2020-01-01 10:00:00"),
        ("description: .inf", "description: inf is no finite number"),
        ("description: !!binary aGk=", "is of YAML's type bytes"),
        ("description: &a [*a]", "nested deeper than 20 levels"),
        ("3: x", "key 3 is no text; put it in quotes"),
        ("description: {3: x}", "key 3 in description is no text; put it in quotes"),
    ],
)
def test_what_yaml_can_say_and_json_cannot_is_one_line_and_leaves_no_study(
    line: str, message: str, content: dict[str, Any], tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(f"{yaml.safe_dump(content)}{line}\n")
    assert message in refused(["sweep", str(file), "--results", str(tmp_path / "results")], capsys)
    assert not (tmp_path / "results").exists()


def test_a_parameter_whose_name_is_a_number(content: dict[str, Any], tmp_path: Path, capsys: Captured) -> None:
    content["parameters"][3] = {"value": 1}
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    assert "key 3 in parameters is no text" in refused(["sweep", str(file), "--results", str(tmp_path)], capsys)


@pytest.mark.slow
def test_keys_that_only_wandb_obeys_are_said_to_be_unused(
    content: dict[str, Any], tmp_path: Path, capsys: Captured
) -> None:
    content |= {"early_terminate": {"type": "hyperband", "min_iter": 3}, "run_cap": 9}
    content["parameters"]["seeds"]["value"] = 1
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    assert cli.main(["sweep", str(file), "--trials", "1", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"{file}: early_terminate is obeyed by W&B alone; `suite sweep` prunes by the parameter p_threshold",
        f"{file}: run_cap is obeyed by W&B alone; `suite sweep` takes --trials",
    ]


@pytest.mark.parametrize(("text", "message"), [("a: [1", "not YAML"), ("", "not a sweep"), (None, "No such file")])
def test_what_is_no_sweep_file(text: str | None, message: str, tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "sweep.yaml"
    if text is not None:
        file.write_text(text)
    assert message in refused(["sweep", str(file), "--results", str(tmp_path / "results")], capsys)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://me:secret@127.0.0.1:1/studies", "--storage postgresql+psycopg://me:***@127.0.0.1:1/studies"),
        ("nonsense", "--storage nonsense is no URL of a database; write sqlite:///studies.sqlite or postgresql://"),
        ("sqlite:////proc/no/studies.sqlite", "--storage sqlite:////proc/no/studies.sqlite cannot be reached"),
    ],
)
def test_a_storage_that_cannot_be_reached(
    url: str, message: str, content: dict[str, Any], tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    line = refused(["sweep", str(file), "--storage", url, "--results", str(tmp_path)], capsys)
    assert message in line
    assert "secret" not in line


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_a_postgresql_that_does_not_answer(
    scheme: str, content: dict[str, Any], tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall that drops packets looks like this socket, that nobody reads; psycopg waits for 130 s."""
    monkeypatch.setattr(study, "CONNECT_TIMEOUT", 2)  # psycopg's least
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://me@127.0.0.1:{silent.getsockname()[1]}/studies"
        line = refused(["sweep", str(file), "--storage", url, "--results", str(tmp_path / "results")], capsys)
    assert "cannot be reached: connection timeout expired" in line
    assert not (tmp_path / "results").exists()


def test_a_storage_that_another_process_has_locked(
    content: dict[str, Any], tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "LOCK_TIMEOUT", 0.1)
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    holder = sqlite3.connect(tmp_path / "studies.sqlite")
    holder.execute("BEGIN EXCLUSIVE")
    assert "is locked by another process" in refused(["sweep", str(file), "--results", str(tmp_path)], capsys)
    holder.close()


@pytest.mark.parametrize("directions", [["minimize"], ["maximize", "maximize"]])
def test_an_empty_study_with_other_directions_is_not_adopted(
    directions: list[str], content: dict[str, Any], tmp_path: Path, capsys: Captured
) -> None:
    """Optuna's create_study(load_if_exists=True) compares no directions."""
    url = f"sqlite:///{tmp_path / 'theirs.sqlite'}"
    theirs = optuna.create_study(study_name="mine", storage=url, directions=directions)
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    words = ["sweep", str(file), "--storage", url, "--study", "mine", "--results", str(tmp_path / "results")]
    wanted = f"the study mine has the directions {', '.join(directions)}, this sweep maximize"
    assert wanted in refused(words, capsys)
    assert (theirs.user_attrs, theirs.trials) == ({}, [])


@pytest.mark.slow
def test_the_winner_is_a_configuration_that_run_takes_and_its_cost_stays_with_it(
    content: dict[str, Any], tmp_path: Path, capsys: Captured
) -> None:
    file, best, results = tmp_path / "sweep.yaml", tmp_path / "best.json", str(tmp_path / "results")
    file.write_text(yaml.safe_dump(content))
    assert "run `suite sweep`" in refused(["sweep-best", str(file), "--results", results], capsys)
    assert cli.main(["sweep", str(file), "--trials", "2", "--results", results]) == 0
    output = capsys.readouterr().out
    assert "[2/2]" in output
    assert "temperature 3" in output
    assert cli.main(["sweep-best", str(file), "--results", results]) == 0
    best.write_text(capsys.readouterr().out)
    tuning = json.loads(best.read_text())["tuning"]
    assert tuning["nre"] == 20 * 2 * 2  # budget, seeds, trials: two seeds are too few to prune the last
    baseline = content["parameters"]["baseline"]["value"]
    words = ["run", "--task", "gaussian-v1", "--baseline", baseline, "--config", str(best), "--budget", "20"]
    assert cli.main([*words, "--results", str(tmp_path / "report"), "--tracking", "off"]) == 0
    (record,) = records.scan(tmp_path / "report")[0]
    assert plain(record.meta.tuning) == tuning
    assert record.identity.baseline.config["temperature"] == json.loads(best.read_text())["temperature"]


def trial(content: dict[str, Any], **values: object) -> dict[str, Any]:
    """The flat parameters of one trial."""
    constants = {name: p["value"] for name, p in content["parameters"].items() if "value" in p}
    return {**constants, "temperature": 2.0, **values}


def test_values_survive_json_and_plain_flags_alike(content: dict[str, Any], tmp_path: Path, capsys: Captured) -> None:
    """The agent writes a Python literal after `--key=` (wandb 0.31, create_sweep_command_args)."""
    given = trial(content, broken=False, pair=[3, 4], seeds=1)
    file = tmp_path / "args.json"
    file.write_text(json.dumps(given))
    common = ["--tracking", "off", "--results"]
    assert cli.main(["trial", "--config", str(file), *common, str(tmp_path / "json")]) == 0
    flags = [f"--{name}={value}" for name, value in given.items()]
    assert cli.main(["trial", *common, str(tmp_path / "flags"), *flags]) == 0
    (one,), (other,) = (records.scan(tmp_path / name)[0] for name in ("json", "flags"))
    assert one.identity == other.identity
    expected = {"temperature": 2.0, "draws": 2, "broken": False, "pair": [3, 4], "label": ""}
    assert one.identity.baseline.config == expected
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[0]) == json.loads(lines[1])


@pytest.mark.parametrize("text", ["2024", "1e5", "null", "True", "[1"])
def test_text_that_looks_like_something_else_stays_text(text: str, content: dict[str, Any], tmp_path: Path) -> None:
    flags = [f"--{name}={value}" for name, value in trial(content, seeds=1, label=text).items()]
    assert cli.main(["trial", "--tracking", "off", "--results", str(tmp_path), *flags]) == 0
    (record,) = records.scan(tmp_path)[0]
    assert record.identity.baseline.config["label"] == text


def test_a_flag_alone_is_true(content: dict[str, Any], tmp_path: Path, capsys: Captured) -> None:
    """W&B's ${args_no_boolean_flags} writes `--broken` for broken=True."""
    flags = [f"--{name}={value}" for name, value in trial(content, seeds=1).items()]
    assert cli.main(["trial", "--tracking", "off", "--results", str(tmp_path), "--broken", *flags]) == 1
    assert "broken on purpose" in capsys.readouterr().err


@pytest.mark.parametrize("cost", ["about 3000", -1, 2.5, True, None])
def test_a_cost_of_tuning_that_is_no_number_is_bad_input(cost: object, tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"tuning": {"study": "mine", "nre": cost, "heldout": 0}}))
    words = ["run", "--task", "lock-v1", "--baseline", "uniform", "--config", str(file), "--results", str(tmp_path)]
    assert f'"tuning" has nre {cost!r}: expected a whole number' in refused(words, capsys)
    assert not (tmp_path / "cells").exists()


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The transaction log of the one trial below a results folder, as W&B prints it."""
    (path,) = folder.glob("trials/*/wandb/offline-run-*/run-*.wandb")
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [json.loads(line) for line in output.splitlines()]


def summaries(log: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in log:
        found |= entry.get("summary", {}).get("update", {})
    return found


@pytest.mark.slow
def test_all_seeds_of_a_trial_are_one_wandb_run_with_the_objective_at_its_end(
    content: dict[str, Any], tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "args.json"
    file.write_text(json.dumps(trial(content)))
    assert cli.main(["trial", "--config", str(file), "--results", str(tmp_path)]) == 0
    value = json.loads(capsys.readouterr().out)["success_rate"]
    log = log_of(tmp_path)
    rows = [entry["history"]["item"] for entry in log if "history" in entry]
    named = [{name for name in row if name.startswith("seed ")} for row in rows]
    assert {name.split("/")[0] for names in named for name in names} == {"seed 1000", "seed 1001"}
    assert ["success_rate" in row for row in rows] == [False] * (len(rows) - 1) + [True]
    summary = summaries(log)
    assert summary["success_rate"] == rows[-1]["success_rate"] == pytest.approx(value)
    assert {"base", "final", "best", "improvement_final", "samples", "nre"} <= summary.keys()
    (run,) = [entry["run"] for entry in log if "run" in entry][:1]
    assert run["job_type"] == "trial"
    assert "sweep" in run["tags"]


@pytest.mark.slow
def test_a_trial_that_fails_exits_with_1_and_has_no_objective(
    content: dict[str, Any], tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "args.json"
    file.write_text(json.dumps(trial(content, broken=True)))
    assert cli.main(["trial", "--config", str(file), "--results", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "suite: seed 1000: RuntimeError: broken on purpose\n"
    log = log_of(tmp_path)
    summary = summaries(log)
    assert "success_rate" not in summary
    assert summary["error"] == "seed 1000: RuntimeError: broken on purpose"
    assert [entry["exit"]["exit_code"] for entry in log if "exit" in entry] == [1]


@pytest.mark.slow
def test_a_trial_that_was_killed_leaves_no_objective_and_goes_on(
    content: dict[str, Any],
    plugin: Callable[[str], str],
    tmp_path: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """-9 while the second seed's batch is verified; the same command again runs that seed alone."""
    for name, value in {"FLAG": str(tmp_path / "killed"), "AT": "1", "WHERE": "verify"}.items():
        monkeypatch.setenv(f"KILL_{name}", value)
    (tmp_path / "killed").touch()  # nobody is killed while it is there
    task, file = plugin("toys.py:Deadly"), tmp_path / "args.json"
    file.write_text(json.dumps(trial(content, task=task, seeds=1)))
    words = ["trial", "--config", str(file), "--results", str(tmp_path)]
    assert cli.main([*words, "--tracking", "off"]) == 0
    capsys.readouterr()

    (tmp_path / "killed").unlink()
    file.write_text(json.dumps(trial(content, task=task)))
    done = subprocess.run([sys.executable, "-m", "suite", *words], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    (first,) = tmp_path.glob("cells/*/record.json")
    before = first.read_bytes()
    log = log_of(tmp_path)
    assert "success_rate" not in summaries(log)
    assert not any("success_rate" in entry["history"]["item"] for entry in log if "history" in entry)

    assert cli.main(words) == 0
    assert "success_rate" in json.loads(capsys.readouterr().out)
    assert first.read_bytes() == before
    found, _ = records.scan(tmp_path)
    assert sorted((record.seed, record.result.nre) for record in found) == [(1000, 20), (1001, 20)]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--temperature=2"], "`task` and `baseline` must be given"),
        (["--task=gaussian-v1", "--baseline=nothing"], "unknown baseline 'nothing'"),
        (["--task=gaussian-v1", "--baseline=banel", "--epoch=2"], "did you mean 'epochs'?"),
        (["--task=gaussian-v1", "--baseline=banel", "--epochs=0"], "epochs=0: must be at least 1"),
        (["word"], "'word' is no option; write --key=value"),
        (["--config", "nowhere.json"], "--config nowhere.json: No such file"),
    ],
)
def test_a_bad_trial_is_one_line(args: list[str], message: str, tmp_path: Path, capsys: Captured) -> None:
    assert message in refused(["trial", "--results", str(tmp_path), *args], capsys)
    assert not list(tmp_path.iterdir())


def test_an_online_trial_without_a_key_is_refused(
    content: dict[str, Any], tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "args.json"
    file.write_text(json.dumps(trial(content)))
    args = ["trial", "--config", str(file), "--results", str(tmp_path / "results"), "--tracking", "online"]
    assert "not logged in to W&B" in refused(args, capsys)
    assert not (tmp_path / "results").exists()
