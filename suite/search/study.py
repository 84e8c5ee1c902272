"""The study of a sweep: its storage, and an Optuna sampler and pruner with every argument pinned."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from suite.errors import StorageError, UserError
from suite.search.sweep import Sweep
from suite.store.records import results_folder

HEARTBEAT = 30
"""Seconds between the signs of life of a running trial; four times as long without one, and it is run again."""
LOCK_TIMEOUT = 20.0
"""Seconds that a process waits for SQLite's lock."""
CONNECT_TIMEOUT = 10
"""Seconds in which a PostgreSQL server must let a process in; psycopg alone would wait for 130."""
POSTGRESQL = "postgresql+psycopg://"
TABLES_LOCK = 0x5EED
"""The key under which PostgreSQL lets one process at a time look for Optuna's tables and make them."""
STARTUP_TRIALS = 8
"""Trials that TPE draws at random before it models anything; the first of them has the shipped defaults."""
RETRIES = 3
"""How often a trial whose process died is run again."""


class Reproducible(BaseSampler):
    """A sampler whose random numbers depend on the study's name and the trial's number alone.

    Processes that share a study must not draw the same numbers, and a study that goes on must not draw its first
    ones again; a sampler with one seed does both.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._number = -1
        self._sampler: BaseSampler = RandomSampler(seed=0)

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            digest = hashlib.sha256(f"{self._sweep.digest} {trial.number}".encode()).digest()
            self._number, self._sampler = trial.number, _sampler(self._sweep, int.from_bytes(digest[:4], "big"))
        return self._sampler

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)


def _sampler(sweep: Sweep, seed: int) -> BaseSampler:
    """The sampler of one trial. Optuna 5's defaults are written out, since another version may have others."""
    if sweep.random:
        return RandomSampler(seed=seed)
    return TPESampler(
        seed=seed,
        n_startup_trials=STARTUP_TRIALS,
        n_ei_candidates=24,
        multivariate=len(sweep.metrics) == 1,
        group=False,
        constant_liar=True,
    )


def pruner(sweep: Sweep) -> BasePruner:
    """Wilcoxon's signed-rank test of the seeds so far against the same seeds of the best trial.

    n seeds can give no one-sided p below 2^-n: with the default threshold of 0.3 two seeds that are both worse prune
    (p = 0.25). Optuna prunes single-objective studies only.
    """
    if len(sweep.metrics) > 1 or not sweep.settings.p_threshold:
        return NopPruner()
    with stable():
        return WilcoxonPruner(p_threshold=sweep.settings.p_threshold, n_startup_steps=2)


def default_url(results: Path | None) -> str:
    """SQLite in the results folder; what a URL would read as its own, `?` and `%`, is escaped."""
    path = results_folder(results).absolute() / "studies.sqlite"
    return sqlalchemy.engine.URL.create("sqlite", database=str(path)).render_as_string()


def connect(url: str, heartbeat: int = HEARTBEAT, *, create: bool = True) -> RDBStorage:
    """The storage at an SQLAlchemy URL.

    Args:
        create: make a file of SQLite that is not there.

    Raises:
        UserError: it cannot be reached, is locked, or needs a driver that is not installed.
    """
    options: dict[str, Any] = {}
    if url.startswith("sqlite:///"):
        path = Path(sqlalchemy.engine.make_url(url).database or "")
        if not create and not path.exists():
            raise UserError(f"--storage {url}: no such file; run `suite sweep` with this file first")
        with reachable(url):
            path.parent.mkdir(parents=True, exist_ok=True)
        options = {"connect_args": {"timeout": LOCK_TIMEOUT, "isolation_level": None}}  # see _immediate
    # SQLAlchemy's own default for PostgreSQL is psycopg2; the extra `postgres` brings psycopg 3.
    for short in ("postgres://", "postgresql://"):
        if url.startswith(short):
            url = POSTGRESQL + url.removeprefix(short)
    if url.startswith(POSTGRESQL):
        options = {"connect_args": {"connect_timeout": CONNECT_TIMEOUT}}
    if not _is_clear(url):  # what is said of such a URL may hold pieces of its password
        raise UserError(
            f"--storage {_shown(url)} is no URL of a database; write sqlite:///studies.sqlite or "
            "postgresql://USER:PASSWORD@HOST:PORT/NAME, with / @ : % of the password as %2F %40 %3A %25"
        )
    with stable(), reachable(url), _alone(url, options):
        storage = RDBStorage(
            url,
            engine_kwargs=options,
            heartbeat_interval=heartbeat,
            grace_period=4 * heartbeat,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
        )
    if url.startswith("sqlite"):
        sqlalchemy.event.listen(storage.engine, "begin", _immediate)
    return storage


