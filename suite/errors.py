"""Errors that a person is meant to read, and text that is safe to show."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text in one line, its control characters spelled out (`\\x1b`): what a method said must not steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split()))


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def one_line(error: BaseException) -> str:
    """`Type: message` in one line; the type alone where there is no message."""
    message = printable(str(error))
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


class UserError(ValueError):
    """Bad input: what was given, what is possible, what to type. The CLI prints it and exits with 2."""


class CellLocked(UserError):
    """Another process runs this cell."""


class NewerSchema(UserError):
    """A file written by a newer version of the suite."""


class StorageError(UserError):
    """A disk or a database that is full, read-only, failing or gone; nothing that was answered is lost."""


class Unavailable(UserError):
    """A verifier that cannot be reached now, or has not answered yet; the answers are kept. The CLI exits with 75."""


class Unanswered(Unavailable):
    """A verifier that is there and has not answered yet, a person for example: other runs may ask meanwhile."""


class BrokenCell(UserError):
    """A record or a ledger that cannot be read: the cell is left as it is, others are not concerned."""


class BudgetExhausted(RuntimeError):
    """A batch does not fit into what is left of the budget; nothing of it was charged or evaluated."""


class LedgerDiverged(RuntimeError):
    """A resumed run asks for other samples than the ledger holds; nothing was charged."""


class VerifierError(RuntimeError):
    """The verifier raised, or answered with something that is not one 0 or 1 per sample."""
