"""Uploading what was tracked offline: the real `wandb sync` against a local server that speaks the calls it makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import suite
from suite import cli
from suite.tracking import sync
from tests.wandb_server import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No W&B variable of whoever runs the tests, and none of their credentials."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two cells that were tracked offline."""
    return tracked(tmp_path / "results", "uniform", "pretrained")


def tracked(folder: Path, *baselines: str) -> Path:
    """Runs that were tracked offline; W&B's helper may still write their logs when a run has ended."""
    for baseline in baselines:
        suite.run("gaussian-v1", baseline, budget=500, results=folder)
    deadline = time.monotonic() + 30
    while len(sync.offline_runs(folder)) < len(baselines) and time.monotonic() < deadline:
        time.sleep(0.1)
    return folder


def run_id(log: Path) -> str:
    return log.stem.removeprefix("run-")


def call(results: Path, **environment: str) -> tuple[int, list[str], list[str]]:
    """`suite sync` in a process of its own, since wandb reads its environment once; exit code, stdout, stderr."""
    command = [sys.executable, "-m", "suite", "sync", f"--results={results}"]
    here = results.parent / "here"
    here.mkdir(exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=os.environ | environment, cwd=here)
    assert not list(here.iterdir()), "something was written where nobody asked for it"
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def test_all_runs_arrive_and_only_once(results: Path, server: Server) -> None:
    me = {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": server.url}
    first, second = sync.offline_runs(results)
    names = [str(log.parent.relative_to(results)) for log in (first, second)]

    server.refuse.add(run_id(second))
    code, out, err = call(results, **me)
    assert err == [f"{names[1]}: failed, you may not write this run"]
    assert (code, out) == (1, [f"{names[0]}: uploaded", "1 uploaded, 0 already, 1 failed"])

    server.refuse.clear()
    code, out, err = call(results, **me)
    assert err == []
    assert (code, out) == (0, [f"{names[0]}: already", f"{names[1]}: uploaded", "1 uploaded, 1 already, 0 failed"])

    for log in (first, second):
        record = json.loads((log.parents[2] / "record.json").read_text())
        assert server.runs[run_id(log)]["cell"] == {"value": record["cell"]}
        points = [(row["nre"], row["success_rate"]) for row in server.history[run_id(log)]]
        assert points == [(point["nre"], point["success_rate"]) for point in record["result"]["curve"]]
        assert f"record-{record['cell']}" in server.artifacts

    # nothing is left to upload, so nobody need be logged in
    assert call(results) == (0, [f"{names[0]}: already", f"{names[1]}: already", "0 uploaded, 2 already, 0 failed"], [])


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tracked(tmp_path / "results", "uniform")

    def refused(folder: Path, **environment: str) -> str:
        code, out, err = call(folder, **environment)
        assert (code, out, len(err)) == (2, [], 1), err
        return err[0]

    assert "not logged in to W&B; run `wandb login`, or set WANDB_API_KEY" in refused(results)
    assert cli.main(["sync", f"--results={tmp_path / 'no'}"]) == 2
    assert capsys.readouterr().err == f"suite: --results {tmp_path / 'no'}: no such folder\n"
    nobody = "http://127.0.0.1:9"  # the port of `discard`
    assert f"{nobody} does not let you in" in refused(results, WANDB_API_KEY="a" * 40, WANDB_BASE_URL=nobody)


def test_the_log_of_a_process_that_was_killed_before_it_wrote_anything_is_no_run(tmp_path: Path) -> None:
    folder = tmp_path / "wandb" / "offline-run-20260101_000000-0a1b2c3d"
    folder.mkdir(parents=True)
    (folder / "run-0a1b2c3d.wandb").write_bytes(b":W&B\xe1\xbe\x00")
    assert sync.offline_runs(tmp_path) == []
    (folder / "run-0a1b2c3d.wandb").write_bytes(b":W&B\xe1\xbe\x00" + b"\x01")
    assert sync.offline_runs(tmp_path) == [folder / "run-0a1b2c3d.wandb"]


def test_a_folder_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sync", f"--results={tmp_path}"]) == 0
    assert capsys.readouterr().out == "no offline runs\n"
