"""The rank test for leaks: places by hand, uniform places pass, tilted ones do not, and it reads records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import suite
from suite.generators import Table
from suite.measure import leak

CODES = torch.arange(8)[:, None]
P = torch.tensor([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.06, 0.04])


def opens(secret: int) -> torch.Tensor:
    return CODES[:, 0] == secret


def test_the_place_is_the_share_of_untried_codes_that_are_likelier() -> None:
    """Secret 6, codes 1 and 3 tried: likelier are 0, 2, 4, 5, alone it is 6, less likely 7: between 4/6 and 5/6."""
    at = leak.place(Table(P.log()), CODES, opens(6), torch.tensor([[1], [3], [1]]), 0)
    assert at is not None
    assert 4 / 6 <= at <= 5 / 6
    assert leak.place(Table(P.log()), CODES, opens(3), torch.tensor([[1], [3]]), 0) is None


def test_ties_are_broken_at_random() -> None:
    """Secret 4 ties with 2, 3 and 5 behind 0 and 1: places uniform on 2/8 .. 6/8, by a chi-square test on 4 cells."""
    places = [leak.place(Table(P.log()), CODES, opens(4), CODES[:0], seed) for seed in range(400)]
    cells = Counter(int(8 * at) for at in places if at is not None)
    assert set(cells) == {2, 3, 4, 5}
    assert stats.chisquare(list(cells.values())).pvalue > 1e-3


def test_the_test_keeps_its_level_and_finds_both_sides() -> None:
    """P values by scipy's own exact distribution: of 200 evenly spread places ~1, of u² and 1 − u² far below 1e-3."""
    u = (np.arange(200) + 0.5) / 200
    assert leak.rank_test(list(u)).p_value == pytest.approx(1.0, abs=1e-6)
    for tilted in (u**2, 1 - u**2):
        assert leak.rank_test(list(tilted)).leaks
    assert leak.rank_test(list(u**2)).mean == pytest.approx(1 / 3, abs=1e-3)
    assert not leak.rank_test([]).leaks


@pytest.mark.slow
def test_records_of_a_lock_are_tested_by_their_ledgers_and_policies(
    tmp_path: Path, plugin: Callable[[str], str]
) -> None:
    """`uniform` draws nothing, so that no secret is met; BaNEL meets some of 64 codes in 32 draws."""
    small = {"symbols": 8, "dials": 2}
    options = {"results": tmp_path, "tracking": "off", "heldout": "off", "budget": 32}
    free = [
        suite.run("lock-v1", "uniform", task_config=small | {"secret": s}, **options)  # type: ignore[arg-type]
        for s in range(3)
    ]
    assert leak.leak_test(free).places == 3
    config = {"batch": 16, "pool": 64}
    spent = [
        suite.run("lock-v1", "banel", task_config=small | {"secret": s}, config=config, **options)  # type: ignore[arg-type]
        for s in range(8)
    ]
    missed = [record for record in spent if not record.result.successes]
    assert 0 < len(missed) < 8
    assert leak.leak_test(spent).places == len(missed)
