"""W&B as a mirror of a run. The record stays the source.

:func:`start` never raises, and nor does what it returns: a tracker that fails says so once on stderr, does
nothing from then on, and lets the run go on. Runs are written offline to `<cell>/wandb/` unless asked
otherwise; `suite sync` uploads them later.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from suite.errors import UserError
from suite.measure.curves import nre_to
from suite.store import schema

if TYPE_CHECKING:
    from wandb import Run

    from suite.store.records import FinishedRecord

PROJECT = "sparse-reward-suite"
"""The W&B project where the environment variable WANDB_PROJECT names none."""

_MODES = {"disabled": "off", "dryrun": "offline", "run": "online"}  # WANDB_MODE's other names for ours
_TAG_LENGTH = 64  # W&B refuses a run with a longer tag

SETTINGS: dict[str, Any] = {
    "reinit": "create_new",
    "silent": True,
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "save_code": False,
    "label_disable": True,
    "use_dot_wandb": False,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "init_timeout": 30.0,  # seconds; W&B's own 90 are long where every cell of a grid waits for them
    "finish_timeout": 120.0,  # W&B would wait for ever; `suite sync` uploads what is left
}


class Tracker:
    """One run on W&B, or nothing at all.

    Attributes:
        status: `offline`, `online`, `off`, or `failed: ` and the reason.
    """

    def __init__(self, mode: str, folder: Path) -> None:
        self.status = mode
        self._folder = folder
        self._run: Run | None = None
        self._defined: set[str] = set()

    def point(self, point: schema.Point) -> None:
        """Add one point of the record's curve to the history; unknown (null) values are left out."""
        self.guard(lambda run: self.log(run, row_of(point)))

    def finish(self, record: FinishedRecord) -> None:
        """End the run well: results as summary, samples as a table, `record.json` as an artifact."""
        self.guard(lambda run: self._conclude(run, record))

    def abort(self, message: str) -> None:
        """End the run as failed: `message` in the summary, and no result that a sweep could take for one."""
        self.guard(lambda run: self._stop(run, message))

    def open(self, **what: Any) -> None:
        """Start the run; `group`, `job_type`, `name`, `tags` and `config` as wandb.init takes them."""
        try:
            self._run = _init(self.status, self._folder, **what)
        except Exception as error:
            self._fail(error)

    def log(self, run: Run, row: Mapping[str, float]) -> None:
        """Add a row to the history, its numbers against `nre`."""
        for name in sorted(row.keys() - self._defined):
            # The summary takes nothing from the history: a run that was killed has no result.
            run.define_metric(name, step_metric=None if name == "nre" else "nre", summary="none")
        self._defined |= row.keys()
        run.log(dict(row))

    def _conclude(self, run: Run, record: FinishedRecord) -> None:
        import wandb

        run.summary.update(_summary(record.result, record.meta.seconds))
        rows: list[Iterable[Any]] = [[p.round, p.nre, text] for p in record.result.curve for text in p.samples]
        with staging_in(Path(run.dir).parent):
            # W&B shows tables from the summary; in the history it would be a row that no curve has.
            run.summary["samples"] = wandb.Table(columns=["round", "nre", "text"], data=rows)
        artifact = wandb.Artifact(f"record-{self._folder.name}", type="record")
        artifact.add_file(str(self._folder / "record.json"), policy="immutable")
        run.log_artifact(artifact)
        self.close(run, exit_code=0)

    def _stop(self, run: Run, message: str) -> None:
        run.summary["error"] = message
        self.close(run, exit_code=1)

    def close(self, run: Run, exit_code: int) -> None:
        self._run = None
        run.finish(exit_code=exit_code)

    def guard(self, action: Callable[[Run], None]) -> None:
        run = self._run
        if run is None:
            return
        try:
            action(run)
        except Exception as error:
            self._fail(error)
            with contextlib.suppress(Exception):
                self.close(run, exit_code=1)

    def _fail(self, error: Exception) -> None:
        self.status = f"failed: {reason(error)}"
        warn(f"tracking stopped, the run goes on: {reason(error)}")


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def reason(error: Exception) -> str:
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def start(
    mode: str, *, folder: Path, identity: schema.Identity, meta: schema.Meta, group: str | None = None
) -> Tracker:
    """A tracker of the run with `identity` whose cell lies in `folder`; never raises.

    Args:
        mode: `offline`, `online` or `off`. The environment's WANDB_MODE wins, except over `off`; a run under
            `wandb agent` (WANDB_SWEEP_ID is set) is online where it would be offline.
        folder: the cell; W&B's files go to `folder/wandb`.
        identity: the record's `identity`, which becomes W&B's config, group and tags.
        meta: the record's `meta` as far as it is known, the config's `meta`.
        group: the run's group; without one, the task and the method.
    """
    tracker = Tracker(resolve(mode), folder.absolute())
    if tracker.status != "off":
        task, baseline = identity.task.id, identity.baseline.id
        tracker.open(
            group=group or f"{task}/{baseline}",
            job_type="run",
            name=f"{task}/{baseline}/{identity.seed}",
            tags=[task, baseline, identity.protocol, *(["control"] if identity.baseline.control else [])],
            config={"cell": folder.name, **schema.plain(identity), "meta": schema.plain(meta)},
        )
    return tracker


