"""The command line: `suite`, or `python -m suite`. This is where the parts of the project are put together.

Commands are named by strings and imported when they are called, so that `suite --help` answers at once.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence

import click

from suite import registry
from suite._version import __version__
from suite.cells.executor import Terminated, raise_on_sigterm
from suite.config import nearest
from suite.errors import Unavailable, UserError, printable

COMMANDS = {
    "list": "suite.commands.listing:command",
    "run": "suite.commands.run:command",
    "bench": "suite.commands.bench:command",
    "trial": "suite.commands.trial:command",
    "sweep": "suite.commands.sweep:command",
    "sweep-init": "suite.commands.sweep_init:command",
    "sweep-best": "suite.commands.sweep_best:command",
    "report": "reports.cli:report",
    "verify": "suite.commands.verify:command",
    "check": "reports.gate.cli:check",
    "pretrain": "suite.commands.pretrain:command",
    "reproduce": "reports.paper.reproduce:command",
    "sync": "suite.commands.sync:command",
}
SUMMARIES = {
    "list": "Show all tasks and baselines.",
    "run": "Run one baseline on one task with one seed.",
    "bench": "Run a grid of tasks, baselines and seeds; only what is missing.",
    "trial": "Run all seeds of one configuration; what W&B's agents start.",
    "sweep": "Search for a configuration, as a sweep file says.",
    "sweep-init": "Print a sweep file of a method's tunable fields.",
    "sweep-best": "Write the winner of a sweep, and what it cost.",
    "report": "Write the leaderboard of a results folder.",
    "verify": "Check records against their ledgers and policies.",
    "check": "Judge records by a committed reference: the gate of CI.",
    "pretrain": "Make the assets of a task.",
    "reproduce": "Make the paper's table and figures, its numbers beside ours.",
    "sync": "Upload to Weights & Biases what was tracked offline.",
}

OK, FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
UNAVAILABLE = 75
"""EX_TEMPFAIL of sysexits.h: the same command may succeed later; job schedulers can requeue on it."""


class _Suite(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in COMMANDS:
            raise UserError(f"no command {cmd_name!r}{nearest(cmd_name, COMMANDS)}")
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.group(cls=_Suite)
@click.version_option(__version__, prog_name="suite")
def group() -> None:
    """Benchmarks for generative models that learn from negative rewards.

    Start with `suite list`; `suite run --task T --baseline B --help` shows what that task and that baseline can be
    set to.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0, 1 failed, 2 bad input, 75 no verifier, 130 or 143."""
    mend_streams()
    raise_on_sigterm()
    given = list(sys.argv[1:] if args is None else args)
    try:
        registry.check_layout()
        code = group.main(given or ["--help"], prog_name="suite", standalone_mode=False)
    except Unavailable as error:
        return _say(str(error), UNAVAILABLE)
    except UserError as error:
        return _say(str(error), BAD_INPUT)
    except click.ClickException as error:
        return _say(error.format_message(), BAD_INPUT)
    except click.Abort as abort:
        again = "stopped; the same command goes on from here"
        return _say(again, TERMINATED if isinstance(abort.__cause__, Terminated) else INTERRUPTED)
    except OSError as error:
        if error.errno not in UNWRITABLE or error.filename is not None:
            raise
        return _say(f"cannot write what is printed: {error.strerror}", FAILED)
    return code if isinstance(code, int) else OK


UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)


def mend_streams() -> None:
    """Text can be written to stdout and stderr, whatever they are.

    One that was closed (`2>&-`) goes nowhere; its number would else be that of the next file that is opened, which
    then takes what libraries print. A character that is not in a terminal's encoding is a question mark.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, mode)  # noqa: SIM115 (for as long as the process runs)
            setattr(sys, name, stream)
            if stream.fileno() <= 2:
                os.set_inheritable(stream.fileno(), True)
        if mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _say(message: str, code: int) -> int:
    click.echo(f"suite: {printable(message)}", err=True)
    return code
