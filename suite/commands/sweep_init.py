"""`suite sweep-init`."""

from __future__ import annotations

from pathlib import Path

import click

from suite.cells.spec import CellSpec
from suite.commands.options import switch
from suite.protocol import PROTOCOLS
from suite.search.sweep import METRICS, Settings


@click.command("sweep-init")
@click.option("--task", required=True, help="The task to tune on; several by commas, with --metric over_controls.")
@click.option("--baseline", required=True, help="The method to tune.")
@click.option("--report", default="", help="The tasks that the winner is reported on, by commas.")
@click.option(
    "--controls",
    default="",
    help="The best control on each task: TASK=SUCCESS_RATE/POSTERIOR_MATCH by commas; or a folder with controls' runs.",
)
@click.option("--metric", type=click.Choice([*METRICS, "both"]), default="success_rate", show_default=True)
@click.option("--seeds", type=int, default=Settings.seeds, show_default=True, help="Seeds of one configuration.")
@click.option("--budget", type=int, default=CellSpec.budget, show_default=True, help="Reward evaluations per seed.")
@click.option(
    "--protocol", type=click.Choice(PROTOCOLS), default=CellSpec.protocol, show_default=True, help="What a method sees."
)
@switch("--scheduler", help="The form for W&B's own Optuna scheduler.")
def command(
    task: str,
    baseline: str,
    report: str,
    controls: str,
    metric: str,
    seeds: int,
    budget: int,
    protocol: str,
    scheduler: bool,
) -> None:
    """Print a sweep file, made from the method's tunable fields, in W&B's sweep schema."""
    from suite import registry
    from suite.search.over_controls import best_controls, text_of
    from suite.search.sweep import names_in
    from suite.search.write import text
    from suite.store import records

    if controls and "=" not in controls:
        ids = [registry.load("task", name).id for name in names_in(task)]
        controls = text_of(best_controls(records.scan(Path(controls))[0], ids))
    metrics = ("success_rate", "distinct_successes") if metric == "both" else (metric,)
    content = text(
        task,
        baseline,
        report=report,
        controls=controls,
        metrics=metrics,
        seeds=seeds,
        budget=budget,
        protocol=protocol,
        scheduler=scheduler,
    )
    click.echo(content, nl=False)
