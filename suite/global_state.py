"""Settings of the whole process that code of a user may change, put back behind it.

A plug-in that sets torch's default dtype when it is imported would else change the results of every other cell of the
process, and where a run is resumed those of its own. Imports no torch before a block is entered.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import parent_process
from typing import Any, NamedTuple


class _Setting(NamedTuple):
    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


_said: set[tuple[str, str]] = set()


@contextlib.contextmanager
def restored(owner: str | None = None) -> Iterator[None]:
    """Put back what the block changes of torch's, NumPy's and Python's global settings.

    That is: default dtype and device, gradients, threads, deterministic algorithms and precision of torch, NumPy's
    reaction to floating-point errors, the working directory, the handlers of SIGINT and SIGTERM, stdout and stderr.

    Args:
        owner: whose code it is, for one line on stderr that names what was changed; None says nothing.
    """
    settings = _settings()
    before = [(setting, setting.read()) for setting in settings]
    try:
        yield
    finally:
        for setting, value in before:
            found = setting.read()
            if found is not value and found != value:
                setting.write(value)
                if owner is not None:
                    _say(owner, setting.name, found, value)


def _say(owner: str, name: str, found: object, value: object) -> None:
    """Once in a process, and not in workers, whose parent has said it."""
    if (owner, name) in _said or parent_process() is not None:
        return
    _said.add((owner, name))
    what = name if name in _OPAQUE else f"{name} to {found}, not {value}"
    print(f"warning: {owner} sets {what}; it was put back", file=sys.stderr)


_OPAQUE = ("the handler of SIGINT", "the handler of SIGTERM", "sys.stdout", "sys.stderr")
"""Settings whose values say nothing to a reader."""


def _settings() -> list[_Setting]:
    import numpy as np
    import torch

    found = [
        _Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        _Setting("torch's default device", torch.get_default_device, _set_default_device),
        _Setting("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
        _Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        _Setting("torch's matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        _Setting("torch's deterministic mode", torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        _Setting("NumPy's error handling", np.geterr, lambda value: np.seterr(**value)),
        _Setting("the working directory", _working_directory, lambda value: os.chdir(value or ".")),
        _Setting("sys.stdout", lambda: sys.stdout, lambda value: setattr(sys, "stdout", value)),
        _Setting("sys.stderr", lambda: sys.stderr, lambda value: setattr(sys, "stderr", value)),
    ]
    if threading.current_thread() is threading.main_thread():
        found += [_handler(signal.SIGINT), _handler(signal.SIGTERM)]
    return found


def _set_default_device(device: Any) -> None:
    """Back to what it was; to none, which is the CPU, without the mode that torch puts on every call for a device."""
    import torch

    torch.set_default_device(None if device == torch.device("cpu") else device)


def _working_directory() -> str | None:
    """None where it was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _handler(number: signal.Signals) -> _Setting:
    """None, a handler that was not installed from Python, cannot be put back."""
    return _Setting(
        f"the handler of {number.name}",
        lambda: signal.getsignal(number),
        lambda value: None if value is None else signal.signal(number, value),
    )
