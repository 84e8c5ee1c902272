"""What a run leaves on W&B, read back with W&B's own `wandb leet inspect --json`."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from suite.compute import PHASES
from suite.store import records
from suite.store.records import FinishedRecord
from suite.store.schema import (
    Best,
    Compute,
    FinishedResult,
    Match,
    Meta,
    Placed,
    Point,
    Seconds,
    Tally,
    identity_of,
    plain,
)
from suite.tracking import run as tracking

NASTY = "<script>alert('1|2')</script>\n| a | b |\r\t\"\\ \u2028é\x00"

IDENTITY: dict[str, Any] = {
    "task": {"id": "addition-v1", "config": {"digits": 3, "target": None}, "source_sha256": "aa", "assets": {}},
    "baseline": {"id": "blind", "config": {"epochs": [1, 2], "tau": 0.5}, "source_sha256": "bb", "control": True},
    "seed": 7,
    "protocol": "failures-only",
    "duplicates": "charge",
    "budget": 1000,
    "heldout": "exact",
    "points": "all",
    "device": "cpu",
    "threads": 1,
}
META = Meta(engine="0.1.0", attempt=1)

# A control spends nothing, so its first points share nre 0; null is unknown and 0.0 is a number.
UNKNOWN = dict.fromkeys(("distinct_share", "effective_successes", "valid_share", "entropy"))
CURVE = [Point(**UNKNOWN, **values) for values in [
    {"round": 0, "nre": 0, "success_rate": 0.0004, "low": 0.0004, "high": None, "estimator": "exact", "n": None,
     "stream": 0, "distinct_successes": None, "kl_prior": 0.0, "metrics": {}, "samples": ["1+2=", NASTY]},
    {"round": 1, "nre": 0, "success_rate": 1 / 3, "low": 1e-17, "high": None, "estimator": "monte-carlo", "n": 10000,
     "stream": 1, "distinct_successes": 12, "kl_prior": 0.25, "metrics": {"loss": 9.125}, "samples": []},
    {"round": 2, "nre": 500, "success_rate": None, "low": None, "high": None, "estimator": "none", "n": None,
     "stream": 2, "distinct_successes": None, "kl_prior": None, "metrics": {"loss": 0.0, "lift": 2.0},
     "quantities": {"modes": 3.0, "spread": None}, "samples": ["3+4="]},
    {"round": 3, "nre": 1000, "success_rate": 0.1 + 0.2, "low": 0.25, "high": None, "estimator": "exact", "n": None,
     "stream": 3, "distinct_successes": 0, "kl_prior": 4.5, "metrics": {"loss": 1e30}, "samples": ["3+4=", "3+4="]},
]]  # fmt: skip

CURVE[3] = msgspec.structs.replace(CURVE[3], posterior_match=Match(0.25, 0.125, 0.5, "sampled", 400))

ROWS = [
    {"round": 0, "nre": 0, "stream": 0, "success_rate": 0.0004, "low": 0.0004, "kl_prior": 0.0},
    {"round": 1, "nre": 0, "stream": 1, "success_rate": 1 / 3, "low": 1e-17, "n": 10000, "distinct_successes": 12,
     "kl_prior": 0.25, "method/loss": 9.125},
    {"round": 2, "nre": 500, "stream": 2, "method/loss": 0.0, "method/lift": 2.0, "task/modes": 3.0},
    {"round": 3, "nre": 1000, "stream": 3, "success_rate": 0.1 + 0.2, "low": 0.25, "distinct_successes": 0,
     "posterior_match": 0.25, "posterior_match_low": 0.125, "posterior_match_high": 0.5, "kl_prior": 4.5,
     "method/loss": 1e30},
]  # fmt: skip
"""The numbers of CURVE, one row for each point, copied by hand."""

TALLIES = {phase: Tally(5, 2e9) for phase in PHASES}
RESULT = FinishedResult(
    curve=CURVE,
    base=Placed(0.0004, 0.0004, 0.0004, "exact", None, round=0, nre=0, stream=0),
    final=Placed(0.1 + 0.2, 0.25, None, "exact", None, round=3, nre=1000, stream=3),
    best=Best(1 / 3, None, None, "exact", None, round=1, nre=0, stream=1, selected_on="same"),
    improvement_final=750.0,
    improvement_best=833.25,
    nre=1000,
    first_success=None,
    successes=0,
    withheld=0,
    heldout_evaluations=None,
    compute=Compute(**TALLIES),
)
SECONDS = Seconds(training=1.5, filtering=1.0, verifying=1.0, heldout=0.5, total=4.0)


def record_of(result: FinishedResult, cell: Path) -> FinishedRecord:
    meta = msgspec.structs.replace(META, seconds=SECONDS)
    return FinishedRecord(cell.name, identity_of(IDENTITY), result, meta, cell)


def forget_the_environment(patch: pytest.MonkeyPatch, home: Path) -> None:
    """No W&B variable of whoever runs the tests, and none of their credentials."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        patch.delenv(name)
    patch.setenv("HOME", str(home))
    patch.setenv("NETRC", str(home / "none"))


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_the_environment(monkeypatch, tmp_path)


