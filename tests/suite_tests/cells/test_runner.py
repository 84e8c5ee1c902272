"""One cell: equal runs are equal byte for byte, counts are right, failures are records, the oracle is the only way."""

from __future__ import annotations

import gc
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

import suite
from suite import compute, registry
from suite import task as engine
from suite.cells import runner
from suite.cells.folder import fail
from suite.cells.identity import identify
from suite.cells.runner import Progress
from suite.cells.spec import CellSpec
from suite.errors import UserError
from suite.protocol import DUPLICATES
from suite.store import records, weights
from suite.store.records import Record, canonical
from suite.store.schema import Error, Tally, Tuning, plain

Plugin = Callable[[str], str]
Run = Callable[..., Record]


@pytest.fixture
def run(tmp_path: Path, plugin: Plugin) -> Run:
    """`learner` on 64 codes, 100 evaluations in batches of 20; any argument of `suite.run` in its place."""

    def go(task: str = "toys.py:Codes", baseline: str = "methods.py:learner", **options: Any) -> Record:
        place = lambda ref: plugin(ref) if ".py:" in ref else ref  # noqa: E731
        options = {"results": tmp_path, "budget": 100, "tracking": "off"} | options
        return suite.run(place(task), place(baseline), **options)

    return go


def ledger_of(record: Record) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(codes, priced, rewards) of a ledger, row by row, decoded without the engine."""
    db = sqlite3.connect(f"file:{record.folder / 'ledger.sqlite'}?mode=ro", uri=True)
    rows = db.execute("SELECT samples, priced, rewards FROM batches JOIN answers USING (k) ORDER BY k").fetchall()
    db.close()
    decode = [np.concatenate([np.frombuffer(r[i], t) for r in rows]) for i, t in enumerate((np.int64, "u1", "u1"))]
    return decode[0], decode[1].astype(bool), decode[2].astype(bool)


# -- equal runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["failures-only", "all-rewards"])
def test_one_seed_gives_one_result_byte_for_byte(run: Run, tmp_path: Path, protocol: str) -> None:
    first = run(protocol=protocol, results=tmp_path / "a")
    second = run(protocol=protocol, results=tmp_path / "b")
    assert (first.status, first.cell) == ("finished", second.cell)
    assert canonical(first.result) == canonical(second.result)
    assert first.folder != second.folder


def test_another_seed_gives_another_result(run: Run) -> None:
    first, second = run(seed=0), run(seed=1)
    assert first.cell != second.cell
    assert ledger_of(first)[0].tolist() != ledger_of(second)[0].tolist()
    assert canonical(first.result.curve) != canonical(second.result.curve)


def test_methods_and_tasks_of_one_seed_share_no_random_numbers(run: Run) -> None:
    drawn = [
        ledger_of(record)[0][:20].tolist()
        for record in (run(), run(baseline="methods.py:greedy"), run(task="toys.py:Uncounted", heldout="100"))
    ]
    assert len({tuple(codes) for codes in drawn}) == 3


def test_a_finished_cell_is_returned_without_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run()
    monkeypatch.setattr(runner, "_Run", None)  # whoever would run now would fail
    again = run()
    assert again == first


def test_force_runs_again_and_keeps_the_old_record_and_its_ledger(run: Run) -> None:
    first = run()
    paid = (first.folder / "ledger.sqlite").read_bytes()
    again = run(force=True)
    assert (first.folder / "ledger-1.sqlite").read_bytes() == paid
    assert canonical(again.result) == canonical(first.result)
    assert again.meta.attempt == 2
    assert records.read(first.folder / "attempt-1.json").meta == first.meta


def test_force_keeps_the_ledger_of_a_run_that_left_no_record(run: Run) -> None:
    """As of one that was killed, and of one whose file was torn: both were paid for."""
    first = run()
    (first.folder / "record.json").unlink()
    paid = (first.folder / "ledger.sqlite").read_bytes()
    assert run(force=True).meta.attempt == 2
    (first.folder / "ledger.sqlite").write_bytes(b"")
    assert run(force=True).meta.attempt == 3
    assert [(first.folder / f"ledger-{n}.sqlite").read_bytes() for n in (1, 2)] == [paid, b""]


@pytest.mark.parametrize(
    "option",
    [
        {"seed": 1},
        {"budget": 80},
        {"config": {"batch": 10}},
        {"task_config": {"secret": 1}},
        {"protocol": "all-rewards"},
        {"duplicates": "cache"},
        {"heldout": "50"},
        {"threads": 2},
    ],
)
def test_whatever_changes_the_result_changes_the_cell(plugin: Plugin, option: dict[str, Any]) -> None:
    refs = plugin("toys.py:Codes"), plugin("methods.py:learner")
    plain = identify(CellSpec(*refs, budget=100))
    assert identify(CellSpec(*refs, **({"budget": 100} | option))).cell != plain.cell
    assert identify(CellSpec(*refs, budget=100)).cell == plain.cell


def test_an_edited_plug_in_is_another_cell(tmp_path: Path, plugin: Plugin) -> None:
    baseline, task = tmp_path / "mine.py", tmp_path / "theirs.py"
    shutil.copy(plugin("methods.py"), baseline)
    shutil.copy(plugin("toys.py"), task)
    cells = [identify(CellSpec(f"{task}:Codes", f"{baseline}:learner", budget=100)).cell]
    for file in (baseline, task):
        file.write_text(file.read_text() + "\n# a comment\n")
        cells.append(identify(CellSpec(f"{task}:Codes", f"{baseline}:learner", budget=100)).cell)
    assert len(set(cells)) == 3


def test_an_edited_plug_in_runs_as_edited(tmp_path: Path, plugin: Plugin) -> None:
    """In one process, as in a notebook: a record under the new hash must come from the new code."""
    mine = tmp_path / "mine.py"
    shutil.copy(plugin("methods.py"), mine)
    results = tmp_path / "results"
    options = {"budget": 100, "results": results, "tracking": "off"}
    before = suite.run(plugin("toys.py:Codes"), f"{mine}:greedy", **options)
    mine.write_text(mine.read_text().replace("yield Round(prior, {})", 'yield Round(prior, {"edited": 1.0})'))
    after = suite.run(plugin("toys.py:Codes"), f"{mine}:greedy", **options)
    assert after.cell != before.cell
    assert after.result.curve[-1].metrics == {"edited": 1.0}


# -- what a record says --------------------------------------------------------------------------------------------


def test_a_record_on_disk_is_the_record_returned(run: Run) -> None:
    record = run()
    assert records.read(record.folder / "record.json") == record
    assert {path.name for path in record.folder.iterdir()} == {
        ".lock",
        "ledger.sqlite",
        "record.json",
        "policy-final.safetensors",
        "policy-best.safetensors",
    }


@pytest.mark.parametrize(("successes", "met"), [(0, 0), (8, 8)])
def test_all_or_nothing(run: Run, successes: int, met: int) -> None:
    """Of 8 codes all succeed or none does."""
    record = run(task_config={"codes": 8, "successes": successes})
    assert record.result.first_success == (1 if met else None)
    assert record.result.successes == record.result.withheld == (100 if met else 0)
    assert record.result.improvement_final == (pytest.approx(1.0) if met else None)
    assert record.final is not None
    assert record.final.success_rate == pytest.approx(1.0 if met else 0.0)


@pytest.mark.parametrize(
    ("protocol", "duplicates"),
    [*(("failures-only", d) for d in DUPLICATES), ("all-rewards", "charge"), ("all-rewards", "cache")],
)
def test_counts_are_the_ledgers(run: Run, protocol: str, duplicates: str) -> None:
    """Recounted from the SQLite file by numpy, with the task's own rule."""
    task_config = {"codes": 200, "successes": 20}
    record = run(protocol=protocol, duplicates=duplicates, task_config=task_config)
    codes, priced, rewards = ledger_of(record)
    winners = torch.randperm(200, generator=torch.Generator().manual_seed(0))[:20].numpy()
    assert (np.isin(codes, winners) == rewards).all()
    paid = rewards[priced]
    assert record.status == "finished"
    assert record.result.nre == priced.sum() == 100
    assert record.result.successes == paid.sum() > 0
    assert record.result.first_success == np.argmax(paid) + 1
    assert record.result.withheld == (paid.sum() if protocol == "failures-only" else 0)
    if duplicates != "charge":
        assert len(set(codes[priced])) == 100


