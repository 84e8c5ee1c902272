"""A search as one run on W&B: its trials as a table, the best so far, Optuna's plots, its files.

All of it is made from the study, so that the run can be written again from nothing: where W&B fails while it is
online, or the search is stopped and goes on, the whole run is written anew, under the same id.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from suite.tracking import run as tracking
from suite.tracking import trial

if TYPE_CHECKING:
    from wandb import Run

EVERY = 30.0
"""Seconds between two drawings of table and figures while the search goes on, or a twentieth of the time so far."""

Figures = Mapping[str, Callable[[], Any]]
"""What draws each figure, as a Plotly figure; one that cannot be drawn yet raises."""


class Snapshot(NamedTuple):
    """A study at one moment, as plain data."""

    history: Sequence[Mapping[str, float]]
    """One row for each trial that has ended: those that were logged before, then the others as they ended."""
    trials: Sequence[Mapping[str, Any]]
    """The table: one row for each trial, with the same columns."""
    summary: Mapping[str, Any]
    figures: Figures


class Taken(Protocol):
    """What makes a snapshot, by the numbers of the trials whose rows have been logged."""

    def __call__(self, *, logged: Sequence[int]) -> Snapshot: ...


class StudyTracker(tracking.Tracker):
    """The run of a study. A failure of W&B stops the tracking and not the search."""

    def __init__(self, mode: str, folder: Path, what: Mapping[str, Any]) -> None:
        super().__init__(mode, folder)
        self._what = dict(what)
        self._logged: list[int] = []  # numbers of trials
        self._sent = 0  # rows that an earlier process has sent
        self._began = self._drew = time.monotonic()

    def begin(self) -> None:
        """Start the run; where W&B does not answer, write it offline, for `suite sync`."""
        trial.forget(self._folder, str(self._what["id"]))
        online = self.status == "online"
        if online:
            self._what["resume"] = "allow"
        self.open(**self._what)
        self.guard(trial.unsealed)
        if online and self._run is None:
            self._offline()
        elif self._run is not None and online:
            self._sent = int(self._run.step)

    @property
    def _written(self) -> Path | None:
        """The folder of the offline run that is written here."""
        return Path(self._run.dir).parent if self._run is not None and self.status == "offline" else None

    def update(self, taken: Taken) -> None:
        """Add the rows of the trials that have ended; table and figures where it is time."""
        self.guard(lambda run: self._update(run, taken(logged=self._logged)))

    def end(self, taken: Taken, files: Mapping[str, Path], exit_code: int) -> None:
        """Write the last state, and the files as an artifact; offline, and whole, where W&B failed on the way."""
        if self.status == "off":
            return
        # of processes that were killed or lost the claim; W&B's helper may write after its process was killed
        trial.forget(self._folder, str(self._what["id"]), keep=self._written)
        online = self.status == "online" or self._lost
        self.guard(lambda run: self._finish(run, taken(logged=self._logged), files, exit_code))
        if online and self.status != "online":
            self._offline()
            self.guard(lambda run: self._finish(run, taken(logged=self._logged), files, exit_code))

    def leave(self) -> None:
        """End the run here, since another process writes it; what was written offline is removed."""
        written = self._written
        self.guard(lambda run: self.close(run, exit_code=0))
        if written is not None:
            shutil.rmtree(written, ignore_errors=True)

    _lost = False

    def _fail(self, error: Exception) -> None:
        self._lost = self._lost or self.status == "online"
        super()._fail(error)

    def _offline(self) -> None:
        self.status, self._logged, self._sent = "offline", [], 0
        self._defined.clear()
        self._what.pop("resume", None)
        self.open(**self._what)
        self.guard(trial.unsealed)

    def _update(self, run: Run, now: Snapshot) -> None:
        self._rows(run, now)
        passed = time.monotonic() - self._drew
        if passed >= max(EVERY, (time.monotonic() - self._began) / 20):
            self._draw(run, now)
            self._drew = time.monotonic()

    def _rows(self, run: Run, now: Snapshot) -> None:
        self._logged += [int(row["trial"]) for row in now.history[len(self._logged) : self._sent]]
        for row in now.history[len(self._logged) :]:
            for name in sorted(row.keys() - self._defined):
                step = {"trial": None, "spent": None, "best over spent": "spent"}.get(name, "trial")
                run.define_metric(name, step_metric=step, summary="none")
            self._defined |= row.keys()
            run.log(dict(row))
            self._logged.append(int(row["trial"]))

    def _draw(self, run: Run, now: Snapshot) -> None:
        import wandb

        run.summary.update({k: v for k, v in now.summary.items() if v is not None})
        with tracking.staging_in(Path(run.dir).parent):
            if now.trials:
                columns: list[str | int] = list(now.trials[0])
                data: list[Iterable[Any]] = [[row[str(name)] for name in columns] for row in now.trials]
                run.summary["trials"] = wandb.Table(columns=columns, data=data, allow_mixed_types=True)
            for name, draw in now.figures.items():
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # that there are few trials yet
                        figure = draw()
                except Exception:  # too few trials for it, or a knob that never varied
                    continue
                run.summary[name] = wandb.Plotly(figure)

    def _finish(self, run: Run, now: Snapshot, files: Mapping[str, Path], exit_code: int) -> None:
        import wandb

        self._rows(run, now)
        self._draw(run, now)
        artifact = wandb.Artifact(f"study-{run.id}", type="study")
        for name, path in files.items():
            artifact.add_file(str(path), name=name, policy="immutable")
        run.log_artifact(artifact)
        folder = Path(run.dir).parent
        self.close(run, exit_code=exit_code)
        trial.seal(folder)


def start(
    mode: str, folder: Path, *, run_id: str, study: str, task: str, baseline: str, config: Mapping[str, Any]
) -> StudyTracker:
    """The run of the study, begun; never raises. `mode` as for :func:`suite.tracking.run.start`."""
    what = {
        "id": run_id,
        "group": study,
        "job_type": "study",
        "name": f"{task}/{baseline}/study",
        "tags": [task, baseline, "sweep"],
        "config": dict(config),
    }
    tracker = StudyTracker(tracking.resolve(mode), folder.absolute(), what)
    if tracker.status != "off":
        tracker.begin()
    return tracker
