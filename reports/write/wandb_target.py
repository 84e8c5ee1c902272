"""`suite report --to wandb`: the tables and figures of a report as a W&B run and, where logged in, as a W&B Report."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import UserError
from suite.tracking import run as tracking

if TYPE_CHECKING:
    import wandb

    from reports.board.row import Row
    from reports.report import Report


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a report is mirrored to."""

    entity: str | None
    project: str
    mode: str
    """`online` or `offline`."""

    def send(self, report: Report, folder: Path, files: Iterable[str]) -> str:
        """Write a run of job type `report`; what became of it in one line.

        Args:
            folder: where the report was written.
            files: the report's files in it, which become an artifact; what else lies there does not.

        Raises:
            UserError: W&B refused.
        """
        try:
            return self._send(report, folder, files)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"--to wandb: {reason[:300]}; the files are in {folder}") from error

    def _send(self, report: Report, folder: Path, files: Iterable[str]) -> str:
        import wandb

        rows, made = report.rows, report.origin

        with contextlib.redirect_stderr(io.StringIO()):
            run = wandb.init(
                entity=self.entity,
                project=self.project,
                dir=folder,
                job_type="report",
                name=f"report of {len(rows)} rows",
                config={"made": made},
                settings={**tracking.SETTINGS, "mode": self.mode},
            )
            run.log({"leaderboard": table(rows)})
            for item in report.figures:
                picture = folder / f"figures/{item.name}.png"
                run.log({f"figures/{item.name}": wandb.Image(str(picture), caption=item.caption)})
            artifact = wandb.Artifact("report", type="report", metadata={"made": made})
            for name in files:
                artifact.add_file(str(folder / name), name=name)
            run.log_artifact(artifact)
            place, url = Path(run.dir).parent, run.url
            run.finish()
        if self.mode == "offline":
            return f"W&B run written offline; upload it with `wandb sync {place}`"
        published = publish(run.entity, run.project, rows, made)
        return f"W&B run {url}" + (f"\nW&B Report {published}" if published else "")


def open_target(place: str) -> Target:
    """The target that `wandb` or `wandb:ENTITY/PROJECT` names, checked before anything is written.

    $WANDB_MODE=offline writes a run that is uploaded later and needs no login.

    Raises:
        UserError: another form, or not logged in.
    """
    found = re.fullmatch(r"wandb(?::([\w.-]+)/([\w.-]+))?", place)
    if found is None:
        raise UserError(f"--to {place!r}: write wandb, or wandb:ENTITY/PROJECT")
    entity, project = found.groups()
    mode = "offline" if os.environ.get("WANDB_MODE") in ("offline", "dryrun") else "online"
    if mode == "online":
        try:
            tracking.log_in()
        except Exception as error:
            hint = "run `wandb login`, or set WANDB_MODE=offline and upload later"
            raise UserError(f"--to {place}: not logged in to W&B; {hint}") from error
    return Target(entity, project or os.environ.get("WANDB_PROJECT") or tracking.PROJECT, mode)


def table(rows: Sequence[Row]) -> wandb.Table:
    """The leaderboard's rows, lists as JSON; null is unknown or censored."""
    import wandb

    names = [field.name for field in dataclasses.fields(rows[0])] if rows else []
    data: list[Iterable[Any]] = [[_cell(getattr(row, name)) for name in names] for row in rows]
    columns: list[str | int] = [*names]
    return wandb.Table(columns=columns, data=data, allow_mixed_types=True)


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, tuple | list) else value


def publish(entity: str, project: str, rows: Sequence[Row], made: str) -> str | None:
    """A W&B Report: per setting the headline, the table and a picture of the runs; its address.

    None where the extra `wandb-reports` is not installed.
    """
    try:
        wr: Any = importlib.import_module("wandb_workspaces.reports.v2")
    except ImportError:
        return None
    from reports.board.row import blocks
    from reports.page import words
    from reports.tables.render import pipe_table, sections, title

    parts: list[Any] = [wr.P(f"Made by `suite report` from {made}.")]
    for block in blocks(rows):
        columns = sections(block)[""]
        body = [[show(row) for show in columns.values()] for row in block]
        head = [" ".join(name.split()) for name in columns]
        parts += [wr.H2(title(block[0])), wr.P(words.headline(block)), wr.MarkdownBlock(pipe_table(head, body))]
    runs = wr.Runset(entity=entity, project=project)
    plot = wr.LinePlot(x="nre", y=["success_rate"], log_y=True, title="success rate against reward evaluations")
    parts.append(wr.PanelGrid(runsets=[runs], panels=[plot]))
    report = wr.Report(entity=entity, project=project, title="Sparse-Reward Suite: leaderboard", blocks=parts)
    with contextlib.redirect_stderr(io.StringIO()):
        report.save()
    return str(report.url)
