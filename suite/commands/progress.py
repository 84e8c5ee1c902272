"""What a person sees while cells run: bars and a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suite import registry
from suite.cells import running
from suite.cells.grid import CellDone
from suite.commands import pace
from suite.errors import printable
from suite.measure.means import geometric_mean
from suite.store.records import Record, finished, results_folder
from suite.store.schema import FailedResult, rate_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from rich.console import RenderableType
    from rich.table import Table

    from suite.cells.runner import Progress
    from suite.cells.running import Running
    from suite.cells.spec import CellSpec
    from suite.search.loop import TrialDone


@contextlib.contextmanager
def of_run(budget: int, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """What `suite.run` is to tell its progress: a bar on a terminal's stderr, else None."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("NRE, success {task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("starting", total=budget, rate="–")

        def show(state: Progress) -> None:
            name = f"{state.baseline}, seed {state.seed}"
            bar.update(row, completed=state.nre, description=name, rate=number(state.success_rate))

        yield show


@contextlib.contextmanager
def of_grid(
    quiet: bool, specs: Sequence[CellSpec], results: Path | str | None = None, jobs: int = 1
) -> Iterator[Callable[[CellDone], None] | None]:
    """What `suite.bench` is to tell its progress: a line on stdout per cell, under it a live table in a terminal.

    Args:
        specs, results, jobs: of the grid.
    """
    if quiet:
        yield None
        return
    grid = _Grid(specs, results_folder(results), jobs)
    if not sys.stderr.isatty():
        yield grid.announce
        return
    from rich.console import Console
    from rich.live import Live

    with Live(
        console=Console(stderr=True),
        get_renderable=grid.view,
        refresh_per_second=1,
        redirect_stdout=sys.stdout.isatty(),
    ):
        yield grid.announce


class _Grid:
    """What is known of a grid while it runs."""

    def __init__(self, specs: Sequence[CellSpec], folder: Path, jobs: int) -> None:
        names = {(registry.id_of(spec.task), registry.id_of(spec.baseline), spec.seed) for spec in specs}
        self.total, self.folder = len(names), folder
        self.cells = {(task, baseline) for task, baseline, _ in names}
        self.records: list[Record] = []
        self.pace = pace.Pace([(task, baseline) for task, baseline, _ in names], jobs)

    def announce(self, cell: CellDone) -> None:
        """Keep the cell's record; print a line if it was run now, and one count of those that were there before."""
        record = cell.record
        kind = record.task, record.baseline
        self.total = cell.total
        if cell.fresh:
            seconds = record.meta.seconds.total if record.meta.seconds else None
            self.pace.ended(kind, seconds or 0.0)
        else:
            self.pace.there(kind)
        self.records.append(record)
        left = pace.words(self.pace.left(self.in_flight())) if cell.done < cell.total else ""
        if cell.fresh:
            print(f"[{cell.done}/{cell.total}{left}] {line(record)}", flush=True)
        elif cell.done == cell.total:
            print(f"[{cell.done}/{cell.total}] all there, nothing to run", flush=True)

    def running(self) -> list[Running]:
        return [one for one in running.read(self.folder) if (one.task, one.baseline) in self.cells]

    def in_flight(self) -> list[pace.InFlight]:
        now = time.time()
        return [pace.InFlight((one.task, one.baseline), now - one.started, one.share) for one in self.running()]

    def view(self) -> RenderableType:
        """The table so far, and under it what each cell that runs does now."""
        from rich.console import Group
        from rich.text import Text

        ended = len(self.records) >= self.total
        left = "" if ended else pace.words(self.pace.left(self.in_flight()))
        now = [
            Text(printable(f"now: {one.task} {one.baseline} seed {one.seed}: {one.step}"), style="dim")
            for one in self.running()
        ]
        return Group(table(list(self.records), self.total, left), *now)


