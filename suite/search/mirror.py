"""What Weights & Biases is told of a search by `suite sweep`: one run for each trial, one for the study.

Trials are always written offline, beside the results, by the process that runs them: nothing waits for a server. Where
the search is tracked online, a thread uploads each run once its trial has ended, and what did not arrive is left for
`suite sync`. The run of the study is written by one of the processes that share it.

A trial that was killed or interrupted runs again as another trial of Optuna's, and is the same run on W&B. It may do so
on another machine, with another results folder: `suite sync` uploads no run that was cut off.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from filelock import BaseFileLock, FileLock, Timeout
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from suite.errors import UserError
from suite.search import outcome
from suite.search import study as studies
from suite.search.sweep import Sweep
from suite.store import disk, records
from suite.store.records import results_folder
from suite.tracking import run as tracking
from suite.tracking import study as of_study
from suite.tracking import sync, trial
from suite.tracking.study import Snapshot

UPLOAD_EVERY = 10.0
"""Seconds between two looks for trials to upload."""
LAST_UPLOAD = 60.0
"""Seconds that the end of a search waits for its uploads; `suite sync` does the rest."""


class Mirror(NamedTuple):
    """Where the runs of a search are written: plain data, the same in all its processes."""

    mode: str
    """`off`, or anything else: trials are written offline."""
    folder: str
    """W&B's files go to `folder/wandb`."""
    token: str
    """What the ids of the runs of this study begin with."""

    def run_id(self, number: int) -> str:
        """The id of the run of a trial, by the number of the first of its attempts."""
        return f"{self.token}-{number}"


OFF = Mirror("off", "", "")
"""Nothing is tracked."""
ENVIRONMENT = {"project": "WANDB_PROJECT", "entity": "WANDB_ENTITY", "server": "WANDB_BASE_URL"}


def open_mirror(mode: str, study: Study, results: Path | None) -> Mirror:
    """The mirror of a study.

    Raises:
        UserError: the study is tracked in another project or on another server.
    """
    mode = tracking.resolve(mode)
    name = re.sub(r"[^\w.:+=-]", "-", study.study_name)
    if mode != "off":
        here = {"project": tracking.project(), "entity": os.environ.get("WANDB_ENTITY"), "server": _server()}
        there = study.user_attrs.get("tracked")
        if there is None:
            study.set_user_attr("tracked", here)
        elif there != here:
            differs = next(key for key in here if here[key] != there.get(key))
            raise UserError(
                f"the study {study.study_name} is tracked elsewhere, {differs} {there.get(differs)!r} and not"
                f" {here[differs]!r}; set {ENVIRONMENT[differs]} to that, give another --study, or"
                " --tracking off"
            )
    return Mirror(mode, str(results_folder(results).absolute() / "studies" / name), token_of(study))