def _immediate(connection: sqlalchemy.Connection) -> None:
    """Take SQLite's lock when a transaction begins, not when it first writes.

    SQLite knows no `SELECT … FOR UPDATE`, by which Optuna makes sure that a waiting trial is taken once: two processes
    would read it as waiting, and both run it. The driver, which begins before it writes, is told to leave that to us
    (SQLAlchemy, "Enabling Non-Legacy SQLite Transactional Modes").
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextlib.contextmanager
def _alone(url: str, options: dict[str, Any]) -> Iterator[None]:
    """Hold off other processes that make Optuna's tables in the same PostgreSQL at this moment, as a cluster's do."""
    if not url.startswith("postgresql"):
        yield
        return
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, **options)
    with engine.connect() as connection:  # the lock ends with it
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(TABLES_LOCK)))
        yield


@contextlib.contextmanager
def reachable(url: str) -> Iterator[None]:
    """Turn what a database raises into one line; the password of the URL is not shown."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError, ImportError, OSError) as error:
        raise UserError(_unreachable(url, error)) from error
    except RuntimeError as error:
        if "optuna storage upgrade" not in str(error):
            raise
        raise UserError(f"--storage {_shown(url)}: made by another version of Optuna: {error}") from error


@contextlib.contextmanager
def lost(url: str) -> Iterator[None]:
    """Around a search: a database that goes away, or breaks, becomes one line that says how to go on.

    Raises:
        StorageError: it did.
    """
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise StorageError(
            f"--storage {_shown(url)} was lost: {_first_line(error)}; trials that have ended are kept in it, "
            "cells that have finished in the results folder: when it is back, the same command goes on from here"
        ) from error


def _first_line(error: BaseException) -> str:
    """The first line of what began it all."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).splitlines() or [type(error).__name__])[0]


def _unreachable(url: str, error: BaseException) -> str:
    text = _first_line(error)
    if "locked" in text:
        return f"--storage {_shown(url)} is locked by another process; wait for it, or use PostgreSQL for many machines"
    if isinstance(error, ImportError):
        return f"--storage {_shown(url)}: no driver: {text}; pip install 'sparse-reward-suite[postgres]' for PostgreSQL"
    return f"--storage {_shown(url)} cannot be reached: {text}; give a URL such as sqlite:///studies.sqlite"


def _shown(url: str) -> str:
    """A URL without its password, also where it does not parse."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    user, at, place = rest.rpartition("@")  # a password that is not encoded may hold an @ itself
    hidden = f"{user.partition(':')[0]}:***" if mark and ":" in user else ("***" if at and not mark else user)
    return re.sub(r"(?i)((?:password|passwd|pwd)=)[^&\s]*", r"\1***", f"{scheme}{mark}{hidden}{at}{place}")


def _is_clear(url: str) -> bool:
    """Whether a URL parses, and into what its writer meant: an @ in a password that is not encoded ends it early."""
    try:
        sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return False
    return url.startswith("sqlite") or url.count("@") <= 1


def open_study(sweep: Sweep, storage: RDBStorage | None, name: str | None = None) -> Study:
    """The study of a sweep, made if it is not there, its first trial the shipped defaults.

    Args:
        storage: where it is kept; None keeps it in memory.
        name: another name than the one that the file's content gives.

    Raises:
        UserError: a study of that name is of another sweep, or of other code.
    """
    name = name or sweep.study
    with stable(), reachable(storage.url if storage else "memory"):
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=["maximize"] * len(sweep.metrics),
            sampler=Reproducible(sweep),
            pruner=pruner(sweep),
            load_if_exists=True,
        )
        _check_directions(study, len(sweep.metrics))
        attributes = study.user_attrs
        if not attributes and not study.get_trials(deepcopy=False):
            _describe(study, sweep)
            defaults = sweep.to_optuna(sweep.defaults())
            whole = defaults.keys() == sweep.distributions.keys()  # else the rest is drawn: none of the shipped ones
            attributes = {"token": secrets.token_hex(4)} | ({"defaults": True} if whole else {})  # see mirror.token_of
            study.enqueue_trial(defaults, user_attrs=attributes, skip_if_exists=True)
            return study
    _check(name, attributes.get("identity"), _identity(sweep))
    return study


