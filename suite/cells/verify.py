"""Whether records say what their ledgers and saved policies say.

`suite verify` re-evaluates the ledger's samples, recounts evaluations and the first success, and recomputes final and
best success rates from the saved policies. It shows consistency, not honest training; `--rerun N` repeats N cells from
their seeds and compares their results byte for byte.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from suite import config as configs
from suite import registry
from suite import task as tasks
from suite.cells import runner
from suite.cells.identity import identify, kept_task, spec_of
from suite.engine import ENGINE
from suite.errors import UserError, one_line
from suite.measure import estimators
from suite.policy import Policy
from suite.seeding import heldout_stream
from suite.store import disk, ledger, records, weights
from suite.store.ledger import Ledger
from suite.store.records import FinishedRecord, Record
from suite.store.schema import Best, Placed
from suite.task import Task

Which = Literal["base", "final", "best"]
RTOL = 1e-6
"""Relative difference that two processors' rounding may leave between exact success rates."""


class Check(NamedTuple):
    """One thing held against another."""

    name: str
    ok: bool
    detail: str


class Verdict(NamedTuple):
    """What was found of one cell."""

    cell: str
    task: str
    baseline: str
    seed: int
    verified: bool | None
    """None where nothing can be said: a failed run, a source that changed since, another engine's other numbers."""
    checks: list[Check]


def verify(
    results: Path | str | None = None, *, rerun: int = 0, say: Callable[[str], None] | None = None
) -> list[Verdict]:
    """Verify every finished record of a results folder and write its verify.json.

    Args:
        results: folder of records.
        rerun: how many cells are also run again from their seeds, spread over the folder.
        say: called with one line per cell.

    Raises:
        UserError: there is no record.
    """
    found, broken = records.scan(results)
    if not found and not broken:
        raise UserError(f"no records in {records.results_folder(results)}; make some with `suite bench`")
    again = set(torch.linspace(0, len(found) - 1, min(rerun, len(found))).round().int().tolist()) if rerun else set()
    verdicts = []
    for i, record in enumerate(found):
        verdict = verify_one(record, rerun=i in again)
        verdicts.append(verdict)
        if say is not None:
            failed = [f"{c.name}: {c.detail}" for c in verdict.checks if not c.ok]
            word = {True: "verified", False: "NOT VERIFIED", None: "not checked"}[verdict.verified]
            say(f"{record.task} {record.baseline} seed {record.seed}: {word}" + "".join(f"; {line}" for line in failed))
    for line in broken:
        verdicts.append(Verdict("", "", "", 0, False, [Check("record", False, line)]))
        if say is not None:
            say(line)
    return verdicts


def verify_one(record: Record, *, rerun: bool = False) -> Verdict:
    """Check one record; writes verify.json beside it."""
    checks: list[Check] = []
    verified: bool | None = None
    if isinstance(record, FinishedRecord):
        before = torch.get_num_threads()
        torch.set_num_threads(record.identity.threads)
        try:
            task = task_of(record)
            checks += [*check_ledger(record, task), *check_summary(record)]
            measured = check_policies(record, task) + ([_rerun_or_note(record)] if rerun else [])
            verified = all(check.ok for check in (*checks, *measured))
            number = record.identity.engine
            if number != ENGINE and all(check.ok for check in checks) and not verified:
                verified = None  # another engine may measure other numbers: that refutes nothing
                measured.append(Check("engine", False, f"the record is of engine {number}, this is {ENGINE}"))
            checks += measured
        except UserError as error:  # a plug-in that is not here, assets that are missing, a task that changed
            checks.append(Check("source", False, str(error)))
        except (Exception, SystemExit) as error:  # of the task's own code: the other records are still to be checked
            verified = False
            checks.append(Check("task", False, one_line(error)))
        finally:
            torch.set_num_threads(before)
    if verified is not None:
        verdict = {
            "verified": verified,
            "hashes": records.file_hashes(record.folder),
            "checks": [check._asdict() for check in checks],
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        disk.write(record.folder / "verify.json", json.dumps(verdict, indent=1) + "\n")
    return Verdict(record.cell, record.task, record.baseline, record.seed, verified, checks)


def task_of(record: Record) -> Task:
    """The task of a record.

    Raises:
        UserError: it is not here, or its source or its assets are not those of the record.
    """
    content = record.identity.task
    if record.identity.device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"the record was made on {record.identity.device}, which is not here")
    entry = registry.load("task", record.task)
    task = kept_task(entry, configs.build(entry.config_class, content.config))
    if registry.source_sha256(entry) != content.source_sha256 or tasks.assets(task) != content.assets:
        raise UserError(f"the source or the assets of {record.task} changed since; this is another task now")
    return task


