"""A stand-in of W&B's API on loopback, which shares no line with the suite: it keeps what it is sent."""

from __future__ import annotations

import http.server
import json
import re
from collections.abc import Callable
from typing import Any


class Server(http.server.ThreadingHTTPServer):
    """A W&B server of one user; keeps what it is sent.

    Attributes:
        runs: run id -> its config, as the run was created.
        groups: run id -> its group and its job type.
        history: run id -> its rows.
        artifacts: names of the artifacts.
        refuse: ids of runs that this user may not write.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.groups: dict[str, tuple[str, str]] = {}
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
