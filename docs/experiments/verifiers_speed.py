"""Verifications per second through `suite.verifiers.Http` against a service of this machine, ledger included.

    OMP_NUM_THREADS=1 python docs/experiments/verifiers_speed.py 100000 64 4

The arguments: samples, questions of a request, requests at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from suite.generators import Table
from suite.oracle import Oracle, Verifier
from suite.store.ledger import Ledger
from suite.verifiers import Http

SERVICE = """
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Lab(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_POST(self):
        questions = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps([int(question == [7]) for question in questions]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Lab)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def main(samples: int, batch: int, concurrency: int) -> None:
    service = subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    http = Http(f"http://127.0.0.1:{service.stdout.readline().strip()}", batch=batch, concurrency=concurrency)
    prior = Table(torch.zeros(1000))
    with tempfile.TemporaryDirectory(dir=".") as folder:  # on a disk: each answer is synchronised
        ledger = Ledger(Path(folder) / "ledger.sqlite")
        generator = torch.Generator().manual_seed(0)
        oracle = Oracle(Verifier(http), ledger, budget=samples, prior=prior, generator=generator)
        begun = time.perf_counter()
        while oracle.remaining:
            oracle.collect(prior, min(5000, oracle.remaining))
        seconds = time.perf_counter() - begun
        attempts = len(ledger.attempts())
        print(json.dumps({"samples": ledger.nre, "requests": attempts, "seconds": round(seconds, 2),
                          "verifications per second": round(samples / seconds)}))  # fmt: skip
        ledger.close()
    service.kill()
    service.wait()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
