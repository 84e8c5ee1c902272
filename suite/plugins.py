"""Plug-in files as modules of this package, `suite.plugins.NAME`, which any process that has the suite can import.

The name of such a module says which file it is and what was in it: a worker that a plug-in starts itself (`spawn`)
imports the same one, and an edited file is another module. Nothing of it is kept on disk, so that an edit within the
second in which a file was run counts.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

__path__: list[str] = []  # makes this module a package for the import of those below it

_PREFIX = f"{__name__}."


def name_of(path: Path) -> str:
    """The name of the module that the file is now."""
    path = path.resolve()
    return f"{_PREFIX}{path.stem.replace('.', '_')}_{_digest(path.read_bytes())}_{bytes(path).hex()}"


def _digest(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()[:12]


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the file itself, never what an earlier version of it was compiled to."""

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_bytes()
        if _digest(source) != fullname.split("_")[-2]:
            raise ImportError(f"{self.path} was edited since it was loaded; start again")
        code: CodeType = compile(source, self.path, "exec")
        return code


class _Finder:
    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(_PREFIX):
            return None
        try:
            file = bytes.fromhex(fullname.rpartition("_")[2]).decode()
        except ValueError:
            return None
        return importlib.util.spec_from_file_location(fullname, file, loader=_Loader(fullname, file))


if _Finder not in sys.meta_path:
    sys.meta_path.append(_Finder)
