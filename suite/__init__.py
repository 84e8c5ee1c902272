"""Benchmarks for generative models that learn from negative rewards: `suite.run` and `suite.bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from suite._version import __version__

if TYPE_CHECKING:
    from suite.api import bench, run
    from suite.store.records import Record

__all__ = ["Record", "__version__", "bench", "run"]

_HOMES = {"run": "suite.api", "bench": "suite.api", "Record": "suite.store.records"}


def __getattr__(name: str) -> Any:
    """Import on first use: `import suite` loads no torch, so that workers can set their threads first."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'suite' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
