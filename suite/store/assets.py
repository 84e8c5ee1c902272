"""Shipped weights and tables: a folder of safetensors with a manifest that says how they were made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from suite.errors import UserError
from suite.store import disk

MANIFEST = "manifest.json"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, *, command: str, recipe: dict[str, Any], measured: dict[str, Any]) -> None:
    """Describe the safetensors in `folder`: the command, the recipe, what was measured, a hash for each file."""
    manifest = {
        "command": command,
        "recipe": recipe,
        "measured": measured,
        "torch": torch.__version__,
        "files": {path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))},
    }
    disk.write(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path, required: Sequence[str]) -> dict[str, Any]:
    """The manifest of a folder of assets, after its files were held against their hashes.

    Raises:
        UserError: no manifest, a missing file, or a file whose hash differs.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise UserError(f"no assets in {folder}; make them with `suite pretrain {folder.name}`")
    again = f"restore it from git or run `suite pretrain {folder.name}`"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        hashes = {name: str(manifest["files"][name]) for name in required}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no manifest of {', '.join(required)} ({error!r}); {again}") from error
    for name, expected in hashes.items():
        file = folder / name
        if not file.exists() or sha256(file) != expected:
            state = "missing" if not file.exists() else f"sha256 {sha256(file)[:12]}…, expected {expected[:12]}…"
            raise UserError(f"{file}: {state}; {again}")
    return manifest
