"""Files that survive a power cut, held against a model of a disk: names and contents last only once synchronised."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from suite.errors import StorageError
from suite.generators import Table
from suite.store import disk, weights


class Cut(BaseException):
    """The power is gone; no handler of the program runs."""


class Disk:
    """What would be on the disk of a folder after a power cut: contents as of the last fsync of the file, names as of
    the last fsync of the folder. The cut comes at the `at`-th system call that changes or synchronises something."""

    def __init__(self, folder: Path, at: int) -> None:
        self.folder, self.left = folder, at
        self.contents = {path.stat().st_ino: path.read_bytes() for path in folder.iterdir()}
        self.names = {path.name: path.stat().st_ino for path in folder.iterdir()}

    def step(self) -> None:
        if self.left == 0:
            raise Cut
        self.left -= 1

    def fsync(self, handle: int) -> None:
        self.step()
        status = os.fstat(handle)
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            self.names = {path.name: path.stat().st_ino for path in self.folder.iterdir()}
        else:
            self.contents[status.st_ino] = Path(f"/proc/self/fd/{handle}").read_bytes()

    def after(self) -> dict[str, bytes]:
        """Name -> content; a name whose file was never synchronised is there with nothing in it."""
        return {name: self.contents.get(inode, b"") for name, inode in self.names.items()}


@pytest.fixture
def on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], Any]], Iterator[Any]]:
    """`on_a_disk(act)` yields the state after a cut at each point of `act(folder)`; the last one after all of it."""

    def cuts(act: Callable[[Path], Any]) -> Iterator[dict[str, bytes]]:
        for at in range(100):
            folder = tmp_path / str(at)
            folder.mkdir()
            (folder / "record.json").write_text("old")
            model = Disk(folder, at)
            replace = Path.replace

            def stepping(path: Path, target: Path, model: Disk = model, replace: Any = replace) -> Path:
                model.step()
                moved: Path = replace(path, target)
                return moved

            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", model.fsync)
                patch.setattr(Path, "replace", stepping)
                try:
                    act(folder)
                except Cut:
                    yield model.after()
                    continue
            yield model.after()
            return

    return cuts


Cuts = Callable[[Callable[[Path], Any]], Iterator[dict[str, bytes]]]


def test_a_file_is_there_old_or_new_at_every_point_and_new_at_the_end(on_a_disk: Cuts) -> None:
    seen = [state["record.json"] for state in on_a_disk(lambda folder: disk.write(folder / "record.json", "new"))]
    assert set(seen) == {b"old", b"new"}
    assert seen[-1] == b"new"
    assert len(seen) == 4  # before the file's fsync, the rename, the folder's fsync; and after


def test_no_record_is_there_before_its_policies(on_a_disk: Cuts) -> None:
    """As a run ends: policies, then the record."""

    def end(folder: Path) -> None:
        weights.save(Table(torch.zeros(3)), folder / "policy-final.safetensors")
        disk.write(folder / "record.json", "finished")

    states = list(on_a_disk(end))
    for state in states:
        if state["record.json"] == b"finished":
            assert len(state["policy-final.safetensors"]) > 50
    assert states[-1]["record.json"] == b"finished"


def test_a_rename_lasts(on_a_disk: Cuts) -> None:
    states = list(on_a_disk(lambda folder: disk.rename(folder / "record.json", folder / "attempt-1.json")))
    assert states[-1] == {"attempt-1.json": b"old"}


def test_what_cannot_be_written_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(StorageError, match=r"No space left on device; all that was charged and answered before is kept"),
        disk.failures_named(),
    ):
        disk.write(path, "new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"record.json": "old"}


def test_room_is_there_until_it_is_given_back(tmp_path: Path) -> None:
    room = disk.Room(tmp_path / "room")
    room.take(10_000)
    assert (tmp_path / "room").stat().st_size == 10_000
    room.free()
    assert (tmp_path / "room").stat().st_size == 0
    room.take(5)
    room.close()
    assert not list(tmp_path.iterdir())
