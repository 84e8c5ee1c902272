"""What a method may see of its evaluations, and what a repeated sample costs. Imports no torch."""

from __future__ import annotations

from typing import Literal, get_args

Protocol = Literal["failures-only", "all-rewards"]
"""`failures-only`: the oracle draws and the method never sees a success; `all-rewards`: it sees every reward."""
Duplicates = Literal["charge", "cache", "reject"]
"""A sample that was evaluated before: it is charged again, answered free from the ledger, or refused."""
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
DUPLICATES: tuple[str, ...] = get_args(Duplicates)
