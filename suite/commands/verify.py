"""`suite verify`."""

from __future__ import annotations

from pathlib import Path

import click

from suite.errors import printable
from suite.store.records import results_folder


@click.command("verify")
@click.option("--results", type=click.Path(path_type=Path), help="Folder of records [$SUITE_RESULTS or results].")
@click.option(
    "--rerun",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Also repeat N cells from their seed and compare results and ledgers.",
)
@click.option(
    "--trust", is_flag=True, help="Also run code that only the records name: a task in a file, a module of yours."
)
@click.pass_context
def command(ctx: click.Context, results: Path | None, rerun: int, trust: bool) -> None:
    """Check records against their ledgers and policies.

    Evaluates the ledger's samples again, counts evaluations and the first success again, measures the saved
    policies again. Exits with 1 if anything differs, a verifier cannot be reached, or nothing could be checked.
    """
    from rich.console import Console
    from rich.table import Table

    from suite.cells.verify import VERIFIER, verify

    verdicts = verify(
        results_folder(results), rerun=rerun, trust=trust, say=lambda line: click.echo(printable(line), err=True)
    )
    table = Table("cell", "task", "baseline", "seed", "verified", "what differs", box=None, pad_edge=False)
    for verdict in verdicts:
        differs = [check for check in verdict.checks if not check.ok]
        table.add_row(
            verdict.cell,
            printable(verdict.task),
            printable(verdict.baseline),
            str(verdict.seed),
            {True: "yes", False: "NO", None: "not checked"}[verdict.verified],
            printable("; ".join(f"{check.name}: {check.detail}" for check in differs)),
        )
    Console(highlight=False, markup=False, soft_wrap=True).print(table)
    wrong = sum(verdict.verified is False for verdict in verdicts)
    unknown = sum(verdict.verified is None for verdict in verdicts)
    click.echo(f"{len(verdicts)} records, {wrong} of them wrong" + (f", {unknown} not checked" if unknown else ""))
    unreachable = any(check.name == VERIFIER and not check.ok for verdict in verdicts for check in verdict.checks)
    if wrong or unreachable or unknown == len(verdicts):
        ctx.exit(1)