def test_the_curve_has_the_prior_and_every_round(run: Run) -> None:
    record = run(task_config={"codes": 64, "successes": 4})
    curve = record.result.curve
    assert [point.round for point in curve] == list(range(6))
    assert [point.nre for point in curve] == [0, 20, 40, 60, 80, 100]
    assert curve[0].success_rate == pytest.approx(4 / 64)
    assert curve[0].effective_successes == pytest.approx(4.0)
    assert curve[0].metrics == {}
    assert curve[0].kl_prior == pytest.approx(0.0, abs=1e-9)
    assert set(curve[1].metrics) == {"loss", "tensor"}  # nan is left out
    assert record.result.base.nre == 0
    assert record.final is not None
    assert record.best is not None
    assert record.final.success_rate == curve[-1].success_rate
    assert record.best.success_rate == max(point.success_rate for point in curve)
    assert record.best.selected_on == "same"
    for which, summary in (("final", record.final), ("best", record.best)):
        expected = summary.success_rate / curve[0].success_rate
        assert getattr(record.result, f"improvement_{which}") == pytest.approx(expected)
    assert record.result.heldout_evaluations == 6 * 10_000


@pytest.mark.parametrize("heldout", ["exact", "500"])
def test_two_points_are_the_ends_of_the_whole_curve(run: Run, heldout: str) -> None:
    """Same streams, same method: only what lies between is not measured."""
    told: list[Progress] = []
    options = {"task_config": {"codes": 64, "successes": 4}, "heldout": heldout}
    whole, ends = run(**options), run(points="final", progress=told.append, **options)
    assert whole.cell != ends.cell
    assert ends.result.curve == [whole.result.curve[0], whole.result.curve[-1]]
    for name in ("base", "final", "nre", "first_success", "successes", "improvement_final"):
        assert getattr(ends.result, name) == getattr(whole.result, name)
    assert ends.best is not None
    assert ends.best.round in (0, 5)
    assert ends.result.heldout_evaluations == whole.result.heldout_evaluations / 3
    for phase in ("training", "filtering", "verifying"):
        assert getattr(ends.result.compute, phase) == getattr(whole.result.compute, phase)
    assert [(p.round, p.nre) for p in told] == [*((i, 20 * i) for i in range(6)), (5, 100)]
    assert ends.meta.policies == ["final", "best"]


