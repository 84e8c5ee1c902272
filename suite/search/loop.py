"""Run the trials of a sweep, in this process or in several, until so many have ended."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from suite.cells import executor
from suite.errors import Unavailable, UserError
from suite.search import mirror as mirrors
from suite.search import study as studies
from suite.search.mirror import Mirror
from suite.search.objective import TrialFailed, configuration, spent, step, values
from suite.search.sweep import Sweep, parse
from suite.store.records import FinishedRecord, Record, canonical
from suite.store.schema import StudyTrial
from suite.tracking.run import require_login, require_project
from suite.tracking.trial import State, TrialTracker


class Job(NamedTuple):
    """What a process needs to run trials of a study: plain data."""

    content: str
    """The sweep's content as JSON."""
    url: str
    study: str
    results: str | None
    trials: int
    heartbeat: int
    mirror: Mirror = mirrors.OFF


class TrialDone(NamedTuple):
    """How a search stands after a trial of it ended."""

    trial: FrozenTrial | None
    ended: int
    total: int
    best: FrozenTrial | None
    """The best completed trial; of several objectives, by the first."""


Progress = Callable[[TrialDone], None]


def tune(
    sweep: Sweep,
    *,
    trials: int,
    jobs: int = 1,
    url: str | None = None,
    results: Path | None = None,
    name: str | None = None,
    heartbeat: int = studies.HEARTBEAT,
    progress: Progress | None = None,
    tracking: str = "off",
) -> Study:
    """Run trials until `trials` of the study have ended; those of earlier calls and other machines count.

    A trial whose process died runs again; one whose method raises has failed and counts. With one job the result is
    the same at every run, with more it depends on which trial ends first.

    Args:
        tracking: `offline`, `online` or `off`; what :mod:`suite.search.mirror` writes for Weights & Biases.

    Raises:
        UserError: bad input, before anything is run.
    """
    if trials < 1 or jobs < 1 or heartbeat < 1:
        raise UserError(f"--trials, --jobs and --heartbeat must be at least 1, got {trials}, {jobs} and {heartbeat}")
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    configuration(sweep, sweep.defaults()).check()
    require_project(tracking)
    require_login(tracking)
    url = url or studies.default_url(results)
    storage = studies.connect(url, heartbeat)
    study = studies.open_study(sweep, storage, name)
    mirror = mirrors.open_mirror(tracking, study, results)
    job = Job(
        canonical(sweep.content),
        url,
        study.study_name,
        None if results is None else str(results),
        trials,
        heartbeat,
        mirror,
    )
    owner = mirrors.Owner(mirror, sweep, study, results, 4 * heartbeat)
    with studies.lost(url), mirrors.uploading(mirror, study), owner:
        _report_progress(study, trials, progress, owner, None)
        silent = frozenset[int]()
        while (begin := _missing(study, trials)) is not None:
            if begin == 0:  # other processes run the last ones; should one of them die, its trial is ours
                time.sleep(min(1.0, heartbeat))
                silent = studies.fail_stale(study, storage, silent)
                continue
            for number in _run([job] * begin, jobs, study):
                if number is not None:
                    _report_progress(study, trials, progress, owner, number)
    return study


def _missing(study: Study, trials: int) -> int | None:
    """How many trials are to be begun, those that wait in the queue included; None where all have ended."""
    all_trials = study.get_trials(deepcopy=False)
    done = sum(studies.ended(trial) for trial in all_trials)
    running = sum(trial.state == TrialState.RUNNING for trial in all_trials)
    return None if done >= trials else max(0, trials - done - running)


def _run(items: list[Job], jobs: int, study: Study) -> Generator[int | None]:
    """The numbers of trials as they end; None for one that was not to be run after all."""
    if jobs == 1:
        for job in items:
            yield _one(job, study)
        return
    pool = functools.partial(executor.WorkerPool, threads=1)
    with contextlib.closing(executor.run_all(_in_worker, items, executor.Workers(jobs, pool))) as outcomes:
        for _, outcome in outcomes:
            if isinstance(outcome, Exception):
                raise RuntimeError(f"the processes of trials died {1 + executor.RETRIES} times in a row ({outcome})")
            yield outcome


def _in_worker(job: Job) -> int | None:
    with executor.interruptible(), studies.lost(job.url):  # the errors of a database do not all cross processes
        return _one(job, _open(job))


