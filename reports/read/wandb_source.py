"""`suite report --from wandb:ENTITY/PROJECT`: the records that runs have uploaded, as a results folder."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import UserError
from suite.store.records import results_folder

if TYPE_CHECKING:
    import wandb

KIND = "record"
"""The type of the artifact in which :mod:`suite.tracking.run` puts a run's record.json."""


def parse(place: str) -> str:
    """`ENTITY/PROJECT` out of `wandb:ENTITY/PROJECT`; UserError for anything else."""
    found = re.fullmatch(r"wandb:([\w.-]+/[\w.-]+)", place)
    if found is None:
        raise UserError(f"{place!r} names no W&B project; write wandb:ENTITY/PROJECT")
    return found[1]


def fetch(place: str) -> tuple[Path, list[str]]:
    """Download the records of a project; the results folder that holds them, and what was left out.

    The folder, RESULTS/from-wandb/ENTITY-PROJECT, is made anew each time, whole or not at all.

    Raises:
        UserError: no such project, not logged in, or not one record there.
    """
    project = parse(place)
    folder = results_folder(None) / "from-wandb" / project.replace("/", "-")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        found, without = 0, 0
        with _explained(project):
            for run in _api().runs(project):
                records = [artifact for artifact in run.logged_artifacts() if artifact.type == KIND]
                without += not records
                found += sum(_keep(artifact, Path(made) / "cells") for artifact in records)
        if not found:
            raise UserError(f"--from {place}: {without} runs there and no record among them; `suite run` uploads them")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)
    return folder, [f"{without} runs of {place} hold no record and are left out"] if without else []


def _api() -> wandb.Api:
    import wandb

    from suite.tracking import run as tracking

    tracking.log_in()
    return wandb.Api()


def _keep(artifact: Any, cells: Path) -> bool:
    """Put the record of an artifact where :func:`suite.store.records.scan` finds it."""
    with tempfile.TemporaryDirectory(dir=cells.parent) as staging:
        path = Path(artifact.download(root=staging)) / "record.json"
        if not path.is_file():
            return False
        name = re.sub(r"[^\w.-]+", "-", artifact.name.partition(":")[0].removeprefix("record-"))
        cell = cells / name
        cell.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, cell / "record.json")
    return True


@contextlib.contextmanager
def _explained(project: str) -> Iterator[None]:
    """Turn what W&B raises, and its messages, into one line."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except UserError:
        raise
    except Exception as error:  # its client raises ValueError, CommError, UsageError, and those of requests
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"--from wandb:{project}: {reason[:300]}") from error
