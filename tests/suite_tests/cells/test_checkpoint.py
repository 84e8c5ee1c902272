"""A run that goes on from a checkpoint is the undisturbed one, byte for byte, and computes no round again."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import suite
from baselines import BASELINES
from suite import cli, compute, registry
from suite import config as configs
from suite.cells import checkpoint
from suite.cells.checkpoint import Checkpoints
from suite.cells.runner import Progress
from suite.errors import UserError
from suite.generators import Table
from suite.oracle import Oracle, Verifier
from suite.protocol import WORKS_UNDER
from suite.store.records import Record, canonical

SMALL: dict[str, Any] = {"batch": 50, "pool": 200, "features": 8, "predictor_epochs": 2, "rounds": 4}
ROUNDS = 4


@pytest.fixture(autouse=True)
def after_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long writing them takes."""
    monkeypatch.setattr(checkpoint, "SHARE", math.inf)


@pytest.fixture
def strings(plugin: Callable[[str], str]) -> str:
    return plugin("toys.py:Strings")


def stop(after: int) -> Callable[[Progress], None]:
    """Ctrl-C after a round."""

    def told(progress: Progress) -> None:
        if progress.round == after and not progress.done:
            raise KeyboardInterrupt

    return told


def run(task: str, name: str, results: Path, after: int = -1, **options: Any) -> Record:
    fields = {spec.name for spec in configs.specs(registry.load("baseline", name).config_class)}
    config = {field: value for field, value in SMALL.items() if field in fields} | options.pop("config", {})
    weakest = WORKS_UNDER[registry.uses(registry.load("baseline", name)) or "rewards"][0]
    given: dict[str, Any] = {"budget": 50 * ROUNDS, "tracking": "off", "protocol": weakest, **options}
    return suite.run(task, name, results=results, config=config, progress=stop(after), **given)