def check_ledger(record: FinishedRecord, task: Task) -> list[Check]:
    """Budget, counts, first success, and every reward asked for again."""
    path = record.folder / "ledger.sqlite"
    if not path.exists():
        return [Check("ledger", False, "ledger.sqlite is missing")]
    try:
        book = Ledger(path)
        batches = list(book.batches())
        book.close()
    except Exception as error:  # whatever a broken file makes SQLite or torch say
        return [Check("ledger", False, f"cannot be read: {error}")]
    summary = ledger.summarise(iter(batches))
    result = record.result
    differing = 0
    for batch in batches:
        if batch.rewards is None:
            differing += int(batch.priced.sum())
        else:
            differing += int((tasks.verified(task.verify, batch.x).cpu() != batch.rewards).sum())
    budget = record.identity.budget
    return [
        Check("budget", summary.nre <= budget, f"{summary.nre} of {budget} charged"),
        equal("nre", result.nre, summary.nre),
        equal("successes", result.successes, summary.successes),
        equal("first success", result.first_success, summary.first_success),
        Check("rewards", differing == 0, f"{differing} of {summary.nre} answers differ when asked again"),
    ]


def equal(name: str, recorded: object, found: object) -> Check:
    return Check(name, recorded == found, f"record says {recorded}, ledger {found}")


def check_summary(record: FinishedRecord) -> list[Check]:
    """What the record's summary says against its own curve."""
    if record.identity.heldout == "off":
        return []
    result, curve = record.result, record.result.curve
    base, final, best = estimators.placed(curve[0]), estimators.placed(curve[-1]), estimators.best(curve)
    points: list[tuple[str, Placed | None, Placed]] = [
        ("base", result.base, base),
        ("final", result.final, final),
        ("best", result.best, best),
    ]
    quotients = [
        ("final", result.improvement_final, estimators.improvement(final, base)),
        ("best", result.improvement_best, estimators.improvement(best, base)),
    ]
    return [
        *(Check(f"{name} of the curve", a == b, f"summary {_shown(a)}, curve {_shown(b)}") for name, a, b in points),
        *(Check(f"{name} improvement", a == b, f"summary {a}, quotient {b}") for name, a, b in quotients),
    ]


def _shown(point: Placed | None) -> str:
    return records.canonical(point)


def _rerun_or_note(record: FinishedRecord) -> Check:
    """The rerun's check; a rerun that cannot be done refutes nothing."""
    try:
        return check_rerun(record)
    except UserError as error:
        return Check("rerun", True, f"not done: {error}")


def check_policies(record: FinishedRecord, task: Task) -> list[Check]:
    """Base rate from the prior, final and best success rate from the saved policies."""
    if record.identity.heldout == "off":
        return []
    prior = task.prior()
    checks = [check_rate(record, task, prior, "base")]
    for which in record.meta.policies:
        path = record.folder / f"policy-{which}.safetensors"
        try:
            policy = weights.load(path, prior)
        except Exception as error:  # whatever a broken file makes safetensors or torch say
            checks.append(Check(f"{which} success rate", False, f"{path.name} cannot be loaded: {error}"))
            continue
        checks.append(check_rate(record, task, policy, which))
    return checks


def check_rate(record: FinishedRecord, task: Task, policy: Policy, which: Which) -> Check:
    """The recorded success rate of a policy against the one measured now."""
    place = {"base": record.result.base, "final": record.result.final, "best": record.result.best}[which]
    recorded = None if place is None else place.success_rate
    if place is None or recorded is None:
        return Check(f"{which} success rate", False, "the record says none, though its held-out measurement was on")
    found = remeasure(record, task, policy, place)
    close = math.isclose(found, recorded, rel_tol=RTOL, abs_tol=1e-15)
    return Check(f"{which} success rate", close, f"record says {recorded:.8g}, policy {found:.8g}")


def remeasure(record: FinishedRecord, task: Task, policy: Policy, place: Placed) -> float:
    """The success rate of a saved policy, estimated as the record's was, with the same random numbers."""
    stream = heldout_stream(record.identity, place.stream)
    point = estimators.measure(task, policy, task.prior(), record.identity.heldout, stream)
    rate = (estimators.reported(point) if isinstance(place, Best) else point).success_rate
    return math.nan if rate is None else rate


def check_rerun(record: FinishedRecord) -> Check:
    """Run the cell again from its seed in a folder of its own; equal results are equal byte for byte.

    Raises:
        UserError: it cannot be run here, or its sources changed since.
    """
    spec = spec_of(record.identity)
    if identify(spec).cell != record.cell:
        raise UserError("the sources or the engine changed since: this is another cell now")
    with tempfile.TemporaryDirectory() as folder:
        again = runner.run_cell(spec, results=folder, tracking="off")
    same = records.canonical(again.result) == records.canonical(record.result)
    return Check("rerun", same, "equal" if same else "the result differs")
