"""Where the numbers of a report come from: the commits and the machines of its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from suite.store.records import Record


def describe(records: Sequence[Record]) -> str:
    """`60 records of commit c21f159 (2 of them with uncommitted changes), 2026-11-23 to 2026-11-24`; without: empty."""
    if not records:
        return ""
    commits = Counter((record.meta.commit or "unknown")[:7] for record in records)
    dirty = sum(bool(record.meta.dirty) for record in records)
    parts = [f"{n} {'record' if n == 1 else 'records'} of commit {commit}" for commit, n in commits.most_common(5)]
    parts += [f"and {len(commits) - 5} more commits"] if len(commits) > 5 else []
    text = ", ".join(parts) + (f" ({dirty} of them with uncommitted changes)" if dirty else "")
    days = sorted({(record.meta.finished or "")[:10] for record in records} - {""})
    return f"{text}, {' to '.join(dict.fromkeys([days[0], days[-1]]))}" if days else text
