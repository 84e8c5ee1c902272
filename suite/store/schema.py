"""What a record.json holds, as types: the one schema that the writer, the reader, W&B, the gate and the page share.

`None` is unknown or censored, never zero. What a task or a method names itself (configs, metrics, quantities) stays a
dict. A field that later versions add has a default, or :func:`migrated` fills it in, so that what earlier versions
wrote is still read; fields that this version does not know are passed over. Imports no torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec

from suite.config import nearest
from suite.errors import UserError, printable

SCHEMA = 1
"""Goes up when a version that reads the number before could not read what is written now."""

EstimatorName = Literal["exact", "exact/accept", "monte-carlo", "importance-sampling", "none"]
"""`exact/accept`: enumerated, over an estimated normaliser; `none`: not measured."""


class Part(msgspec.Struct, frozen=True):
    """A part of a record; its names are attributes."""

    if not TYPE_CHECKING:  # code of users from when records were dicts; ours is held to attributes by mypy

        def __getitem__(self, name: str) -> Any:
            if name not in self.__struct_fields__ and not (name == "status" and hasattr(self, name)):
                raise KeyError(name)
            warnings.warn(f"records have attributes now: write .{name} for [{name!r}]", DeprecationWarning, 2)
            return getattr(self, name)


def plain(value: object) -> Any:
    """A part of a record as dicts, lists and numbers; TypeError for anything else."""
    if not isinstance(value, Part):
        raise TypeError(f"{type(value).__name__} is no part of a record")
    return msgspec.to_builtins(value)


# -- identity: what the cell's name is a hash of ---------------------------------------------------------------------


class TaskIdentity(Part, frozen=True, kw_only=True):
    """Which task, by id, configuration, source and files."""

    id: str
    config: dict[str, object]
    source_sha256: str
    assets: dict[str, str]
    """sha256 of the task's files by name."""


class BaselineIdentity(Part, frozen=True, kw_only=True):
    """Which method, by id, configuration and source."""

    id: str
    config: dict[str, object]
    source_sha256: str
    control: bool
    """An oracle-free control: it learns from no evaluation."""