class Clock:
    """How long a search has run, and about how long it will, at the pace so far."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, before: int) -> None:
        """Start now, with `before` that had ended already and say nothing about the pace."""
        self.started = time.monotonic()
        self.before = before
        self.ran = 0

    def left(self, done: int, total: int) -> str:
        """`, about 3 min left`; empty at the end and before anything was run."""
        if not self.ran or done >= total:
            return ""
        return pace.words((time.monotonic() - self.started) / self.ran * (total - done))


def table(records: list[Record], total: int, left: str = "") -> Table:
    """The grid so far: seeds done, geometric mean success rate and improvement of each method on each task."""
    from rich.table import Table

    grid = Table(title=f"{len(records)} of {total} cells{left}", title_justify="left", box=None, pad_edge=False)
    for name in ("task", "method"):
        grid.add_column(name)
    for name in ("seeds", "success", "over base", "failed"):
        grid.add_column(name, justify="right")
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:  # two files may have one name
        one, other = record.identity.task.source_sha256, record.identity.baseline.source_sha256
        groups.setdefault((record.task, record.baseline, one, other), []).append(record)
    for (task, baseline, *_), cells in sorted(groups.items()):
        done = finished(cells)
        rates = [rate for record in done if (rate := rate_of(record.final)) is not None]
        gains = [gain for record in done if (gain := record.result.improvement_final) is not None]
        failed = len(cells) - len(done)
        grid.add_row(
            task,
            baseline,
            str(len(done)),
            number(geometric_mean(rates) if rates else None),
            factor(geometric_mean(gains) if gains else None),
            str(failed or ""),
        )
    return grid


def line(record: Record) -> str:
    """One cell in one line."""
    name = printable(f"{record.task} {record.baseline} seed {record.seed}")
    if isinstance(record.result, FailedResult):
        error = record.result.error
        return f"{name}: FAILED, {error.line()}" + (f" at {error.where}" if error.where else "")
    rate = number(rate_of(record.final)) if record.final else "not measured"
    gain = record.result.improvement_final
    over = f" ({factor(gain)} base)" if gain is not None else ""
    seconds = record.meta.seconds.total if record.meta.seconds else None
    took = "" if seconds is None else f", {seconds:.0f} s"
    return f"{name}: success {rate}{over}, {record.result.nre} NRE{took}"


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def factor(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}×"


@contextlib.contextmanager
def of_sweep(quiet: bool) -> Iterator[Callable[[TrialDone], None] | None]:
    """What `suite.search.loop` is to tell its progress: a line on stdout per trial, a bar under it in a terminal."""
    if quiet:
        yield None
        return
    clock = Clock()
    if not sys.stderr.isatty():
        yield lambda state: _announce_trial(state, clock)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("trials{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        row = bar.add_task("", total=None, state="")

        def show(state: TrialDone) -> None:
            _announce_trial(state, clock)
            text = f", best {_values(state.best)}{clock.left(state.ended, state.total)}"
            bar.update(row, total=state.total, completed=state.ended, state=text)

        yield show


def _announce_trial(state: TrialDone, clock: Clock) -> None:
    """Print a line of a trial that has ended now."""
    trial = state.trial
    if trial is None:
        clock.begin(state.ended)
        if state.ended:
            print(f"[{state.ended}/{state.total}] trials were there before, best {_values(state.best)}", flush=True)
        return
    clock.ran = state.ended - clock.before  # other processes' too
    params = ", ".join(f"{name} {number(v) if isinstance(v, float) else v}" for name, v in trial.params.items())
    error = trial.user_attrs.get("error")
    if error:
        outcome = f"FAILED, {printable(error)}"
    elif trial.state.name == "COMPLETE":
        outcome = _values(trial) + (" (best so far)" if state.best and state.best.number == trial.number else "")
    else:
        outcome = f"pruned after {len(trial.intermediate_values)} runs"
    left = clock.left(state.ended, state.total)
    print(f"[{state.ended}/{state.total}{left}] trial {trial.number}: {outcome}; {params}", flush=True)


def _values(trial: FrozenTrial | None) -> str:
    """The objectives of a completed trial."""
    return ", ".join(map(number, trial.values)) if trial is not None else "–"
