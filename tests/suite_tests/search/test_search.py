"""Searching: seeds as pruning steps, going on, and counting everything that was spent."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest
import sqlalchemy
from filelock import FileLock
from optuna.trial import TrialState

import suite
from suite import search
from suite.cells.spec import CellSpec
from suite.errors import StorageError, Unavailable, UserError
from suite.search import loop, objective, study
from suite.search.spent import cells
from suite.search.sweep import Sweep, parse
from suite.store import records
from suite.store.records import FinishedRecord, Record
from suite.store.schema import Error, Estimate, FailedResult, StudyTrial

pytestmark = pytest.mark.slow

BUDGET = 40


@pytest.fixture
def sweep() -> Iterator[Callable[..., Sweep]]:
    """A sweep of the temperature of tests/plugins/tuned.py on gaussian-v1; settings and parameters can be changed.

    The method's path is relative, since what is drawn depends on the content: it is the same in every checkout.
    """

    def make(metrics: tuple[str, ...] = ("success_rate",), method: str = "bayes", **parameters: Any) -> Sweep:
        constants = {"task": "gaussian-v1", "baseline": "tuned.py:run", "seeds": 3, "budget": BUDGET}
        space = {"temperature": {"distribution": "log_uniform_values", "min": 0.5, "max": 10.0}}
        goals = [{"name": name, "goal": "maximize"} for name in metrics]
        goal = {"metric": goals[0]} if len(goals) == 1 else {"metrics": goals}
        named = {name: p if isinstance(p, dict) else {"value": p} for name, p in parameters.items()}
        given = {name: {"value": value} for name, value in constants.items()} | space | named
        return parse({"program": "suite", "method": method, **goal, "parameters": given})

    with contextlib.chdir(Path(__file__).parents[2] / "plugins"):
        yield make


def ran(sweep: Sweep, tmp_path: Path, **options: Any) -> list[dict[str, Any]]:
    return search.trials(search.tune(sweep, results=tmp_path, **options))


def test_the_first_trial_is_the_shipped_defaults_and_every_trial_has_the_same_seeds(
    sweep: Callable[..., Sweep], tmp_path: Path
) -> None:
    rows = ran(sweep(p_threshold=0), tmp_path, trials=3)
    assert rows[0]["params"] == {"temperature": 3.0}  # the default in tests/plugins/tuned.py
    assert [row["defaults"] for row in rows] == [True, False, False]
    assert [list(row["seeds"]) for row in rows] == [[1000, 1001, 1002]] * 3
    assert {row["state"] for row in rows} == {"complete"}


def test_a_trials_cells_are_ordinary_records_that_name_it(sweep: Callable[..., Sweep], tmp_path: Path) -> None:
    made = sweep(p_threshold=0)
    rows = ran(made, tmp_path, trials=2)
    found = {record.cell: record for record in records.scan(tmp_path)[0]}
    assert len(found) == 6  # two trials of three seeds
    for row in rows:
        for cell in row["cells"]:
            assert found[cell].meta.sweep == StudyTrial(study=made.study, trial=row["number"])
            assert found[cell].meta.tracking == "off"
            assert found[cell].identity.points == "final"


def test_a_trials_value_is_the_geometric_mean_of_its_final_success_rates(
    sweep: Callable[..., Sweep], tmp_path: Path
) -> None:
    (row,) = ran(sweep(), tmp_path, trials=1)
    rates = [r.final.success_rate for r in records.scan(tmp_path)[0] if r.final]
    assert row["values"] == [pytest.approx(math.prod(rates) ** (1 / 3))]
    assert sorted(row["seeds"].values()) == pytest.approx(sorted(map(math.log, rates)))


def asked(values: list[float], sweep: Sweep) -> bool:
    """Whether two seeds with these values are pruned, where the best trial has 0, 0, 0 and 0."""
    made = optuna.create_study(direction="maximize", pruner=study.pruner(sweep))
    first = made.ask()
    for step in range(4):
        first.report(0.0, step)
    made.tell(first, 1.0)
    second = made.ask()
    for step, value in enumerate(values):
        second.report(value, step)
    return second.should_prune()


@pytest.mark.parametrize(
    ("threshold", "values", "pruned"),
    [
        (0.3, [-1.0, -2.0], True),  # both seeds worse: the exact one-sided p is 2^-2 = 0.25
        (0.25, [-1.0, -2.0], False),  # p must be below the threshold
        (0.3, [-1.0], False),  # one seed can give no p below a half
        (0.3, [-1.0, 2.0], False),
        (0.3, [-2.0, 1.0, -3.0], True),  # ranks 1 for the better one: P(W+ <= 1) = 2/8
        (0.2, [-2.0, 1.0, -3.0], False),
        (0, [-1.0, -2.0], False),
    ],
)
def test_seeds_that_are_all_worse_prune(
    threshold: float, values: list[float], pruned: bool, sweep: Callable[..., Sweep]
) -> None:
    assert asked(values, sweep(p_threshold=threshold)) is pruned


def test_a_worse_trial_is_pruned_after_two_seeds_and_its_evaluations_are_counted(
    sweep: Callable[..., Sweep], tmp_path: Path
) -> None:
    made = sweep(temperature={"values": [3.0, 0.5]}, method="random")
    rows = ran(made, tmp_path, trials=8)
    pruned = [row for row in rows if row["state"] == "pruned"]
    assert pruned
    assert all(row["params"] == {"temperature": 0.5} and len(row["seeds"]) == 2 for row in pruned)
    assert all(row["nre"] == 2 * BUDGET for row in pruned)
    best = search.best(made, search.tune(made, trials=8, results=tmp_path), tmp_path)
    assert best["temperature"] == 3.0
    # 3 seeds of one value and 2 of the other: a cell that two trials share was paid once
    assert best["tuning"]["nre"] == 5 * BUDGET
    assert best["tuning"]["heldout"] == 5 * 2 * 10_000  # the prior and the last policy, 10,000 samples each


def test_a_trial_that_fails_counts_and_is_not_the_winner(sweep: Callable[..., Sweep], tmp_path: Path) -> None:
    made = sweep(broken={"values": [False, True]}, method="random")
    found = search.tune(made, trials=6, results=tmp_path)
    failed = [row for row in search.trials(found) if row["state"] == "fail"]
    assert failed
    assert failed[0]["error"] == "seed 1000: RuntimeError: broken on purpose"
    assert all(row["nre"] == BUDGET for row in failed)
    best = search.best(made, found, tmp_path)
    assert best["broken"] is False
    spent = {cell for row in search.trials(found) for cell in row["cells"]}
    assert best["tuning"]["nre"] == BUDGET * len(spent)
    assert best["tuning"]["trials"] == 6


def test_a_search_in_two_goes_is_a_search_in_one(sweep: Callable[..., Sweep], tmp_path: Path) -> None:
    made = sweep(seeds=1)
    whole = ran(made, tmp_path / "whole", trials=10)
    ran(made, tmp_path / "parts", trials=5)
    parts = ran(made, tmp_path / "parts", trials=10)
    assert [row["params"] for row in parts] == [row["params"] for row in whole]
    assert len({row["params"]["temperature"] for row in whole}) == 10


@pytest.mark.parametrize("reason", [KeyboardInterrupt, Unavailable])
def test_an_interrupted_trial_runs_again_with_its_parameters(
    sweep: Callable[..., Sweep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: type[BaseException]
) -> None:
    """By Ctrl-C, or by a verifier that is away."""
    made, started = sweep(p_threshold=0), []
    from suite.cells import runner

    plain = runner.run_cell

    def interrupted(spec: CellSpec, **options: Any) -> Record:
        started.append(spec.seed)
        if len(started) == 5:  # the second seed of the second trial
            raise reason
        return plain(spec, **options)

    monkeypatch.setattr("suite.cells.runner.run_cell", interrupted)
    with pytest.raises(reason):
        search.tune(made, trials=3, results=tmp_path)
    monkeypatch.undo()
    found = search.tune(made, trials=3, results=tmp_path)
    rows = search.trials(found)
    assert [row["state"] for row in rows] == ["complete", "fail", "complete", "complete"]
    assert rows[2]["params"] == rows[1]["params"]
    tuning = search.best(made, found, tmp_path)["tuning"]
    assert (tuning["nre"], tuning["trials"]) == (9 * BUDGET, 3)  # three trials of three seeds, none charged twice


def test_a_ledger_of_a_trial_that_was_killed_is_counted(
    sweep: Callable[..., Sweep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its last measurement and its record, and never run again: all it spent is counted.

    The ledger holds its 40 evaluations and its two measurements, and the cell counts as cut off.
    """
    made = sweep(p_threshold=0)
    found = search.tune(made, trials=1, results=tmp_path)
    trial = found.ask(made.distributions)
    cells = loop.configuration(made, trial.params).cells(tmp_path, None)
    monkeypatch.setattr("suite.store.records.write", lambda record: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        next(cells)
    monkeypatch.undo()
    tuning = search.best(made, found, tmp_path)["tuning"]
    assert (tuning["nre"], tuning["heldout"], tuning["cut_off"]) == ((3 + 1) * BUDGET, (3 * 2 + 2) * 10_000, 1)


def test_two_objectives_are_both_in_the_study_and_nothing_is_pruned(
    sweep: Callable[..., Sweep], tmp_path: Path
) -> None:
    made = sweep(metrics=("success_rate", "distinct_successes"))
    rows = ran(made, tmp_path, trials=4)
    assert all(len(row["values"]) == 2 and row["state"] == "complete" for row in rows)
    best = search.best(made, search.tune(made, trials=4, results=tmp_path))
    assert best["tuning"]["metrics"]["success_rate"] == max(row["values"][0] for row in rows)


def test_processes_share_a_study_and_end_so_many_trials(sweep: Callable[..., Sweep], tmp_path: Path) -> None:
    rows = ran(sweep(), tmp_path, trials=7, jobs=2)
    done = [row for row in rows if row["state"] in ("complete", "pruned")]
    assert len(done) == 7
    assert len({row["params"]["temperature"] for row in done}) == 7


def test_a_waiting_trial_is_taken_once_by_two_processes_on_sqlite(tmp_path: Path) -> None:
    """The second takes it between the first one's look and its update; Optuna counts on SELECT … FOR UPDATE there."""
    first, second = (study.connect(f"sqlite:///{tmp_path / 'studies.sqlite'}") for _ in range(2))
    made = optuna.create_study(storage=first)
    made.enqueue_trial({"x": 1})
    trial = made.trials[0]._trial_id
    with ThreadPoolExecutor(1) as pool:
        other: list[Future[bool]] = []

        def look(*context: Any) -> None:
            if not other and context[2].startswith("SELECT"):
                other.append(pool.submit(second.set_trial_state_values, trial, TrialState.RUNNING))
                wait(other, timeout=1)

        sqlalchemy.event.listen(first.engine, "after_cursor_execute", look)
        took = first.set_trial_state_values(trial, TrialState.RUNNING)
        assert (took, other[0].result()) == (True, False)


def test_a_cell_that_another_process_runs_is_waited_for(
    sweep: Callable[..., Sweep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processes that draw the same values at the same time are no end of the search."""
    made = sweep(seeds=1)
    (cell,) = cells(made, made.defaults(), tmp_path)
    folder = tmp_path / "cells" / cell.cell
    folder.mkdir(parents=True)
    lock = FileLock(folder / ".lock")
    lock.acquire()
    monkeypatch.setattr(objective.time, "sleep", lambda seconds: lock.release())
    (row,) = ran(made, tmp_path, trials=1)
    assert (row["state"], row["cells"], row["nre"]) == ("complete", [cell.cell], BUDGET)
    assert capsys.readouterr().err.count("another process runs this cell") == 1


@pytest.mark.parametrize(("others", "surplus"), [(3, True), (2, False)])
def test_a_trial_has_its_place_if_fewer_of_lower_number_count(
    others: int, surplus: bool, sweep: Callable[..., Sweep]
) -> None:
    made = study.open_study(sweep(), None)
    for _ in range(others):
        made.ask()
    made.tell(made.ask(), state=TrialState.FAIL)  # its process died: it does not count
    assert study.surplus(made, made.ask().number, trials=3) is surplus


def test_the_logarithm_of_no_success_is_finite_and_below_that_of_one() -> None:
    assert objective.positive(Estimate(0.0, 0.0, 1e-3, "monte-carlo", 10_000)) == 0.5 / 10_000 < 1 / 10_000
    assert objective.positive(Estimate(0.0, 0.0, 0.0, "exact", None)) == 1e-300
    assert objective.positive(Estimate(0.25, 0.25, 0.25, "exact", None)) == 0.25
    with pytest.raises(UserError, match="it cannot run with --heldout off"):
        objective.positive(Estimate(None, None, None, "none", None))


def test_the_area_is_that_of_a_step_function_over_log_nre(tmp_path: Path) -> None:
    """0.1 from 1 to 10, 0.3 from 10 to 100: a mean of 0.2 over two decades."""
    made = suite.run("gaussian-v1", "pretrained", budget=100, config={"batch": 50}, results=tmp_path, tracking="off")
    assert isinstance(made, FinishedRecord)
    places = ((0.1, 0), (0.3, 10), (0.3, 100))
    curve = [msgspec.structs.replace(made.result.curve[0], success_rate=rate, nre=nre) for rate, nre in places]
    record = dataclasses.replace(made, result=msgspec.structs.replace(made.result, curve=curve))
    assert objective.success_rate_auc(record) == pytest.approx(0.2)


def test_a_search_may_be_after_the_posterior_match(tmp_path: Path) -> None:
    """The prior's match is its base rate; a run without a match is an error that says what to type, and no zero."""
    made = suite.run("gaussian-v1", "pretrained", budget=100, config={"batch": 50}, results=tmp_path, tracking="off")
    assert isinstance(made, FinishedRecord)
    base = made.result.curve[0].success_rate
    assert base is not None
    assert objective.posterior_match(made) == pytest.approx(base)
    curve = [msgspec.structs.replace(point, posterior_match=None) for point in made.result.curve]
    record = dataclasses.replace(made, result=msgspec.structs.replace(made.result, curve=curve))
    with pytest.raises(UserError, match="`suite list --measure gaussian-v1`"):
        objective.posterior_match(record)


def test_another_sweeps_study_is_refused(sweep: Callable[..., Sweep], tmp_path: Path) -> None:
    search.tune(sweep(), trials=1, results=tmp_path, name="mine")
    with pytest.raises(UserError, match="the study mine is of another sweep; give another --study or --storage"):
        search.tune(sweep(budget=41), trials=1, results=tmp_path, name="mine")


def test_a_study_of_other_code_is_refused(
    sweep: Callable[..., Sweep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search.tune(sweep(), trials=1, results=tmp_path)
    monkeypatch.setattr(Sweep, "sources", lambda self: {"task": "x", "baseline": "y"})
    with pytest.raises(UserError, match=f"search again with --study {sweep().study}-2, which sweep-best"):
        search.tune(sweep(), trials=2, results=tmp_path)


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_trial_whose_last_seed_fails_has_failed_and_the_search_goes_on(
    seeds: int, sweep: Callable[..., Sweep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, ran_cells = sweep(p_threshold=0, seeds=seeds), []
    from suite.cells import runner

    plain = runner.run_cell

    def last_fails(spec: CellSpec, **options: Any) -> Record:
        ran_cells.append(spec.seed)
        record = plain(spec, **options)
        if len(ran_cells) == seeds:  # the last seed of the first trial
            result = FailedResult(error=Error(type="ValueError", message="no"), nre=record.result.nre)
            return records.make(record.cell, record.identity, result, record.meta, record.folder)
        return record

    monkeypatch.setattr("suite.cells.runner.run_cell", last_fails)
    rows = ran(made, tmp_path, trials=2)
    assert [row["state"] for row in rows] == ["fail", "complete"]
    assert rows[0]["error"] == f"seed {999 + seeds}: ValueError: no"
    assert rows[0]["nre"] == seeds * BUDGET
    assert search.best(made, search.tune(made, trials=2, results=tmp_path), tmp_path)["tuning"]["winner"] == 1


def test_lists_are_searched_without_a_warning_and_come_back_as_lists(
    sweep: Callable[..., Sweep], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    made = sweep(pair={"values": [[3, 4], [1, 2]]}, seeds=1)
    found = search.tune(made, trials=2, results=tmp_path)
    assert not [str(one.message) for one in recwarn if "categorical" in str(one.message)]
    first = search.trials(found)[0]
    assert (first["defaults"], first["params"]) == (True, {"temperature": 3.0, "pair": "[1,2]"})
    assert search.best(made, found, tmp_path)["pair"] in ([3, 4], [1, 2])


def test_numbers_that_yaml_reads_as_text_are_numbers(sweep: Callable[..., Sweep], tmp_path: Path) -> None:
    """YAML 1.1 reads 3e0 as text; 3.0 is the default in tests/plugins/tuned.py."""
    made = sweep(temperature={"values": ["1e0", "3e0"]}, seeds=1)
    (first,) = ran(made, tmp_path, trials=1)
    assert (first["defaults"], first["params"]) == (True, {"temperature": 3.0})


def test_defaults_outside_the_search_space_are_no_first_trial(sweep: Callable[..., Sweep], tmp_path: Path) -> None:
    (first,) = ran(sweep(temperature={"values": [1.0, 2.0]}, seeds=1), tmp_path, trials=1)
    assert not first["defaults"]


@pytest.mark.parametrize("name", ["feature%2Fx", "run?1", "a b#c"])
def test_the_study_lies_in_the_results_folder_whatever_its_name(name: str, tmp_path: Path) -> None:
    study.connect(study.default_url(tmp_path / name))
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.sqlite")] == [Path(name) / "studies.sqlite"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_database_that_breaks_in_the_middle_is_one_line(
    sweep: Callable[..., Sweep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """Its tables are gone after the first trial; what the search said is a sentence that says how to go on."""
    search.tune(sweep(), trials=1, results=tmp_path)
    url = study.default_url(tmp_path)
    engine = sqlalchemy.create_engine(url)

    def drop(done: loop.TrialDone) -> None:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("DROP TABLE IF EXISTS trial_params"))

    with pytest.raises(StorageError, match=r"^--storage sqlite.* was lost: no such table.* goes on from here$"):
        search.tune(sweep(), trials=4, jobs=jobs, results=tmp_path, progress=drop)
    assert len(records.scan(tmp_path)[0]) >= 3


@pytest.mark.timeout(60)
def test_a_trial_whose_process_died_before_its_first_sign_of_life_runs_again(
    sweep: Callable[..., Sweep], tmp_path: Path
) -> None:
    """Optuna takes a trial without any heartbeat for alive for ever."""
    storage = study.connect(study.default_url(tmp_path), heartbeat=1)
    study.open_study(sweep(), storage).ask()  # and the process is killed here
    rows = ran(sweep(), tmp_path, trials=1, heartbeat=1)
    assert [row["state"] for row in rows] == ["fail", "complete"]
    assert rows[1]["params"] == {"temperature": 3.0}  # those of the trial that was lost
