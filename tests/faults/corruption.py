"""Cells whose files were damaged: cut, a bit flipped, values of another shape; what every command says of them.

    python tests/faults/corruption.py --count 500    prints each outcome that is not one line, and exits with 1 if any

Whatever was done to one cell, `suite report` and `suite verify` judge the others, and a run says one line or runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import suite
from suite import cli
from suite.store import records

OPTIONS: dict[str, Any] = {"budget": 100, "tracking": "off", "config": {"batch": 50}}
RUN = ["run", "--task", "gaussian-v1", "--baseline", "pretrained", "--seed", "0", "--budget", "100", "--batch", "50"]
STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 10**30, 1.5, -1e308, "", "x", "\x1b[2J", "=1+1", [], [[]], [1], {}, {"x": 1}, {"": {}},
)  # fmt: skip


class Damage(NamedTuple):
    """What was done to a cell."""

    name: str
    do: Callable[[Path], None]
    """Takes the cell's folder."""


class Finding(NamedTuple):
    """A command that did not answer in one line, or did not judge the sound cell."""

    damage: str
    command: str
    what: str


def make(folder: Path) -> Path:
    """A results folder with a sound cell, seed 1, and one to damage, seed 0; both verified."""
    for seed in (0, 1):
        suite.run("gaussian-v1", "pretrained", seed=seed, results=folder, **OPTIONS)
    code, _, errors = call("verify", "--results", str(folder))
    assert code == 0, errors
    return folder


def cell_of(results: Path, seed: int) -> Path:
    """The folder of the cell of a seed."""
    return next(record.folder for record in records.scan(results)[0] if record.seed == seed)


def damages(cell: Path, count: int, rng: random.Random) -> Iterator[Damage]:
    """So many for each file of a cell, and so many for the values of its record."""
    for path in sorted(path for path in cell.iterdir() if path.suffix in (".json", ".sqlite", ".safetensors")):
        size = path.stat().st_size
        for at in {0, size - 1, *(rng.randrange(size) for _ in range(count))}:
            yield Damage(f"{path.name} cut to {at} bytes", _cut(path.name, at))
        for at in (rng.randrange(8 * size) for _ in range(count)):
            yield Damage(f"{path.name} bit {at} flipped", _flip(path.name, at))
        yield Damage(f"{path.name} is a folder", _folder(path.name))
        yield Damage(f"{path.name} is gone", _gone(path.name))
    content = json.loads((cell / "record.json").read_text())
    places = sorted(_places(content), key=str)
    for _ in range(3 * count):
        place, value = rng.choice(places), rng.choice(STRANGE)
        yield Damage(f"record: {'.'.join(map(str, place))} = {value!r}", _value(place, value))
    for deep in (100, 100_000):
        yield Damage(f"record nested {deep} deep", _text("[" * deep + "]" * deep))
        yield Damage(f"metrics nested {deep} deep", _deep(deep))
    yield Damage("record of NaN", _text("NaN"))
    yield Damage("record of bytes", _text("\udcff\udcfe"))


def _cut(name: str, at: int) -> Callable[[Path], None]:
    return lambda cell: _rewrite(cell / name, lambda data: data[:at])


def _flip(name: str, bit: int) -> Callable[[Path], None]:
    def flipped(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    return lambda cell: _rewrite(cell / name, flipped)


def _rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _folder(name: str) -> Callable[[Path], None]:
    def do(cell: Path) -> None:
        (cell / name).unlink()
        (cell / name).mkdir()

    return do


def _gone(name: str) -> Callable[[Path], None]:
    return lambda cell: (cell / name).unlink()


def _text(text: str) -> Callable[[Path], None]:
    return lambda cell: (cell / "record.json").write_bytes(text.encode(errors="surrogateescape")) and None


def _deep(levels: int) -> Callable[[Path], None]:
    def nested(data: bytes) -> bytes:
        return data.replace(b'"metrics": {}', b'"metrics": {"a": ' + b"[" * levels + b"]" * levels + b"}", 1)

    return lambda cell: _rewrite(cell / "record.json", nested)


def _value(place: tuple[Any, ...], value: Any) -> Callable[[Path], None]:
    """Put a value into the record; the cell's name stays the hash of its identity, so that it is looked into."""

    def do(cell: Path) -> None:
        content = json.loads((cell / "record.json").read_text())
        *path, last = place
        inner = content
        for step in path:
            inner = inner[step]
        inner[last] = value
        if place[0] == "identity":
            with contextlib.suppress(ValueError, TypeError):
                content["cell"] = records.cell_of(content["identity"])
        (cell / "record.json").write_text(json.dumps(content))

    return do


def _places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a JSON document stand."""
    if place:
        yield place
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in inner:
        yield from _places(value, (*place, name))


def call(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line; 99 and a traceback where it raised."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(list(words))
        except BaseException:  # SystemExit and KeyboardInterrupt would end the harness in silence
            code = 99
            traceback.print_exc()
    return code, out.getvalue(), err.getvalue()


def judge(made: Path, damage: Damage, folder: Path) -> Iterator[Finding]:
    """Damage a copy of the results folder and look what three commands say of it."""
    results = folder / "results"
    shutil.rmtree(results, ignore_errors=True)
    shutil.copytree(made, results)
    damage.do(cell_of(results, 0))
    common = ["--results", str(results)]
    code, _, err = call("report", *common, "--out", str(folder / "report"), "--tables-only")
    newer = "update the suite" in err  # half a folder of a newer version would mislead
    if code != 0 and not newer:
        yield Finding(damage.name, "report", f"exit {code}: {err[-500:]}")
    code, out, err = call("verify", *common)
    sound = [line for line in err.splitlines() if line == "gaussian-v1 pretrained seed 1: verified"]
    if not newer and (code not in (0, 1) or not sound or "Traceback" in out + err):
        yield Finding(damage.name, "verify", f"exit {code}: {err[-500:]}")
    code, out, err = call(*RUN, *common, "--tracking", "off", "--quiet")
    if code not in (0, 2) or (code == 2 and len(err.splitlines()) != 1):
        yield Finding(damage.name, "run", f"exit {code}: {err[-500:]}")


def search(count: int, seed: int) -> Iterator[Finding]:
    """All findings of so many damages of each kind."""
    with tempfile.TemporaryDirectory() as name:
        made = make(Path(name) / "made")
        for damage in damages(cell_of(made, 0), count, random.Random(seed)):
            yield from judge(made, damage, Path(name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = 0
    for finding in search(given.count, given.seed):
        found += 1
        print(f"{finding.damage}\n  {finding.command}: {finding.what}", flush=True)
    print(f"{found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
