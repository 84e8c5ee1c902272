"""The lock: one code opens it, codes are equally likely, secrets are uniform."""

from __future__ import annotations

from collections import Counter

import pytest
from scipy import stats

from suite import config
from suite import task as engine
from suite.errors import UserError
from tasks.lock import Config, Lock, LockTune


def test_one_of_all_codes_opens_the_lock() -> None:
    task = Lock(Config(symbols=8, dials=3))
    codes = task.support()
    assert len({tuple(code) for code in codes.tolist()}) == 512
    assert int(task.verify(codes).sum()) == 1
    assert task.verify(task.secret[None]).tolist() == [True]
    assert task.show(task.secret[None]) == ["-".join(str(s) for s in task.secret.tolist())]
    assert engine.exact(task, task.prior()) == pytest.approx(1 / 512, rel=1e-12)
    assert task.prior().log_prob(codes).unique().numel() == 1


def test_the_default_lock_has_100_000_codes() -> None:
    assert engine.exact(Lock(Config()), Lock(Config()).prior()) == pytest.approx(1e-5, rel=1e-12)


def test_secrets_are_uniform_and_those_for_tuning_are_others() -> None:
    """A chi-square test on 9 codes; equal secrets of both streams are coincidences, 1/9 of them."""
    of = {
        cls: [Lock.show(made := cls(Config(3, 2, s)), made.secret[None])[0] for s in range(900)]
        for cls in (Lock, LockTune)
    }
    for secrets in of.values():
        counts = Counter(secrets)
        assert len(counts) == 9
        assert stats.chisquare(list(counts.values())).pvalue > 1e-3
    same = sum(a == b for a, b in zip(*of.values(), strict=True))
    assert stats.binomtest(same, 900, 1 / 9).pvalue > 1e-3


def test_a_lock_that_does_not_fit_into_memory_is_refused() -> None:
    with pytest.raises(UserError, match="symbols\\^dials is 100,000,000; at most 10,000,000 codes"):
        config.build(Config, {"dials": 8})
