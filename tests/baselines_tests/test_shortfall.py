"""Shortfall: its moves by hand, and that it finds what other methods cannot."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import suite
from baselines import shortfall
from baselines.common.missing import Failures, Source, SuccessModel
from suite.counted import Counted
from suite.generators import Table, Transformer
from suite.oracle import Oracle
from suite.policy import Tempered
from suite.seeding import Streams
from suite.store.records import FinishedRecord

ALL = torch.arange(4)[:, None]
EVEN = torch.full((4,), 0.25, dtype=torch.float64)


def source(asked: int, missing: int, p: torch.Tensor = EVEN) -> Source:
    return Source(Table(p.log()), Counted(ALL, torch.ones(4, dtype=torch.long), p.log()), asked, missing)


def test_a_pool_that_holds_the_space_gives_the_target() -> None:
    """The proposal has 70 % on one string; its weights in a pool of 4,000 are those of the target all the same."""
    q = torch.tensor([0.7, 0.1, 0.1, 0.1], dtype=torch.float64)
    target = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    pool = Counted(ALL, (4000 * q).long(), q.log())
    drawn, power = shortfall.resample(pool, target.log() + 5.0, 0.01, 100_000, torch.Generator().manual_seed(0))
    assert power == 1.0
    assert (drawn.counts / 100_000).tolist() == pytest.approx(target.tolist(), abs=0.006)


def test_a_power_below_1_keeps_the_effective_share() -> None:
    """Weights w ∝ target^κ over four strings: with κ = 1 their effective share is 0.27; at least 0.5 is asked for."""
    target = torch.tensor([0.01, 0.01, 0.03, 0.95], dtype=torch.float64)
    pool = Counted(ALL, torch.full((4,), 1000), EVEN.log())
    drawn, power = shortfall.resample(pool, target.log(), 0.5, 100_000, torch.Generator().manual_seed(0))
    weights = target**power / (target**power).sum()
    assert 0 < power < 1
    assert 1 / float(4 * weights.square().sum()) == pytest.approx(0.5, abs=1e-3)
    assert (drawn.counts / 100_000).tolist() == pytest.approx(weights.tolist(), abs=0.006)


def test_a_string_that_failed_is_never_resampled() -> None:
    failures = Failures(1, torch.device("cpu"))
    failures.add(torch.tensor([[1], [3]]))
    model = SuccessModel(1, 4, base=0.1, scale=1.0)
    log_s = shortfall.log_success(model, [source(8, 2)], failures, ALL)
    assert torch.isneginf(log_s).tolist() == [False, True, False, True]
    odds = 0.1 / 0.9 * math.exp(2)  # met twice in expectation, and never failed
    assert float(log_s[0].exp()) == pytest.approx(odds / (1 + odds), rel=1e-5)
    pool = Counted(ALL, torch.full((4,), 10), EVEN.log())
    drawn, _ = shortfall.resample(pool, log_s, 0.1, 1000, torch.Generator().manual_seed(0))
    assert drawn.strings.flatten().tolist() == [0, 2]


def test_arms_are_drawn_by_their_rates() -> None:
    arms = [source(1000, 0), source(1000, 50), source(1000, 5)]
    generator = torch.Generator().manual_seed(0)
    drawn = [arms.index(shortfall.drawn_arm(arms, generator)) for _ in range(200)]
    assert drawn.count(1) >= 198
    unasked = [source(0, 0), source(2000, 2)]
    drawn = [unasked.index(shortfall.drawn_arm(unasked, generator)) for _ in range(200)]
    assert 80 < drawn.count(0) < 195  # P(Beta(½, 50) > 0.0012) is about 0.7


def test_one_success_does_not_make_an_arm_the_best() -> None:
    """1 of 250 is a higher rate than 4 of 2,000, and says less."""
    assert shortfall.lower_bound(source(250, 1)) == shortfall.lower_bound(source(0, 0)) == 0
    assert shortfall.lower_bound(source(2000, 4)) == pytest.approx(0.001)


def test_uniform_strings_come_first_where_the_task_says_what_is_well_formed(
    make_oracle: Callable[..., Oracle], tiny_net: Callable[..., Transformer]
) -> None:
    config, oracle = shortfall.Config(pool=100), make_oracle(lambda x: x[:, 0] == 0, budget=10)
    arms = shortfall.oracle_free(config, Table(EVEN.log()), oracle, Streams(0))
    assert len(arms) == 7
    assert isinstance(arms[0], Table)
    last = shortfall.oracle_free(config, tiny_net(0), oracle, Streams(0))[-1]
    assert isinstance(last, Tempered)
    assert last.temperature == math.inf


@pytest.mark.parametrize(
    ("missing", "share"),
    [(0, 1.0), (12, 1.0), (40, 0.48), (900, 0.05)],  # 12 of 1,000 is within two errors of 10 of 1,000
)
def test_the_arm_has_half_of_what_is_not_shown_to_succeed(missing: int, share: float) -> None:
    learned = [source(1000, missing), source(0, 0)]
    assert shortfall.hedged(source(1000, 10), learned) == pytest.approx(share)


def test_nothing_learned_hands_over_the_arm() -> None:
    assert shortfall.hedged(source(1000, 10), [source(0, 0)]) == 1.0


def test_it_finds_the_cluster_of_the_decoys(tmp_path: Path) -> None:
    """By 3,000 evaluations; the best control, uniform strings, has 1/41 in both columns."""
    record = suite.run("decoys-tune-v1", "shortfall", budget=3000, results=tmp_path, tracking="off", points="final")
    assert isinstance(record, FinishedRecord)
    final = record.result.curve[-1]
    assert final.posterior_match is not None
    assert final.success_rate > 0.3
    assert final.posterior_match.value > 0.3
    assert record.result.nre == 3000
