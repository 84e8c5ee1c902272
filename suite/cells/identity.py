"""What a cell is before it runs: everything that its result depends on, checked and hashed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch

from suite import config as configs
from suite import engine, registry
from suite import task as tasks
from suite.cells.spec import SETTINGS, CellSpec
from suite.errors import BrokenCell, UserError
from suite.global_state import restored
from suite.measure import estimators, successes
from suite.protocol import WORKS_UNDER
from suite.store import records, schema
from suite.store.records import FinishedRecord
from suite.store.schema import rate_of
from suite.task import Task


@dataclasses.dataclass(frozen=True)
class Identity:
    """A cell before it runs: what its name is a hash of, and how to build it."""

    content: schema.Identity
    task: registry.Entry
    task_config: Any
    baseline: registry.Entry
    config: Any

    @property
    def cell(self) -> str:
        return records.cell_of(self.content)

    def folder(self, results: Path | str | None) -> Path:
        return records.results_folder(results) / "cells" / self.cell

    def files(self, folder: Path) -> dict[Literal["task", "baseline"], str]:
        """The files of what is a plug-in, as paths from a folder: no name of a home in what is handed on with it."""
        entries = [entry for entry in (self.task, self.baseline) if registry.is_file(entry.id)]
        return {entry.kind: os.path.relpath(entry.source.resolve(), folder.resolve()) for entry in entries}

    def finished(self, results: Path | str | None) -> FinishedRecord | None:
        """The finished record of this cell, if there is one."""
        path = self.folder(results) / "record.json"
        if not path.exists():
            return None
        record = records.read(path)
        return record if isinstance(record, FinishedRecord) else None

    def earlier_engines(self, results: Path | str | None) -> list[int]:
        """The earlier engines of which there is a finished record of this cell: the same but for the engine."""
        return [n for n in range(engine.ENGINE) if self._of_engine(n).is_finished(results)]

    def is_finished(self, results: Path | str | None) -> bool:
        """Whether there is a finished record of this cell; one that cannot be read is none."""
        try:
            return self.finished(results) is not None
        except BrokenCell:
            return False

    def _of_engine(self, number: int) -> Identity:
        return dataclasses.replace(self, content=msgspec.structs.replace(self.content, engine=number))


def identify(spec: CellSpec) -> Identity:
    """Resolve and check everything that a cell's name depends on, without running it.

    Raises:
        UserError: anything that cannot be run, in one line.
    """
    task_entry, baseline_entry = registry.load("task", spec.task), registry.load("baseline", spec.baseline)
    task_config = configs.build(task_entry.config_class, spec.task_config)
    config = configs.build(baseline_entry.config_class, spec.config)
    check_protocol(baseline_entry, spec.protocol)
    probe = kept_task(task_entry, task_config)
    assets = assets_of(task_entry, task_config, probe)
    resolved = dataclasses.replace(
        spec,
        device=resolve_device(spec.device),
        heldout=resolve_heldout(spec.heldout, functools.partial(_is_exact, task_entry, task_config), task_entry.id),
    )
    batch = getattr(config, "batch", 1)
    if spec.budget < batch:
        raise UserError(
            f"--budget {spec.budget} is smaller than one batch of {batch}; raise it, or set `batch` to {spec.budget}"
        )
    content = schema.Identity(
        task=schema.TaskIdentity(
            id=task_entry.id,
            config=configs.to_dict(task_config),
            source_sha256=registry.source_sha256(task_entry),
            assets=assets,
        ),
        baseline=schema.BaselineIdentity(
            id=baseline_entry.id,
            config=configs.to_dict(config),
            source_sha256=registry.source_sha256(baseline_entry),
            control=baseline_entry.id in registry.controls(),
        ),
        engine=engine.ENGINE,
        **resolved.settings(),
    )
    return Identity(content, task_entry, task_config, baseline_entry, config)


def check_protocol(entry: registry.Entry, protocol: str) -> None:
    """UserError where a baseline learns from what a protocol does not show."""
    uses = registry.uses(entry)
    if uses is not None and protocol not in (works := WORKS_UNDER[uses]):
        raise UserError(
            f"{entry.id} uses {uses}, which --protocol {protocol} does not show; use --protocol {' or '.join(works)}"
        )


def warn_of_earlier_engines(identities: Iterable[Identity], results: Path | str | None) -> None:
    """One line on stderr for each earlier engine that has finished some of these cells, of which this one has not."""
    missing = [identity for identity in identities if not identity.is_finished(results)]
    found = Counter(number for identity in missing for number in identity.earlier_engines(results))
    for number, count in sorted(found.items()):
        print(
            f"warning: engine {number} has finished {count} of these cells; this is engine {engine.ENGINE}, whose "
            "results may differ, so they run again (the old records stay)",
            file=sys.stderr,
        )


FEW = 10
"""Successes among the held-out samples below which a rate near the base is mostly chance."""


def warn_of_few_samples(identities: Iterable[Identity]) -> None:
    """One line on stderr for each task whose base rate is known, and too small to count in its held-out samples."""
    seen = set()
    for identity in identities:
        task, heldout = identity.content.task, identity.content.heldout
        if (key := (task.id, task.source_sha256, records.canonical(task.config), heldout)) in seen:
            continue
        seen.add(key)
        base = rate_of(registry.measured_base(task, identity.task.source))
        if heldout.isdecimal() and base and int(heldout) * base < FEW:
            print(
                f"warning: {task.id}: of {int(heldout):,} held-out samples about {int(heldout) * base:.2g} succeed at "
                f"its base rate of {base:.2g}, too few to tell a rate near it; --heldout {math.ceil(FEW / base)} or "
                "importance sampling, --heldout is:N, would",
                file=sys.stderr,
            )


def spec_of(content: schema.Identity) -> CellSpec:
    """The settings with which :func:`identify` gives an identity of this content, if no source has changed."""
    settings = {spec.name: getattr(content, spec.name) for spec in SETTINGS}
    task, baseline = content.task, content.baseline
    return CellSpec(task.id, baseline.id, config=baseline.config, task_config=task.config, **settings)


@functools.lru_cache(maxsize=8)
def _is_exact(entry: registry.Entry, config: Any) -> bool:
    task = kept_task(entry, config)
    with blamed_on(entry):
        return tasks.is_exact(task)


def check_device(device: str) -> None:
    """UserError where this machine, unlike one that a cell may be sent to, has no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda, but torch sees no CUDA device here; use --device cpu")


def resolve_device(device: str) -> str:
    """The device that `auto` stands for here: CUDA if there is one, else the CPU."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


@functools.lru_cache(maxsize=8)
def kept_task(entry: registry.Entry, config: Any) -> Task:
    """The task of this process that no run owns: for questions to it, and for verification."""
    return build_task(entry, config)


def build_task(entry: registry.Entry, config: Any) -> Task:
    """A new task; UserError, with file and line, where its constructor raises."""
    with blamed_on(entry):
        task: Task = entry.target(config)
    return task


def assets_of(entry: registry.Entry, config: Any, task: Task) -> dict[str, str]:
    """sha256 by name of the files that a task needs, and of the sample of its prior's successes."""
    with blamed_on(entry):
        return tasks.assets(task) | successes.sha256(entry, config)


@contextlib.contextmanager
def blamed_on(entry: registry.Entry) -> Iterator[None]:
    """What the task's own code raises before anything runs, as a UserError that names its file and line.

    What it sets for the whole process is put back.
    """
    try:
        with restored(entry.id):
            yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{entry.kind} {entry.id}: {registry.failure(entry.source, error)}") from error


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
