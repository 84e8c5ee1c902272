"""One cell: a baseline spends its budget on a task, is measured after every round, and leaves a record."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import gc
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock, Timeout

from suite import compute, estimators, ledger, provenance, records, registry, tracking, weights
from suite import config as configs
from suite import task as tasks
from suite.errors import BudgetExhausted, CellLocked, UserError
from suite.ledger import Ledger
from suite.oracle import DUPLICATES, PROTOCOLS, Oracle, Verifier
from suite.policy import Generator, Policy, Round
from suite.records import Record
from suite.seeding import Streams, derive
from suite.task import Task

POINTS = ("all", "final")
"""Which policies are measured (docs/decisions/006): the prior and every round's, or the prior and the last."""


class Progress(NamedTuple):
    """Where a run stands."""

    cell: str
    task: str
    baseline: str
    seed: int
    nre: int
    budget: int
    round: int
    success_rate: float | None
    done: bool


@dataclasses.dataclass(frozen=True)
class Identity:
    """A cell before it runs: what its name is a hash of, and how to build it."""

    content: dict[str, Any]
    task: registry.Entry
    task_config: Any
    baseline: registry.Entry
    config: Any

    @property
    def cell(self) -> str:
        return records.cell_of(self.content)

    def folder(self, results: Path | str | None) -> Path:
        return records.results_folder(results) / "cells" / self.cell

    def finished(self, results: Path | str | None) -> Record | None:
        """The finished record of this cell, if there is one."""
        path = self.folder(results) / "record.json"
        if not path.exists():
            return None
        record = records.read(path)
        return record if record.status == "finished" else None


