"""Whether records say what their ledgers and saved policies say.

`suite verify` re-evaluates the ledger's samples, recounts evaluations and the first success, and measures the saved
policies again. It shows consistency, not honest training; `--rerun N` repeats N cells from their seeds and compares
their results byte for byte, and their ledgers batch by batch. Code that only the record names is not run.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from suite import config as configs
from suite import registry, sources
from suite.cells import checks as against
from suite.cells import runner
from suite.cells.checks import RTOL, Check
from suite.cells.identity import assets_of, identify, kept_task, spec_of
from suite.engine import ENGINE
from suite.errors import Unavailable, UserError, VerifierError, one_line
from suite.global_state import restored
from suite.measure import estimators, successes
from suite.measure.posterior import Posterior
from suite.policy import Generator, Policy
from suite.seeding import heldout_stream
from suite.store import disk, records, weights
from suite.store.ledger import Batch, Ledger
from suite.store.records import FinishedRecord, Record
from suite.store.schema import Best
from suite.task import Task

Which = Literal["base", "final", "best"]

VERIFIER = "verifier"
"""Name of the check that fails where a verifier cannot be asked again, which refutes no record."""


class Verdict(NamedTuple):
    """What was found of one cell."""

    cell: str
    task: str
    baseline: str
    seed: int
    verified: bool | None
    """None where nothing can be said: a failed run, a verifier that cannot be reached, policies that were not saved,
    a source that changed since or is not trusted, another engine's other numbers."""
    checks: list[Check]


