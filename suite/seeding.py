"""Random streams by purpose, so that one more draw somewhere moves nothing elsewhere."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from suite.store.schema import Identity


def derive(*path: object) -> int:
    """A 63-bit seed from a path of names and numbers; paths that differ give unrelated seeds.

    The derivation cannot be inverted: whoever holds the seed of one purpose cannot compute another's.
    """
    text = "\x1f".join(str(part) for part in path)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class Streams:
    """`streams("failure_model")` is the one generator of that purpose, kept from call to call."""

    def __init__(self, seed: int, device: str = "cpu") -> None:
        self._seed = seed
        self._device = device
        self._streams: dict[str, torch.Generator] = {}

    def __call__(self, purpose: str) -> torch.Generator:
        if purpose not in self._streams:
            self._streams[purpose] = torch.Generator(self._device).manual_seed(derive(self._seed, purpose))
        return self._streams[purpose]

    def state(self) -> dict[str, torch.Tensor]:
        """Where each generator stands, by purpose."""
        return {purpose: generator.get_state() for purpose, generator in self._streams.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a :meth:`state`."""
        for purpose, where in state.items():
            self(purpose).set_state(where)


def cell_seed(seed: int, task: str, baseline: str) -> int:
    """The seed that all streams of a cell derive from; methods of one seed share no random numbers."""
    return derive(seed, task, baseline)


def heldout_stream(identity: Identity, index: int) -> torch.Generator:
    """The random numbers that measure point `index` of a cell's curve."""
    own = cell_seed(identity.seed, identity.task.id, identity.baseline.id)
    return Streams(derive(own, "heldout", index), identity.device)("draw")