def test_two_points_of_a_method_that_runs_into_the_budget_or_yields_nothing(run: Run) -> None:
    """The last point stands where its policy was yielded, not where the method asked for more."""
    short = run(baseline="methods.py:greedy", budget=90, points="final")
    assert [(p.round, p.nre) for p in short.result.curve] == [(0, 0), (4, 80)]
    silent = run(baseline="methods.py:silent", points="final")
    assert [(p.round, p.nre) for p in silent.result.curve] == [(0, 0)]
    assert silent.status == "finished"


def test_monte_carlo_points_are_chosen_and_reported_on_halves(run: Run) -> None:
    record = run(task="toys.py:Uncounted", heldout="auto")
    assert record.identity.heldout == "10000"
    assert [point.estimator for point in record.result.curve] == ["monte-carlo"] * 6
    assert record.best is not None
    chosen = record.result.curve[record.best.round]
    assert chosen.halves[0] == max(point.halves[0] for point in record.result.curve)
    assert record.best.success_rate == chosen.halves[2] / 5000
    assert record.best.selected_on == "half"
    assert record.result.heldout_evaluations == 6 * 10_000


def test_heldout_off_knows_no_rate(run: Run) -> None:
    record = run(heldout="off")
    assert record.status == "finished"
    assert {point.success_rate for point in record.result.curve} == {None}
    for name in ("base", "final", "best", "improvement_final", "improvement_best"):
        assert getattr(record.result, name) is None
    assert record.result.heldout_evaluations == 0
    assert record.result.nre == 100


