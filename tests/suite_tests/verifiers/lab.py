"""A laboratory behind HTTP for tests: it keeps what it answered, and fails, stalls and dies where it is told to.

python tests/suite_tests/verifiers/lab.py 8000 answered.json
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Lab(ThreadingHTTPServer):
    """Code 7 of a lock opens it.

    Args:
        port: 0 takes a free one.
        file: keeps the answers by the key of their request, so that a service that was killed knows them.
        failing: share of requests that end with status 500, a half of them after the work was done.
        stalling: share of requests that get no answer within `stall` seconds.
        dies_after: so many requests were accepted; it is then killed, with the answers that it owes.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self,
        port: int = 0,
        file: Path | None = None,
        *,
        failing: float = 0,
        stalling: float = 0,
        stall: float = 1.0,
        dies_after: int | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/verify"
        self.file, self.failing, self.stalling, self.stall = file, failing, stalling, stall
        self.answers: dict[str, list[int]] = json.loads(file.read_text()) if file and file.exists() else {}
        self.evaluated: Counter[str] = Counter()
        """How often the work of each request was done."""
        self.accepted = 0
        self.dies_after = dies_after
        self.logins: set[str | None] = set()
        self.refusing, self.refused, self.connections = False, 0, 0
        self.chance = random.Random(0)
        self.lock = threading.Lock()

    def start(self) -> Lab:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def kill(self) -> None:
        """Nothing is answered any more, not even what is in flight."""
        self.killed = True
        self.shutdown()
        self.server_close()

    killed = False

    def answer(self, key: str, questions: list[Any]) -> list[int]:
        """The answers; work is done once for a key."""
        with self.lock:
            self.accepted += 1
            if key not in self.answers:
                self.evaluated[key] += 1
                self.answers[key] = [int(question in ([7], "7")) for question in questions]
                if self.file:
                    temporary = self.file.with_suffix(".tmp")
                    temporary.write_text(json.dumps(self.answers))
                    os.replace(temporary, self.file)
            if self.accepted == self.dies_after:
                self.killed = True
                threading.Thread(target=self.kill, daemon=True).start()
            return self.answers[key]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection
    disable_nagle_algorithm = True
    server: Lab

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        lab = self.server
        lab.logins.add(self.headers["Authorization"])
        if lab.refusing:
            lab.refused += 1
            return self.say(403, b"you are not known here")
        with lab.lock:
            draw, before = lab.chance.random(), lab.chance.random() < 0.5
        if draw < lab.failing and before:
            return self.say(500, b"the robot is stuck")
        answer = lab.answer(self.headers["Idempotency-Key"], json.loads(body))
        if draw < lab.failing:
            return self.say(500, b"the answer was lost")
        if draw < lab.failing + lab.stalling:
            time.sleep(lab.stall)
        return self.say(200, json.dumps(answer).encode())

    def say(self, status: int, body: bytes) -> None:
        if self.server.killed:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


if __name__ == "__main__":
    Lab(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
