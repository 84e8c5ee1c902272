"""The time left of a grid: within a factor of two after the first minute, by a clock that the test turns."""

from __future__ import annotations

import heapq
import random

import pytest

from suite.commands.pace import InFlight, Pace, expect, words


def replay(
    costs: dict[tuple[str, str], float], seeds: int, jobs: int, overhead: float, after: float
) -> list[tuple[float, float]]:
    """(seconds left in truth, as estimated) each time a cell ends, and every 20 s between, from `after` seconds on.

    Cells begin in the order of the grid, all kinds with one seed before the next; a cell takes up to a fifth more or
    less than its kind, and its process `overhead` seconds beside.
    """
    rng = random.Random(0)
    cells = [(kind, cost * rng.uniform(0.8, 1.2)) for _ in range(seeds) for kind, cost in costs.items()]
    now = 0.0
    pace = Pace([kind for kind, _ in cells], jobs, lambda: now)
    waiting = list(reversed(cells))
    running: list[tuple[float, float, tuple[str, str], float]] = []
    told: list[tuple[float, float | None]] = []

    def look() -> None:
        shown = [InFlight(kind, now - start, min(1.0, (now - start) / cost)) for _, start, kind, cost in running]
        told.append((now, pace.left(shown)))

    while waiting or running:
        while waiting and len(running) < jobs:
            kind, cost = waiting.pop()
            heapq.heappush(running, (now + cost + overhead, now, kind, cost))
        while now + 20 < running[0][0]:
            now += 20
            look()
        now, _, kind, cost = heapq.heappop(running)
        pace.ended(kind, cost)
        look()
    return [(now - at, left) for at, left in told if at >= after and left is not None and now - at > 5]


def grid(tasks: dict[str, float], methods: dict[str, float]) -> dict[tuple[str, str], float]:
    return {(task, name): a * b for task, a in tasks.items() for name, b in methods.items()}


@pytest.mark.parametrize(
    ("costs", "seeds", "overhead", "after"),
    [
        (grid({"a": 1, "b": 2, "c": 5}, {"u": 0.1, "t": 1, "p": 0.5, "b": 4, "r": 2}), 8, 0.2, 60),
        (
            grid({"addition": 40}, {"u": 0.05, "t": 0.5, "p": 0.2, "r": 1, "c": 1.5, "b": 4}),
            2,
            3.0,
            120,
        ),  # the longest kind begins late
        (grid({"one": 300}, {"b": 1}), 1, 0.0, 60),
    ],
    ids=["the main job", "few long cells", "one cell"],
)
def test_it_is_within_a_factor_of_two_after_a_minute_or_two(
    costs: dict[tuple[str, str], float], seeds: int, overhead: float, after: float
) -> None:
    told = replay(costs, seeds, 2, overhead, after)
    assert len(told) > 5
    assert [(true, left) for true, left in told if not true / 2 <= left <= true * 2] == []


def test_nothing_is_said_before_anything_is_known_and_at_the_end() -> None:
    pace = Pace([("a", "b")], 1, lambda: 0.0)
    assert pace.left() is None
    assert pace.left([InFlight(("a", "b"), 3.0, None)]) is None  # the prior is being measured
    pace.ended(("a", "b"), 3.0)
    assert pace.left() == 0.0
    assert [words(seconds) for seconds in (None, 0.0, 40.2, 100.0, 200.0)] == [
        "",
        "",
        ", about 41 s left",
        ", about 2 min left",
        ", about 3 min left",
    ]


def test_an_unknown_kind_is_judged_by_its_task_and_its_method() -> None:
    """By hand: usual (1 2 10)^(1/3) = 2.714; task b 10 over it, method y 2 over it: 10 x 2 / 2.714 = 7.37."""
    known = {("a", "x"): 1.0, ("a", "y"): 2.0, ("b", "x"): 10.0}
    assert expect(("b", "y"), known) == pytest.approx(20 / 20 ** (1 / 3))
    assert expect(("a", "x"), known) == 1.0


def test_cells_that_were_there_say_nothing_about_the_pace() -> None:
    now = 0.0
    pace = Pace([("a", "b")] * 4, 1, lambda: now)
    pace.there(("a", "b"))
    now = 10.0
    pace.ended(("a", "b"), 10.0)
    assert pace.left() == pytest.approx(20.0)  # two cells of 10 s
