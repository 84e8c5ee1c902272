"""A record that was damaged is named and skipped, wherever the damage is."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from reports.board import leaderboard
from reports.page import grids, runs
from reports.read import select
from reports.write import outputs

Path = tuple[str | int, ...]


def places(content: Any, above: Path = ()) -> Iterator[Path]:
    """The path of every value inside, of lists that of the first."""
    inside = content.items() if isinstance(content, dict) else enumerate(content[:1])
    for key, value in inside:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


def damaged(content: dict[str, Any], path: Path, what: str) -> dict[str, Any]:
    """A copy in which one value is gone, null, or text."""
    made = copy.deepcopy(content)
    holder: Any = made
    for key in path[:-1]:
        holder = holder[key]
    if what == "gone":
        del holder[path[-1]]
    else:
        holder[path[-1]] = None if what == "null" else "oops"
    return made


@pytest.mark.slow
@pytest.mark.parametrize("what", ["gone", "null", "text"])
def test_no_damage_of_a_record_ends_a_report(results: Any, what: str) -> None:
    """Either the rest is reported and the file is named, or what was damaged is not needed."""
    results.add()
    path = results.add("tail", n=10_000).folder / "record.json"
    content = json.loads(path.read_text())
    skipped = 0
    for place in places({name: content[name] for name in ("result", "meta")}):
        path.write_text(json.dumps(damaged(content, place, what)))
        records, broken = select.read(results.folder)
        if not broken or not skipped:  # the report of the others alone is always the same
            rows = leaderboard.rows(records)
            outputs.of_tables(rows)
            runs.pack(records, rows)
            grids.runs(records, rows)
        assert len(records) + len(broken) == 2, place
        assert all(line.startswith(f"{path}: not a record (") for line in broken), place
        skipped += len(broken)
    assert skipped > 20