def _server() -> str:
    return (os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").rstrip("/")


def token_of(study: Study) -> str:
    """Eight characters that all processes of a study agree on: the first trial was given them with its values."""
    for one in study.get_trials(deepcopy=False):
        if token := one.user_attrs.get("token"):
            return str(token)
    return records.canonical(study.user_attrs.get("identity", study.study_name)).encode().hex()[-8:]


def first_attempt(study: Study, one: Trial | FrozenTrial) -> int:
    """The number of the trial that this one repeats, directly or through others; its own where it is the first."""
    every = study.get_trials(deepcopy=False)
    frozen = every[one.number]
    while True:
        before = frozen.system_attrs.get("failed_trial")  # of Optuna's RetryHeartbeatStaleTrialCallback
        if before is None:
            before = frozen.user_attrs.get("interrupted")
        if before is None:
            return frozen.number
        frozen = every[before]


def begin_trial(mirror: Mirror, sweep: Sweep, one: Trial, drawn: Mapping[str, Any]) -> tuple[trial.TrialTracker, str]:
    """The tracker of a trial that begins, and the id of its run."""
    first = first_attempt(one.study, one) if mirror.mode != "off" else one.number
    run_id = mirror.run_id(first)
    constants = {name: p["value"] for name, p in sweep.content["parameters"].items() if "value" in p}
    retry = {} if first == one.number else {"retry_of": first}
    if mirror.mode != "off":
        one.set_user_attr("host", platform.node())
    tracker = trial.start(
        "off" if mirror.mode == "off" else "offline",
        Path(mirror.folder),
        task=sweep.cell.task,
        baseline=sweep.cell.baseline,
        protocol=sweep.cell.protocol,
        config={**constants, **drawn, "study": one.study.study_name, "trial": one.number, **retry},
        group=one.study.study_name,
        name=f"trial {first}",
        run_id=run_id,
    )
    return tracker, run_id


class Owner:
    """The run of the study, where this process is the one that writes it.

    Of the processes of one machine that share its folder, it is the one that holds the folder's lock. Of others the
    study says which one it is, and when it was last heard of; after `patience` seconds of silence another takes over,
    or at once where it is seen to be gone. Once the run is whole the study says where it lies, and how many trials it
    has; other machines then write none.
    """

    def __init__(self, mirror: Mirror, sweep: Sweep, study: Study, results: Path | None, patience: float) -> None:
        self._mirror, self._sweep, self._study, self._results = mirror, sweep, study, results
        self._me, self._patience = secrets.token_hex(8), patience
        self._tracker: of_study.StudyTracker | None = None
        self._lock: BaseFileLock | None = None

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.end(exit_code=int(kind is not None))

    def refresh(self) -> None:
        """A trial has ended, or the search begins."""
        if self._mirror.mode == "off":
            return
        if not self._mine():
            if self._tracker is not None:  # two processes claimed it at the same moment, and this one lost
                self._tracker.leave()
                self._tracker = None
            return
        if self._tracker is None:
            self._tracker = of_study.start(
                self._mirror.mode,
                Path(self._mirror.folder),
                run_id=f"{self._mirror.token}-study",
                study=self._study.study_name,
                task=self._sweep.cell.task,
                baseline=self._sweep.cell.baseline,
                config={"study": self._study.study_name, "sweep": self._sweep.content},
            )
        self._tracker.update(functools.partial(snapshot, self._sweep, self._study))

    def end(self, exit_code: int) -> None:
        """Write the last state, and let others write what comes after it."""
        self.refresh()
        if self._tracker is None:
            self._leave()
            return
        if exit_code and self._others_go_on():
            self._tracker.leave()
            self._give_up()
            return
        try:
            best = outcome.best(self._sweep, self._study, self._results)
            cost = {name: best["tuning"][name] for name in ("nre", "heldout", "cut_off")}
        except UserError:  # nothing has completed
            best, cost = None, {}
        with contextlib.suppress(OSError):  # a full disk
            self._tracker.end(functools.partial(snapshot, self._sweep, self._study, cost), self._files(best), exit_code)
            if not exit_code and self._tracker.status in ("offline", "online"):
                self._study.set_user_attr("mirrored", [self._place, self._ended()])
        self._give_up()

    def _give_up(self) -> None:
        """Let another process write the run from now on."""
        self._study.set_user_attr("mirrored_by", None)
        self._tracker = None
        self._leave()

    @property
    def _place(self) -> str:
        """Where the run is written, unlike that of any other machine or folder."""
        return f"{platform.node()}:{self._mirror.folder}"

    def _ended(self) -> int:
        return sum(map(studies.ended, self._study.get_trials(deepcopy=False)))

    def _written_elsewhere(self) -> bool:
        """Whether the run lies whole in another place, with all trials that have ended by now."""
        place, trials = self._study.user_attrs.get("mirrored") or (self._place, 0)
        return place != self._place and trials == self._ended()

    def _others_go_on(self) -> bool:
        """Whether a process of another machine runs a trial; it will write the run at its end."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return any(one.user_attrs.get("host", platform.node()) != platform.node() for one in running)

    def _files(self, best: Mapping[str, Any] | None) -> dict[str, Path]:
        """The files of the search: the sweep file, the winner with its cost, and all trials."""
        folder = Path(self._mirror.folder)
        content = {
            "sweep.yaml": yaml.safe_dump(self._sweep.content, sort_keys=False),
            "trials.json": json.dumps(outcome.trials(self._study), indent=1),
            **({} if best is None else {"best.json": json.dumps(best, indent=1)}),
        }
        for name, text in content.items():
            disk.write(folder / name, text)
        return {name: folder / name for name in content}

    def _mine(self) -> bool:
        """Whether this process writes the run, or may from now on."""
        return not self._written_elsewhere() and self._alone_here() and self._claimed()

    def _alone_here(self) -> bool:
        """Whether this process holds the folder's lock of this machine, which is free once its holder is gone."""
        if self._lock is None:
            folder = Path(self._mirror.folder)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = FileLock(folder / f"owner-{platform.node()}.lock", blocking=False)
                self._lock.acquire()
            except (Timeout, OSError):  # another process of this machine; a full disk
                self._lock = None
        return self._lock is not None

    def _leave(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _claimed(self) -> bool:
        """Whether the study names this process, or none that was heard of lately and may be there still."""
        now = time.time()
        who, since, host, pid = self._study.user_attrs.get("mirrored_by") or (None, 0.0, "", 0)
        if who not in (None, self._me) and now - since < self._patience and _lives(host, pid):
            self._leave()
            return False
        if who != self._me or now - since > self._patience / 4:
            self._study.set_user_attr("mirrored_by", [self._me, now, platform.node(), os.getpid()])
            return bool(self._study.user_attrs["mirrored_by"][0] == self._me)
        return True


def _lives(host: str, pid: int) -> bool:
    """Whether a process may still be there; those of other machines may be."""
    if host != platform.node():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def snapshot(sweep: Sweep, study: Study, cost: Mapping[str, int] | None = None, logged: Sequence[int] = ()) -> Snapshot:
    """The study as the run of it shows it; `cost` where all evaluations have been counted.

    The rows of the trials in `logged` come first, in that order: of several processes one may write late that a trial
    has ended.
    """
    every = study.get_trials(deepcopy=False)
    place = {number: i for i, number in enumerate(logged)}
    ended = sorted(
        (one for one in every if studies.ended(one)),
        key=lambda one: (place.get(one.number, len(place)), _end(one), one.number),
    )
    rows = outcome.rows(every)
    leading = studies.leading(study)
    summary = {
        "trials ended": len(ended),
        "states": {name: sum(_state(one) == name for one in every) for name in ("complete", "pruned", "failed")},
        "best trial": None if leading is None else leading.number,
        **({} if leading is None else dict(zip(sweep.metrics, leading.values, strict=True))),
        **(cost or {}),
    }
    table = [
        {
            "trial": row["number"],
            "state": _state(one),
            **{name: row["params"].get(name) for name in sweep.distributions},
            **{metric: row["values"][i] if row["values"] else None for i, metric in enumerate(sweep.metrics)},
            "seeds": len(row["seeds"]),
            "nre": row["nre"],
            "heldout": row["heldout"],
            "error": row["error"],
        }
        for row, one in zip(rows, every, strict=True)
    ]
    return Snapshot(_history(sweep, ended), table, summary, figures(study, sweep))


def _end(one: FrozenTrial) -> datetime.datetime:
    return one.datetime_complete or datetime.datetime.max


def _state(one: FrozenTrial) -> str:
    """As the trial's run says it; a trial whose process died, or that was interrupted, has not failed."""
    if one.state == TrialState.FAIL:
        return "failed" if studies.ended(one) else "interrupted"
    return one.state.name.lower()


def _history(sweep: Sweep, ended: Sequence[FrozenTrial]) -> list[dict[str, float]]:
    """One row a trial: its value, the best so far, and the evaluations so far, each cell once."""
    metric, best, spent, counted = sweep.metrics[0], None, 0, set[str]()
    history = []
    for one in ended:
        for cell, (nre, _) in one.user_attrs.get("spent", {}).items():
            spent += 0 if cell in counted else nre
            counted.add(cell)
        row: dict[str, float] = {"trial": one.number, "spent": spent}
        if one.state == TrialState.COMPLETE:
            row[metric] = one.values[0]
            best = one.values[0] if best is None else max(best, one.values[0])
        if best is not None:
            row |= {f"best {metric}": best, "best over spent": best}
        history.append(row)
    return history


def figures(study: Study, sweep: Sweep) -> of_study.Figures:
    """Optuna's own plots, of the first objective."""
    from optuna import visualization as plots

    first: dict[str, Any] = {}
    if len(sweep.metrics) > 1:
        first = {"target": lambda one: one.values[0], "target_name": sweep.metrics[0]}
    return {
        "plots/importances": lambda: plots.plot_param_importances(study, **first),
        "plots/parallel coordinates": lambda: plots.plot_parallel_coordinate(study, **first),
        "plots/slice": lambda: plots.plot_slice(study, **first),
        "plots/timeline": lambda: plots.plot_timeline(study),
    }


@contextlib.contextmanager
def uploading(mirror: Mirror, study: Study) -> Iterator[None]:
    """While the search runs, upload the runs of the trials that have ended; nothing unless it is tracked online."""
    if mirror.mode != "online":
        yield
        return
    stop = threading.Event()
    upload = functools.partial(_upload_ended, mirror, study, stop)
    thread = threading.Thread(target=upload, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(LAST_UPLOAD)
        left = [run for run in sync.offline_runs(Path(mirror.folder)) if sync.waits(run)]
        if left:
            tracking.warn(f"{len(left)} runs are not on W&B yet; `suite sync` uploads them")


def _upload_ended(mirror: Mirror, study: Study, stop: threading.Event) -> None:
    """Upload in the order of trials; after a failure only the end of the search tries again."""
    failed = False
    while True:
        last = stop.wait(UPLOAD_EVERY)
        if not failed or last:
            failed = not all(_arrived_now(mirror, study, last))
        if last:
            return


def _arrived_now(mirror: Mirror, study: Study, last: bool) -> Iterator[bool]:
    with studies.stable():
        every = study.get_trials(deepcopy=False)
    for one in every:
        if not studies.ended(one):
            continue
        for folder in trial.offline(Path(mirror.folder), mirror.run_id(first_attempt(study, one))):
            for log in folder.glob("run-*.wandb"):
                done = sync.upload(log)
                yield done.outcome != "failed"
                if done.outcome == "failed":
                    return
