"""`suite.run` and `suite.bench`: the Python interface, with every setting as an argument of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suite.cells import grid
from suite.cells.grid import CellDone
from suite.cells.spec import CellSpec
from suite.store import schema
from suite.store.records import Record

if TYPE_CHECKING:
    from suite.cells.runner import Progress


def run(
    task: str,
    baseline: str,
    *,
    seed: int = CellSpec.seed,
    budget: int = CellSpec.budget,
    results: Path | str | None = None,
    config: Mapping[str, object] | None = None,
    task_config: Mapping[str, object] | None = None,
    protocol: str = CellSpec.protocol,
    duplicates: str = CellSpec.duplicates,
    heldout: str = CellSpec.heldout,
    points: str = CellSpec.points,
    device: str = CellSpec.device,
    threads: int = CellSpec.threads,
    tracking: str = "offline",
    force: bool = False,
    tuning: Mapping[str, object] | None = None,
    sweep: Mapping[str, object] | None = None,
    progress: Callable[[Progress], None] | None = None,
    continued: str | None = None,
) -> Record:
    """Run one cell, or return its record if it has been run.

    A run that was killed resumes from its last checkpoint and its ledger; nothing is charged twice.

    Args:
        task, baseline: ids, `module:Name` or `path/to/file.py:Name`.
        seed: the master seed; streams of the policy, the oracle and the evaluation are derived from it.
        budget: reward evaluations, NRE.
        results: folder of records; else $SUITE_RESULTS, else ./results.
        config, task_config: fields of the baseline's and the task's config that differ from their defaults.
        protocol, duplicates: what the method sees, and what a repeated sample costs (:mod:`suite.protocol`).
        heldout: `exact`, `off`, a number of samples, `is:N` for importance sampling, or `auto`: exact where the
            successes are enumerated, else 10,000 samples.
        points: `all` measures after every round, `final` only before the first and after the last: for tuning and
            for whoever cannot pay for a curve. The points measured are the same.
        device: `cpu`, `cuda`, or `auto`: CUDA if there is one.
        threads: torch threads.
        tracking: `offline`, `online` or `off` (Weights & Biases, a mirror of the record).
        force: run again even if there is a record.
        tuning: provenance of the configuration: study, nre and heldout spent on finding it, and what else `suite
            sweep-best` writes (:class:`suite.store.schema.Tuning`); for the shipped defaults it is known.
        sweep: the study and the trial that the cell is run for.
        continued: the name of a finished cell with a smaller budget and else the same settings: the run goes on where
            that ended, and pays for what is new.

    Returns:
        The record; its status is `failed` if the method or the verifier raised.

    Raises:
        UserError: bad input; nothing was written.
    """
    from suite.cells.identity import identify, warn_of_earlier_engines  # imports torch
    from suite.cells.runner import run_cell

    spec = CellSpec(
        task,
        baseline,
        seed=seed,
        budget=budget,
        config=config or {},
        task_config=task_config or {},
        protocol=protocol,
        duplicates=duplicates,
        heldout=heldout,
        points=points,
        device=device,
        threads=threads,
    )
    warn_of_earlier_engines([identify(spec)], results)
    return run_cell(
        spec,
        results=results,
        tracking=tracking,
        force=force,
        tuning=None if tuning is None else schema.tuning_of(tuning),
        sweep=None if sweep is None else schema.study_trial_of(sweep),
        progress=progress,
        continued=continued,
    )


def bench(
    tasks: Sequence[str],
    baselines: Sequence[str],
    *,
    seeds: int | Sequence[int] = 5,
    budget: int = CellSpec.budget,
    jobs: int = 1,
    executor: str | None = None,
    results: Path | str | None = None,
    config: Mapping[str, object] | None = None,
    task_config: Mapping[str, object] | None = None,
    protocol: str = CellSpec.protocol,
    duplicates: str = CellSpec.duplicates,
    heldout: str = CellSpec.heldout,
    points: str = CellSpec.points,
    device: str = CellSpec.device,
    threads: int = CellSpec.threads,
    tracking: str = "offline",
    force: bool = False,
    tuning: Mapping[str, object] | None = None,
    progress: Callable[[CellDone], None] | None = None,
) -> list[Record]:
    """Run the cells of the grid that have no finished record yet.

    The order is seed by seed, so that every method has as many seeds as any other while the grid fills. Several
    processes may run the same grid into one folder: each leaves out what another is running, and waits for it last.

    Args:
        tasks, baselines: ids, `module:Name` or `path/to/file.py:Name`.
        seeds: how many, from 0 on, or the seeds themselves.
        jobs: processes; with 1 the cells run in this one.
        executor: `local:J`, the same as jobs=J, or `dask://HOST:PORT`, the workers of a Dask scheduler.
        config, task_config: fields that differ from their defaults; each goes to all that have it.
        tuning: as in :func:`run`, of the baselines that have a field of `config`; the others owe it nothing.
        progress: called with every cell that has its record, those of earlier calls first.
        budget, results, protocol, duplicates, heldout, points, device, threads, tracking, force: as in :func:`run`.

    Returns:
        One record per cell, seed by seed; if its workers kept crashing, its status is `failed`.

    Raises:
        UserError: bad input, before any cell is run.
    """
    specs = grid.cells_of(
        tasks,
        baselines,
        seeds,
        config=config or {},
        task_config=task_config or {},
        budget=budget,
        protocol=protocol,
        duplicates=duplicates,
        heldout=heldout,
        points=points,
        device=device,
        threads=threads,
    )
    return grid.run_grid(
        specs,
        jobs=jobs,
        executor=executor,
        results=results,
        tracking=tracking,
        force=force,
        tuning=None if tuning is None else schema.tuning_of(tuning),
        progress=progress,
    )
