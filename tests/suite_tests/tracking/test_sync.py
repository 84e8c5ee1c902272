"""Uploading what was tracked offline: the real `wandb sync` against a local server that speaks the calls it makes."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import suite
from suite import cli
from suite.tracking import sync

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Server(http.server.ThreadingHTTPServer):
    """A W&B server of one user; keeps what it is sent.

    Attributes:
        runs: run id -> its config, as the run was created.
        history: run id -> its rows.
        artifacts: names of the artifacts.
        refuse: ids of runs that this user may not write.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.artifacts: list[str] = []
        self.refuse: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def Viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        user = {"id": "u", "name": "me", "username": "me", "email": "me@home", "admin": False, "flags": "{}"}
        teams: dict[str, Any] = {"edges": []}
        return {"viewer": {**user, "entity": "me", "deletedAt": None, "teams": teams, "apiKeys": teams}}

    GetViewer = Viewer

    def UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["name"]
        if name in self.refuse:
            raise PermissionError("you may not write this run")
        self.runs.setdefault(name, json.loads(given["config"]))
        project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "b", "name": name, "displayName": name, "description": "", "config": "{}", "sweepName": None}
        return {"upsertBucket": {"bucket": {**bucket, "historyLineCount": 0, "project": project}, "inserted": True}}

    def CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        """An artifact whose content the server has already: its files are not asked for."""
        self.artifacts.append(given["input"]["artifactCollectionName"])
        artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": {"latestArtifact": {"id": "a"}}}
        return {"createArtifact": {"artifact": artifact}}

    def CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/put"} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/graphql":
            run_id = self.path.split("/")[-2]
            rows = body.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            self.server.history.setdefault(run_id, []).extend(map(json.loads, rows))
            return self.reply(200, {})
        found = re.search(r"(?:query|mutation)\s+(\w+)", body["query"])
        answer: Callable[..., dict[str, Any]] = getattr(self.server, found[1] if found else "", lambda _: {})
        try:
            return self.reply(200, {"data": answer(body.get("variables") or {})})
        except PermissionError as error:
            return self.reply(403, {"errors": [{"message": str(error)}]})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(200, {})

    def reply(self, code: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


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
    for baseline in ("uniform", "pretrained"):
        suite.run("gaussian-v1", baseline, budget=500, results=tmp_path / "results")
    return tmp_path / "results"


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


def test_bad_input_is_one_line(results: Path, tmp_path: Path) -> None:
    def refused(folder: Path, **environment: str) -> str:
        code, out, err = call(folder, **environment)
        assert (code, out, len(err)) == (2, [], 1), err
        return err[0]

    assert "not logged in to W&B; run `wandb login`, or set WANDB_API_KEY" in refused(results)
    assert f"{tmp_path / 'no'}: no such folder" in refused(tmp_path / "no")
    nobody = "http://127.0.0.1:9"  # the port of `discard`
    assert f"{nobody} does not let you in" in refused(results, WANDB_API_KEY="a" * 40, WANDB_BASE_URL=nobody)


def test_a_folder_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sync", f"--results={tmp_path}"]) == 0
    assert capsys.readouterr().out == "no offline runs\n"
