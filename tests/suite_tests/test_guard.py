"""Ways around failures-only that go through a policy of the engine's own class: each saw withheld successes before."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import suite
from suite import guard
from suite.generators import Table, Transformer
from suite.oracle import Oracle
from suite.policy import Acceptance, Filtered, Tempered

Make = Callable[..., Oracle]


class Spying(Tensor):
    """Sees every tensor that it is computed with."""

    seen = 0

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.seen += 1
        return super().__torch_function__(func, types, args, kwargs or {})


class FunctionSpy(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class DispatchSpy(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class SpyModule(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any) -> Any:
        return self.inner(*args)


def parameter_of_a_subclass(net: Any) -> None:
    name, tensor = next(net.named_parameters())
    owner = net.get_submodule(name.rpartition(".")[0])
    owner._parameters[name.rpartition(".")[2]] = nn.Parameter(tensor.detach().as_subclass(Spying))


def buffer_of_a_subclass(net: Any) -> None:
    net.register_buffer("spy", torch.zeros(1).as_subclass(Spying))


def tensor_in_an_attribute(net: Any) -> None:
    net.cache = {"x": [torch.zeros(1).as_subclass(Spying)]}


def hook(net: Any) -> None:
    net.register_forward_hook(lambda *_: None)


def module_inside(net: Any) -> None:
    name = next(name for name, _ in net.named_children())
    setattr(net, name, SpyModule(getattr(net, name)))


def method_of_one_module(net: Any) -> None:
    inner = next(module for module in net.modules() if module is not net)
    inner.forward = inner.forward


WAYS_OF_TABLES = (parameter_of_a_subclass, buffer_of_a_subclass, tensor_in_an_attribute, hook)
WAYS = (*WAYS_OF_TABLES, module_inside, method_of_one_module)


@pytest.mark.parametrize("way", WAYS_OF_TABLES)
@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: Tempered(p, 1.5), lambda p: Filtered(p, [], Acceptance(1, 1))])
def test_the_oracle_draws_from_no_table_with_foreign_parts(
    make_oracle: Make, way: Callable[[Any], None], wrap: Callable[[Any], Any]
) -> None:
    prior = Table(torch.zeros(64))
    oracle = make_oracle(prior=prior)
    oracle.collect(wrap(prior.clone()), 5)
    policy = prior.clone()
    way(policy)
    before = Spying.seen
    with pytest.raises(TypeError, match="would see which samples succeed"):
        oracle.collect(wrap(policy), 5)
    assert oracle.nre == 5
    assert Spying.seen == before


@pytest.mark.parametrize("way", WAYS)
def test_the_oracle_draws_from_no_network_with_foreign_parts(
    make_oracle: Make, tiny_net: Callable[..., Transformer], way: Callable[[Any], None]
) -> None:
    prior = tiny_net()
    oracle = make_oracle(prior=prior)
    oracle.collect(prior.clone(), 5)
    policy = prior.clone()
    way(policy)
    with pytest.raises(TypeError, match="would see which samples succeed"):
        oracle.collect(policy, 5)


@pytest.mark.parametrize("mode", [FunctionSpy, DispatchSpy])
def test_the_oracle_draws_under_no_mode_of_torch(make_oracle: Make, mode: type) -> None:
    oracle = make_oracle()
    with pytest.raises(TypeError, match=f"^{mode.__name__}, a mode of torch that is active, would see"), mode():
        oracle.collect(Table(torch.zeros(64)), 5)
    with torch.device("cpu"):  # where new tensors lie is no spy
        assert len(oracle.collect(Table(torch.zeros(64)), 5)) == 5


def test_the_oracle_draws_under_no_hook_on_all_modules(make_oracle: Make) -> None:
    oracle = make_oracle()
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(handle.remove)
        with pytest.raises(TypeError, match="a forward hook on all modules would see"):
            oracle.collect(Table(torch.zeros(64)), 5)


@pytest.mark.parametrize("make", ["fit", "clone", "tempered"])
def test_what_the_engine_makes_is_its_own(tiny_net: Callable[..., Transformer], make: str) -> None:
    prior = tiny_net()
    own = guard.kinds(prior)
    policy: Any = prior.clone()
    if make == "fit":
        policy.fit(torch.zeros(8, 6, dtype=torch.long), generator=torch.Generator().manual_seed(0))
    if make == "tempered":
        policy = prior.tempered(2.0)
    guard.check(policy, own)


METHOD = """
from dataclasses import dataclass
import torch
from suite.policy import Round
from torch.overrides import TorchFunctionMode

@dataclass(frozen=True)
class Config:
    x: int = 1

class Spy(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))

def moved(prior, oracle, rng):
    policy = prior.clone()
    policy.fit(oracle.collect(prior, 50), generator=rng("fit"))
    return policy

def own_heldout(config: Config, prior, oracle, rng):
    with oracle._verify.heldout():
        oracle._verify(torch.zeros(7, 1, dtype=torch.long))
    oracle.collect(prior, 50)
    yield Round(prior, {})

def hooked(config: Config, prior, oracle, rng):
    policy = moved(prior, oracle, rng)
    policy.register_forward_hook(lambda *_: None)
    yield Round(policy, {})

def under_a_mode(config: Config, prior, oracle, rng):
    policy = moved(prior, oracle, rng)
    with Spy():
        yield Round(policy, {})
"""


@pytest.mark.parametrize(
    ("method", "heldout", "message"),
    [
        ("own_heldout", "exact", "the method put 7 samples to the verifier as held-out measurements of its own"),
        ("own_heldout", "500", "the method put 7 samples to the verifier as held-out measurements of its own"),
        ("hooked", "exact", "a hook on a Table of the policy would see which samples succeed"),
        ("under_a_mode", "exact", "Spy, a mode of torch that is active, would see which samples succeed"),
        ("under_a_mode", "500", None),  # counted are the policy's own samples
    ],
)
def test_a_run_that_looks_around_the_oracle_fails(
    tmp_path: Path, method: str, heldout: str, message: str | None
) -> None:
    (tmp_path / "mine.py").write_text(METHOD)
    baseline = f"{tmp_path / 'mine.py'}:{method}"
    record = suite.run("gaussian-v1", baseline, budget=50, heldout=heldout, results=tmp_path, tracking="off")
    if message is None:
        assert record.status == "finished"
    else:
        assert record.result.error is not None
        assert message in record.result.error.message
