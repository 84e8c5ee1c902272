"""What a method may see of its evaluations, and what a repeated sample costs. Imports no torch."""

from __future__ import annotations

from typing import Literal, get_args

Protocol = Literal["failures-only", "failures-padded", "all-rewards"]
"""`failures-only`: the oracle draws and the method never sees a success, only how many are missing;
`failures-padded`: nor that, since copies of failures stand in their place; `all-rewards`: it sees every reward."""
WITHHOLDING: tuple[Protocol, ...] = ("failures-only", "failures-padded")
"""The protocols under which the oracle draws and successes are withheld."""
Duplicates = Literal["charge", "cache", "reject"]
"""A sample that was evaluated before: it is charged again, answered free from the ledger, or refused."""
Uses = Literal["nothing", "failures", "failures and counts", "rewards"]
"""What a method learns from, as the constant `USES` of its file says: of its evaluations nothing, the failures, these
and how many of each batch are missing, or every reward."""
WORKS_UNDER: dict[Uses, tuple[Protocol, ...]] = {
    "nothing": ("failures-padded", "failures-only", "all-rewards"),
    "failures": ("failures-padded", "failures-only"),
    "failures and counts": ("failures-only",),
    "rewards": ("all-rewards",),
}
"""The protocols that show a method what it uses, the one that shows least first."""
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
DUPLICATES: tuple[str, ...] = get_args(Duplicates)