def test_a_policy_that_did_not_move_is_measured_once(run: Run) -> None:
    record = run(baseline="methods.py:greedy")
    assert [point.stream for point in record.result.curve] == [0] * 6
    assert record.result.heldout_evaluations == 10_000


def test_compute_is_split_by_phase(run: Run) -> None:
    """The toy's verifier reports 10 FLOPs a sample, a table 2 · V a token forward and 6 · V in training."""
    record = run(task_config={"codes": 64, "successes": 0})
    tallies = record.result.compute
    assert tallies.__struct_fields__ == compute.PHASES
    assert tallies.verifying == Tally(100, 1000.0)
    assert tallies.training == Tally(100, 6.0 * 64 * 100)
    assert tallies.filtering == Tally(100, 2.0 * 64 * 100)  # the oracle's draws
    assert tallies.of_method() == Tally(300, 1000.0 + 8.0 * 64 * 100)
    points, codes = 6, 64  # each: 10,000 drawn; the 64 different scored by policy and prior, put to the verifier
    assert tallies.heldout.tokens == points * (10_000 + 3 * codes)
    seconds = record.meta.seconds
    assert seconds.total == pytest.approx(sum(getattr(seconds, name) for name in compute.PHASES))
    assert seconds.of_method() == pytest.approx(seconds.total - seconds.heldout)
    assert all(getattr(seconds, name) > 0 for name in compute.PHASES)


