"""One cell: a baseline spends its budget on a task, is measured after every round, and leaves a record."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import math
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import torch

from suite import attempts, compute, guard, registry
from suite import config as configs
from suite import task as tasks
from suite.cells import checkpoint
from suite.cells import folder as cell
from suite.cells.continued import begin
from suite.cells.identity import Identity, blamed_on, build_task, check_device, identify
from suite.cells.spec import CellSpec
from suite.errors import BudgetExhausted, UserError
from suite.global_state import restored
from suite.measure import estimators, successes
from suite.measure.posterior import Posterior
from suite.oracle import Oracle, Verifier, restore, state_of
from suite.policy import Policy, Round, made_of_engine_parts, own_types
from suite.protocol import WITHHOLDING
from suite.seeding import Streams, cell_seed, derive, heldout_stream
from suite.store import disk, ledger, provenance, records, schema, weights
from suite.store.ledger import Ledger
from suite.store.records import FinishedRecord, Record
from suite.tracking import run as tracking


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


def run_cell(
    spec: CellSpec,
    *,
    results: Path | str | None = None,
    tracking: str = "offline",
    force: bool = False,
    tuning: schema.Tuning | None = None,
    sweep: schema.StudyTrial | None = None,
    progress: Callable[[Progress], None] | None = None,
    group: str | None = None,
    continued: str | None = None,
) -> Record:
    """Run one cell, or return its record if it has been run; :func:`suite.run` with its settings as one object.

    Args:
        results, tracking, force, tuning, progress, continued: as in :func:`suite.run`.
        sweep: the study and the trial that the cell is run for.
        group: of its W&B run; without one, the task and the method.

    Raises:
        UserError: bad input; nothing was written.
        CellLocked: another process runs this cell.
    """
    identity = identify(spec)
    check_device(identity.content.device)
    if force:
        cell.set_aside(identity, results)
    with cell.opened(identity, results) as (folder, earlier, attempt):
        if earlier is not None:
            return earlier
        if continued is not None:
            begin(identity, results, continued, folder)
        before = torch.get_num_threads()
        torch.set_num_threads(spec.threads)
        try:
            if tuning is None and identity.config == configs.build(identity.baseline.config_class, {}):
                tuning = registry.tuning_of_defaults(identity.baseline)
            meta = provenance.meta(attempt, time.time(), tuning, sweep)
            meta = msgspec.structs.replace(meta, files=identity.files(folder), continued=continued)
            with restored(f"{identity.content.baseline.id} on {identity.content.task.id}"):
                run = _Run(
                    identity, folder.absolute(), tracking, meta, progress, group
                )  # a method may leave the folder
                return dataclasses.replace(run.record(), folder=folder)
        finally:
            torch.set_num_threads(before)


class _Run:
    """One attempt at one cell."""

    def __init__(
        self,
        identity: Identity,
        folder: Path,
        mode: str,
        meta: schema.Meta,
        progress: Callable[[Progress], None] | None,
        group: str | None,
    ) -> None:
        content = identity.content
        self.identity, self.folder, self.progress = identity, folder, progress
        self.meta, self.heldout, self.device = meta, content.heldout, content.device
        self.seed = cell_seed(content.seed, content.task.id, content.baseline.id)
        torch.manual_seed(derive(self.seed, "torch"))
        self.task = build_task(identity.task, identity.task_config)
        with blamed_on(identity.task):
            self.verifier = Verifier(self.task.verify)
            object.__setattr__(self.task, "verify", self.verifier)  # whoever calls it is counted
            self.prior = weights.to(self.task.prior(), self.device)
            self.cost = tasks.cost(self.task)
        self.posterior = self._posterior()
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.evaluated_before = ledger.summarise(self.ledger.batches()).evaluated
        self.oracle = Oracle(
            self.verifier,
            self.ledger,
            budget=content.budget,
            prior=self.prior,
            generator=Streams(derive(self.seed, "oracle"), self.device)("draw"),
            protocol=content.protocol,
            duplicates=content.duplicates,
        )
        self.checkpoints = checkpoint.Checkpoints(folder, checkpoint.family(content), self.prior)
        self.rounds = 0
        self.curve: list[schema.Point] = []
        self.measured: dict[str, schema.Point] = {}
        self.best: tuple[float, Policy] | None = None
        self.kinds = guard.kinds(self.prior)
        self.heldout_samples = 0
        self.heldout_calls = self.verifier.heldout_calls  # those of the sample of successes, just now
        self.tracker = tracking.start(mode, folder=folder, identity=content, meta=meta, group=group)

    def _posterior(self) -> Posterior:
        """What policies are held against; a sample of successes that is not usable is left out with a warning."""
        own = self.identity
        with blamed_on(own.task), self.verifier.heldout(), torch.no_grad():
            posterior = successes.posterior_of(own.task, own.task_config, self.task, self.prior.clone(), self.device)
            fault = None if self.heldout == "off" else posterior.fault()
            if self.heldout == "exact":  # once, before anything is metered: a run that is resumed counts the same
                with contextlib.suppress(Exception):  # the first point fails by it, and the record says so
                    _ = posterior.log_prior
        if fault is not None:
            print(f"warning: no posterior match on {self.identity.task.id}: {fault}", file=sys.stderr)
        if fault is not None or self.heldout == "off":
            posterior.sample = None
        return posterior

    def record(self) -> Record:
        """Run to the end and write the record."""
        error: schema.Error | None = None
        policy: Policy = self.prior
        with compute.metered() as meter:
            try:
                policy = self.spend(meter)
                self.audit()
            except (UserError, KeyboardInterrupt) as stop:
                self.tracker.abort(str(stop) or type(stop).__name__)
                raise
            except (Exception, SystemExit) as raised:
                error = provenance.describe(raised)
                self.tracker.abort(error.message)
            finally:
                summary = ledger.summarise(self.ledger.batches())
                asked = max(self.heldout_samples, self.ledger.heldout_asked)
                self.ledger.close()
                # task and counted verifier hold each other; a table of successes is too large to wait for collection
                object.__delattr__(self.task, "verify")
        kept: dict[Literal["final", "best"], Policy] = {}
        if error is None:
            kept["final"] = policy
            if self.best is not None:
                kept["best"] = self.best[1]
        seconds = {name: tally.seconds for name, tally in meter.tallies.items()}
        with disk.failures_named():
            saved = [w for w, p in kept.items() if weights.save(p, self.folder / f"policy-{w}.safetensors")]
        meta = msgspec.structs.replace(
            self.meta,
            policies=saved,
            seconds=schema.Seconds(**seconds, total=sum(seconds.values())),
            finished=datetime.now(UTC).isoformat(timespec="microseconds"),
            heldout_asked=asked,
            uses=registry.uses(self.identity.baseline),
            cost=self.cost,
            batches=summary.batches,
            smallest_batch=summary.smallest,
            tracking=self.tracker.status,
        )
        result = self.result(error, summary, meter)
        record = records.make(self.identity.cell, self.identity.content, result, meta, self.folder)
        with disk.failures_named():
            records.write(record)
        if isinstance(record, FinishedRecord):
            self.checkpoints.drop(keep=1 if getattr(self.prior, "saved", True) else 0)
            self.tracker.finish(record)
        self.report_progress(done=True)
        return record

    def spend(self, meter: compute.Meter) -> Policy:
        """Let the baseline spend its budget, and measure the policies that it yields; the last one."""
        rng = Streams(derive(self.seed, "method"), self.device)
        stateful = checkpoint.takes_state(self.identity.baseline)
        resumed = self.resumed(rng, meter) if stateful else None
        if resumed is None:
            last, nre = Round(self.posterior.prior, {}), 0
            self.point(last, nre)
        else:
            last, nre = resumed
        self.report_progress()
        more = {} if resumed is None else {"state": last.state}
        rounds = self.identity.baseline.target(self.identity.config, self.prior.clone(), self.oracle, rng, **more)
        curve = self.identity.content.points == "all"
        try:
            for step in rounds:
                self.rounds += 1
                last, nre = Round(frozen(step.policy), step.metrics), self.oracle.nre
                if curve:
                    self.point(last, nre)
                if stateful and step.state is not None and self.checkpoints.due:
                    self.checkpoints.write(self.rounds, self.content(last._replace(state=step.state), nre, rng, meter))
                self.report_progress()
        except BudgetExhausted:
            pass  # a method may run into the wall; what it yielded until then counts
        if self.rounds and not curve:
            self.point(last, nre)
        return last.policy

    def content(self, last: Round, nre: int, rng: Streams, meter: compute.Meter) -> dict[str, Any]:
        """What the run is after a round, for a checkpoint."""
        return {
            "state": last.state,
            "policy": last.policy,
            "metrics": {name: float(value) for name, value in last.metrics.items()},
            "nre": nre,
            "rounds": self.rounds,
            "curve": [records.canonical(point) for point in self.curve],
            "measured": {mark: records.canonical(point) for mark, point in self.measured.items()},
            "best": self.best,
            "heldout": self.heldout_samples,
            "compute": meter.state(),
            "streams": rng.state(),
            "torch": torch.get_rng_state(),
            "oracle": state_of(self.oracle),
        }

    def resumed(self, rng: Streams, meter: compute.Meter) -> tuple[Round, int] | None:
        """Take over the last checkpoint that fits the ledger: its round and the evaluations until then; else None."""
        for kept in self.checkpoints.read():
            try:
                last = Round(kept["policy"], kept["metrics"], kept["state"])
                curve = [msgspec.json.decode(point, type=schema.Point) for point in kept["curve"]]
                measured = {m: msgspec.json.decode(point, type=schema.Point) for m, point in kept["measured"].items()}
                counts = kept["nre"], kept["rounds"], kept["heldout"], kept["best"]
                restore(self.oracle, kept["oracle"])
            except Exception as error:  # of another version, or of another ledger
                checkpoint.ignored(f"the checkpoint after round {kept.get('rounds')}", error)
                continue
            self.curve, self.measured = curve, measured
            nre, self.rounds, self.heldout_samples, self.best = counts
            meter.restore(kept["compute"])
            rng.restore(kept["streams"])
            torch.set_rng_state(kept["torch"])
            for point in self.curve:
                self.tracker.point(point)
            return last, nre
        return None

    def point(self, step: Round, nre: int) -> None:
        """Measure the policy of the last round, yielded after `nre` evaluations, and put the point on the curve."""
        before = self.verifier.heldout_calls
        with self.verifier.heldout():
            mark = weights.fingerprint(step.policy)
            if mark is None or mark not in self.measured:
                point = self.measure(step.policy, mark)
                self.heldout_samples += estimators.heldout_samples(self.heldout)
                if mark is not None:
                    self.measured = {mark: point}  # a policy that did not move is not measured again
            else:
                point = self.measured[mark]
            metrics = {k: float(v) for k, v in step.metrics.items() if math.isfinite(v)}
            self.curve.append(msgspec.structs.replace(point, round=self.rounds, nre=nre, metrics=metrics))
            if self.heldout != "off":
                score = estimators.selection_rate(point)
                if self.best is None or score > self.best[0]:
                    self.best = score, step.policy
        self.heldout_calls += self.verifier.heldout_calls - before
        self.tracker.point(self.curve[-1])

    def measure(self, policy: Policy, mark: str | None) -> schema.Point:
        """A point of the curve; from the ledger where an earlier attempt had the costly verifier measure this policy.

        A task with `verify_heldout` is asked anew: its answers are cheap.
        """
        samples = estimators.heldout_samples(self.heldout)
        shown = self.heldout == "exact" or self.heldout.startswith(estimators.IMPORTANCE) or self.posterior.sample
        if shown and made_of_engine_parts(policy, own_types(self.posterior.prior)):  # it is shown successes not its own
            guard.check(policy, self.kinds)
        costly = bool(samples) and not hasattr(self.task, "verify_heldout")
        which = mark or f"attempt {self.meta.attempt}, not saved"
        if costly and (kept := self.ledger.heldout(self.rounds, which)) is not None and mark is not None:
            compute.count(*kept[1])
            return msgspec.json.decode(kept[0], type=schema.Point)
        if costly:
            self.ledger.begin_heldout(self.rounds, which, samples)
        before = compute.spent("heldout")
        stream = heldout_stream(self.identity.content, self.rounds)
        with attempts.noted(functools.partial(self.ledger.attempt, None)):
            point = estimators.measure(self.posterior, policy, self.heldout, stream)
        point = msgspec.structs.replace(point, stream=self.rounds)
        if costly:
            after = compute.spent("heldout")
            self.ledger.end_heldout(
                self.rounds, which, records.canonical(point), (after[0] - before[0], after[1] - before[1])
            )
        return point

    def audit(self) -> None:
        """The verifier's own count must be the ledger's, and the ledger's must fit the budget."""
        summary = ledger.summarise(self.ledger.batches())
        new = summary.evaluated - self.evaluated_before
        if self.verifier.calls != new:
            raise RuntimeError(f"the verifier was called on {self.verifier.calls} samples, the ledger answered {new}")
        other = self.verifier.heldout_calls - self.heldout_calls
        if other:
            raise RuntimeError(f"the method put {other} samples to the verifier as held-out measurements of its own")
        if summary.nre > self.oracle.budget or summary.nre != self.oracle.nre:
            raise RuntimeError(
                f"the ledger holds {summary.nre} charges, the oracle {self.oracle.nre} of {self.oracle.budget}"
            )

    def result(self, error: schema.Error | None, summary: ledger.Summary, meter: compute.Meter) -> schema.Result:
        """What equal cells share byte for byte."""
        measured = bool(self.curve) and self.heldout != "off"
        base = estimators.placed(self.curve[0]) if measured else None
        final = estimators.placed(self.curve[-1]) if measured else None
        best = estimators.best(self.curve) if measured else None
        result = schema.FinishedResult(
            curve=self.curve,
            base=base,
            final=final,
            best=best,
            improvement_final=estimators.improvement(final, base),
            improvement_best=estimators.improvement(best, base),
            nre=summary.nre,
            first_success=summary.first_success,
            successes=summary.successes,
            withheld=summary.successes if self.oracle.protocol in WITHHOLDING else 0,
            heldout_evaluations=self.heldout_samples,
            compute=schema.Compute(**{n: schema.Tally(t.tokens, t.flops) for n, t in meter.tallies.items()}),
        )
        if error is None:
            return result
        return schema.FailedResult(**msgspec.structs.asdict(result) | {"error": error})

    def report_progress(self, done: bool = False) -> None:
        if self.progress is None:
            return
        content = self.identity.content
        last = self.curve[-1].success_rate if self.curve else None
        self.progress(
            Progress(
                self.identity.cell,
                content.task.id,
                content.baseline.id,
                content.seed,
                self.oracle.nre,
                content.budget,
                self.rounds,
                last,
                done,
            )
        )


def frozen(policy: Policy) -> Policy:
    """A copy that a method's next round cannot change; the policy itself where it is of a kind that is not saved."""
    return policy if weights.describe(policy) is None else copy.deepcopy(policy)