def verify(
    results: Path | str | None = None,
    *,
    rerun: int = 0,
    trust: bool = False,
    say: Callable[[str], None] | None = None,
) -> list[Verdict]:
    """Verify every finished record of a results folder and write its verify.json.

    Args:
        results: folder of records.
        rerun: how many cells are also run again from their seeds, spread over the folder.
        trust: also run code that only the record names: a file, or a module that is not registered.
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
        verdict = verify_one(record, rerun=i in again, trust=trust)
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


def verify_one(record: Record, *, rerun: bool = False, trust: bool = False) -> Verdict:
    """Check one record; writes verify.json beside it."""
    checks: list[Check] = []
    verified: bool | None = None
    if isinstance(record, FinishedRecord):
        try:
            with restored():
                torch.set_num_threads(record.identity.threads)
                verified = _judged(record, checks, rerun=rerun, trust=trust)
        except VerifierError as error:
            answered = error.__cause__ is None  # but not with one 0 or 1 per sample
            verified = None if not answered and all(check.ok for check in checks) else False
            checks.append(Check("task", False, str(error)) if answered else _unreachable(error))
        except Unavailable as error:
            verified = None if all(check.ok for check in checks) else False
            checks.append(_unreachable(error))
        except UserError as error:  # a plug-in that is not here, assets that are missing, a task that changed
            checks.append(Check("source", False, str(error)))
        except (Exception, SystemExit) as error:  # of the task's own code: the other records are still to be checked
            verified = False
            checks.append(Check("task", False, one_line(error)))
    if verified is not None:
        verdict = {
            "verified": verified,
            "hashes": records.file_hashes(record.folder),
            "checks": [check._asdict() for check in checks],
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            disk.write(record.folder / "verify.json", json.dumps(verdict, indent=1) + "\n")
        except OSError as error:  # the other records are still to be checked
            checks.append(Check("verify.json", False, f"cannot be written: {error.strerror or error}"))
    return Verdict(record.cell, record.task, record.baseline, record.seed, verified, checks)


def _unreachable(error: Exception) -> Check:
    return Check(VERIFIER, False, f"not reachable: {error}")


def _judged(record: FinishedRecord, checks: list[Check], *, rerun: bool, trust: bool) -> bool | None:
    """The verdict on a finished record.

    Args:
        checks: takes what the verdict rests on, one by one, so that what was found is kept where a later one raises.

    Raises:
        UserError: its task is not here, or not the one that it was run on.
        VerifierError: the verifier cannot be asked, or gives no answer.
    """
    posterior = posterior_of(record, trust=trust)
    checks += against.of_summary(record)
    checks += check_ledger(record, posterior.task, posterior.prior)
    consistent = all(check.ok for check in checks)
    checks += check_policies(record, posterior)
    if rerun:
        checks.append(_rerun_or_note(record, trust))
    verified: bool | None = all(check.ok for check in checks)
    number = record.identity.engine
    if number != ENGINE and consistent and not verified:
        verified = None  # another engine may measure other numbers: that refutes nothing
        checks.append(Check("engine", False, f"the record is of engine {number}, this is {ENGINE}"))
    unsaved = [which for which in ("final", "best") if not _is_saved(record, which)]
    if record.identity.heldout != "off" and unsaved:
        verified = verified and None
        checks.append(Check("policies", False, f"the {' and '.join(unsaved)} policy was not saved: nothing to measure"))
    return verified


def _is_saved(record: FinishedRecord, which: Which) -> bool:
    """Whether a policy lies beside the record, or should: the list in the record alone may have been emptied."""
    return which in record.meta.policies or (record.folder / f"policy-{which}.safetensors").exists()


def posterior_of(record: Record, *, trust: bool = False) -> Posterior:
    """The task of a record with its prior's successes; its source is compared before anything of it is run.

    Raises:
        UserError: it is not here, its source or its assets are not those of the record, or only the record names it
            and it is not trusted.
    """
    content = record.identity.task
    if record.identity.device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"the record was made on {record.identity.device}, which is not here")
    ref = reference(record, "task")
    check_source("task", ref, content.source_sha256, trust=trust)
    entry = registry.load("task", ref)
    config = configs.build(entry.config_class, content.config)
    task = kept_task(entry, config)
    if registry.source_sha256(entry) != content.source_sha256 or assets_of(entry, config, task) != content.assets:
        raise UserError(f"the source or the assets of {record.task} changed since; this is another task now")
    return successes.posterior_of(entry, config, task, task.prior())


def reference(record: Record, kind: registry.Kind) -> str:
    """What a record's task or baseline can be loaded by: a plug-in's file where it was run, else as it is named here.

    The file lies where the record says, from the record's folder on; nothing of it is run.
    """
    content = record.identity.task if kind == "task" else record.identity.baseline
    file = record.plugin_file(kind)
    if file is not None and file.is_file() and registry.is_file(content.id):
        return f"{file}:{content.id.rpartition(':')[2]}"
    return content.id


def check_source(kind: registry.Kind, ref: str, sha256: str, *, trust: bool) -> None:
    """Before code that a record names is run: it is registered or trusted, and it is the code of the record.

    Raises:
        UserError: it is neither, or it changed.
    """
    if not trust and not registry.is_registered(kind, ref):
        raise UserError(
            f"the {kind} {ref!r} is code outside of the project, which a record from elsewhere may name; "
            "verify with --trust if you know it"
        )
    if sources.sha256_of(registry.locate(kind, ref)) != sha256:
        raise UserError(f"the source of {ref} changed since; this is another {kind} now")


def check_ledger(record: FinishedRecord, task: Task, prior: Generator) -> Iterator[Check]:
    """The ledger against itself, the record's counts and its curve against the ledger; the verifier is asked last."""
    path = record.folder / "ledger.sqlite"
    if not path.exists():
        yield Check("ledger", False, "ledger.sqlite is missing")
        return
    try:
        batches = _batches(path)
    except Exception as error:  # whatever a broken file makes SQLite or torch say
        yield Check("ledger", False, f"cannot be read: {error}")
        return
    symbols = prior.vocab_size
    yield from against.of_batches(batches, symbols)
    yield from against.of_counts(record, batches)
    yield from against.of_curve(record, batches)
    yield against.of_rewards(batches, symbols, task.verify)


def _batches(path: Path) -> list[Batch]:
    book = Ledger(path)
    try:
        return list(book.batches())
    finally:
        book.close()


