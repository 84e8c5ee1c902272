"""Whether a policy of the engine's is as the engine made it: what a method could put into one to read what it draws.

Under `failures-only` the oracle draws from the method's policy, and exact measurement asks it for the probabilities of
all successes. A part of it that is the method's own would see both. This finds what a mistake or a shortcut puts there;
SECURITY.md says what remains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

Kinds = Mapping[type, frozenset[str]]
"""The classes that a prior consists of, and which methods of a class its objects have of their own."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def kinds(prior: Any) -> Kinds:
    """What the prior of a task consists of."""
    found: dict[type, frozenset[str]] = {}
    for part in _modules(prior):
        found[type(part)] = found.get(type(part), frozenset()) | _replaced(part)
    return found


def check(policy: Any, own: Kinds) -> None:
    """TypeError where a policy holds what the engine did not make, or a mode of torch would see what it computes.

    Args:
        policy: of the engine's classes by its own class, or a combination of such.
        own: the :func:`kinds` of the task's prior.
    """
    reason = _mode() or next(_foreign(policy, own), None)
    if reason is not None:
        raise TypeError(
            f"{reason} would see which samples succeed; take it away, or use --protocol all-rewards and --heldout N"
        )


def _mode() -> str | None:
    """A mode of torch, or a hook on all modules, that is active now."""
    functions: list[Any] = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    for mode in (*functions, *_get_current_dispatch_mode_stack()):
        if type(mode) is not DeviceContext:
            return f"{type(mode).__name__}, a mode of torch that is active,"
    if hooks._global_forward_hooks or hooks._global_forward_pre_hooks:
        return "a forward hook on all modules"
    return None


def _foreign(policy: Any, own: Kinds) -> Iterator[str]:
    """What in a policy the engine did not make."""
    parts = getattr(policy, "parts", None)
    if isinstance(parts, tuple):
        for part in parts:
            yield from _foreign(part, own)
        return
    for module in _modules(policy):
        name = type(module).__name__
        if module is not policy and type(module) not in own and not _of_torch(type(module)):
            yield f"{name}, a module inside of the policy,"
        for method in _replaced(module) - own.get(type(module), frozenset()):
            yield f"{method}, replaced on a {name} of the policy,"
        if any(getattr(module, hook, None) for hook in HOOKS):
            yield f"a hook on a {name} of the policy"
        for tensor in _tensors(vars(module)):
            if type(tensor) not in (Tensor, nn.Parameter):
                yield f"{type(tensor).__name__}, a subclass of Tensor inside of the policy,"


def _of_torch(kind: type) -> bool:
    return kind.__module__.startswith("torch.nn.modules.")


def _modules(policy: Any) -> Iterator[Any]:
    if isinstance(policy, nn.Module):
        yield from policy.modules()
    else:
        yield policy


def _replaced(part: Any) -> frozenset[str]:
    """Names of methods of the class that this one object has of its own."""
    return frozenset(name for name in vars(part) if callable(getattr(type(part), name, None)))


def _tensors(value: object, depth: int = 3) -> Iterator[Tensor]:
    """The tensors in a value and in the dicts, lists and tuples of it, some levels deep."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inner, depth - 1)
