"""Verifiers outside of this process: a service, a program, a function, a person. docs/verifiers.md.

Each is called with samples, or with the questions that a task makes of them, and yields answers as they come, so that
every answer is on disk before the next one. It is a task's `verify`, or is called in it.
"""

from __future__ import annotations

from suite.verifiers.command import Command
from suite.verifiers.function import Function
from suite.verifiers.http import Http
from suite.verifiers.human import Human

__all__ = ["Command", "Function", "Http", "Human"]
