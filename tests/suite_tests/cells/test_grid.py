"""The grid and the processes under it: order, only what is missing, dead workers, interruptions."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import suite
from suite import api, cli
from suite.cells import dispatch, executor
from suite.cells.grid import CellDone, seed_list, shared_fields
from suite.commands.progress import factor, line, number, table
from suite.compute import PHASES
from suite.errors import UserError
from suite.store import records, schema
from suite.store.records import Record
from suite.store.schema import Tuning

ROOT = Path(executor.__file__).resolve().parents[2]

PLUGIN = '''"""A method for tests: does as its config says, then yields the prior."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from suite.config import setting
from suite.policy import Round


@dataclass(frozen=True)
class Config:
    die_until: str = setting("", help="kill the process and note it here, until 2 lines are noted")
    wait_for: str = setting("", help="sleep until this file exists")
    fail: bool = setting(False)


def run(config: Config, prior, oracle, rng):
    oracle.collect(prior, 10)
    notes = Path(config.die_until)
    if config.die_until and (not notes.exists() or len(notes.read_text()) < 2):
        with notes.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    if config.wait_for:
        Path(config.wait_for + ".started").touch()
        while not Path(config.wait_for).exists():
            time.sleep(0.01)
    if config.fail:
        raise RuntimeError("as it was told")
    yield Round(prior, {"threads": float(os.environ.get("OMP_NUM_THREADS", 0))})
