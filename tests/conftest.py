"""What tests of all folders share: one thread, no W&B server, plug-in files, small policies, a fresh oracle."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: results differ between thread counts
os.environ.pop("SUITE_RESULTS", None)

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from torch import Tensor

from suite.generators import Shape, Table, Transformer
from suite.ledger import Ledger
from suite.oracle import Oracle, Verifier

hypothesis.settings.register_profile("suite", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("suite")

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def plugin() -> Callable[[str], str]:
    """`plugin("toys.py:Codes")` is the reference of a task or baseline in tests/plugins."""
    return lambda name: str(PLUGINS / name)


@pytest.fixture(scope="session")
def seeded() -> Callable[[int], torch.Generator]:
    return lambda seed: torch.Generator().manual_seed(seed)


@pytest.fixture(scope="session")
def uniform_table() -> Callable[[int], Table]:
    """A table with so many equally likely outcomes."""
    return lambda codes: Table(torch.zeros(codes))


@pytest.fixture(scope="session")
def tiny_net() -> Callable[..., Transformer]:
    """A transformer of 2 symbols and length 6 with random weights; `end` is None or a symbol."""

    def make(
        seed: int = 0, *, end: int | None = None, vocab_size: int = 2, length: int = 6, width: int = 8
    ) -> Transformer:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return Transformer(Shape(vocab_size, length, end, width=width, layers=2, heads=2))

    return make


@pytest.fixture
def make_oracle(
    seeded: Callable[[int], torch.Generator],
) -> Iterator[Callable[..., Oracle]]:
    """An oracle over a ledger in memory, or at `path`; by default every outcome fails."""
    with contextlib.ExitStack() as stack:

        def make(
            verify: Callable[[Tensor], Tensor] | None = None,
            *,
            budget: int = 100,
            path: Path | None = None,
            prior: Any = None,
            seed: int = 0,
            **options: str,
        ) -> Oracle:
            ledger = Ledger(path or Path(":memory:"))
            stack.callback(ledger.close)
            verifier = Verifier(verify or (lambda x: torch.zeros(len(x), dtype=torch.bool)))
            return Oracle(
                verifier,
                ledger,
                budget=budget,
                prior=prior or Table(torch.zeros(8)),
                generator=seeded(seed),
                **options,
            )

        yield make
