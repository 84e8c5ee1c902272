"""Files that survive a kill and a power cut: written beside, synchronised, renamed, then the folder synchronised.

A rename or a removal is on the disk only after its folder was synchronised too (fsync(2), notes).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from suite.errors import StorageError


def write(path: Path, content: str | bytes) -> None:
    """Replace the file `path` by `content`, whole or not at all; on the disk when it returns.

    Raises:
        OSError: it could not be written; `path` is as it was.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)  # what fills the disk goes first
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync_folder(path.parent)


def rename(path: Path, to: Path) -> None:
    """Give a file another name in the same folder; on the disk when it returns."""
    path.rename(to)
    sync_folder(to.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing; on the disk when it returns."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; nothing happens on a file system whose folders cannot be synchronised."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # EINVAL: some network file systems
            os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def failures_named() -> Iterator[None]:
    """Around writes of the engine's own: an OSError becomes one line for the person who reads it.

    Raises:
        StorageError: a disk that is full, read-only or failing.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            failure_message(str(error.filename or "the results folder"), error.strerror or str(error))
        ) from error


def failure_message(place: str, what: str) -> str:
    """One line on a disk that failed."""
    return (
        f"{place}: {what}; all that was charged and answered before is kept: free some space or repair the disk, and "
        "the same command goes on from here"
    )


class Room:
    """Space on the disk of the file `path`, held so that what must be written later still fits.

    Freed just before it is needed, and taken again before the next evaluation.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self, size: int) -> None:
        """Hold `size` bytes. OSError where the disk has no such room."""
        if self._handle is None:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._handle, 0, size)
        else:
            os.pwrite(self._handle, bytes(size), 0)

    def free(self) -> None:
        """Give the space back."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)

    def close(self) -> None:
        """Remove the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
            self._path.unlink(missing_ok=True)
