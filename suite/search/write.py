"""Sweep files, made from the tunable fields of a method's config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from suite import registry
from suite.cells.spec import CellSpec
from suite.errors import UserError
from suite.search.space import parameters
from suite.search.sweep import COMMAND, OTHER_DEFAULTS, Settings, parse


def text(
    task: str,
    baseline: str,
    *,
    report: str = "",
    controls: str = "",
    metrics: Sequence[str] = ("success_rate",),
    seeds: int = Settings.seeds,
    budget: int = CellSpec.budget,
    protocol: str = CellSpec.protocol,
    scheduler: bool = False,
) -> str:
    """A sweep file that `suite sweep` and `wandb sweep` take.

    Args:
        task, baseline: what is tuned, and on what; several tasks by commas.
        controls: the best control on each task, as :func:`suite.search.over_controls.controls` reads it.
        report: the tasks that the winner is meant for, by commas.
        metrics: names of :data:`suite.search.sweep.METRICS`.
        seeds, budget, protocol: of each configuration that is tried.
        scheduler: the form in which W&B's own Optuna scheduler asks this suite's study.

    Raises:
        UserError: an unknown task or baseline, or one without tunable fields.
    """
    searched = parameters(registry.load("baseline", baseline).config_class)
    if not searched:
        raise UserError(f"baseline {baseline!r} has no tunable field, so there is nothing to sweep over")
    goals = [{"name": name, "goal": "maximize"} for name in metrics]
    settings = {
        "task": task,
        "baseline": baseline,
        "report_tasks": report,
        **({"controls": controls} if controls else {}),
        "seeds": seeds,
        "first_seed": Settings.first_seed,
        "budget": budget,
        "protocol": protocol,
        "points": "all" if "success_rate_auc" in metrics else OTHER_DEFAULTS["points"],
        "p_threshold": Settings.p_threshold,
    }
    constants = {name: {"value": value} for name, value in settings.items()}
    content: dict[str, Any] = {
        "name": f"{baseline} on {task}",
        "program": "suite",
        "command": COMMAND,
        "method": "custom" if scheduler else "bayes",
        **({"metric": goals[0]} if len(goals) == 1 else {"metrics": goals}),
    }
    if scheduler:
        content["scheduler"] = {"engine": "optuna", "source": "suite/search/scheduler.py", "optimizer": "study"}
    parse(content | {"parameters": constants | searched})
    blocks = (
        f"# Made by `{_command(task, baseline, report, controls, metrics, seeds, budget, protocol, scheduler)}`.",
        _yaml(content),
        "parameters:",
        "  # the suite's settings; a value, not a search",
        _yaml(constants, indent=2),
        "  # the method's tunable fields",
        _yaml(searched, indent=2),
    )
    return "\n".join(block.rstrip("\n") for block in blocks) + "\n"


def _command(
    task: str,
    baseline: str,
    report: str,
    controls: str,
    metrics: Sequence[str],
    seeds: int,
    budget: int,
    protocol: str,
    scheduler: bool,
) -> str:
    """The command line that writes the same file."""
    words = ["suite sweep-init", f"--task {task}", f"--baseline {baseline}"]
    words += [f"--report {report}"] if report else []
    words += [f"--controls {controls}"] if controls else []
    words += [f"--metric {metrics[0] if len(metrics) == 1 else 'both'}"] if tuple(metrics) != ("success_rate",) else []
    words += [f"--seeds {seeds}"] if seeds != Settings.seeds else []
    words += [f"--budget {budget}"] if budget != CellSpec.budget else []
    words += [f"--protocol {protocol}"] if protocol != CellSpec.protocol else []
    words += ["--scheduler"] if scheduler else []
    return " ".join(words)


def _yaml(content: object, indent: int = 0) -> str:
    dumped = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=110)
    return "".join(" " * indent + line for line in dumped.splitlines(keepends=True))
