"""`suite sweep-init`."""

from __future__ import annotations

import click

from suite.cells.spec import CellSpec
from suite.commands.options import switch
from suite.protocol import PROTOCOLS
from suite.search.sweep import METRICS, Settings


@click.command("sweep-init")
@click.option("--task", required=True, help="The task to tune on.")
@click.option("--baseline", required=True, help="The method to tune.")
@click.option("--report", default="", help="The tasks that the winner is reported on, by commas.")
@click.option("--metric", type=click.Choice([*METRICS, "both"]), default="success_rate", show_default=True)
@click.option("--seeds", type=int, default=Settings.seeds, show_default=True, help="Seeds of one configuration.")
@click.option("--budget", type=int, default=CellSpec.budget, show_default=True, help="Reward evaluations per seed.")
@click.option(
    "--protocol", type=click.Choice(PROTOCOLS), default=CellSpec.protocol, show_default=True, help="What a method sees."
)
@switch("--scheduler", help="The form for W&B's own Optuna scheduler.")
def command(
    task: str, baseline: str, report: str, metric: str, seeds: int, budget: int, protocol: str, scheduler: bool
) -> None:
    """Print a sweep file, made from the method's tunable fields, in W&B's sweep schema."""
    from suite.search.write import text

    metrics = ("success_rate", "distinct_successes") if metric == "both" else (metric,)
    content = text(
        task,
        baseline,
        report=report,
        metrics=metrics,
        seeds=seeds,
        budget=budget,
        protocol=protocol,
        scheduler=scheduler,
    )
    click.echo(content, nl=False)
