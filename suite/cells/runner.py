"""One cell: a baseline spends its budget on a task, is measured after every round, and leaves a record."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch

from suite import compute, registry
from suite import config as configs
from suite.cells import folder as cell
from suite.cells.identity import Identity, blamed_on, build_task, check_device, identify
from suite.cells.spec import CellSpec
from suite.errors import BudgetExhausted, UserError
from suite.measure import estimators
from suite.oracle import Oracle, Verifier
from suite.policy import Generator, Policy, Round
from suite.seeding import Streams, cell_seed, derive, heldout_stream
from suite.store import disk, ledger, provenance, records, weights
from suite.store.ledger import Ledger
from suite.store.records import Record
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
    tuning: Mapping[str, object] | None = None,
    sweep: Mapping[str, object] | None = None,
    progress: Callable[[Progress], None] | None = None,
    group: str | None = None,
) -> Record:
    """Run one cell, or return its record if it has been run; :func:`suite.run` with its settings as one object.

    Args:
        results, tracking, force, tuning, progress: as in :func:`suite.run`.
        sweep: the study and the trial that the cell is run for.
        group: of its W&B run; without one, the task and the method.

    Raises:
        UserError: bad input; nothing was written.
        CellLocked: another process runs this cell.
    """
    identity = identify(spec)
    check_device(identity.content["device"])
    if force:
        cell.set_aside(identity, results)
    with cell.opened(identity, results) as (folder, earlier, attempt):
        if earlier is not None:
            return earlier
        before = torch.get_num_threads()
        torch.set_num_threads(spec.threads)
        try:
            if tuning is None and identity.config == configs.build(identity.baseline.config_class, {}):
                tuning = registry.tuning_of_defaults(identity.baseline)
            return _Run(identity, folder, tracking, tuning, sweep, progress, attempt, group).record()
        finally:
            torch.set_num_threads(before)


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
        group: str | None,
    ) -> None:
        content = identity.content
        self.identity, self.folder, self.progress = identity, folder, progress
        self.heldout: str = content["heldout"]
        self.seed = cell_seed(content)
        self.device: str = content["device"]
        torch.manual_seed(derive(self.seed, "torch"))
        self.task = build_task(identity.task, identity.task_config)
        with blamed_on(identity.task):
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
        self.tracker = tracking.start(mode, folder=folder, identity=content, meta=self.meta, group=group)

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
            except (Exception, SystemExit) as raised:
                error = provenance.describe(raised)
                self.tracker.abort(error["message"])
            finally:
                summary = ledger.summarise(self.ledger.batches())
                self.meta["heldout_asked"] = max(self.heldout_samples, self.ledger.heldout_asked)
                self.ledger.close()
                # task and counted verifier hold each other; a table of successes is too large to wait for collection
                object.__delattr__(self.task, "verify")
        if error is None:
            kept = {"final": policy} | ({} if self.best is None else {"best": self.best[1]})
            with disk.failures_named():
                self.meta["policies"] = [
                    which for which, p in kept.items() if weights.save(p, self.folder / f"policy-{which}.safetensors")
                ]
        result = self.result(error, summary, meter)
        self.meta["seconds"] = {name: tally.seconds for name, tally in meter.tallies.items()}
        self.meta["seconds"]["total"] = sum(tally.seconds for tally in meter.tallies.values())
        self.meta["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.meta["tracking"] = self.tracker.status
        record = Record(self.identity.cell, self.identity.content, result, self.meta, self.folder)
        with disk.failures_named():
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
                point = self.measure(step.policy, reference, mark)
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

    def measure(self, policy: Policy, reference: Generator, mark: str | None) -> dict[str, Any]:
        """A point of the curve; from the ledger where an earlier attempt had the costly verifier measure this policy.

        A task with `verify_heldout` is asked anew: its answers are cheap.
        """
        samples = estimators.heldout_samples(self.heldout)
        costly = bool(samples) and not hasattr(self.task, "verify_heldout")
        which = mark or f"attempt {self.meta['attempt']}, not saved"
        if costly and (kept := self.ledger.heldout(self.rounds, which)) is not None and mark is not None:
            compute.count(*kept[1])
            return dict(json.loads(kept[0]))
        if costly:
            self.ledger.begin_heldout(self.rounds, which, samples)
        before = compute.spent("heldout")
        stream = heldout_stream(self.identity.content, self.rounds)
        point = estimators.measure(self.task, policy, reference, self.heldout, stream) | {"stream": self.rounds}
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
        if summary.nre > self.oracle.budget or summary.nre != self.oracle.nre:
            raise RuntimeError(
                f"the ledger holds {summary.nre} charges, the oracle {self.oracle.nre} of {self.oracle.budget}"
            )

    def result(self, error: dict[str, Any] | None, summary: ledger.Summary, meter: compute.Meter) -> dict[str, Any]:
        """What equal cells share byte for byte."""
        result = cell.failed_result(error or {}) | {
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
        result["base"] = estimators.placed(self.curve[0])
        result["final"] = estimators.placed(self.curve[-1])
        result["best"] = estimators.placed(chosen | estimate._asdict()) | {"selected_on": selected_on}
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


def frozen(policy: Policy) -> Policy:
    """A copy that a method's next round cannot change; the policy itself where it is of a kind that is not saved."""
    return policy if weights.describe(policy) is None else copy.deepcopy(policy)
