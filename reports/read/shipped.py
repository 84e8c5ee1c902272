"""Records that come with the suite: of tasks that take minutes a run, to be shown beside what was run here.

They are finished records without samples, one JSON object a line, in `shipped.jsonl.xz` beside this file.
`make shipped` makes them anew, with more seeds if asked.
"""

from __future__ import annotations

import json
import lzma
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from suite import registry, sources
from suite.errors import UserError
from suite.store import records as store
from suite.store import schema
from suite.store.records import FinishedRecord, Record

FILE = Path(__file__).with_name("shipped.jsonl.xz")
FOLDER = Path("shipped")
"""Stands for the results folder of these records, which is nowhere."""


class ShippedRecord(FinishedRecord):
    """A finished record that was made elsewhere and comes with the suite."""


def read(file: Path = FILE) -> list[ShippedRecord]:
    """The records in a file that :func:`write` made."""
    made = []
    for line in lzma.decompress(file.read_bytes()).splitlines():
        content = schema.decode(line)
        assert isinstance(content.result, schema.FinishedResult)
        identity = schema.identity_of(content.identity)
        made.append(
            ShippedRecord(content.cell, identity, content.result, content.meta, FOLDER / "cells" / content.cell)
        )
    return made


def write(records: Iterable[Record], file: Path = FILE) -> int:
    """Keep the finished ones without their samples and without the name of their machine; how many these are."""
    lines = []
    for record in sorted(store.finished(records), key=lambda one: (one.task, one.baseline, one.seed)):
        curve = [msgspec.structs.replace(point, samples=[]) for point in record.result.curve]
        bare = msgspec.structs.replace(record.result, curve=curve)
        meta = msgspec.structs.replace(record.meta, host=None, policies=[])
        kept = store.make(record.cell, record.identity, bare, meta, record.folder)
        lines.append(json.dumps(kept.to_dict(), separators=(",", ":"), allow_nan=False))
    file.write_bytes(lzma.compress("\n".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME))
    return len(lines)


def commits(records: Iterable[Record]) -> str:
    """The commits that the shipped ones among the records are of, `1a2b3c4`, by commas; empty where none is shipped."""
    own = [record for record in records if isinstance(record, ShippedRecord)]
    return ", ".join(dict.fromkeys((record.meta.commit or "unknown")[:7] for record in own))


def notices(records: Sequence[Record]) -> list[str]:
    """That there are shipped records, of which commit, and of what their sources were earlier ones; one line each."""
    own = [record for record in records if isinstance(record, ShippedRecord)]
    if not own:
        return []
    tasks = ", ".join(dict.fromkeys(record.task for record in own))
    lines = [f"{len(own)} records of {tasks} were not made here but come with the suite, of commit {commits(own)}"]
    changed = [name for name in dict.fromkeys(_sources(own)) if _here(name[0], name[1]) != name[2]]
    if changed:
        names = ", ".join(dict.fromkeys(name for _, name, _ in changed))
        lines.append(
            f"shipped records stand under earlier sources of {names}, so results of today may differ: "
            "`suite bench` runs them again"
        )
    return lines


def _sources(records: Iterable[Record]) -> list[tuple[registry.Kind, str, str]]:
    """(kind, id, sha256 of the source) behind each record."""
    found: list[tuple[registry.Kind, str, str]] = []
    for record in records:
        task, baseline = record.identity.task, record.identity.baseline
        found += [("task", task.id, task.source_sha256), ("baseline", baseline.id, baseline.source_sha256)]
    return found


def _here(kind: registry.Kind, name: str) -> str | None:
    """The hash of today's source; None where there is none any more."""
    try:
        return sources.sha256_of(registry.locate(kind, name))
    except (UserError, OSError):
        return None


if __name__ == "__main__":
    (folder,) = sys.argv[1:]
    print(f"{write(store.scan(folder)[0])} records in {FILE}, {FILE.stat().st_size:,} bytes")