class Identity(Part, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that a result depends on; the settings are those of :class:`suite.cells.spec.CellSpec`.

    Written is what the cell's name is a hash of, so that a field which earlier versions did not have is left out where
    it is what their cells stand for.
    """

    task: TaskIdentity
    baseline: BaselineIdentity
    seed: int
    protocol: str
    duplicates: str
    budget: int
    heldout: str
    points: str
    device: str
    threads: int
    engine: int = 0
    """The number of the engine (suite/engine.py); 0 before engines had numbers."""

    def settings(self) -> dict[str, str | int]:
        """All but what runs and with which seed: what no average may run across."""
        return {
            "protocol": self.protocol,
            "duplicates": self.duplicates,
            "budget": self.budget,
            "heldout": self.heldout,
            "points": self.points,
            "device": self.device,
            "threads": self.threads,
        }


# -- result: the same for equal cells on one platform ----------------------------------------------------------------


class Estimate(Part, frozen=True):
    """A success rate with its 95 % interval."""

    success_rate: float | None
    low: float | None
    high: float | None
    estimator: EstimatorName
    n: int | None
    """Samples the interval rests on; None where nothing was sampled."""

    def fields(self) -> tuple[float | None, float | None, float | None, EstimatorName, int | None]:
        """What an estimate consists of, also of an object that is more than one."""
        return self.success_rate, self.low, self.high, self.estimator, self.n

    def counted(self) -> tuple[int, int] | None:
        """(hits, samples) of a Monte Carlo estimate; None for any other."""
        if self.estimator != "monte-carlo" or self.success_rate is None or self.n is None:
            return None
        return round(self.success_rate * self.n), self.n


def rate_of(estimate: Estimate | None) -> float | None:
    """The success rate; None where nothing was measured."""
    return None if estimate is None else estimate.success_rate


class Match(Part, frozen=True):
    """A posterior match with its 95 % interval (:mod:`suite.measure.posterior`)."""

    value: float
    low: float
    high: float
    estimator: Literal["exact", "exact/accept", "sampled"]
    n: int | None
    """Successes of the prior that it was estimated from; None where successes were enumerated."""


class Placed(Estimate, frozen=True, kw_only=True, omit_defaults=True):
    """The success rate of the policy of one round."""

    round: int
    """0 is the prior."""
    nre: int
    """Evaluations spent until then."""
    stream: int
    """Index of the random numbers that it was measured with."""
    posterior_match: Match | None = None


class Best(Placed, frozen=True, kw_only=True, omit_defaults=True):
    """The cumulative best of a curve, oracle-selected."""

    selected_on: Literal["half", "same"]
    """`half`: chosen on one held-out half and measured on the other; `same`: on the same, so optimistic."""


class Evenness(Part, frozen=True, kw_only=True):
    """How even the weights of an importance sample are (:mod:`suite.measure.importance`)."""

    ess: float
    """Effective sample size of the hits."""
    largest_share: float
    """Largest share that one hit has of the estimate."""


class Point(Placed, frozen=True, kw_only=True, omit_defaults=True):
    """One point of a curve. What has a default is written only where it was measured."""

    metrics: dict[str, float]
    """The method's own numbers."""
    distinct_successes: int | None
    """Different successes among 10,000 draws."""
    distinct_share: float | None
    """Distinct successes over successes among these draws."""
    effective_successes: float | None
    """Number of equally likely successes that would be as diverse."""
    valid_share: float | None
    entropy: float | None
    """Nats per sample."""
    kl_prior: float | None
    """KL(policy ‖ prior), nats."""
    samples: list[str]
    """The first draws as text; none where the task shows images."""
    quantities: dict[str, float | None] | None = None
    """The task's own numbers."""
    halves: tuple[int, int, int, int] | None = None
    """Hits and samples of the first and of the second half of a Monte Carlo sample."""
    importance: Evenness | None = None
    half_estimates: tuple[Estimate, Estimate] | None = None
    """The estimates of both halves of an importance sample."""

    def __post_init__(self) -> None:
        if self.estimator == "monte-carlo" and self.n is None:
            raise ValueError("monte-carlo without a number of samples `n`")


class Tally(Part, frozen=True):
    """Model compute of one phase."""

    tokens: int
    flops: float


class Compute(Part, frozen=True, kw_only=True):
    """Model compute by phase (:data:`suite.compute.PHASES`)."""

    training: Tally
    filtering: Tally
    verifying: Tally
    heldout: Tally

    def of_method(self) -> Tally:
        """What the method pays for: all but held-out measurement, which is the suite's own."""
        phases = (self.training, self.filtering, self.verifying)
        return Tally(sum(phase.tokens for phase in phases), sum(phase.flops for phase in phases))


class Error(Part, frozen=True, kw_only=True):
    """Why a run failed."""

    type: str
    message: str
    where: str | None = None
    """FILE:LINE."""

    def line(self) -> str:
        """`RuntimeError: what it said`, as a terminal may show it."""
        return printable(f"{self.type}: {self.message}")


class FinishedResult(Part, frozen=True, kw_only=True, tag_field="status", tag="finished"):
    """The result of a finished run; `base`, `final` and `best` are None where held-out measurement is off."""

    status: ClassVar[Literal["finished"]] = "finished"
    error: None = None
    curve: Annotated[list[Point], msgspec.Meta(min_length=1)]
    """The prior at least."""
    base: Placed | None
    final: Placed | None
    best: Best | None
    improvement_final: float | None
    """Success rate over that of the base."""
    improvement_best: float | None
    nre: int
    first_success: int | None
    """The evaluation that first succeeded, from 1; None: none did."""
    successes: int
    """Among the charged evaluations."""
    withheld: int
    """Successes that the method was not shown."""
    heldout_evaluations: int | None
    compute: Compute


class FailedResult(Part, frozen=True, kw_only=True, tag_field="status", tag="failed"):
    """The result of a failed run: its error, and what was known until then."""

    status: ClassVar[Literal["failed"]] = "failed"
    error: Error
    curve: list[Point] = []
    base: Placed | None = None
    final: Placed | None = None
    best: Best | None = None
    improvement_final: float | None = None
    improvement_best: float | None = None
    nre: int | None = None
    first_success: int | None = None
    successes: int | None = None
    withheld: int | None = None
    heldout_evaluations: int | None = None
    compute: Compute | None = None


Result = FinishedResult | FailedResult


# -- meta: where, when and why it ran; differs between equal runs ----------------------------------------------------


class Seconds(Part, frozen=True, kw_only=True):
    """Wall time by phase."""

    training: float
    filtering: float
    verifying: float
    heldout: float
    total: float | None = None

    def of_method(self) -> float:
        """All but held-out measurement."""
        return self.training + self.filtering + self.verifying


class Platform(Part, frozen=True, kw_only=True):
    """What results are equal on, byte for byte, and the version of Python."""

    cpu: str
    capability: str
    torch: str
    threads: int
    python: str


class Tuning(Part, frozen=True, kw_only=True, omit_defaults=True):
    """What it cost to find a configuration, as `suite sweep-best` writes it; what nobody said is left out."""

    study: str | None = None
    nre: int | None = None
    """Reward evaluations of all its trials."""
    heldout: int | None = None
    """Held-out evaluations of all its trials."""
    cut_off: int | None = None
    """Cells without a record, whose held-out evaluations are a lower bound."""
    trials: int | None = None
    winner: int | str | None = None
    defaults_won: bool | None = None
    metrics: dict[str, float] | None = None
    task: str | None = None
    report_tasks: list[str] | None = None
    seeds: list[int] | None = None
    budget: int | None = None


class StudyTrial(Part, frozen=True, kw_only=True, omit_defaults=True):
    """The trial of a study that a run was made for."""

    study: str | None
    """None in records that an earlier version made for a trial by hand."""
    trial: int | str | None
    run: str | None = None
    """The id of its W&B run, where it is tracked."""


class Meta(Part, frozen=True, kw_only=True):
    """What surrounds a run."""

    seconds: Seconds | None = None
    started: str | None = None
    """ISO 8601, UTC."""
    finished: str | None = None
    """The same to the microsecond: of two versions of a source the one that ran last counts."""
    host: str | None = None
    platform: Platform | None = None
    commit: str | None = None
    """Of the checkout of the suite; None where it is none."""
    dirty: bool | None = None
    """Whether that has uncommitted changes."""
    engine: int | str | None = None
    """The engine's number; the suite's version in records of before engines had numbers."""
    version: str | None = None
    """Of the suite."""
    tuning: Tuning | None = None
    sweep: StudyTrial | None = None
    files: dict[Literal["task", "baseline"], str] = {}
    """Of a plug-in: its file, as a path from the record's folder."""
    policies: list[Literal["final", "best"]] = []
    """Which are saved beside the record: `final`, `best`."""
    uses: str | None = None
    """What the method says that it learns from; None where it says nothing."""
    batches: int | None = None
    """Batches of evaluations that were charged."""
    smallest_batch: int | None = None
    """Samples of the smallest but the last one: a policy's success rate is told by how many of a batch are missing."""
    attempt: int | None = None
    """1, and one more for each earlier attempt that failed."""
    continued: str | None = None
    """The finished cell with a smaller budget whose ledger this run began with."""
    cost: tuple[float, str] | None = None
    """What one evaluation costs, as the task says: an amount and its unit."""
    heldout_asked: int | None = None
    """Samples that all attempts together put to the verifier for held-out measurements."""
    tracking: str | None = None
    """`offline`, `online`, `off`, or `failed: ` and the reason."""


# -- the file --------------------------------------------------------------------------------------------------------


class File(Part, frozen=True, kw_only=True):
    """A record.json. The identity is as it was hashed: :func:`identity_of` makes it typed."""

    schema: int
    cell: str
    identity: dict[str, object]
    result: Result
    meta: Meta


class _Version(msgspec.Struct):
    schema: int


class _Named(msgspec.Struct):
    identity: Identity


def version_of(data: bytes) -> int | None:
    """The schema that a file says it has; None where it says none."""
    try:
        return msgspec.json.decode(data, type=_Version).schema
    except (msgspec.MsgspecError, RecursionError):
        return None


def decode(data: bytes) -> File:
    """A record.json, one of an earlier version too.

    Raises:
        msgspec.MsgspecError: it is no JSON, or of another shape; the message ends with the place, `$.result.nre`.
    """
    try:
        return _FILE.decode(data)
    except msgspec.ValidationError:
        return msgspec.convert(migrated(msgspec.json.decode(data)), File)


_FILE = msgspec.json.Decoder(File)


def identity_of(content: dict[str, object]) -> Identity:
    """An identity as it was hashed, typed; MsgspecError as in :func:`decode`."""
    return msgspec.convert({"identity": {"points": "all", **content}}, _Named).identity  # the oldest have all points


def migrated(content: Any) -> Any:
    """The content of a record.json with what earlier versions did not write filled in, where it can be known.

    Until 2026-11-24 `base`, `final` and `best` did not say their estimator, which their point of the curve says.
    """
    if not isinstance(content, dict) or not isinstance(content.get("result"), dict):
        return content
    result = {"heldout_evaluations": None, **content["result"]}
    if result.get("curve") is None and result.get("status") == "failed":
        result["curve"] = []
    curve = result.get("curve")
    points = [point for point in curve if isinstance(point, dict)] if isinstance(curve, list) else []
    for which in ("base", "final", "best"):
        placed = result.get(which)
        if isinstance(placed, dict):
            point = next((point for point in points if point.get("round") == placed.get("round")), {})
            result[which] = _estimated(point, placed.get("selected_on")) | placed
    return content | {"result": result}


def _estimated(point: dict[str, Any], selected_on: object) -> dict[str, Any]:
    """Estimator and sample size of the estimate that a summary takes from a point."""
    match point.get("halves"):
        case [_, _, _, n] if selected_on == "half":
            return {"estimator": "monte-carlo", "n": n}
    return {name: point[name] for name in ("estimator", "n") if name in point}


def tuning_of(given: Mapping[str, object]) -> Tuning:
    """A `tuning` block that a person or `suite sweep-best` wrote.

    Raises:
        UserError: a field that it does not have (names the nearest), or a value that is none.
    """
    known = Tuning.__struct_fields__
    for name in given:
        if name not in known:
            raise UserError(f'"tuning" has no {name!r}{nearest(name, known)}')
    for name in ("nre", "heldout", "cut_off"):
        count = given.get(name, 0)
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise UserError(
                f'"tuning" has {name} {count!r}: expected a whole number of evaluations; `suite sweep-best` writes this'
                " block"
            )
    try:
        return msgspec.convert(dict(given), Tuning)
    except msgspec.ValidationError as error:
        raise UserError(f'"tuning": {error}; `suite sweep-best` writes this block') from error


def study_trial_of(given: Mapping[str, object]) -> StudyTrial:
    """The `sweep` of a run: the study and the trial that it is made for; UserError where it is anything else."""
    try:
        return msgspec.convert(dict(given), StudyTrial)
    except msgspec.ValidationError as error:
        raise UserError(f'"sweep": {error}; give study and trial') from error
