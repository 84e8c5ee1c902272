"""A JSON object from a file that a person wrote or may have broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from suite.errors import UserError


def read(path: Path, *, flag: str = "", advice: str) -> dict[str, Any]:
    """The object in the file `path`.

    Args:
        flag: the option that named it, put before the path in an error.
        advice: what to do about it, put at the error's end.

    Raises:
        UserError: it cannot be read, is not JSON, or is not an object.
    """
    name = f"{flag} {path}".strip()
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}; {advice}") from error
    except ValueError as error:
        raise UserError(f"{name}: not JSON: {error}; {advice}") from error
    if not isinstance(content, dict):
        raise UserError(f"{name}: not a JSON object; {advice}")
    return content