def stopped(task: str, name: str, results: Path, after: int, **options: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(task, name, results, after, **options)


def cell(results: Path) -> Path:
    (folder,) = results.glob("cells/*")
    return folder


CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in BASELINES if name not in ("uniform", "temperature")),  # of one round
    ("banel", {"config": {"algorithm": "filtering", "memory": "all", "filter_factor": 1.2}}),
    ("banel", {"protocol": "failures-padded", "config": {"reset": True}}),
    ("banel", {"heldout": 200}),
    ("pretrained", {"duplicates": "cache", "budget": 100}),
    ("banel", {"points": "final"}),
    ("count", {"config": {"bits": 0}}),
    ("pretrained", {"protocol": "all-rewards"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_resumed_run_is_the_undisturbed_one(
    strings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any]
) -> None:
    stopped(strings, name, tmp_path / "disturbed", 2, **options)
    assert [path.name for path in checkpoint.files(cell(tmp_path / "disturbed"))] == [
        "checkpoint-2.safetensors",
        "checkpoint-1.safetensors",
    ]
    answered: list[int] = []
    answer = Oracle._answer

    def counting(self: Oracle, x: torch.Tensor) -> torch.Tensor:
        answered.append(self._batch)
        return answer(self, x)

    monkeypatch.setattr(Oracle, "_answer", counting)
    disturbed = run(strings, name, tmp_path / "disturbed", **options)
    again = list(answered)
    calm = run(strings, name, tmp_path / "calm", **options)
    assert disturbed.status == "finished", disturbed.result.error
    assert canonical(disturbed.result) == canonical(calm.result)
    every = answered[len(again) :]
    if every and name != "pointmass" and "duplicates" not in options:
        assert len(calm.result.curve) == (2 if "points" in options else 1 + ROUNDS)
        assert again == every[len(every) // 2 :]  # the first two of four rounds were not made again
    assert len(checkpoint.files(disturbed.folder)) == 1


def test_a_resumed_run_trains_only_what_is_missing(
    strings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(strings, "banel", tmp_path, 3)
    fitted: list[str] = []
    phase = compute.phase
    monkeypatch.setattr("suite.generators.neural.compute.phase", lambda name: fitted.append(name) or phase(name))
    run(strings, "banel", tmp_path)
    assert fitted.count("training") == 2  # the failure model and the distillation of the fourth round


def test_a_method_that_keeps_no_state_replays_its_rounds(
    plugin: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, method = plugin("toys.py:Codes"), plugin("methods.py:learner")
    options: dict[str, Any] = {"budget": 100, "tracking": "off", "results": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        suite.run(task, method, progress=stop(3), **options)
    assert checkpoint.files(cell(tmp_path)) == []
    assert suite.run(task, method, **options).status == "finished"


@pytest.mark.parametrize("fault", ["cut", "bit of a tensor", "bit of the text", "empty", "foreign", "folder"])
def test_a_checkpoint_that_does_not_fit_is_ignored_with_a_line(
    strings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    stopped(strings, "banel", tmp_path / "disturbed", 2)
    last, _ = checkpoint.files(cell(tmp_path / "disturbed"))
    if fault == "foreign":
        stopped(strings, "banel", tmp_path / "other", 2, seed=1)
        last.write_bytes(checkpoint.files(cell(tmp_path / "other"))[0].read_bytes())
    elif fault == "folder":
        last.unlink()
        last.mkdir()
    else:
        data = bytearray(last.read_bytes())
        data[-9 if fault == "bit of a tensor" else data.index(b"family")] ^= 1
        last.write_bytes({"cut": data[:200], "empty": b""}.get(fault, data))
    disturbed, calm = (run(strings, "banel", tmp_path / place) for place in ("disturbed", "calm"))
    line, *more = capsys.readouterr().err.splitlines()
    assert len(more) == (fault == "folder")  # the next one cannot be written in its place
    assert line.startswith("warning: checkpoint-2.safetensors does not fit and is ignored: ")
    assert canonical(disturbed.result) == canonical(calm.result)


def test_a_checkpoint_of_another_ledger_is_ignored(
    strings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a ledger was put back from an older copy."""
    stopped(strings, "banel", tmp_path, 1)
    (cell(tmp_path) / "copy").write_bytes((cell(tmp_path) / "ledger.sqlite").read_bytes())
    stopped(strings, "banel", tmp_path, 3)
    (cell(tmp_path) / "copy").rename(cell(tmp_path) / "ledger.sqlite")
    assert run(strings, "banel", tmp_path).result.nre == 200
    said = capsys.readouterr().err
    assert said == "".join(
        f"warning: the checkpoint after round {n} does not fit and is ignored: ValueError: the ledger is another one\n"
        for n in (3, 2)
    )


def test_a_file_that_was_being_written_when_the_run_was_killed_does_not_stay(strings: str, tmp_path: Path) -> None:
    stopped(strings, "banel", tmp_path, 2)
    half = cell(tmp_path) / "checkpoint-3.safetensors.tmp"
    half.write_bytes(b"half of it")
    run(strings, "banel", tmp_path)
    assert not half.exists()


def test_force_begins_without_a_checkpoint(strings: str, tmp_path: Path) -> None:
    stopped(strings, "banel", tmp_path, 2)
    with pytest.raises(KeyboardInterrupt):
        run(strings, "banel", tmp_path, 0, force=True)
    assert checkpoint.files(cell(tmp_path)) == []


def test_checkpoints_keep_to_their_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing one takes 3 s here: the next is due 100 s after it, and the first as soon as 50 ms are 3 %."""
    now = [0.0]
    monkeypatch.setattr(checkpoint, "SHARE", 0.03)
    monkeypatch.setattr("suite.cells.checkpoint.time.monotonic", lambda: now[0])
    kept = Checkpoints(tmp_path, "family", Table(torch.zeros(4)))
    assert not kept.due
    now[0] = 2.0  # more than 0.05 / 0.03
    assert kept.due
    monkeypatch.setattr("suite.store.disk.write", lambda path, data: now.__setitem__(0, now[0] + 3.0))
    kept.write(1, None)
    now[0] = 5.0 + 99
    assert not kept.due
    now[0] = 5.0 + 101
    assert kept.due


def test_what_cannot_be_kept_is_said_once_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Checkpoints(tmp_path, "family", Table(torch.zeros(4)))
    kept.write(1, {"a set": {1}})
    assert not kept.due
    assert capsys.readouterr().err == (
        "warning: no checkpoints of this run: TypeError: set cannot be kept in a checkpoint; numbers, text, tensors "
        "and policies can\n"
    )
    assert checkpoint.files(tmp_path) == []


# -- a larger budget -------------------------------------------------------------------------------------------------


def test_a_finished_run_goes_on_with_a_larger_budget(
    strings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = run(strings, "banel", tmp_path / "results", budget=100)
    asked: list[int] = []
    slices = Verifier.slices

    def counting(self: Verifier, x: torch.Tensor) -> Any:
        if not self._measuring:
            asked.append(len(x))
        return slices(self, x)

    monkeypatch.setattr(Verifier, "slices", counting)
    long = run(strings, "banel", tmp_path / "results", continued=short.cell)
    assert asked == [50, 50]  # the third and the fourth batch alone
    whole = run(strings, "banel", tmp_path / "whole")
    assert canonical(long.result) == canonical(whole.result)
    assert long.cell == whole.cell != short.cell
    assert long.meta.continued == short.cell
    assert whole.meta.continued is None
    assert short.folder.joinpath("ledger.sqlite").exists()  # it is as it was


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blind", "rnd-filter", "count"])
def test_it_is_the_run_that_had_the_larger_budget_from_the_beginning(strings: str, tmp_path: Path, name: str) -> None:
    short = run(strings, name, tmp_path / "results", budget=100, heldout="off")
    long = run(strings, name, tmp_path / "results", continued=short.cell, heldout="off")
    whole = run(strings, name, tmp_path / "whole", heldout="off")
    assert canonical(long.result) == canonical(whole.result)
    assert len(whole.result.curve) == 1 + ROUNDS


def test_without_checkpoints_it_replays(
    plugin: Callable[[str], str], tmp_path: Path, charged: Callable[[Path], int]
) -> None:
    task, method = plugin("toys.py:Codes"), plugin("methods.py:learner")
    options: dict[str, Any] = {"tracking": "off", "results": tmp_path}
    short = suite.run(task, method, budget=100, **options)
    long = suite.run(task, method, budget=200, continued=short.cell, **options)
    assert long.status == "finished"
    assert (charged(short.folder), charged(long.folder)) == (100, 200)


def test_a_run_that_is_not_the_beginning_is_refused(strings: str, tmp_path: Path) -> None:
    short = run(strings, "banel", tmp_path, budget=100)
    for options, message in (
        ({"continued": "0" * 20}, "no record"),
        ({"continued": short.cell, "seed": 1}, "differs in seed; give the same settings"),
        ({"continued": short.cell, "budget": 75}, "its budget is 100; give a larger --budget"),
    ):
        with pytest.raises(UserError, match=message):
            run(strings, "banel", tmp_path, **options)  # type: ignore[arg-type]
    assert cell(tmp_path) == short.folder  # and leaves nothing behind
    cut = run(strings, "banel", tmp_path, budget=120)
    with pytest.raises(UserError, match="its budget of 120 cut its last batch"):
        run(strings, "banel", tmp_path, continued=cut.cell)


def test_from_on_the_command_line(tmp_path: Path) -> None:
    words = ["run", "--task", "gaussian-v1", "--baseline", "pretrained", "--batch", "50", "--tracking", "off"]
    words += ["--quiet", "--results", str(tmp_path), "--budget"]
    assert cli.main([*words, "100"]) == 0
    first = cell(tmp_path).name
    assert cli.main([*words, "200", "--from", first]) == 0
    assert cli.main([*words, "300", "--from", "nothing"]) == 2
