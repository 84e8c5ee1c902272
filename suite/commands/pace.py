"""How long a grid will run on, from what its cells have taken so far."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

Kind = tuple[str, str]
"""(task, baseline): the cells of one kind differ by their seeds, and take about the same time."""


class InFlight(NamedTuple):
    """A cell that is being run."""

    kind: Kind
    seconds: float
    """Since it began."""
    share: float | None
    """How much of its budget is spent; None before anything is."""


class Pace:
    """The time left of a grid whose cells run a few at a time.

    A cell of a kind that has finished is expected to take what the others of its kind took. One of a kind that has not
    is judged by how far it came, else by kinds of the same task and of the same method. All this is scaled by how much
    longer the grid took so far than its cells say, as they do not count the start of their process.
    """

    def __init__(self, kinds: Iterable[Kind], jobs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.jobs = jobs
        self.started = clock()
        self.waiting = Counter(kinds)
        self.took: dict[Kind, list[float]] = defaultdict(list)

    def there(self, kind: Kind) -> None:
        """A cell had its record before."""
        self.waiting[kind] -= 1

    def ended(self, kind: Kind, seconds: float) -> None:
        """A cell was run now, and took so many seconds of its process."""
        self.waiting[kind] -= 1
        self.took[kind].append(max(seconds, 0.01))

    def left(self, now: Sequence[InFlight] = ()) -> float | None:
        """Seconds until the last cell ends; None while nothing can be said, 0 where none is left.

        Args:
            now: the cells that are being run.
        """
        cells = [kind for kind, n in self.waiting.items() for _ in range(n)]
        if not cells:
            return 0.0
        known = {kind: statistics.fmean(times) for kind, times in self.took.items()}
        for cell in now:
            if cell.share and cell.kind not in known:
                known[cell.kind] = cell.seconds / cell.share
        if not known:
            return None
        done = sum(map(sum, self.took.values()))
        rest = []
        for cell in now:
            expected = expect(cell.kind, known)
            done += min(cell.seconds, expected)
            rest.append(max(expected - cell.seconds, 0.05 * expected))
            if cell.kind in cells:
                cells.remove(cell.kind)
        elapsed = (self.clock() - self.started) * min(self.jobs, max(1, len(now) + len(cells)))
        slower = elapsed / done if self.took and done else 1.0
        ahead = [*rest, *(expect(kind, known) for kind in cells)]
        return max(sum(ahead) / min(self.jobs, len(ahead)), max(ahead)) * max(slower, 1.0)


def expect(kind: Kind, known: dict[Kind, float]) -> float:
    """Seconds of a kind: its own, else as many times the usual as its task and its method take where they are known."""
    if kind in known:
        return known[kind]
    usual = _middle(list(known.values()))
    factors = []
    for place in (0, 1):
        alike = [seconds for other, seconds in known.items() if other[place] == kind[place]]
        factors.append(_middle(alike) / usual if alike else 1.0)
    return usual * math.prod(factors)


def _middle(values: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(map(math.log, values)))


def words(seconds: float | None) -> str:
    """`, about 3 min left`; empty at the end and while nothing can be said."""
    if not seconds:
        return ""
    return f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {math.ceil(seconds)} s left"
