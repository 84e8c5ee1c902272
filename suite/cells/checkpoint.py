"""Checkpoints: what a run is between two rounds, so that a killed one goes on from there and not from the beginning.

They only shorten the replay: without one, or with one that does not fit, the run replays its rounds from the ledger.
docs/decisions/012.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from safetensors import safe_open
from safetensors import torch as safetensors

from suite.errors import one_line
from suite.policy import Generator
from suite.registry import Entry
from suite.store import disk, records, state
from suite.store.schema import Identity

KEPT = 2
"""Checkpoints of a run that goes on; of a finished one the last, for a run that continues it."""
SHARE = 0.03
"""Of a run's time, what may go into writing them: the next one waits until its last one's seconds are no more."""
FIRST_SECONDS = 0.05
"""What writing one is taken to last, before one was written."""


def takes_state(entry: Entry) -> bool:
    """Whether a baseline can go on from a state: `run(config, prior, oracle, rng, state=None)`."""
    return "state" in inspect.signature(entry.target).parameters


def family(identity: Identity) -> str:
    """What runs share whose first rounds are the same: all of the identity but the budget."""
    return records.cell_of(msgspec.structs.replace(identity, budget=0))


class Checkpoints:
    """Those of one cell.

    Args:
        folder: the cell's.
        family: :func:`family` of its identity.
        prior: generators in what is kept are of its class.
    """

    def __init__(self, folder: Path, family: str, prior: Generator) -> None:
        self._folder, self._family, self._prior = folder, family, prior
        self._cost = FIRST_SECONDS
        self._written = time.monotonic()
        self._works = True

    @property
    def due(self) -> bool:
        """Whether one more would keep within SHARE."""
        return self._works and (time.monotonic() - self._written) * SHARE >= self._cost

    def write(self, number: int, content: object) -> None:
        """Keep what a run is after round `number`; on disk when it returns. A failure is said, and the run goes on."""
        begun = time.monotonic()
        try:
            tree, tensors = state.encode({"family": self._family, "content": content}, self._prior)
            text = json.dumps(tree)
            data = safetensors.save(tensors, metadata={"state": text, "sha256": _sha256(text)})
            disk.write(self._folder / f"checkpoint-{number}.safetensors", data)
        except (TypeError, OSError) as error:
            self._works = False
            print(f"warning: no checkpoints of this run: {one_line(error)}", file=sys.stderr)
            return
        self.drop(keep=KEPT)
        self._written = time.monotonic()
        self._cost = self._written - begun

    def read(self) -> Iterator[Any]:
        """What was kept, the last first; one line on stderr for each that cannot be read or is of another run."""
        for path in files(self._folder):
            try:
                with safe_open(path, framework="pt") as file:
                    text = file.metadata()["state"]
                    if _sha256(text) != file.metadata()["sha256"]:
                        raise ValueError("it is not as it was written")
                    tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                kept = state.decode(json.loads(text), tensors, self._prior)
                if kept["family"] != self._family:
                    raise ValueError("it is of another run")
                content = kept["content"]
            except Exception as error:  # whatever a broken file makes safetensors, json or torch say
                ignored(path.name, error)
                continue
            yield content

    def drop(self, keep: int = 0) -> None:
        """Remove all but the last `keep`, and what a run left that was killed while it wrote one."""
        for path in [*files(self._folder)[keep:], *self._folder.glob("checkpoint-*.tmp")]:
            with contextlib.suppress(OSError):  # a folder in its place
                path.unlink(missing_ok=True)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def files(folder: Path) -> list[Path]:
    """The checkpoints in a cell's folder, the last first."""
    found = [path for path in folder.glob("checkpoint-*.safetensors") if path.stem.partition("-")[2].isdecimal()]
    return sorted(found, key=lambda path: int(path.stem.partition("-")[2]), reverse=True)


def ignored(name: str, error: Exception) -> None:
    """Say that a checkpoint does not fit."""
    print(f"warning: {name} does not fit and is ignored: {one_line(error)}", file=sys.stderr)
