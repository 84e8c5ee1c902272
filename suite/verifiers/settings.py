"""How a verifier outside of this process is asked: what may change from run to run and is in no cell's name.

A value in a task's file is the default; an environment variable overrules it: `SUITE_VERIFIER_TIMEOUT=120 suite run …`.
A default that is edited in the file makes another cell of each run, as every edit of a task's source does.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any, Self

from suite.errors import UserError


@dataclass(frozen=True)
class Settings:
    """How requests are made."""

    batch: int = 64
    """Most questions in one request."""
    concurrency: int = 4
    """Requests at a time."""
    timeout: float = 60.0
    """Seconds that one attempt may take."""
    retries: int = 5
    """Attempts after the first one, before the verifier counts as not reachable."""
    pause: float = 1.0
    """Seconds before the second attempt; twice as long before each further one, at most a minute, plus up to one second
    by chance, so that many runs do not come back at once."""

    def __post_init__(self) -> None:
        least = {"batch": 1, "concurrency": 1, "timeout": 1e-3, "retries": 0, "pause": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if not low <= value < float("inf"):
                raise UserError(f"{name} of a verifier must be at least {low}, got {value}")

    def overruled(self, name: str) -> Self:
        """With the values of the environment variables SUITE_NAME_BATCH, SUITE_NAME_TIMEOUT, …

        Raises:
            UserError: one of them is no number, or out of range.
        """
        given: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            text = from_environment(name, field.name)
            if text is not None:
                try:
                    given[field.name] = (int if field.type == "int" else float)(text)
                except ValueError:
                    raise UserError(f"{variable(name, field.name)}={text!r} is no number") from None
        return dataclasses.replace(self, **given)


def variable(name: str, field: str) -> str:
    """The environment variable of a setting of the verifier called `name`."""
    return f"SUITE_{name}_{field}".upper().replace("-", "_")


def from_environment(name: str, field: str) -> str | None:
    """Its value; None where it is not set."""
    return os.environ.get(variable(name, field)) or None