def resolve(mode: str) -> str:
    """`offline`, `online` or `off`: what the environment makes of the mode that was asked for."""
    if mode == "off":
        return mode
    if wanted := os.environ.get("WANDB_MODE"):
        return _MODES.get(wanted, wanted)
    return "online" if os.environ.get("WANDB_SWEEP_ID") else mode


def _init(mode: str, folder: Path, *, tags: Sequence[str], **what: Any) -> Run:
    import wandb

    if mode not in ("offline", "online"):
        raise ValueError(f"no mode {mode!r}; WANDB_MODE is one of offline, online, disabled")
    if mode == "online":
        log_in()
    if "WANDB_SWEEP_ID" not in os.environ:  # else the agent gave the run its id
        what.setdefault("id", secrets.token_hex(4))  # WANDB_RUN_ID would make one run of all runs of this process
    return wandb.init(
        project=project(),
        dir=folder,
        tags=[tag[:_TAG_LENGTH] for tag in tags],
        settings={**SETTINGS, "mode": mode},
        **what,
    )


def log_in() -> None:
    """Find and check the user's credentials, without the prompt and the messages of wandb.init.

    Raises:
        wandb.errors.UsageError: there are none.
    """
    import wandb

    if wandb.run is None and not credentials():  # else the user's own run, in the same process
        raise wandb.errors.UsageError("not logged in to W&B; run `wandb login`, or use --tracking offline")


def project() -> str:
    """The W&B project of runs."""
    return os.environ.get("WANDB_PROJECT") or PROJECT


def require_project(mode: str) -> None:
    """UserError where runs are tracked and W&B takes no project of that name."""
    if resolve(mode) == "off" or project() == PROJECT:
        return
    import wandb

    try:
        wandb.Settings(project=project())
    except Exception as error:
        raise UserError(f"WANDB_PROJECT: {' '.join(str(error).split())}; give another name") from error


def require_login(mode: str) -> None:
    """UserError where `mode` comes to an online run and W&B finds no credentials."""
    if resolve(mode) != "online":
        return
    try:
        log_in()
    except Exception as error:
        raise UserError(" ".join(str(error).split()) or "not logged in to W&B") from error


def credentials() -> bool:
    """Whether W&B finds credentials, in the environment or where `wandb login` leaves them."""
    import wandb

    with contextlib.redirect_stderr(io.StringIO()):
        return bool(wandb.login(prompt=False))


@contextlib.contextmanager
def staging_in(folder: Path) -> Iterator[None]:
    """Let wandb keep tables that wait for `wandb sync` in `folder` rather than below the user's home."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def row_of(point: schema.Point) -> dict[str, float]:
    """A point of a curve as numbers: its own, the method's under `method/`, the task's under `task/`; none unknown.

    The posterior match is `posterior_match`, its interval `posterior_match_low` and `_high`.
    """
    match = point.posterior_match
    ends = {} if match is None else {"": match.value, "_low": match.low, "_high": match.high}
    matches = {f"posterior_match{end}": value for end, value in ends.items()}
    method = {f"method/{name}": value for name, value in point.metrics.items()}
    task = {f"task/{name}": value for name, value in (point.quantities or {}).items()}
    return numbers({**msgspec.structs.asdict(point), **matches, **method, **task})


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {k: v for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _summary(result: schema.FinishedResult, seconds: schema.Seconds | None) -> dict[str, Any]:
    """What a run came to: single numbers, the first, final and best point, compute and seconds by phase."""
    points = {"base": result.base, "final": result.final, "best": result.best}
    return {
        **numbers(msgspec.structs.asdict(result)),
        **numbers({"distinct_successes": result.curve[-1].distinct_successes, "nre_to_10x": nre_to_10x(result)}),
        **{name: _known(schema.plain(point)) for name, point in points.items() if point is not None},
        "compute": schema.plain(result.compute),
        "seconds": None if seconds is None else schema.plain(seconds),
    }


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def nre_to_10x(result: schema.FinishedResult) -> int | None:
    """Evaluations to ten times the base rate, its upper end as in the leaderboard; None: censored, or no base."""
    base = result.base
    return None if base is None or base.high is None else nre_to(result.curve, 10 * base.high)
