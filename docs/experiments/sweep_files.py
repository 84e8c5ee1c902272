"""Write sweeps/: one file for each baseline with something to tune and each task family with a tuning variant.

The file FAMILY/BASELINE.yaml tunes on FAMILY-tune-v1 and names FAMILY-v1 as the task to report on. Other files, such as
those for W&B's scheduler, are written anew as their first line says.

    python docs/experiments/sweep_files.py        (or: make sweeps)
"""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from pathlib import Path

from suite import cli, registry
from suite.cells.spec import CellSpec
from suite.protocol import WORKS_UNDER
from suite.search.space import parameters

FOLDER = Path(__file__).parents[2] / "sweeps"
TUNED = "-tune-v1"


def families() -> list[str]:
    """The task families that have a variant to tune on."""
    return [task.removesuffix(TUNED) for task in registry.ids("task") if task.endswith(TUNED)]


def baselines() -> list[str]:
    """The baselines that have a tunable field."""
    return [name for name in registry.ids("baseline") if parameters(registry.load("baseline", name).config_class)]


def wanted() -> dict[str, str]:
    """{file name: command that writes it} of every family and baseline."""
    return {
        f"{family}/{name}.yaml": f"sweep-init --task {family}{TUNED} --baseline {name} --report {family}-v1"
        + shown(name)
        for family in families()
        for name in baselines()
    }


def shown(name: str) -> str:
    """The option for a baseline that learns from what the default protocol does not show; for others nothing."""
    uses = registry.uses_of(name)
    works = WORKS_UNDER[uses] if uses else (CellSpec.protocol,)
    return "" if CellSpec.protocol in works else f" --protocol {works[0]}"


def made_by(path: Path) -> str:
    """The command in the first line of a sweep file."""
    return path.read_text().splitlines()[0].removeprefix("# Made by `suite ").removesuffix("`.")


def written(command: str) -> str:
    """What a command line of `suite` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        if cli.main(shlex.split(command)) != cli.OK:
            sys.exit(f"suite {command} failed")
    return output.getvalue()


def main() -> None:
    commands = {str(path.relative_to(FOLDER)): made_by(path) for path in FOLDER.glob("*/*.yaml")} | wanted()
    for name, command in commands.items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(written(command))


if __name__ == "__main__":
    main()