@functools.lru_cache(maxsize=1)
def _open(job: Job) -> Study:
    """A worker's own connection to the study, made once."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    return studies.open_study(_sweep(job.content), studies.connect(job.url, job.heartbeat), job.study)


@functools.lru_cache(maxsize=1)
def _sweep(content: str) -> Sweep:
    return parse(json.loads(content))


class Surplus(Exception):
    """Another process has begun the last trial."""


def _one(job: Job, study: Study) -> int | None:
    """Run one trial; its number, or None where it was one too many."""
    if not _missing(study, job.trials):
        return None  # other processes have ended or begun the rest since the jobs were counted
    sweep = _sweep(job.content)
    results = None if job.results is None else Path(job.results)
    begun: list[int] = []

    def objective(trial: Trial) -> float | list[float]:
        if studies.surplus(study, trial.number, job.trials):
            raise Surplus
        begun.append(trial.number)
        return evaluate(trial, sweep, results, job.mirror)

    with studies.stable():
        study.optimize(objective, n_trials=1, catch=(Surplus, TrialFailed))
    return begun[0] if begun else None


def evaluate(trial: Trial, sweep: Sweep, results: Path | None, mirror: Mirror = mirrors.OFF) -> float | list[float]:
    """The value, or values, of one configuration: its seeds in turn, and after each the pruner is asked.

    What was spent goes into the trial's attribute `spent`, {cell: [NRE, held-out]}, however it ends.
    """
    drawn = sweep.from_optuna({name: suggest(trial, name, space) for name, space in sweep.distributions.items()})
    tracker, run_id = mirrors.begin_trial(mirror, sweep, trial, drawn)
    tracked = None if tracker.status == "off" else run_id
    origin = StudyTrial(study=trial.study.study_name, trial=trial.number, run=tracked)
    seen = _Seen(sweep, trial, tracker)
    try:
        # to the end of it, since a cell that failed raises only when the next one is asked for, the last one too
        for record in configuration(sweep, drawn).cells(results, origin):
            seen.add(record)
    except (KeyboardInterrupt, Unavailable):  # a verifier that is away ends the search as Ctrl-C does
        trial.study.enqueue_trial(trial.params, user_attrs={"interrupted": trial.number})
        seen.end("interrupted")
        raise
    except optuna.TrialPruned:
        seen.end("pruned")
        raise
    except TrialFailed as error:
        trial.set_user_attr("error", str(error))
        seen.end("failed", str(error))
        raise
    except BaseException as error:
        seen.end("failed", str(error) or type(error).__name__)
        raise
    finally:
        trial.set_user_attr("spent", seen.costs)
    objectives = values(seen.finished, sweep.settings, sweep.cell)
    seen.end("complete", None, objectives)
    found = [objectives[metric] for metric in sweep.metrics]
    return found[0] if len(found) == 1 else found


class _Seen:
    """The seeds of a trial so far."""

    def __init__(self, sweep: Sweep, trial: Trial, tracker: TrialTracker) -> None:
        self._sweep, self._trial, self._tracker = sweep, trial, tracker
        self.costs: dict[str, list[int]] = {}
        self.finished: list[FinishedRecord] = []

    def add(self, record: Record) -> None:
        """One seed has its record; TrialPruned where the trial is to end here."""
        self.costs[record.cell] = spent(record)
        if not isinstance(record, FinishedRecord):
            return
        self.finished.append(record)
        self._tracker.seed(record)
        _report(self._trial, self._sweep, self.finished, self._tracker)

    def end(self, state: State, error: str | None = None, objectives: Mapping[str, float] | None = None) -> None:
        totals = {
            "nre": sum(nre for nre, _ in self.costs.values()),
            "heldout_evaluations": sum(heldout for _, heldout in self.costs.values()),
        }
        self._tracker.conclude(
            self.finished,
            objectives or {},
            state=state,
            error=error,
            trial=self._trial.number,
            spent=self.costs,
            totals=totals,
        )


def _report(trial: Trial, sweep: Sweep, finished: Sequence[FinishedRecord], tracker: TrialTracker) -> None:
    """Tell the pruner the last run, on a logarithmic scale where it is a rate; the last of all prunes no more.

    Its step is its seed; of T tasks task i of seed s is step s · T + i.

    Raises:
        TrialPruned: the runs so far are worse than those of the best trial.
    """
    if len(sweep.metrics) > 1:
        return
    value, tasks = step(sweep.metrics[0], finished[-1], sweep.settings), len(sweep.tasks)
    at = finished[-1].seed * tasks + (len(finished) - 1) % tasks
    trial.report(value, step=at)
    tracker.intermediate(at, value)
    if len(finished) < sweep.settings.seeds * tasks and trial.should_prune():
        raise optuna.TrialPruned(f"after {len(finished)} of {sweep.settings.seeds * tasks} runs")


def suggest(trial: Trial, name: str, space: BaseDistribution) -> Any:
    """A value of the distribution, by Optuna's public methods."""
    if isinstance(space, FloatDistribution):
        return trial.suggest_float(name, space.low, space.high, log=space.log)
    if isinstance(space, IntDistribution):
        return trial.suggest_int(name, space.low, space.high, log=space.log)
    assert isinstance(space, CategoricalDistribution)
    return trial.suggest_categorical(name, space.choices)


def _report_progress(
    study: Study, total: int, progress: Progress | None, owner: mirrors.Owner, number: int | None
) -> None:
    owner.refresh()
    if progress is None:
        return
    every = study.get_trials(deepcopy=False)
    done = sum(studies.ended(trial) for trial in every)
    progress(TrialDone(None if number is None else every[number], done, total, studies.leading(study)))
