"""Libraries that only some tasks need; where one is missing, the error says what to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from suite.errors import UserError


def library(name: str, extra: str) -> ModuleType:
    """Import a library of an extra of this package.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UserError(f"{package} is missing ({error}): pip install 'sparse-reward-suite[{extra}]'") from error


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