def identify(
    task: str,
    baseline: str,
    *,
    seed: int = 0,
    budget: int = 7500,
    config: Mapping[str, object] | None = None,
    task_config: Mapping[str, object] | None = None,
    protocol: str = "failures-only",
    duplicates: str = "charge",
    heldout: str = "auto",
    points: str = "all",
    device: str = "cpu",
    threads: int = 1,
) -> Identity:
    """Resolve and check everything that a cell's name depends on, without running it.

    Args:
        heldout: `exact`, `off`, a number of samples, `is:N` for importance sampling, or `auto`: exact where the
            successes are enumerated, else 10,000 samples.
        points: `all` measures after every round, `final` only before the first and after the last.
        device: `cpu`, `cuda`, or `auto`: CUDA where there is one.

    Raises:
        UserError: anything that cannot be run, in one line.
    """
    if budget < 1:
        raise UserError(f"--budget must be at least 1 reward evaluation, got {budget}")
    one_of("--protocol", protocol, PROTOCOLS)
    one_of("--duplicates", duplicates, DUPLICATES)
    one_of("--points", points, POINTS)
    one_of("--device", device, ("auto", "cpu", "cuda"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    task_entry, baseline_entry = registry.load("task", task), registry.load("baseline", baseline)
    a_task_config = configs.build(task_entry.config_class, task_config or {})
    a_config = configs.build(baseline_entry.config_class, config or {})
    probe = _probe(task_entry, a_task_config)
    heldout = resolve_heldout(heldout, functools.partial(_is_exact, task_entry, a_task_config), task_entry.id)
    batch = getattr(a_config, "batch", 1)
    if budget < batch:
        raise UserError(f"--budget {budget} is smaller than one batch of {batch}; raise it or pass --batch {budget}")
    content = {
        "task": {
            "id": task_entry.id,
            "config": configs.to_dict(a_task_config),
            "source_sha256": registry.source_sha256(task_entry),
            "assets": tasks.assets(probe),
        },
        "baseline": {
            "id": baseline_entry.id,
            "config": configs.to_dict(a_config),
            "source_sha256": registry.source_sha256(baseline_entry),
            "control": baseline_entry.id in registry.controls(),
        },
        "seed": seed,
        "protocol": protocol,
        "duplicates": duplicates,
        "budget": budget,
        "heldout": heldout,
        "points": points,
        "device": device,
        "threads": threads,
    }
    return Identity(content, task_entry, a_task_config, baseline_entry, a_config)


@functools.lru_cache(maxsize=8)
def _is_exact(entry: registry.Entry, config: Any) -> bool:
    return tasks.is_exact(_probe(entry, config))


def check_device(device: str) -> None:
    """UserError where this machine, unlike one that a cell may be sent to, has no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda, but torch sees no CUDA device here; use --device cpu")


def one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{flag} {value!r} is unknown; one of {', '.join(allowed)}")


@functools.lru_cache(maxsize=8)
def _probe(entry: registry.Entry, config: Any) -> Task:
    """A task that is only asked what it is, never run."""
    task: Task = entry.target(config)
    return task


def resolve_heldout(heldout: str, is_exact: Callable[[], bool], task_id: str) -> str:
    """The held-out mode that `heldout` stands for: `exact`, `off`, a number of samples, or `is:` and one."""
    if heldout == "auto":
        return "exact" if is_exact() else str(estimators.SAMPLES)
    kind = estimators.IMPORTANCE if heldout.startswith(estimators.IMPORTANCE) else ""
    number = heldout.removeprefix(kind)
    if number.isdecimal() and int(number) >= (4 if kind else 2):
        return f"{kind}{int(number)}"
    if heldout not in ("exact", "off"):
        raise UserError(
            f"--heldout {heldout!r} is unknown; exact, off, auto, a number of samples from 2 on, "
            "or is:N, importance sampling with N from 4 on"
        )
    if heldout == "off":
        return heldout
    if not is_exact():
        raise UserError(f"--heldout exact, but {task_id} enumerates no successes; use --heldout {estimators.SAMPLES}")
    return heldout


def run(
    task: str,
    baseline: str,
    *,
    seed: int = 0,
    budget: int = 7500,
    results: Path | str | None = None,
    config: Mapping[str, object] | None = None,
    task_config: Mapping[str, object] | None = None,
    protocol: str = "failures-only",
    duplicates: str = "charge",
    heldout: str = "auto",
    points: str = "all",
    device: str = "cpu",
    threads: int = 1,
    tracking: str = "offline",
    force: bool = False,
    tuning: Mapping[str, object] | None = None,
    sweep: Mapping[str, object] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Record:
    """Run one cell, or return its record where it has been run.

    A killed run goes on where it was: its batches are replayed from the ledger, nothing is paid twice.

    Args:
        task, baseline: ids, `module:Name` or `path/to/file.py:Name`.
        seed: the master seed; streams of the policy, the oracle and the evaluation are derived from it.
        budget: reward evaluations, NRE.
        results: folder of records; else $SUITE_RESULTS, else ./results.
        config, task_config: fields of the baseline's and the task's config that differ from their defaults.
        points: `all` measures after every round, `final` only before the first and after the last: for tuning and
            for whoever cannot pay for a curve. The points measured are the same.
        tracking: `offline`, `online` or `off` (Weights & Biases, a mirror of the record).
        force: run again, whatever is there.
        tuning: provenance of the configuration: study, nre and heldout spent on finding it; for the shipped
            defaults it is known.
        sweep: the study and the trial that the cell is run for.

    Returns:
        The record; its status is `failed` where the method or the verifier raised.

    Raises:
        UserError: bad input; nothing was written.
    """
    identity = identify(
        task,
        baseline,
        seed=seed,
        budget=budget,
        config=config,
        task_config=task_config,
        protocol=protocol,
        duplicates=duplicates,
        heldout=heldout,
        points=points,
        device=device,
        threads=threads,
    )
    check_device(identity.content["device"])
    if force:
        set_aside(identity, results)
    with _cell(identity, results) as (folder, earlier, attempt):
        if earlier is not None:
            provenance.warn_if_engine_differs(earlier.meta)
            return earlier
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            if tuning is None and identity.config == configs.build(identity.baseline.config_class, {}):
                tuning = registry.tuning_of_defaults(identity.baseline)
            return _Run(identity, folder, tracking, tuning, sweep, progress, attempt).record()
        finally:
            torch.set_num_threads(before)
            gc.collect()  # task and counted verifier hold each other, and tables of successes are large


def set_aside(identity: Identity, results: Path | str | None) -> None:
    """Make a cell one that has never run; its record stays as attempt-N.json."""
    with _locked(identity, results) as folder:
        path = folder / "record.json"
        if path.exists():
            path.rename(folder / f"attempt-{_attempt(folder)}.json")
        for name in ("ledger.sqlite", "verify.json", "policy-final.safetensors", "policy-best.safetensors"):
            (folder / name).unlink(missing_ok=True)


def _attempt(folder: Path) -> int:
    return 1 + len(list(folder.glob("attempt-*.json")))


@contextlib.contextmanager
def _cell(identity: Identity, results: Path | str | None) -> Iterator[tuple[Path, Record | None, int]]:
    """The cell's folder under its lock, its finished record, and the attempt's number; a failed one is set aside.

    Bad input that shows only when the method runs leaves nothing behind, where nothing was charged.
    """
    with _locked(identity, results) as folder:
        path = folder / "record.json"
        earlier = records.read(path) if path.exists() else None
        if earlier is not None and earlier.status != "finished":
            path.rename(folder / f"attempt-{_attempt(folder)}.json")
            earlier = None
        try:
            yield folder, earlier, _attempt(folder)
        except UserError:
            book = folder / "ledger.sqlite"
            if not path.exists() and _attempt(folder) == 1 and not (book.exists() and Ledger(book).nre):
                shutil.rmtree(folder, ignore_errors=True)
            raise


@contextlib.contextmanager
def _locked(identity: Identity, results: Path | str | None) -> Iterator[Path]:
    """The cell's folder, made if it is not there, under its lock."""
    folder = identity.folder(results)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0).acquire()
    except Timeout:
        raise CellLocked(f"{folder} is locked: another process runs this cell; wait for it or stop it") from None
    except OSError as error:
        raise UserError(
            f"--results {records.results_folder(results)}: {error.strerror or error}; choose another folder"
        ) from error
    with lock:
        yield folder


def fail(identity: Identity, results: Path | str | None, message: str) -> Record:
    """The failed record of a cell whose process died, written where it will be found."""
    with _cell(identity, results) as (folder, earlier, attempt):
        if earlier is not None:
            return earlier
        error = {"type": "ProcessDied", "message": message, "where": None}
        meta = provenance.meta(attempt, 0.0, None)
        record = Record(identity.cell, identity.content, failed_result(error), meta, folder)
        records.write(record)
        return record


def failed_result(error: dict[str, Any]) -> dict[str, Any]:
    """The result of a cell of which nothing but its error is known."""
    names = "base final best improvement_final improvement_best nre first_success successes withheld"
    unknown = dict.fromkeys([*names.split(), "heldout_evaluations", "compute"])
    return {"status": "failed", "error": error, "curve": []} | unknown


class _Run:
    """One attempt at one cell."""

    def __init__(
        self,
        identity: Identity,
        folder: Path,
        mode: str,
        tuning: Mapping[str, object] | None,
        sweep: Mapping[str, object] | None,
        progress: Callable[[Progress], None] | None,
        attempt: int,
    ) -> None:
        content = identity.content
        self.identity, self.folder, self.progress = identity, folder, progress
        self.heldout: str = content["heldout"]
        self.seed = cell_seed(content)
        self.device: str = content["device"]
        torch.manual_seed(derive(self.seed, "torch"))
        self.task: Task = identity.task.target(identity.task_config)
        self.verifier = Verifier(self.task.verify)
        object.__setattr__(self.task, "verify", self.verifier)  # whoever calls it is counted
        self.prior = weights.to(self.task.prior(), self.device)
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.evaluated_before = ledger.summarise(self.ledger.batches()).evaluated
        self.oracle = Oracle(
            self.verifier,
            self.ledger,
            budget=content["budget"],
            prior=self.prior,
            generator=Streams(derive(self.seed, "oracle"), self.device)("draw"),
            protocol=content["protocol"],
            duplicates=content["duplicates"],
        )
        self.rounds = 0
        self.curve: list[dict[str, Any]] = []
        self.measured: dict[str, dict[str, Any]] = {}
        self.best: tuple[float, Policy] | None = None
        self.heldout_samples = 0
        self.started = time.time()
        self.meta = provenance.meta(attempt, self.started, tuning, sweep)
        self.tracker = tracking.start(mode, folder=folder, identity=content, meta=self.meta)

    def record(self) -> Record:
        """Run to the end and write the record."""
        error: dict[str, Any] | None = None
        policy: Policy = self.prior
        with compute.metered() as meter:
            try:
                policy = self.spend()
                self.audit()
            except (UserError, KeyboardInterrupt) as stop:
                self.tracker.abort(str(stop) or type(stop).__name__)
                raise
            except Exception as raised:
                error = provenance.describe(raised)
                self.tracker.abort(error["message"])
            finally:
                summary = ledger.summarise(self.ledger.batches())
                self.ledger.close()
        if error is None:
            kept = {"final": policy} | ({} if self.best is None else {"best": self.best[1]})
            self.meta["policies"] = [
                which for which, p in kept.items() if weights.save(p, self.folder / f"policy-{which}.safetensors")
            ]
        result = self.result(error, summary, meter)
        self.meta["seconds"] = {name: tally.seconds for name, tally in meter.tallies.items()}
        self.meta["seconds"]["total"] = sum(tally.seconds for tally in meter.tallies.values())
        self.meta["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.meta["tracking"] = self.tracker.status
        record = Record(self.identity.cell, self.identity.content, result, self.meta, self.folder)
        records.write(record)
        if error is None:
            self.tracker.finish(record.to_dict())
        self.tell(done=True)
        return record

    def spend(self) -> Policy:
        """Let the baseline spend its budget, and measure the policies that it yields; the last one."""
        reference = self.prior.clone()
        last = Round(reference, {})
        self.point(last, 0, reference)
        self.tell()
        rng = Streams(derive(self.seed, "method"), self.device)
        rounds = self.identity.baseline.target(self.identity.config, self.prior.clone(), self.oracle, rng)
        curve = self.identity.content["points"] == "all"
        nre = 0
        try:
            for step in rounds:
                self.rounds += 1
                last, nre = Round(frozen(step.policy), step.metrics), self.oracle.nre
                if curve:
                    self.point(last, nre, reference)
                self.tell()
        except BudgetExhausted:
            pass  # a method may run into the wall; what it yielded until then counts
        if self.rounds and not curve:
            self.point(last, nre, reference)
        return last.policy

    def point(self, step: Round, nre: int, reference: Generator) -> None:
        """Measure the policy of the last round, yielded after `nre` evaluations, and put the point on the curve."""
        with self.verifier.heldout():
            mark = weights.fingerprint(step.policy)
            if mark is None or mark not in self.measured:
                stream = heldout_stream(self.identity.content, self.rounds)
                point = estimators.measure(self.task, step.policy, reference, self.heldout, stream)
                point["stream"] = self.rounds
                self.heldout_samples += estimators.heldout_samples(self.heldout)
                if mark is not None:
                    self.measured = {mark: point}  # a policy that did not move is not measured again
            else:
                point = self.measured[mark]
            metrics = {k: float(v) for k, v in step.metrics.items() if math.isfinite(v)}
            self.curve.append({"round": self.rounds, "nre": nre, "metrics": metrics} | point)
            if self.heldout != "off":
                score = estimators.selection_rate(point)
                if self.best is None or score > self.best[0]:
                    self.best = score, step.policy
        self.tracker.point(self.curve[-1])

    def audit(self) -> None:
        """The verifier's own count must be the ledger's, and the ledger's must fit the budget."""
        summary = ledger.summarise(self.ledger.batches())
        new = summary.evaluated - self.evaluated_before
        if self.verifier.calls != new:
            raise RuntimeError(f"the verifier was called on {self.verifier.calls} samples, the ledger answered {new}")
        if summary.nre > self.oracle.budget or summary.nre != self.oracle.nre:
            raise RuntimeError(
                f"the ledger holds {summary.nre} charges, the oracle {self.oracle.nre} of {self.oracle.budget}"
            )

    def result(self, error: dict[str, Any] | None, summary: ledger.Summary, meter: compute.Meter) -> dict[str, Any]:
        """What equal cells share byte for byte."""
        result = failed_result(error or {}) | {
            "status": "finished" if error is None else "failed",
            "error": error,
            "curve": self.curve,
            "nre": summary.nre,
            "first_success": summary.first_success,
            "successes": summary.successes,
            "withheld": summary.successes if self.oracle.protocol == "failures-only" else 0,
            "heldout_evaluations": self.heldout_samples,
            "compute": {n: {"tokens": t.tokens, "flops": t.flops} for n, t in meter.tallies.items()},
        }
        if not self.curve or self.heldout == "off":
            return result
        chosen, estimate, selected_on = estimators.best(self.curve)
        result["base"] = placed(self.curve[0])
        result["final"] = placed(self.curve[-1])
        result["best"] = placed(chosen | estimate._asdict()) | {"selected_on": selected_on}
        base = result["base"]["success_rate"]
        for which in ("final", "best"):
            result[f"improvement_{which}"] = result[which]["success_rate"] / base if base else None
        return result

    def tell(self, done: bool = False) -> None:
        if self.progress is None:
            return
        content = self.identity.content
        last = self.curve[-1] if self.curve else {}
        self.progress(
            Progress(
                self.identity.cell,
                content["task"]["id"],
                content["baseline"]["id"],
                content["seed"],
                self.oracle.nre,
                content["budget"],
                self.rounds,
                last.get("success_rate"),
                done,
            )
        )


def cell_seed(identity: Mapping[str, Any]) -> int:
    """The seed that all streams of a cell derive from; methods of one seed share no random numbers."""
    return derive(identity["seed"], identity["task"]["id"], identity["baseline"]["id"])


def heldout_stream(identity: Mapping[str, Any], index: int) -> torch.Generator:
    """The random numbers that measure point `index` of a cell's curve."""
    return Streams(derive(cell_seed(identity), "heldout", index), identity["device"])("draw")


PLACED = ("round", "nre", *estimators.Estimate._fields, "stream")


def placed(point: dict[str, Any]) -> dict[str, Any]:
    """The parts of a point that stand in a record's summary."""
    return {field: point[field] for field in PLACED}


def frozen(policy: Policy) -> Policy:
    """A copy that a method's next round cannot change; the policy itself where it is of a kind that is not saved."""
    return policy if weights.describe(policy) is None else copy.deepcopy(policy)
