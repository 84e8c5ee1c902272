"""Runs that were tracked offline, uploaded to Weights & Biases by its own `wandb sync`.

That command ends with 0 even where the server refused a run; what tells is the marker `*.wandb.synced` that it leaves
beside a run that arrived.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from suite.errors import UserError

LOGIN_TIMEOUT = 20
"""Seconds in which the server must say who is logged in."""
LIMIT = 600.0
"""Seconds for one run; `wandb sync` alone would ask a server that is gone for ever."""
AT_ONCE = 4


class Synced(NamedTuple):
    """What became of one run."""

    run: Path
    outcome: Literal["uploaded", "already", "cut off", "failed"]
    reason: str = ""


UNFINISHED = "unfinished"
"""A file beside the log of a run of `suite sweep` until its last line is written. One that was cut off is not uploaded:
the run is written again, whole and under the same id, by whoever repeats the trial or takes over the study."""
HEADER = 7
"""Bytes of a transaction log that holds nothing: its process was killed before W&B had written anything."""


def offline_runs(results: Path) -> list[Path]:
    """The transaction logs of all offline runs below a folder, of cells and of sweeps, in the order of their starts.

    A log that holds nothing is no run.
    """
    found = [run for run in results.rglob("wandb/offline-run-*/run-*.wandb") if run.stat().st_size > HEADER]
    return sorted(found, key=lambda run: (run.parent.name, run))


def sync(results: Path) -> Iterator[Synced]:
    """Upload what was not uploaded before, and say what became of each run, in the order in which they began.

    Raises:
        UserError: no such folder; or there is something to upload and nobody is logged in, or no server answers.
    """
    if not results.is_dir():
        raise UserError(f"--results {results}: no such folder")
    runs = offline_runs(results)
    if any(map(waits, runs)):
        check_login()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            yield from pool.map(upload, runs)
        finally:
            pool.shutdown(cancel_futures=True)


def check_login() -> None:
    """UserError where no credentials are known, or the server does not accept them."""
    import requests
    import wandb

    from suite.tracking.run import credentials

    server = os.environ.get("WANDB_BASE_URL") or "W&B"
    try:
        found = credentials()
        if found:
            wandb.Api(timeout=LOGIN_TIMEOUT).viewer  # noqa: B018
    except (wandb.errors.Error, requests.RequestException, ValueError) as error:
        raise UserError(f"{server} does not let you in: {error}; run `wandb login`, or set WANDB_BASE_URL") from error
    if not found:
        raise UserError("not logged in to W&B; run `wandb login`, or set WANDB_API_KEY")


def arrived(run: Path) -> bool:
    """Whether a run was uploaded."""
    return run.with_name(f"{run.name}.synced").exists()


def cut_off(run: Path) -> bool:
    """Whether the process of a run of `suite sweep` ended before the run did, or has not ended yet."""
    return run.with_name(UNFINISHED).exists()


def waits(run: Path) -> bool:
    """Whether a run is to be uploaded."""
    return not arrived(run) and not cut_off(run)


def upload(run: Path) -> Synced:
    """Upload one run, if it was not before and is whole."""
    if arrived(run):
        return Synced(run, "already")
    if cut_off(run):
        return Synced(run, "cut off")
    # not `wandb` of the PATH: the one of this environment wrote the run
    command = [sys.executable, "-m", "wandb", "sync", str(run.parent.absolute())]
    home = str(run.absolute().parents[2])  # else its logs would go to ./wandb
    try:
        done = subprocess.run(
            command,
            env=os.environ | {"WANDB_DIR": home},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        return Synced(run, "failed", f"not done after {LIMIT:.0f} s")
    if arrived(run):
        return Synced(run, "uploaded")
    return Synced(run, "failed", _reason(done.stdout) or f"`wandb sync` ended with {done.returncode}")


def _reason(output: str) -> str:
    """The first complaint in what `wandb sync` printed."""
    found = re.search(r"^(?:wandb: )?(?:ERROR|Error:|panic:)\s*(.+)$", output, re.MULTILINE)
    return found[1].strip() if found else ""