def _rerun_or_note(record: FinishedRecord, trust: bool) -> Check:
    """The rerun's check; a rerun that cannot be done refutes nothing."""
    try:
        return check_rerun(record, trust=trust)
    except UserError as error:
        return Check("rerun", True, f"not done: {error}")


def check_policies(record: FinishedRecord, posterior: Posterior) -> list[Check]:
    """All that was measured of the prior and of the saved policies, measured again."""
    if record.identity.heldout == "off":
        return []
    if posterior.fault() is not None:
        posterior.sample = None  # as in the run
    checks = check_policy(record, posterior, posterior.prior, "base")
    for which in ("final", "best"):
        if not _is_saved(record, which):
            continue
        path = record.folder / f"policy-{which}.safetensors"
        try:
            policy = weights.load(path, posterior.prior)
        except Exception as error:  # whatever a broken file makes safetensors or torch say
            checks.append(Check(f"{which} success rate", False, f"{path.name} cannot be loaded: {error}"))
            continue
        checks += check_policy(record, posterior, policy, which)
    return checks


def check_policy(record: FinishedRecord, posterior: Posterior, policy: Policy, which: Which) -> list[Check]:
    """The recorded success rate of a policy, and all else of its point, against what is measured now."""
    place = {"base": record.result.base, "final": record.result.final, "best": record.result.best}[which]
    recorded = None if place is None else place.success_rate
    if place is None or recorded is None:
        return [Check(f"{which} success rate", False, "the record says none, though its held-out measurement was on")]
    stream = heldout_stream(record.identity, place.stream)  # the random numbers of the run
    point = estimators.measure(posterior, policy, record.identity.heldout, stream)
    found = (estimators.reported(point) if isinstance(place, Best) else point).success_rate
    rate = math.nan if found is None else found
    close = math.isclose(rate, recorded, rel_tol=RTOL, abs_tol=1e-15)
    checks = [Check(f"{which} success rate", close, f"record says {recorded:.8g}, policy {rate:.8g}")]
    own = next((other for other in record.result.curve if other.round == place.round), None)
    if own is not None:
        checks.append(against.of_point(which, own, point))
    return checks


def check_rerun(record: FinishedRecord, *, trust: bool = False) -> Check:
    """Run the cell again from its seed in a folder of its own; equal results are equal byte for byte.

    Raises:
        UserError: it cannot be run here, its sources changed since, or only the record names its method.
    """
    refs: dict[registry.Kind, str] = {"task": reference(record, "task"), "baseline": reference(record, "baseline")}
    check_source("baseline", refs["baseline"], record.identity.baseline.source_sha256, trust=trust)
    spec = dataclasses.replace(spec_of(record.identity), task=refs["task"], baseline=refs["baseline"])
    if identify(spec).cell != record.cell:
        raise UserError("the sources or the engine changed since: this is another cell now")
    with tempfile.TemporaryDirectory() as folder:
        again = runner.run_cell(spec, results=folder, tracking="off")
        if records.canonical(again.result) != records.canonical(record.result):
            return Check("rerun", False, "the result differs")
        return _same_batches(_batches(again.folder / "ledger.sqlite"), _batches(record.folder / "ledger.sqlite"))


def _same_batches(found: list[Batch], recorded: list[Batch]) -> Check:
    """The ledger of a rerun against the record's, batch by batch."""
    if len(found) != len(recorded):
        return Check("rerun", False, f"the ledger holds {len(recorded)} batches, that of the rerun {len(found)}")
    for new, old in zip(found, recorded, strict=True):
        if not (
            new.digest == old.digest
            and torch.equal(new.x, old.x)
            and torch.equal(new.priced, old.priced)
            and new.rewards is not None
            and old.rewards is not None
            and torch.equal(new.rewards, old.rewards)
        ):
            return Check("rerun", False, f"batch {new.k} of the ledger differs")
    return Check("rerun", True, "equal")
