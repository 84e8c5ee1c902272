"""The tail enrichment by hand, enumerated and counted."""

from __future__ import annotations

import pytest
import torch

from suite.measure.facts import counted_tail, enumerated_tail


def test_an_enumerated_tail_takes_the_missing_share_of_ties() -> None:
    """A pool of 1,000: 4 at log p = log 0.002, 12 at log 0.006, the rest at log 0.5. Of the ties 6 of 12 are missing to
    1 %, so successes at each of the three make (0.002 + 0.006 · 6/12) / 0.01 = 0.5."""
    log_p = torch.tensor([0.002, 0.006, 0.5], dtype=torch.float64).log()
    pool = log_p.repeat_interleave(torch.tensor([4, 12, 984]))
    assert enumerated_tail(log_p, pool) == pytest.approx(0.5, rel=1e-12)


def test_a_counted_tail_is_the_least_likely_percent() -> None:
    """2,000 samples, the 20 least likely at the end, 5 of them succeed: 1/4, Clopper-Pearson 0.0866 to 0.4910 (R,
    binom.test(5, 20))."""
    log_p = torch.cat([torch.zeros(1980), -torch.ones(20)])
    rewards = torch.zeros(2000, dtype=torch.bool)
    rewards[:100] = True
    rewards[-5:] = True
    assert counted_tail(rewards, log_p) == pytest.approx([0.25, 0.08657147, 0.49104587], rel=1e-6)