def test_everything_is_json_without_nan(run: Run) -> None:
    record = run()
    text = (record.folder / "record.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(text, parse_constant=refuse) == record.to_dict()


def test_images_are_not_written_into_the_record(run: Run) -> None:
    record = run(task="toys.py:Images")
    assert record.result.curve[0].samples == []
    assert run().result.curve[0].samples[0].isdecimal()


def test_provenance_is_copied(run: Run) -> None:
    tuning = {"study": "s1", "nre": 5, "heldout": 7}
    record = run(tuning=tuning)
    assert record.meta.tuning == Tuning(**tuning)
    assert json.loads((record.folder / "record.json").read_text())["meta"]["tuning"] == tuning
    assert record.meta.platform.threads == 1
    assert record.meta.attempt == 1
    assert run(seed=1).meta.tuning is None


def test_saved_policies_are_the_ones_measured(run: Run, plugin: Plugin) -> None:
    """Also where the method goes on training what it yielded, or yields it inside a wrapper."""
    record = run(baseline="methods.py:restless", task_config={"codes": 64, "successes": 4})
    assert record.status == "finished"
    task = registry.load("task", plugin("toys.py:Codes"))
    instance = task.target(identify(CellSpec(plugin("toys.py:Codes"), plugin("methods.py:learner"))).task_config)
    rates = [point.success_rate for point in record.result.curve]
    assert len(set(rates)) == 6
    for which, expected in (("final", rates[-1]), ("best", max(rates))):
        policy = weights.load(record.folder / f"policy-{which}.safetensors", instance.prior())
        assert engine.exact(instance, policy) == pytest.approx(expected, rel=1e-9)


def test_a_policy_of_the_methods_own_kind_is_measured_and_not_saved(run: Run) -> None:
    record = run(baseline="methods.py:mixed", heldout="500")
    assert record.status == "finished"
    assert "final" not in record.meta.policies
    assert not (record.folder / "policy-final.safetensors").exists()


def test_progress_is_told_at_every_point_and_at_the_end(run: Run) -> None:
    told: list[Progress] = []
    record = run(progress=told.append)
    assert [(p.round, p.nre, p.done) for p in told] == [
        (0, 0, False),
        *((i, 20 * i, False) for i in range(1, 6)),
        (5, 100, True),
    ]
    assert {(p.cell, p.budget, p.seed) for p in told} == {(record.cell, 100, 0)}
    assert [p.success_rate for p in told[:6]] == [point.success_rate for point in record.result.curve]


def test_threads_are_set_for_the_run_and_put_back(run: Run) -> None:
    assert run(threads=2).meta.platform.threads == 2
    assert torch.get_num_threads() == 1


# -- walls and failures ----------------------------------------------------------------------------------------------


def test_running_into_the_budget_ends_a_run_normally(run: Run) -> None:
    record = run(baseline="methods.py:greedy", budget=90)
    assert (record.status, record.result.nre, len(record.result.curve)) == ("finished", 80, 5)


def test_a_method_that_fails_is_a_failed_record(run: Run, plugin: Plugin) -> None:
    record = run(baseline="methods.py:failing")
    line = 1 + Path(plugin("methods.py")).read_text().splitlines().index(
        '    raise KeyError("a thing that is not there")'
    )
    assert record.status == "failed"
    message = "'a thing that is not there'"
    assert record.result.error == Error(type="KeyError", message=message, where=f"methods.py:{line}")
    assert record.result.nre == 40
    assert [point.nre for point in record.result.curve] == [0, 20]
    assert records.read(record.folder / "record.json") == record
    assert not (record.folder / "policy-final.safetensors").exists()


def test_a_failed_cell_is_tried_again_and_pays_nothing_twice(run: Run) -> None:
    first = run(baseline="methods.py:failing")
    again = run(baseline="methods.py:failing")
    assert (first.meta.attempt, again.meta.attempt) == (1, 2)
    assert records.read(again.folder / "attempt-1.json").result == first.result
    assert canonical(again.result) == canonical(first.result)
    assert len(ledger_of(again)[0]) == 40


def test_a_verifier_that_fails_is_a_failed_record_and_its_charge_stays(run: Run) -> None:
    record = run(task="toys.py:Broken", heldout="off")
    assert record.status == "failed"
    assert record.result.error.type == "VerifierError"
    assert record.result.error.message == "the verifier raised OSError: no route to the laboratory"
    assert record.result.nre == 20


def test_weights_that_became_nan_are_a_failed_record(run: Run) -> None:
    record = run(baseline="methods.py:diverging")
    assert record.status == "failed"
    assert len(record.result.curve) == 1


def test_a_method_that_asks_otherwise_when_resumed_is_stopped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH", "20")
    assert run(baseline="methods.py:unsteady").result.error.type == "RuntimeError"
    monkeypatch.setenv("BATCH", "30")
    diverged = run(baseline="methods.py:unsteady")
    assert diverged.result.error.type == "LedgerDiverged"
    assert diverged.result.nre == 20  # the 30 were not charged


@pytest.mark.parametrize("name", ["behind", "through_task"])
def test_calls_behind_the_oracles_back_fail_the_run(run: Run, name: str) -> None:
    record = run(baseline=f"methods.py:{name}")
    assert record.status == "failed"
    assert record.result.error.message == "the verifier was called on 23 samples, the ledger answered 20"


def test_a_cell_whose_process_died_gets_a_failed_record(plugin: Plugin, tmp_path: Path, run: Run) -> None:
    identity = identify(CellSpec(plugin("toys.py:Codes"), plugin("methods.py:learner"), budget=100))
    record = fail(identity, tmp_path, "killed by signal 9, twice")
    assert record.result.error == Error(type="ProcessDied", message="killed by signal 9, twice", where=None)
    assert record.result.nre is None  # unknown, not zero
    assert set(plain(record.result)) == set(plain(run(seed=1).result))
    finished = run()
    assert (finished.cell, finished.status, finished.meta.attempt) == (record.cell, "finished", 2)
    assert fail(identity, tmp_path, "too late") == finished


def test_an_interrupt_leaves_a_cell_that_goes_on(run: Run, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.nre == 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(progress=stop)
    (cell,) = (tmp_path / "cells").iterdir()
    assert not (cell / "record.json").exists()
    resumed = run()
    assert (resumed.result.nre, len(ledger_of(resumed)[0])) == (100, 100)
    assert canonical(resumed.result) == canonical(run(results=tmp_path / "undisturbed").result)


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "budget=0: must be at least 1; the nearest valid value is 1"),
        ({"budget": 19}, "--budget 19 is smaller than one batch of 20; raise it, or set `batch` to 19"),
        ({"protocol": "all"}, "protocol='all': not a choice; possible: failures-only, failures-padded, all-rewards"),
        ({"duplicates": "x"}, "duplicates='x': not a choice; possible: charge, cache, reject"),
        ({"device": "tpu"}, "device='tpu': not a choice; did you mean 'cpu'? possible: auto, cpu, cuda"),
        ({"points": "last"}, "points='last': not a choice; possible: all, final"),
        ({"heldout": "some"}, "--heldout 'some' is unknown; exact, off, auto, a number of samples"),
        ({"heldout": "1"}, "--heldout '1' is unknown"),
        ({"heldout": "-5"}, "--heldout '-5' is unknown"),
        ({"config": {"btach": 3}}, "Config has no field 'btach'; did you mean 'batch'?"),
        ({"config": {"batch": 0}}, "batch=0: must be at least 1; the nearest valid value is 1"),
        ({"task_config": {"codes": "many"}}, "codes='many': expected"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    run: Run, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        run(**options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_exact_needs_a_task_that_enumerates(run: Run) -> None:
    with pytest.raises(
        UserError, match=r"--heldout exact, but .*Uncounted enumerates no successes; use --heldout 10000"
    ):
        run(task="toys.py:Uncounted", heldout="exact")


def test_a_device_that_is_not_there_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--device cuda, but torch sees no CUDA device here; use --device cpu"):
        run(device="cuda")


def test_a_results_folder_that_cannot_be_made_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--results .*file/results: .*; choose another folder"):
        run(results=tmp_path / "file" / "results")


def test_a_newer_record_is_refused_and_left_alone(run: Run) -> None:
    record = run()
    path = record.folder / "record.json"
    newer = json.dumps(record.to_dict() | {"schema": records.SCHEMA + 1})
    path.write_text(newer)
    for _ in range(2):  # the lock is free again
        with pytest.raises(UserError, match="record schema 2, this version reads up to 1") as caught:
            run()
    assert path.read_text() == newer
    del caught


def test_a_newer_ledger_is_refused_and_left_alone(run: Run) -> None:
    record = run()
    (record.folder / "record.json").unlink()
    db = sqlite3.connect(record.folder / "ledger.sqlite")
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(UserError, match="ledger schema 9, this version reads 1"):
        run()
    assert not (record.folder / "record.json").exists()


def test_a_locked_cell_is_refused(run: Run) -> None:
    record = run()
    with FileLock(record.folder / ".lock"), pytest.raises(UserError, match="is locked: another process runs this cell"):
        run(force=True)
    assert run(force=True).meta.attempt == 2


def test_the_lock_is_free_after_an_error_is_held_on_to(run: Run, tmp_path: Path) -> None:
    """An exception that is kept keeps its frames alive, and must not keep the cell locked."""
    record = run()
    good = (record.folder / "record.json").read_text()
    (record.folder / "record.json").write_text("{")
    with pytest.raises(UserError, match="not a record") as kept:
        run()
    (record.folder / "record.json").write_text(good)
    assert run() == record
    assert "not a record" in str(kept.value)


def test_the_wrong_call_for_the_protocol_is_bad_input(run: Run) -> None:
    with pytest.raises(UserError, match=r"oracle.collect belongs to --protocol failures-only"):
        run(baseline="methods.py:greedy", protocol="all-rewards")


@pytest.mark.parametrize(
    ("baseline", "config"),
    [
        ("methods.py:learner", {}),
        ("methods.py:failing", {}),
        ("banel", {"batch": 50, "pool": 100}),
        ("rnd", {"batch": 50}),
        ("tail", {"rounds": 2, "pool": 100}),
    ],
)
def test_a_task_is_freed_with_its_run(run: Run, baseline: str, config: dict[str, Any]) -> None:
    """Without waiting for the collector of cycles: tables of successes are large, and many runs share a process."""

    def tasks() -> int:
        return sum(type(thing).__name__ == "Codes" for thing in gc.get_objects())

    run(baseline=baseline, config=config)
    gc.collect()
    before = tasks()  # the engine keeps one of its own
    gc.disable()
    try:
        run(baseline=baseline, config=config, seed=1)
        assert tasks() == before
    finally:
        gc.enable()
