"""What is timed: the hot parts of the suite, each a function that makes a piece of work of some milliseconds."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import torch

import suite
from baselines import BASELINES, count
from baselines.common import filtering
from baselines.common.novelty_net import RandomNetworkDistillation
from reports.board import leaderboard
from reports.tables import render as tables
from suite import config as configs
from suite import registry, search
from suite.counted import Counted
from suite.generators import Shape, Table, Transformer
from suite.oracle import Oracle, Verifier
from suite.search.objective import Configuration
from suite.search.sweep import parse
from suite.seeding import Streams
from suite.store import records
from suite.store.ledger import Ledger
from suite.store.records import Record

Work = Callable[[], object]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@functools.cache
def net() -> Transformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Transformer(Shape(vocab_size=12, length=8, end=11, width=32, layers=2, heads=2))


def sampling() -> Work:
    return lambda: net().sample(500, seeded())


def log_prob() -> Work:
    x = net().sample(500, seeded())
    return lambda: net().log_prob(x)


def filter_pool() -> Work:
    score = torch.randn(24_000, generator=seeded())
    pool = Counted(torch.arange(24_000)[:, None], torch.ones(24_000, dtype=torch.long), torch.zeros(24_000))

    def work() -> object:
        tau = filtering.threshold(score, pool.counts, 4.0)
        return tau, filtering.keep_highest(pool, score, 4.0, seeded())

    return work


def oracle_charge() -> Work:
    folder = tempfile.TemporaryDirectory()
    names = itertools.count()

    def work() -> object:
        ledger = Ledger(Path(folder.name) / f"{next(names)}.sqlite")
        verifier = Verifier(lambda x: torch.zeros(len(x), dtype=torch.bool))
        prior = Table(torch.zeros(64))
        oracle = Oracle(verifier, ledger, budget=500, prior=prior, generator=seeded())
        failures = oracle.collect(prior, 500)
        ledger.close()
        return failures

    return work


def rnd_bonus() -> Work:
    rnd = RandomNetworkDistillation(net(), Streams(0), features=32, lr=1e-3, epochs=2)
    x = net().sample(300, seeded())
    return lambda: (rnd.normalise(x), rnd.novelty(x), rnd.visit(x))


def count_bonus() -> Work:
    codes = torch.randint(0, 200, (5000,), generator=seeded()).tolist()

    def work() -> object:
        counts = Counter(codes)
        return count.count_bonus(torch.tensor([counts[code] for code in codes]))

    return work


def one_round(baseline: str) -> Work:
    """One round, or a control's whole, on gaussian-v1, against an oracle in memory."""
    entry = registry.load("baseline", baseline)
    task = registry.load("task", "gaussian-v1")
    small = {"batch": 100, "pool": 1000, "features": 8, "predictor_epochs": 2, "epochs": 2, "rounds": 1}
    fields = {spec.name for spec in configs.specs(entry.config_class)}
    config = configs.build(entry.config_class, {k: v for k, v in small.items() if k in fields})
    built: Any = task.target(task.config_class())
    protocol = "all-rewards" if registry.uses(entry) == "rewards" else "failures-only"

    def work() -> object:
        prior, ledger = built.prior(), Ledger(Path(":memory:"))
        oracle = Oracle(Verifier(built.verify), ledger, budget=100, prior=prior, generator=seeded(), protocol=protocol)
        rounds = list(entry.target(config, prior.clone(), oracle, Streams(0)))
        ledger.close()
        return rounds

    return work


@functools.cache
def a_record() -> Record:
    with tempfile.TemporaryDirectory() as folder:
        return suite.run(
            "gaussian-v1", "pretrained", budget=100, config={"batch": 50}, results=folder, tracking="off", heldout="100"
        )


def record_append() -> Work:
    folder = tempfile.TemporaryDirectory()
    record = dataclasses.replace(a_record(), folder=Path(folder.name))
    return lambda: (folder, records.write(record))


def report_of_1000() -> Work:
    """Rows and every table of 1,000 records that differ in their seeds alone."""
    record = a_record()
    many = [
        dataclasses.replace(record, cell=f"{seed}", identity=msgspec.structs.replace(record.identity, seed=seed))
        for seed in range(1000)
    ]
    return lambda: tables.to_markdown(leaderboard.rows(many))


SWEEP = {
    "program": "suite",
    "method": "bayes",
    "metric": {"name": "success_rate", "goal": "maximize"},
    "parameters": {
        "task": {"value": "gaussian-v1"},
        "baseline": {"value": "temperature"},
        "seeds": {"value": 4},
        "temperature": {"distribution": "log_uniform_values", "min": 1.0, "max": 10.0},
    },
}


def sweep_overhead() -> Work:
    """Two trials of a sweep whose cells cost nothing: sampler, pruner, study and bookkeeping are what is left."""
    record, sweep = a_record(), parse(SWEEP)

    def cells(self: Configuration, *_: object) -> Iterator[Record]:
        yield from [record] * self.settings.seeds

    def work() -> object:
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(Configuration, "cells", cells):
            return search.tune(sweep, trials=2, results=Path(folder))

    return work


SUBJECTS: dict[str, Callable[[], Work]] = {
    "sampling": sampling,
    "log_prob": log_prob,
    "filter": filter_pool,
    "oracle charge": oracle_charge,
    "RND bonus": rnd_bonus,
    "count bonus": count_bonus,
    **{f"one round of {name}": functools.partial(one_round, name) for name in BASELINES},
    "record append": record_append,
    "report over 1,000 records": report_of_1000,
    "sweep overhead": sweep_overhead,
}