'''


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(PLUGIN)
    return f"{tmp_path / 'mine.py'}:run"


def grid(baselines: list[str], results: Path, **options: Any) -> tuple[list[Record], list[CellDone]]:
    """A bench on the fast task with tracking off, and what it told."""
    told: list[CellDone] = []
    options = {"seeds": 2, "budget": 500, "tracking": "off", "progress": told.append} | options
    return suite.bench(["gaussian-v1"], baselines, results=results, **options), told


@pytest.mark.slow
def test_seeds_come_one_after_another_and_nothing_runs_twice(tmp_path: Path) -> None:
    first, told = grid(["uniform", "pretrained"], tmp_path)
    expected = [("uniform", 0), ("pretrained", 0), ("uniform", 1), ("pretrained", 1)]
    assert [(record.baseline, record.seed) for record in first] == expected
    assert [(cell.record.baseline, cell.record.seed) for cell in told] == expected
    assert [(cell.done, cell.total, cell.fresh) for cell in told] == [(i, 4, True) for i in (1, 2, 3, 4)]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    second, told = grid(["uniform", "pretrained"], tmp_path)
    assert second == first
    assert not any(cell.fresh for cell in told)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")} == before


def test_more_seeds_run_only_the_new_ones(tmp_path: Path) -> None:
    grid(["uniform"], tmp_path, seeds=[1])
    _, told = grid(["uniform"], tmp_path, seeds=3)
    assert [(cell.record.seed, cell.fresh) for cell in told] == [(1, False), (0, True), (2, True)]


def test_force_runs_again(tmp_path: Path) -> None:
    grid(["uniform"], tmp_path, seeds=1)
    (again,), told = grid(["uniform"], tmp_path, seeds=1, force=True)
    assert told[0].fresh
    assert again.meta.attempt == 2


def test_an_edited_baseline_runs_again(tmp_path: Path, mine: str) -> None:
    (before,), _ = grid([mine], tmp_path, seeds=1)
    (tmp_path / "mine.py").write_text(PLUGIN.replace("prior, 10", "prior, 20"))
    (after,), told = grid([mine], tmp_path, seeds=1)
    assert told[0].fresh
    assert after.cell != before.cell
    assert (before.result.nre, after.result.nre) == (10, 20)


def test_failed_cells_are_records_and_run_again(tmp_path: Path, mine: str) -> None:
    for attempt in (1, 2):
        (record,), told = grid([mine], tmp_path, seeds=1, config={"fail": True})
        assert told[0].fresh
        assert (record.status, record.meta.attempt) == ("failed", attempt)


def test_cells_asked_for_twice_stand_once(tmp_path: Path) -> None:
    found, _ = grid(["uniform", "uniform"], tmp_path, seeds=[4, 4])
    assert [record.seed for record in found] == [4]


def test_fields_go_to_every_baseline_that_has_them(tmp_path: Path) -> None:
    found, _ = grid(["banel", "uniform"], tmp_path, seeds=1, config={"epochs": 1}, task_config={"sigma": 0.6})
    by_id = {record.baseline: record.identity for record in found}
    assert by_id["banel"].baseline.config["epochs"] == 1
    assert "epochs" not in by_id["uniform"].baseline.config
    assert by_id["uniform"].task.config == {"sigma": 0.6}


def test_a_method_that_takes_nothing_of_a_tuned_configuration_owes_its_tuning_nothing(tmp_path: Path) -> None:
    """uniform has no field at all, so BaNEL's search gave it nothing."""
    tuning = {"study": "s", "nre": 8000, "heldout": 320_000}
    found, _ = grid(["banel", "uniform"], tmp_path, seeds=1, config={"epochs": 1}, tuning=tuning)
    assert {record.baseline: record.meta.tuning for record in found} == {"banel": Tuning(**tuning), "uniform": None}


def test_a_field_that_no_baseline_has_is_refused() -> None:
    with pytest.raises(UserError, match=r"no field 'epoch' in the config of banel, uniform; did you mean 'epochs'\?"):
        shared_fields("baseline", ["banel", "uniform"], {"epoch": 1})


def test_bad_input_leaves_nothing(tmp_path: Path) -> None:
    results = tmp_path / "results"
    with pytest.raises(UserError, match="smaller than one batch"):
        grid(["uniform", "banel"], results, config={"batch": 900})
    assert not results.exists()


@pytest.mark.parametrize(("seeds", "expected"), [(3, [0, 1, 2]), ([5, 2, 5], [5, 2])])
def test_seed_list(seeds: int | list[int], expected: list[int]) -> None:
    assert seed_list(seeds) == expected


@pytest.mark.parametrize("seeds", [0, -1, [], [-1]])
def test_no_seeds_are_refused(seeds: int | list[int]) -> None:
    with pytest.raises(UserError, match="--seeds"):
        seed_list(seeds)


# `eval` is a function that every process has: its argument is what a worker is to do.
pool = functools.partial(executor.WorkerPool, threads=3)
two = executor.Workers(2, pool)


def outcomes(*work: str, workers: executor.Workers = two) -> dict[str, Any]:
    return dict(executor.run_all(eval, work, workers))


def dies(notes: Path, times: int) -> str:
    """An expression that kills its process the first `times` times, then is 'alive'."""
    path = f"__import__('pathlib').Path({str(notes)!r})"
    count = f"len({path}.read_text() if {path}.exists() else '')"
    note = f"{path}.open('a').write('x')"
    return f"'alive' if {count} >= {times} else ({note}, __import__('os')._exit(9))"


def test_workers_set_threads_before_anything_is_imported() -> None:
    work = "(__import__('os').environ['OMP_NUM_THREADS'], 'torch' in __import__('sys').modules)"
    assert outcomes(work) == {work: ("3", False)}


def test_every_item_is_worked_on_once(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    work = [f"open({str(notes)!r}, 'a').write('{i}\\n') and {i}" for i in range(7)]
    assert sorted(outcomes(*work).values()) == list(range(7))
    assert sorted(notes.read_text().split()) == [str(i) for i in range(7)]


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_death_is_survived(tmp_path: Path, deaths: int) -> None:
    work = dies(tmp_path / "notes", deaths)
    assert outcomes("1", work, "2", "3") == {"1": 1, work: "alive", "2": 2, "3": 3}


def test_the_third_death_is_the_last(tmp_path: Path) -> None:
    work = dies(tmp_path / "notes", 99)
    found = outcomes("1", work, "2", "3")
    assert isinstance(found.pop(work), BrokenExecutor)
    assert found == {"1": 1, "2": 2, "3": 3}
    assert (tmp_path / "notes").read_text() == "xxx"


def test_any_executor_will_do_and_what_it_gives_up_is_an_outcome() -> None:
    threads = executor.Workers(2, ThreadPoolExecutor, (ZeroDivisionError,))
    found = outcomes("1", "1 / 0", "2", workers=threads)
    assert isinstance(found.pop("1 / 0"), ZeroDivisionError)
    assert found == {"1": 1, "2": 2}


def test_what_the_work_raises_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        outcomes("1 / 0", "__import__('time').sleep(60)")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def assert_group_ends(group: int) -> None:
    """Nobody of the process group is left, soon."""
    deadline = time.monotonic() + 20
    while is_alive(-group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_alive(-group)


def test_leaving_early_stops_the_workers(tmp_path: Path) -> None:
    note = f"__import__('pathlib').Path({str(tmp_path / 'pid')!r})"
    sleep = "__import__('time').sleep"
    sleeper = f"({note}.write_text(str(__import__('os').getpid())), {sleep}(600))"
    waiter = f"[{sleep}(0.01) for _ in iter({note}.exists, True)]"
    generator = executor.run_all(eval, [sleeper, waiter], two)
    assert next(generator)[0] == waiter
    generator.close()
    # the sleeper was stopped, or this test would have met its own time limit
    assert not is_alive(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("text", "jobs", "place"),
    [
        (None, 3, dispatch.Place(3)),
        ("local:4", 1, dispatch.Place(4)),
        ("dask://node7:8786", 1, dispatch.Place(1, "node7:8786")),
        ("dask://[::1]:8786/", 1, dispatch.Place(1, "[::1]:8786")),
    ],
)
def test_where_cells_run(text: str | None, jobs: int, place: dispatch.Place) -> None:
    assert dispatch.parse(text, jobs) == place


def test_an_executor_runs_what_jobs_run(tmp_path: Path) -> None:
    (record,), _ = grid(["uniform"], tmp_path / "a", seeds=1, executor="local:1")
    (same,), _ = grid(["uniform"], tmp_path / "b", seeds=1)
    assert record.result == same.result


@pytest.mark.slow
def test_a_cell_that_another_process_runs_is_left_to_it(
    tmp_path: Path, mine: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other process has taken seed 0 of the first method and waits until this one has run all else."""
    monkeypatch.chdir(tmp_path)  # the other one names the same files from another directory
    gate = tmp_path / "gate"
    work = {"seeds": 2, "config": {"wait_for": str(gate)}}
    command = [
        sys.executable, "-m", "suite", "run", "--task=gaussian-v1", f"--baseline={mine}", "--budget=500",
        f"--results={tmp_path / 'results'}", "--tracking=off", f"--wait_for={gate}",
    ]  # fmt: skip
    other = subprocess.Popen(command, cwd=ROOT)
    while not Path(f"{gate}.started").exists():
        assert other.poll() is None
        time.sleep(0.05)

    def tell(cell: CellDone) -> None:
        order.append((cell.record.baseline, cell.record.seed))
        if len(order) == 1:
            gate.touch()

    order: list[tuple[str, int]] = []
    found, _ = grid(["mine.py:run", "uniform"], Path("results"), progress=tell, **work)
    assert other.wait(timeout=60) == 0
    assert order[0] == ("uniform", 0)
    assert sorted(order) == [("mine.py:run", 0), ("mine.py:run", 1), ("uniform", 0), ("uniform", 1)]
    assert {record.status for record in found} == {"finished"}
    assert [record.meta.attempt for record in found] == [1, 1, 1, 1]
    assert sum(record.meta.host is not None for record in records.scan("results")[0]) == 4


@pytest.mark.slow
def test_processes_give_the_results_of_one(tmp_path: Path, mine: str) -> None:
    together, _ = grid([mine, "banel"], tmp_path / "two", jobs=2)
    alone, _ = grid([mine, "banel"], tmp_path / "one", jobs=1)
    assert [record.result for record in together if record.baseline == "banel"] == [
        record.result for record in alone if record.baseline == "banel"
    ]
    metrics = [record.result.curve[-1].metrics for record in together if record.baseline != "banel"]
    assert metrics == [{"threads": 1.0}, {"threads": 1.0}]


@pytest.mark.slow
def test_a_cell_whose_process_died_goes_on_from_its_ledger(tmp_path: Path, mine: str) -> None:
    (record,), _ = grid([mine], tmp_path, seeds=1, jobs=2, config={"die_until": str(tmp_path / "notes")})
    assert (tmp_path / "notes").read_text() == "xx"
    assert record.status == "finished"
    assert record.result.nre == 10  # three processes, one charge


@pytest.mark.slow
def test_a_cell_that_always_kills_its_process_becomes_a_failed_record(tmp_path: Path, mine: str) -> None:
    text = (tmp_path / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(text.replace("< 2", "< 99"))
    config = {"die_until": str(tmp_path / "notes")}
    found, _ = grid(["uniform", mine], tmp_path, seeds=1, jobs=2, config=config)
    assert [record.status for record in found] == ["finished", "failed"]
    assert found[1].result.error.type == "ProcessDied"
    assert "every process that ran this cell died" in line(found[1])
    assert records.scan(tmp_path)[0] == sorted(found, key=lambda record: record.cell)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "jobs", "code"), [(signal.SIGINT, 2, 130), (signal.SIGTERM, 2, 143), (signal.SIGTERM, 1, 143)]
)
def test_interruption_stops_everything_and_can_be_resumed(
    tmp_path: Path, mine: str, number: signal.Signals, jobs: int, code: int
) -> None:
    gate = tmp_path / "gate"
    results = tmp_path / "results"
    command = [
        sys.executable, "-m", "suite", "bench", "--tasks=gaussian-v1", f"--baselines={mine}", "--seeds=3",
        "--budget=500", f"--jobs={jobs}", f"--results={results}", "--tracking=off", f"--wait_for={gate}",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not Path(f"{gate}.started").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does: to the workers too
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err.strip() == "suite: stopped; the same command goes on from here"
    assert_group_ends(process.pid)
    assert not list(results.rglob("record.json"))
    gate.touch()
    assert cli.main([*command[3:], "--quiet", "--jobs=1"]) == 0
    found, broken = records.scan(results)
    assert not broken
    assert {(record.seed, record.status, record.result.nre) for record in found} == {
        (seed, "finished", 10) for seed in (0, 1, 2)
    }


@pytest.mark.slow
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path, mine: str) -> None:
    gate = tmp_path / "gate"
    command = [
        sys.executable, "-m", "suite", "bench", "--tasks=gaussian-v1", f"--baselines={mine}", "--seeds=2",
        "--budget=500", "--jobs=2", f"--results={tmp_path / 'results'}", "--tracking=off", f"--wait_for={gate}",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    while not Path(f"{gate}.started").exists():
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert_group_ends(process.pid)


def cell(seed: int, rate: float | None, gain: float | None) -> Record:
    identity = schema.Identity(
        task=schema.TaskIdentity(id="t", config={}, source_sha256="", assets={}),
        baseline=schema.BaselineIdentity(id="m", config={}, source_sha256="", control=False),
        seed=seed,
        protocol="failures-only",
        duplicates="charge",
        budget=500,
        heldout="exact",
        points="all",
        device="cpu",
        threads=1,
    )
    if rate is None:
        error = schema.Error(type="E", message="why", where="m.py:3")
        return records.make("", identity, schema.FailedResult(error=error), schema.Meta(), Path())
    placed = schema.Placed(rate, rate, rate, "exact", None, round=0, nre=0, stream=0)
    result = schema.FinishedResult(
        curve=[],
        base=None,
        final=placed,
        best=None,
        improvement_final=gain,
        improvement_best=None,
        nre=500,
        successes=0,
        first_success=None,
        withheld=0,
        heldout_evaluations=0,
        compute=schema.Compute(**dict.fromkeys(PHASES, schema.Tally(0, 0.0))),
    )
    seconds = schema.Seconds(**dict.fromkeys(PHASES, 1.1), total=4.4)
    return records.make("", identity, result, schema.Meta(seconds=seconds), Path())


def test_live_table_shows_geometric_means() -> None:
    rows = table([cell(0, 0.01, 25.0), cell(1, 0.04, 100.0), cell(2, None, None)], total=5)
    # sqrt(0.01 * 0.04) = 0.02, sqrt(25 * 100) = 50
    assert [next(iter(column.cells)) for column in rows.columns] == ["t", "m", "2", "0.02", "50×", "1"]
    assert rows.title == "3 of 5 cells"


def test_one_line_per_cell() -> None:
    assert line(cell(0, 0.01, 25.0)) == "t m seed 0: success 0.01 (25× base), 500 NRE, 4 s"
    assert line(cell(2, None, None)) == "t m seed 2: FAILED, E: why at m.py:3"
    assert (number(None), factor(None), number(0.0)) == ("–", "–", "0")


def test_the_package_offers_run_bench_and_record() -> None:
    assert (suite.run, suite.bench) == (api.run, api.bench)
    assert suite.Record is Record
    with pytest.raises(AttributeError, match="no attribute 'bunch'"):
        suite.bunch  # noqa: B018


# -- processes of a verifier's own -------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", ["raise_on_sigterm()", "_start_worker(1); executor._busy.set()"])
def test_a_process_that_a_plugin_forks_ends_by_sigterm_without_a_word(begin: str) -> None:
    """A pool ends its processes so: they printed a traceback each, or hung with the signal ignored."""
    code = f"""
import os, signal, time
from suite.cells import executor
executor.{begin}
child = os.fork()
if not child:
    time.sleep(30)
    os._exit(0)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), signal.getsignal(signal.SIGTERM) != signal.SIG_DFL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{-signal.SIGTERM} True\n", "")


POOLED = """
import multiprocessing
from dataclasses import dataclass
import torch
from suite.config import setting
from suite.generators import Table

def opens(code):
    return code < 4

@dataclass(frozen=True)
class Config:
    method: str = setting("fork")

class Lock:
    config: Config
    def __init__(self, config): self.config = config
    def prior(self): return Table(torch.zeros(200))
    def verify(self, x):
        with multiprocessing.get_context(self.config.method).Pool(2) as pool:
            return torch.tensor(pool.map(opens, x[:, 0].tolist()))
    def verify_heldout(self, x): return x[:, 0] < 4
    def show(self, x): return [str(code) for code in x[:, 0].tolist()]
    def exact(self, policy): return None
"""


@pytest.mark.slow
@pytest.mark.parametrize(("method", "jobs"), [("fork", 1), ("fork", 2), ("spawn", 1)])
def test_a_verifier_may_spread_a_batch_over_processes(tmp_path: Path, method: str, jobs: int) -> None:
    (tmp_path / "pooled.py").write_text(POOLED)
    command = [sys.executable, "-m", "suite", "bench", "--tasks", f"{tmp_path / 'pooled.py'}:Lock",
               "--task.method", method, "--baselines", "pretrained", "--seeds", str(jobs), "--jobs", str(jobs),
               "--budget", "1000", "--heldout", "500", "--tracking", "off"]  # fmt: skip
    command += ["--results", str(tmp_path / "r")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert [record.status for record in records.scan(tmp_path / "r")[0]] == ["finished"] * jobs