def new_study(sweep: Sweep, storage: RDBStorage | None, name: str, sampler: BaseSampler) -> Study:
    """An empty study of a sweep, where there is none of that name; nothing is pruned in it."""
    with stable(), reachable(storage.url if storage else "memory"):
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=["maximize"] * len(sweep.metrics),
            sampler=sampler,
            pruner=NopPruner(),
        )
        _describe(study, sweep)
        return study


def _identity(sweep: Sweep) -> dict[str, Any]:
    """What a study is of: the sweep's content, and the code of its task, its method and the engine."""
    return {"sweep": sweep.digest, "sources": sweep.sources()}


def _describe(study: Study, sweep: Sweep) -> None:
    study.set_user_attr("identity", _identity(sweep))
    study.set_user_attr("content", sweep.content)


def load_study(sweep: Sweep, storage: RDBStorage, name: str | None = None) -> Study:
    """The study of a sweep that was begun; UserError where there is none, or it is another sweep's."""
    name = name or sweep.study
    with stable(), reachable(storage.url):
        try:
            study = optuna.load_study(study_name=name, storage=storage, sampler=Reproducible(sweep))
        except KeyError as error:
            url = _shown(storage.url)
            raise UserError(f"no study {name} in {url}; run `suite sweep` with this file first") from error
        _check(name, study.user_attrs.get("identity"), _identity(sweep))
        return study


def _check(name: str, found: object, expected: dict[str, Any]) -> None:
    sweep = found.get("sweep") if isinstance(found, dict) else None
    if sweep != expected["sweep"]:
        raise UserError(f"the study {name} is of another sweep; give another --study or --storage")
    if found != expected:
        raise UserError(
            f"the task's, the method's or the engine's source changed since the study {name} began, and its trials are"
            f" of the other code; search again with --study {name}-2, which sweep-best then takes too, or go back to"
            " that code"
        )


def _check_directions(study: Study, metrics: int) -> None:
    """UserError where a study that was there before, be it empty, is after something else: Optuna would adopt it."""
    if study.directions != [StudyDirection.MAXIMIZE] * metrics:
        found = ", ".join(direction.name.lower() for direction in study.directions)
        raise UserError(
            f"the study {study.study_name} has the directions {found}, this sweep {', '.join(['maximize'] * metrics)};"
            " give another --study or --storage"
        )


def ended(trial: FrozenTrial) -> bool:
    """Whether a trial has its outcome: completed, pruned, or failed by its own fault rather than its process's."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "error" in trial.user_attrs


def leading(study: Study) -> FrozenTrial | None:
    """The best trial that completed all its seeds, by the first objective; None where there is none yet."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(done, key=lambda trial: trial.values[0], default=None)


def surplus(study: Study, number: int, trials: int) -> bool:
    """Whether a trial that was begun is one too many.

    Processes that share a study begin trials at the same moment. A trial has its place if fewer than `trials` of
    lower number have ended, run or wait; numbers are handed out once, so all processes agree.
    """
    before = study.get_trials(deepcopy=False)[:number]
    return sum(t.state != TrialState.FAIL or ended(t) for t in before) >= trials


_SILENT = sqlalchemy.text("""
    SELECT trial_id FROM trials JOIN studies USING (study_id)
    WHERE study_name = :study AND state = 'RUNNING' AND trial_id NOT IN (SELECT trial_id FROM trial_heartbeats)
""")


def fail_stale(study: Study, storage: RDBStorage, silent: frozenset[int] = frozenset()) -> frozenset[int]:
    """Fail the trials whose process is gone, so that they run again.

    Optuna never takes a trial for stale whose process died before its first sign of life. Such a trial is given one
    here, after which it is stale like any other.

    Args:
        silent: what the last call returned, a moment ago.

    Returns:
        Ids of the running trials that have given no sign of life yet.
    """
    with storage.engine.connect() as connection:
        now = frozenset(connection.execute(_SILENT, {"study": study.study_name}).scalars())
    for trial_id in now & silent:  # a process that lives gives its first sign at once
        storage.record_heartbeat(trial_id)
    with stable():
        optuna.storages.fail_stale_trials(study)
    return now


@contextlib.contextmanager
def stable() -> Iterator[None]:
    """Leave out the warnings that heartbeats and the Wilcoxon pruner are experimental; the version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
