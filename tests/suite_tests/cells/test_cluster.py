"""A grid on a real Dask scheduler with two worker processes, and what can go wrong on the way there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import suite
from suite import cli
from suite.cells import cluster
from suite.errors import UserError
from suite.store import records

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

METHOD = '''"""Spends its budget in batches of 50, and on seed 1, once, notes its process and waits to be killed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from suite.config import setting
from suite.policy import Round


@dataclass(frozen=True)
class Config:
    victim: str = setting("", help="the first process here to get so far writes its id to this file and waits")


def run(config: Config, prior, oracle, rng):
    while oracle.remaining:
        oracle.collect(prior, 50)
        if oracle.remaining == 100:
            try:
                with Path(config.victim).open("x") as file:
                    file.write(str(os.getpid()))
            except FileExistsError:
                pass
            else:
                time.sleep(600)
        yield Round(prior, {})
'''


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def launch() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `dask …` with its log in a file; all are killed in the end."""
    with contextlib.ExitStack() as stack:

        def start(*words: str, log: Path) -> subprocess.Popen[str]:
            file = stack.enter_context(log.open("w"))
            command = [sys.executable, "-m", "dask", *words]
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, text=True, cwd=log.parent)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def scheduler(launch: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> str:
    """HOST:PORT of a scheduler that listens."""
    port = free_port()
    launch("scheduler", "--host=127.0.0.1", f"--port={port}", "--no-dashboard", log=tmp_path / "scheduler.log")
    until(lambda: answers(port))
    return f"127.0.0.1:{port}"


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def until(done: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def worker(
    launch: Callable[..., subprocess.Popen[str]], scheduler: str, log: Path, *words: str
) -> subprocess.Popen[str]:
    """A worker of one process, the one returned."""
    return launch(
        "worker", scheduler, "--no-nanny", "--no-dashboard", "--host=127.0.0.1", *(words or ["--nthreads=1"]), log=log
    )


def test_a_grid_outlives_a_worker(
    launch: Callable[..., subprocess.Popen[str]], scheduler: str, tmp_path: Path, charged: Callable[[Path], int]
) -> None:
    """One of two workers is killed in the middle of a cell: all cells are there once, nothing is charged twice."""
    (tmp_path / "method.py").write_text(METHOD)
    victim, results = tmp_path / "victim", tmp_path / "results"
    for name in ("one", "two"):
        worker(launch, scheduler, tmp_path / f"{name}.log")
    command = [
        sys.executable, "-m", "suite", "bench", "--tasks=gaussian-v1", f"--baselines={tmp_path}/method.py:run,uniform",
        "--seeds=4", "--budget=500", f"--executor=dask://{scheduler}", f"--results={results}", "--tracking=off",
        f"--victim={victim}",
    ]  # fmt: skip
    grid = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: grid.poll() is not None or (victim.exists() and victim.read_text() != ""))
    assert grid.poll() is None, grid.stderr.read() if grid.stderr else ""
    os.kill(int(victim.read_text()), signal.SIGKILL)
    out, err = grid.communicate(timeout=120)
    assert grid.returncode == 0, err
    assert out.count("\n") == 8  # one line a cell
    found, broken = records.scan(results)
    assert not broken
    expected = {(method, seed) for method in ("method.py:run", "uniform") for seed in range(4)}
    assert sorted((record.baseline, record.seed) for record in found) == sorted(expected)
    assert {(record.status, record.meta.attempt) for record in found} == {("finished", 1)}
    paid = {"method.py:run": 500, "uniform": 0}  # `uniform` is a control
    assert all(record.result.nre == charged(record.folder) == paid[record.baseline] for record in found)
    alone = suite.bench(["gaussian-v1"], [f"{tmp_path}/method.py:run", "uniform"], seeds=4, budget=500,
                  results=tmp_path / "alone", tracking="off", config={"victim": str(victim)})  # fmt: skip
    assert {record.cell: record.result for record in found} == {record.cell: record.result for record in alone}


def test_workers_that_cannot_keep_a_promise_are_refused(
    launch: Callable[..., subprocess.Popen[str]], scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two threads of one process would share torch's threads and random numbers."""
    worker(launch, scheduler, tmp_path / "worker.log", "--nthreads=2")
    command = ["bench", "--tasks=gaussian-v1", "--baselines=uniform", "--seeds=1", f"--executor=dask://{scheduler}"]
    assert cli.main([*command, f"--results={tmp_path / 'results'}", "--tracking=off"]) == 2
    assert "has 2 threads, but cells of one process share torch's settings" in capsys.readouterr().err
    assert not list(tmp_path.glob("results/cells/*"))


def test_work_for_a_gpu_goes_to_workers_that_have_one_and_waits_for_them(
    launch: Callable[..., subprocess.Popen[str]], scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dask compares its resource GPU alone, so a worker on a CPU that was started with one stands for a real one."""
    plain = worker(launch, scheduler, tmp_path / "plain.log")
    with cluster.connected(scheduler, gpu=False) as workers, workers.open(1) as executor:
        assert executor.submit(os.getpid).result(timeout=60) == plain.pid
    capsys.readouterr()  # a warning that there is no worker yet, where it was slower than this process
    with cluster.connected(scheduler, gpu=True) as workers, workers.open(1) as executor:
        asked = [executor.submit(os.getpid) for _ in range(4)]
        with pytest.raises(TimeoutError):
            asked[0].result(timeout=1)  # the plain worker is idle, and may not
        own = worker(launch, scheduler, tmp_path / "gpu.log", "--nthreads=1", "--resources=GPU=1")
        assert {future.result(timeout=60) for future in asked} == {own.pid}
    assert capsys.readouterr().err == (
        f"warning: dask://{scheduler} has no worker with a GPU yet; waiting for `dask worker HOST:PORT --nthreads 1"
        " --resources GPU=1`\n"
    )


def test_ctrl_c_drops_what_waits(scheduler: str, tmp_path: Path) -> None:
    """Without a worker all cells wait; after Ctrl-C the scheduler knows of none."""
    import distributed

    command = [
        sys.executable, "-m", "suite", "bench", "--tasks=gaussian-v1", "--baselines=uniform", "--seeds=3",
        f"--executor=dask://{scheduler}", f"--results={tmp_path / 'results'}", "--tracking=off",
    ]  # fmt: skip
    grid = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with distributed.Client(f"tcp://{scheduler}", set_as_default=False) as client:

        def tasks() -> int:
            return int(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))

        until(lambda: grid.poll() is not None or tasks() == 3)
        grid.send_signal(signal.SIGINT)
        _, err = grid.communicate(timeout=30)
        assert grid.returncode == 130
        assert [line for line in err.splitlines() if line] == [
            f"warning: dask://{scheduler} has no worker yet; waiting for `dask worker HOST:PORT --nthreads 1`",
            "suite: stopped; the same command goes on from here",
        ]
        assert tasks() == 0
    assert not list(tmp_path.glob("results/cells/*"))


@pytest.mark.parametrize("kind", ["nobody", "somebody silent"])
def test_a_scheduler_that_does_not_answer(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.ExitStack() as stack:
        port = free_port()
        if kind == "somebody silent":
            port = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        command = ["bench", "--tasks=gaussian-v1", "--baselines=uniform", f"--executor=dask://127.0.0.1:{port}"]
        assert cli.main([*command, f"--results={tmp_path / 'results'}", "--force"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"--executor dask://127.0.0.1:{port}: no scheduler answered in 5 s" in err
    assert not list(tmp_path.iterdir())


def test_other_versions_are_refused() -> None:
    ours = {"packages": {"python": "3.11.2", "dask": "2", "distributed": "2", "sparse-reward-suite": "0.1"}}
    older = {"packages": {**ours["packages"], "distributed": "1"}}
    bare = {"packages": {**ours["packages"], "sparse-reward-suite": None}}
    cluster._check_versions("dask://a:1", {"client": ours, "scheduler": ours, "workers": {"tcp://b": ours}})
    with pytest.raises(UserError, match="dask://a:1: the scheduler has distributed 1, here it is 2; install one"):
        cluster._check_versions("dask://a:1", {"client": ours, "scheduler": older, "workers": {}})
    with pytest.raises(UserError, match=r"worker tcp://b has sparse-reward-suite \(not installed\), here it is 0.1"):
        cluster._check_versions("dask://a:1", {"client": ours, "scheduler": ours, "workers": {"tcp://b": bare}})


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(UserError, match=r"pip install 'sparse-reward-suite\[cluster\]'"),
        cluster.connected("a:1", gpu=False),
    ):
        pass