def open_run(cell: Path, mode: str = "offline") -> tracking.Tracker:
    cell.mkdir(parents=True, exist_ok=True)
    records.write(record_of(RESULT, cell))
    return tracking.start(mode, folder=cell, identity=identity_of(IDENTITY), meta=META)


def write_run(cell: Path) -> tracking.Tracker:
    tracker = open_run(cell)
    for point in CURVE:
        tracker.point(point)
    tracker.finish(record_of(RESULT, cell))
    return tracker


def run_folder(cell: Path) -> Path:
    (folder,) = (cell / "wandb").glob("offline-run-*")
    return folder


def inspect(cell: Path) -> list[dict[str, Any]]:
    """The transaction log of the cell's one run, as W&B itself prints it: one JSON object for each record."""
    wandb = Path(sys.executable).with_name("wandb")
    command = [str(wandb), "leet", "inspect", "--json", str(run_folder(cell))]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [json.loads(line) for line in output.splitlines()]


def of_type(log: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in log if record["type"] == kind]


def history(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every history row, without what W&B itself adds (_step, _runtime, _timestamp)."""
    return [{k: v for k, v in row["item"].items() if k[0] != "_"} for row in of_type(log, "history")]


def summary(log: list[dict[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for record in of_type(log, "summary"):
        values.update(record["update"])
    return {k: v for k, v in values.items() if k[0] != "_"}


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cell whose run was tracked offline from start to finish."""
    folder = tmp_path_factory.mktemp("results") / "0123456789abcdef0123"
    with pytest.MonkeyPatch.context() as patch:
        forget_the_environment(patch, folder.parent)
        assert write_run(folder).status == "offline"
    return folder


@pytest.fixture(scope="module")
def log(cell: Path) -> list[dict[str, Any]]:
    return inspect(cell)


def test_history_is_the_curve_row_by_row_and_key_by_key(log: list[dict[str, Any]]) -> None:
    assert history(log) == ROWS


def test_every_metric_is_drawn_against_nre(log: list[dict[str, Any]]) -> None:
    step_of = {metric["name"]: metric.get("step_metric") for metric in of_type(log, "metric")}
    names = {name for row in ROWS for name in row}
    assert step_of == {name: None if name == "nre" else "nre" for name in names}


def test_config_group_and_tags_say_what_was_run(log: list[dict[str, Any]]) -> None:
    (run,) = of_type(log, "run")
    config = {k: v for k, v in run["config"]["update"].items() if k != "_wandb"}
    assert config == {"cell": "0123456789abcdef0123", **IDENTITY, "meta": plain(META)}
    assert run["run_group"] == "addition-v1/blind"
    assert run["job_type"] == "run"
    assert run["tags"] == ["addition-v1", "blind", "failures-only", "control"]
    assert run["display_name"] == "addition-v1/blind/7"
    assert run["project"] == "sparse-reward-suite"


def test_summary_is_the_result(log: list[dict[str, Any]]) -> None:
    """NRE to 10x: ten times the base is 0.004, and the first point whose lower bound is above is the last one."""
    values = summary(log)
    assert values.pop("samples")["nrows"] == 5
    assert values == {
        "base": {"round": 0, "nre": 0, "stream": 0, "success_rate": 0.0004, "low": 0.0004, "high": 0.0004,
                 "estimator": "exact"},
        "final": {"round": 3, "nre": 1000, "stream": 3, "success_rate": 0.1 + 0.2, "low": 0.25, "estimator": "exact"},
        "best": {"round": 1, "nre": 0, "stream": 1, "success_rate": 1 / 3, "estimator": "exact",
                 "selected_on": "same"},
        "improvement_final": 750.0,
        "improvement_best": 833.25,
        "nre": 1000,
        "successes": 0,
        "withheld": 0,
        "distinct_successes": 0,
        "nre_to_10x": 1000,
        "compute": {phase: {"tokens": 5, "flops": 2e9} for phase in PHASES},
        "seconds": {"training": 1.5, "filtering": 1.0, "verifying": 1.0, "heldout": 0.5, "total": 4.0},
    }  # fmt: skip


def test_nre_to_10x_is_left_out_where_it_was_not_reached() -> None:
    """Without its last point the curve has no point that is surely above 0.004: the second's lower bound is 1e-17."""
    assert "nre_to_10x" in tracking._summary(RESULT, None)
    assert "nre_to_10x" not in tracking._summary(msgspec.structs.replace(RESULT, curve=CURVE[:3]), None)


def test_samples_survive_in_a_table(cell: Path, log: list[dict[str, Any]]) -> None:
    entry = summary(log)["samples"]
    assert entry["_type"] == "table-file"
    table = json.loads((run_folder(cell) / "files" / entry["path"]).read_text())
    assert table["columns"] == ["round", "nre", "text"]
    assert table["data"] == [
        [0, 0, "1+2="], [0, 0, NASTY], [2, 500, "3+4="], [3, 1000, "3+4="], [3, 1000, "3+4="],
    ]  # fmt: skip


def test_the_record_is_an_artifact(cell: Path, log: list[dict[str, Any]]) -> None:
    (record,) = [artifact for artifact in of_type(log, "artifact") if artifact["type"] == "record"]
    assert record["name"] == "record-0123456789abcdef0123"
    (entry,) = record["manifest"]["contents"]
    # W&B's digest of a file is its MD5 in base 64.
    digest = hashlib.md5((cell / "record.json").read_bytes()).digest()
    assert (entry["path"], entry["digest"]) == ("record.json", base64.b64encode(digest).decode())


def test_a_finished_run_has_exit_code_0(log: list[dict[str, Any]]) -> None:
    assert [entry["exit_code"] for entry in of_type(log, "exit")] == [0]


def test_all_that_wandb_needs_for_a_later_sync_lies_in_the_cell(cell: Path, log: list[dict[str, Any]]) -> None:
    files = [Path(e["local_path"]) for a in of_type(log, "artifact") for e in a["manifest"]["contents"]]
    assert len(files) == 2  # the record and the samples
    assert all(file.exists() and file.is_relative_to(cell) for file in files)


def test_an_aborted_run_fails_and_has_no_result(tmp_path: Path) -> None:
    tracker = open_run(tmp_path / "cell")
    tracker.point(CURVE[1])
    tracker.abort("ZeroDivisionError: somewhere")
    tracker.finish(record_of(RESULT, tmp_path / "cell"))
    log = inspect(tmp_path / "cell")
    assert history(log) == [ROWS[1]]
    assert summary(log) == {"error": "ZeroDivisionError: somewhere"}
    assert [entry["exit_code"] for entry in of_type(log, "exit")] == [1]


def test_a_run_without_heldout_measurement_or_samples_is_tracked(tmp_path: Path) -> None:
    point = msgspec.structs.replace(CURVE[2], round=0, nre=250, stream=0, metrics={}, quantities=None, samples=[])
    nothing = dict.fromkeys(("base", "final", "best", "improvement_final", "improvement_best", "first_success"))
    result = msgspec.structs.replace(RESULT, **nothing, curve=[point], nre=250)
    tracker = open_run(tmp_path / "cell")
    tracker.point(point)
    tracker.finish(record_of(result, tmp_path / "cell"))
    log = inspect(tmp_path / "cell")
    assert tracker.status == "offline"
    assert history(log) == [{"round": 0, "nre": 250, "stream": 0}]
    assert summary(log).keys() == {"nre", "successes", "withheld", "compute", "seconds", "samples"}


@pytest.mark.slow
def test_runs_in_one_process_are_quiet_and_do_not_mix(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import wandb

    one, two = open_run(tmp_path / "one"), open_run(tmp_path / "two")
    assert wandb.run is None  # a notebook's own run stays its own
    for tracker, points in ((one, CURVE[:1]), (two, CURVE[1:3])):
        for point in points:
            tracker.point(point)
    one.finish(record_of(RESULT, tmp_path / "one"))
    two.finish(record_of(RESULT, tmp_path / "two"))
    assert capfd.readouterr() == ("", "")
    assert history(inspect(tmp_path / "one")) == ROWS[:1]
    assert history(inspect(tmp_path / "two")) == ROWS[1:3]


WORKER = """
import pathlib, pickle
from suite.tracking import run as tracking
folder, record = pathlib.Path({folder!r}), pickle.loads({record!r})
(folder / "record.json").write_text("{{}}")
tracker = tracking.start("offline", folder=folder, identity=record.identity, meta=record.meta)
for point in record.result.curve:
    tracker.point(point)
tracker.finish(record)
"""


@pytest.mark.slow
def test_spawned_workers_track_their_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cells = [tmp_path / str(i) for i in range(3)]
    record = pickle.dumps(record_of(RESULT, tmp_path))
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        for folder in cells:
            folder.mkdir()
        scripts = [WORKER.format(folder=str(folder), record=record) for folder in cells]
        assert list(pool.map(exec, scripts)) == [None, None, None]
    assert capfd.readouterr() == ("", "")
    assert [history(inspect(folder)) for folder in cells] == [ROWS, ROWS, ROWS]


def test_off_imports_nothing_and_writes_nothing(tmp_path: Path) -> None:
    script = WORKER.replace('"offline"', '"off"') + "import sys; assert 'wandb' not in sys.modules"
    record = pickle.dumps(record_of(RESULT, tmp_path))
    command = [sys.executable, "-c", script.format(folder=str(tmp_path), record=record)]
    root = Path(tracking.__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def fail(*args: object, **kwargs: object) -> None:
    raise OSError(28, "No space\nleft on device")


@pytest.mark.parametrize("method", ["init", "Run.define_metric", "Run.log", "Run.log_artifact", "Run.finish"])
def test_a_broken_wandb_never_ends_a_run(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(f"wandb.{method}", fail)
    tracker = write_run(tmp_path / "cell")
    tracker.abort("too late")
    assert tracker.status == "failed: OSError: [Errno 28] No space left on device"
    error = capsys.readouterr().err
    assert error == "warning: tracking stopped, the run goes on: OSError: [Errno 28] No space left on device\n"


def test_a_wandb_that_is_not_installed_never_ends_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert write_run(tmp_path).status.startswith("failed: ModuleNotFoundError: ")


def test_an_interrupt_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    tracker = open_run(tmp_path / "cell")
    with monkeypatch.context() as patch:
        patch.setattr("wandb.Run.log", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tracker.point(CURVE[0])
    tracker.abort("interrupted")
    assert [entry["exit_code"] for entry in of_type(inspect(tmp_path / "cell"), "exit")] == [1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What wandb.init was asked for; it answers with nothing, and everybody is logged in."""
    arguments: dict[str, Any] = {}
    monkeypatch.setattr("wandb.init", arguments.update)
    monkeypatch.setattr("wandb.login", lambda prompt: True)
    return arguments


@pytest.mark.parametrize(
    ("mode", "environment", "expected"),
    [
        ("offline", {}, "offline"),
        ("online", {}, "online"),
        ("offline", {"WANDB_MODE": "online"}, "online"),
        ("online", {"WANDB_MODE": "offline"}, "offline"),
        ("online", {"WANDB_MODE": "dryrun"}, "offline"),
        ("online", {"WANDB_MODE": "disabled"}, "off"),
        ("off", {"WANDB_MODE": "online"}, "off"),
        ("off", {"WANDB_SWEEP_ID": "s1"}, "off"),
        ("offline", {"WANDB_SWEEP_ID": "s1"}, "online"),
        ("offline", {"WANDB_SWEEP_ID": "s1", "WANDB_MODE": "offline"}, "offline"),
    ],
)
def test_the_environment_chooses_the_mode(
    mode: str,
    environment: dict[str, str],
    expected: str,
    asked: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert open_run(tmp_path, mode).status == expected
    assert (asked["settings"]["mode"] if asked else "off") == expected


def test_an_unknown_mode_names_the_known_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "ofline")
    expected = "failed: ValueError: no mode 'ofline'; WANDB_MODE is one of offline, online, disabled"
    assert open_run(tmp_path).status == expected


def test_online_without_credentials_does_not_ask_for_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracker = open_run(tmp_path, "online")
    assert tracker.status.startswith("failed: UsageError: not logged in to W&B; run `wandb login`")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_project_comes_from_the_environment(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    open_run(tmp_path)
    assert asked["project"] == "mine"


def test_a_long_id_is_cut_to_the_64_characters_that_a_tag_may_have(asked: dict[str, Any], tmp_path: Path) -> None:
    baseline = {**IDENTITY["baseline"], "id": "package." * 20 + "module:run", "control": False}
    tracking.start("offline", folder=tmp_path, identity=identity_of({**IDENTITY, "baseline": baseline}), meta=META)
    assert asked["tags"] == ["addition-v1", "package." * 8, "failures-only"]


def test_a_run_id_in_the_environment_makes_no_one_run_of_many(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "abc123")
    ids = set()
    for _ in range(2):
        open_run(tmp_path)
        ids.add(asked["id"])
    assert len(ids) == 2
    assert "abc123" not in ids
