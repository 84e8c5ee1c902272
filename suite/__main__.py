"""`python -m suite`."""

from __future__ import annotations

import sys
from pathlib import Path


def drop_working_directory() -> None:
    """Take the working directory, which `-m` puts first, off the import path: a user's own `tasks.py` must not win.

    It stays where it is the folder that this package was found in.
    """
    if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
        del sys.path[0]


if __name__ == "__main__":
    drop_working_directory()
    from suite.cli import main

    sys.exit(main())
