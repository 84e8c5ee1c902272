"""Whether a method knows more of a lock's secret than its failures say.

A lock (`lock-v1`) draws its secret uniformly from equally likely codes, and a code that failed tells nothing of
another. So, given that the secret was not met, its place among the untried codes, ordered by the policy's probability
with ties broken at random, is uniform on (0, 1), exactly, for every honest method. The Kolmogorov-Smirnov test holds
the places of many secrets against that; whichever side they deviate to, the method has seen more than failures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from suite import config as configs
from suite import registry
from suite.policy import Policy
from suite.seeding import derive
from suite.store import weights
from suite.store.ledger import Ledger
from suite.store.records import Record
from suite.task import verified

ALPHA = 1e-3
"""Level at which a leak is called one (docs/protocol.md, The lock)."""


class LeakTest(NamedTuple):
    """The rank test of one method over many secrets."""

    places: int
    """Runs in which the secret was not met; the others say nothing."""
    mean: float
    """Mean place of the secret, 0 first, 1 last; nan without places. 0.5 is expected."""
    p_value: float
    """Of uniform places, exact, two-sided; 1 without places."""

    @property
    def leaks(self) -> bool:
        """Whether uniform places are rejected at `ALPHA`."""
        return self.p_value < ALPHA


def rank_test(places: Sequence[float]) -> LeakTest:
    """Hold places of secrets, each uniform on (0, 1) for an honest method, against that."""
    if not places:
        return LeakTest(0, float("nan"), 1.0)
    p_value = float(stats.kstest(places, "uniform", method="exact").pvalue)
    return LeakTest(len(places), float(np.mean(places)), p_value)


def place(policy: Policy, codes: Tensor, opens: Tensor, tried: Tensor, seed: int) -> float | None:
    """Where the secret stands among the untried codes by the policy's probability, ties at random.

    Args:
        codes: all codes, int64 (N, T).
        opens: True (N,) at the secret alone.
        tried: samples that were evaluated, int64 (M, T).
        seed: of the random ties.

    Returns:
        A number uniform on (0, 1) under the null; None where the secret was tried.
    """
    everything, index = torch.unique(torch.cat([codes, tried.to(codes.device)]), dim=0, return_inverse=True)
    untried = torch.ones(len(everything), dtype=torch.bool)
    untried[index[len(codes) :]] = False
    untried = untried[index[: len(codes)]]
    secret = int(opens.long().argmax())
    if not untried[secret]:
        return None
    log_p = policy.log_prob(codes)
    rivals = log_p[untried]
    above, tied = int((rivals > log_p[secret]).sum()), int((rivals == log_p[secret]).sum())  # it ties with itself
    return float((above + np.random.default_rng(seed).uniform(0, tied)) / len(rivals))


def record_place(record: Record) -> float | None:
    """:func:`place` of a lock's secret by the final policy of a finished record; None where the secret was met.

    The record's task must name its `support`, all codes, of which `verify` opens one.
    """
    content = record.identity.task
    entry = registry.load("task", content.id)
    task = entry.target(configs.build(entry.config_class, content.config))
    codes = task.support()
    ledger = Ledger(record.folder / "ledger.sqlite")
    tried = torch.cat([codes[:0], *(batch.x for batch in ledger.batches())])
    ledger.close()
    policy = weights.load(record.folder / "policy-final.safetensors", task.prior())
    return place(policy, codes, verified(task.verify, codes), tried, derive(record.cell, "ties"))


def leak_test(records: Iterable[Record]) -> LeakTest:
    """The rank test over the finished records of one method on a lock with many secrets.

    Make them with `--task.secret` 0, 1, 2, …; 512 codes, a budget of 128 and 300 secrets leave more than 200 that were
    not met: `suite run --task lock-v1 --task.symbols 8 --task.dials 3 --budget 128 --task.secret 0 …`.
    """
    places = [record_place(record) for record in records if record.status == "finished"]
    return rank_test([at for at in places if at is not None])
