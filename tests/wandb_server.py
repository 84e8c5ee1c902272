"""A stand-in of W&B's API on loopback, which shares no line with the suite: it keeps what it is sent."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import yaml


class Server(http.server.ThreadingHTTPServer):
    """A W&B server of one user; keeps what it is sent.

    Attributes:
        runs: run id -> its config, as the run was created.
        groups: run id -> its group and its job type.
        history: run id -> its rows.
        summary: run id -> its summary.
        exited: run id -> its exit code.
        artifacts: names of the artifacts.
        refuse: ids of runs that this user may not write.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.groups: dict[str, tuple[str, str]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.summary: dict[str, dict[str, Any]] = {}
        self.exited: dict[str, int] = {}
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
        if given.get("groupName"):
            self.groups[name] = given["groupName"], given["jobType"]
        project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "b", "name": name, "displayName": name, "description": "", "config": "{}", "sweepName": None}
        return {"upsertBucket": {"bucket": {**bucket, "historyLineCount": 0, "project": project}, "inserted": True}}

    def CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        """An artifact whose content the server has already: its files are not asked for."""
        self.artifacts.append(given["input"]["artifactCollectionName"])
        artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": {"latestArtifact": {"id": "a"}}}
        return {"createArtifact": {"artifact": artifact}}

    def ArtifactType(self, _: dict[str, Any]) -> dict[str, Any]:
        """Asked before an artifact is logged online: there is none of that name yet."""
        return {"project": {"artifact": None}}

    def CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/put"} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}


AServer = TypeVar("AServer", bound=Server)


@contextlib.contextmanager
def serving(server: AServer) -> Iterator[AServer]:
    """Let `server` answer, in a thread, until the end of the block."""
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


class SweepServer(Server):
    """A server with one sweep, as wandb 0.31's `wandb agent` and `wandb sweep-scheduler` ask for it.

    An agent gets the configurations that wait, one after another. Once all are given out it is told to exit, unless a
    scheduler proposes further ones.

    Source: the agent's queries are those of wandb/apis/public/sweeps.py, the scheduler's those of wandb-core,
    core/internal/sweep/scheduler.

    Attributes:
        configs: run id -> its configuration, in the order in which they came.
        enough: None, or how many runs the sweep is to have of a scheduler. At the next proposal it is finished, as if
            a person had stopped it, and the run proposed stays pending.
        state: of the sweep, as W&B names it.
    """

    id = "swp12345"

    def __init__(self, config: dict[str, Any], configs: dict[str, Any], enough: int | None = None) -> None:
        super().__init__()
        self.enough = enough
        self.config = config
        self.configs = dict(configs)
        self.waiting = list(self.configs)
        self.state = "RUNNING"

    def ServerFeaturesQuery(self, _: dict[str, Any]) -> dict[str, Any]:
        """Without this feature `wandb sweep-scheduler` says that the server is too old."""
        return {"serverInfo": {"features": [{"name": "SWEEPS_LOCAL_SCHEDULER", "isEnabled": True}]}}

    def SweepWithRuns(self, _: dict[str, Any]) -> dict[str, Any]:
        sweep = {"id": self.id, "name": self.id, "config": yaml.safe_dump(self.config), "runs": {"edges": []}}
        return {"project": {"sweep": sweep}}

    def CreateAgent(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": "agent0"}}}

    def Heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        commands = [] if json.loads(given["runState"]) else self._next()
        return {"agentHeartbeat": {"agent": {"id": "agent0"}, "commands": json.dumps(commands)}}

    def _next(self) -> list[dict[str, Any]]:
        if self.state == "FINISHED" or not (self.waiting or self.enough):
            return [{"type": "exit"}]
        if not self.waiting:
            return []
        name = self.waiting.pop(0)
        args = {key: {"value": value} for key, value in self.configs[name].items()}
        return [{"type": "run", "run_id": name, "program": self.config["program"], "args": args}]

    def SweepConfig(self, _: dict[str, Any]) -> dict[str, Any]:
        sweep = {"id": "node", "state": self.state, "config": yaml.safe_dump(self.config)}
        return {"project": {"sweep": {**sweep, "displayName": "sweep", "controllerRunName": "controller"}}}

    def EnqueueSweepRun(self, given: dict[str, Any]) -> dict[str, Any]:
        if len(self.configs) == self.enough:
            self.state = "FINISHED"
        name = f"run{len(self.configs)}"
        self.configs[name] = {key: one["value"] for key, one in json.loads(given["config"]).items()}
        self.waiting.append(name)
        return {"enqueueSweepRun": {"id": name, "runQueueItemId": f"item-{name}"}}

    def UpsertSweepState(self, given: dict[str, Any]) -> dict[str, Any]:
        self.state = given["state"]
        return {"upsertSweep": {"sweep": {"state": self.state}}}

    def SweepRunsWithHistory(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"sweep": {"state": self.state, "runs": self._runs()}}}

    def SweepWatchedRuns(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"sweep": {"state": self.state}, "runs": self._runs()}}

    def _runs(self) -> dict[str, Any]:
        nodes = [
            {
                "id": f"id-{name}",
                "name": name,
                "state": self._state(name),
                "config": json.dumps({key: {"value": value} for key, value in config.items()}),
                "summaryMetrics": json.dumps(self.summary.get(name, {})),
                "sampledHistory": [[]],
            }
            for name, config in self.configs.items()
        ]
        return {"pageInfo": {"hasNextPage": False, "endCursor": None}, "edges": [{"node": node} for node in nodes]}

    def _state(self, name: str) -> str:
        if name in self.exited:
            return "failed" if self.exited[name] else "finished"
        return "running" if name in self.runs else "pending"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        except ValueError:  # an upload, say
            return self.reply(200, {})
        if self.path != "/graphql":
            run_id = self.path.split("/")[-2]
            rows = {name: sent["content"] for name, sent in body.get("files", {}).items()}
            self.server.history.setdefault(run_id, []).extend(map(json.loads, rows.get("wandb-history.jsonl", [])))
            for row in rows.get("wandb-summary.json", []):
                self.server.summary[run_id] = json.loads(row)
            if body.get("complete"):
                self.server.exited[run_id] = body["exitcode"]
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
