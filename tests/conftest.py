"""What tests of all folders share: one thread, no W&B server, plug-in files, small policies, a fresh oracle."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: results differ between thread counts
os.environ.pop("SUITE_RESULTS", None)

import contextlib
import glob
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from torch import Tensor

from suite.generators import Shape, Table, Transformer
from suite.oracle import Oracle, Verifier
from suite.store.ledger import Ledger

RAM = Path("/dev/shm")
if "TMPDIR" not in os.environ and os.access(RAM, os.W_OK) and shutil.disk_usage(RAM).free > 4 * 2**30:
    # a ledger syncs each charge: on a disk the tests would take four times as long, waiting for it
    os.environ["TMPDIR"] = tempfile.tempdir = str(RAM)

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    # a shell's background jobs, and what they start, ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("suite", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("suite")

PLUGINS = Path(__file__).parent / "plugins"

Need = Callable[[str, str], Path]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def plugin() -> Callable[[str], str]:
    """`plugin("toys.py:Codes")` is the reference of a task or baseline in tests/plugins."""
    return lambda name: str(PLUGINS / name)


@pytest.fixture
def unencoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn and not encoded, a second's work each, for tests that are not about pictures."""
    monkeypatch.setattr("reports.figures.style.encode", lambda figure, kind, **how: b"<svg/>" if kind == "svg" else b"")


@pytest.fixture(scope="session")
def seeded() -> Callable[[int], torch.Generator]:
    return lambda seed: torch.Generator().manual_seed(seed)


@pytest.fixture(scope="session")
def uniform_table() -> Callable[[int], Table]:
    """A table with so many equally likely outcomes."""
    return lambda codes: Table(torch.zeros(codes))


@pytest.fixture(scope="session")
def tiny_net() -> Callable[..., Transformer]:
    """A transformer of 2 symbols and length 6 with random weights; `end` is None or a symbol."""

    def make(
        seed: int = 0, *, end: int | None = None, vocab_size: int = 2, length: int = 6, width: int = 8
    ) -> Transformer:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return Transformer(Shape(vocab_size, length, end, width=width, layers=2, heads=2))

    return make


@pytest.fixture
def make_oracle(
    seeded: Callable[[int], torch.Generator],
) -> Iterator[Callable[..., Oracle]]:
    """An oracle over a ledger in memory, or at `path`; by default every outcome fails."""
    with contextlib.ExitStack() as stack:

        def make(
            verify: Callable[[Tensor], Tensor] | None = None,
            *,
            budget: int = 100,
            path: Path | None = None,
            prior: Any = None,
            seed: int = 0,
            **options: str,
        ) -> Oracle:
            ledger = Ledger(path or Path(":memory:"))
            stack.callback(ledger.close)
            verifier = Verifier(verify or (lambda x: torch.zeros(len(x), dtype=torch.bool)))
            return Oracle(
                verifier,
                ledger,
                budget=budget,
                prior=prior or Table(torch.zeros(64)),
                generator=seeded(seed),
                **options,
            )

        yield make


@pytest.fixture(scope="session")
def charged() -> Callable[[Path], int]:
    """Reward evaluations that the ledger in a cell's folder holds, by SQL of its own."""

    def count(cell: Path) -> int:
        with contextlib.closing(sqlite3.connect(cell / "ledger.sqlite")) as db:
            return int(db.execute("SELECT total(charged) FROM batches").fetchone()[0])

    return count


@pytest.fixture(scope="session")
def need() -> Need:
    """`need("/usr/bin/chromium", "chromium")` is that program of that Debian package; of a pattern's matches the last.

    Where it is not installed the test is skipped, but where $CI is set it fails: there nothing may be left out.
    """

    def find(pattern: str, package: str) -> Path:
        found = sorted(glob.glob(pattern))
        if not found:
            missing = f"{pattern} is not there: apt-get install {package}"
            pytest.fail(missing, pytrace=False) if os.environ.get("CI") else pytest.skip(missing)
        return Path(found[-1])

    return find


class Postgres:
    """A PostgreSQL of the tests; `server("name")` makes an empty database and gives its URL.

    It listens on a Unix socket alone, and runs as `postgres` where the tests run as root, whom it refuses.
    """

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.owner = "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="suite-postgres-"))  # below tmp_path no other user may read
        if self.owner is not None:
            os.chown(self.folder, pwd.getpwnam(self.owner).pw_uid, -1)
        options = ("--username=suite", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        self.call("initdb", "--pgdata=data", *options)
        self.start()

    def call(self, program: str, *args: str) -> None:
        command = [str(self.programs / program), *args]
        done = subprocess.run(command, cwd=self.folder, user=self.owner, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        assert done.returncode == 0, done.stdout

    def start(self) -> None:
        settings = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self.call("pg_ctl", "start", "--pgdata=data", "--wait", "--log=log", f"--options={settings}")

    def stop(self) -> None:
        """At once, as if it had crashed."""
        self.call("pg_ctl", "stop", "--pgdata=data", "--mode=immediate")

    def __call__(self, name: str) -> str:
        self.call("createdb", f"--host={self.folder}", "--username=suite", name)
        return f"postgresql+psycopg://suite@/{name}?host={self.folder}"


@pytest.fixture(scope="session")
def postgres_server(need: Need) -> Iterator[Postgres]:
    server = Postgres(need("/usr/lib/postgresql/*/bin/pg_ctl", "postgresql").parent)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder)


@pytest.fixture
def postgres(postgres_server: Postgres) -> str:
    """The URL of an empty PostgreSQL database of this test."""
    return postgres_server(f"test_{uuid.uuid4().hex}")
