"""W&B as source and as mirror of a report, with a W&B of objects in its place at the boundary."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from reports.board import leaderboard
from reports.read import wandb_source
from reports.write import wandb_target
from suite.cli import main
from suite.errors import UserError
from suite.store import records
from suite.tracking import run as tracking

wandb = pytest.importorskip("wandb")


class Artifact:
    def __init__(self, kind: str, name: str, file: Path) -> None:
        self.type, self.name, self.file = kind, name, file

    def download(self, root: str) -> str:
        shutil.copyfile(self.file, Path(root) / self.file.name)
        return root


class Run:
    def __init__(self, *artifacts: Artifact) -> None:
        self.artifacts = artifacts

    def logged_artifacts(self) -> list[Artifact]:
        return list(self.artifacts)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, list[Run]]:
    """{project: runs} as wandb.Api gives them; an unknown project raises as wandb's does."""
    projects: dict[str, list[Run]] = {}

    class Api:
        def runs(self, path: str) -> list[Run]:
            if path not in projects:
                raise ValueError(f"Could not find project {path}\n")
            return projects[path]

    monkeypatch.setattr(tracking, "log_in", lambda: None)
    monkeypatch.setattr(wandb, "Api", Api)
    monkeypatch.setenv("SUITE_RESULTS", str(tmp_path / "mine"))
    return projects


def uploaded(record: records.Record) -> Run:
    """What :mod:`suite.tracking.run` leaves of a run: the record, beside W&B's own history."""
    file = record.folder / "record.json"
    return Run(Artifact("wandb-history", "history:v0", file), Artifact("record", f"record-{record.cell}:v0", file))


def written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def shown(out: Path) -> list[tuple[str, int]]:
    return [(row["baseline"], row["seeds"]) for row in json.loads((out / "leaderboard.json").read_text())["rows"]]


def test_a_project_is_read_like_a_folder(
    api: dict[str, list[Run]], results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [results.add(seed=0), results.add(seed=1), results.add("tail")]
    api["team/sparse"] = [*map(uploaded, found), Run()]
    call = ["report", "--from", "wandb:team/sparse", "--out", str(tmp_path / "out"), "--tables-only"]
    assert main(call) == 0
    assert sorted(shown(tmp_path / "out")) == [("banel", 2), ("tail", 1)]
    assert "1 runs of wandb:team/sparse hold no record and are left out" in capsys.readouterr().err
    api["team/sparse"] = [uploaded(found[0])]  # what is gone there is gone here
    assert main(call) == 0
    assert shown(tmp_path / "out") == [("banel", 1)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("wandb:team/none", "--from wandb:team/none: Could not find project team/none"),
        ("wandb:team/empty", "--from wandb:team/empty: 1 runs there and no record among them"),
        ("wandb:team", "'wandb:team' names no W&B project; write wandb:ENTITY/PROJECT"),
        ("mlflow:a/b", "'mlflow:a/b' names no W&B project"),
    ],
)
def test_a_bad_source_is_bad_input(
    api: dict[str, list[Run]], tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, said: str
) -> None:
    api["team/empty"] = [Run()]
    assert main(["report", "--from", source, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "mine").rglob("record.json"))


@pytest.mark.parametrize("flag", ["--from=wandb:team/sparse", "--to=wandb"])
def test_not_logged_in_is_bad_input(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    def refuse() -> None:
        raise wandb.errors.UsageError("not logged in to W&B; run `wandb login`, or use --tracking offline")

    results.add()
    monkeypatch.setattr(tracking, "log_in", refuse)
    monkeypatch.setenv("SUITE_RESULTS", str(tmp_path / "mine"))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert main(["report", "--results", str(results.folder), "--out", str(tmp_path / "out"), flag]) == 2
    err = capsys.readouterr().err
    assert "not logged in to W&B" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_bad_target_is_bad_input() -> None:
    with pytest.raises(UserError, match="write wandb, or wandb:ENTITY/PROJECT"):
        wandb_target.open_target("wandb:only-a-project")


@pytest.mark.slow
def test_offline_the_mirror_is_a_run_to_upload_later(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With wandb itself: a .wandb file that its own reader could upload."""
    results.add()
    results.add("tail")
    monkeypatch.setenv("WANDB_MODE", "offline")
    out = tmp_path / "out"
    assert main(["report", "--results", str(results.folder), "--out", str(out), "--to", "wandb"]) == 0
    said = capsys.readouterr().out
    place = Path(said.split("upload it with `wandb sync ")[1].split("`")[0])
    assert [path.suffix for path in place.glob("run-*")] == [".wandb"]


class Sent:
    """wandb.init's run as far as the mirror uses it."""

    entity, project, url, dir = "team", "sparse", "https://wandb.example/run", "/nowhere/files"

    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}
        self.artifacts: list[Any] = []

    def log(self, values: dict[str, Any]) -> None:
        self.logged |= values

    def log_artifact(self, artifact: Any) -> None:
        self.artifacts.append(artifact)

    def finish(self) -> None:
        self.logged["finished"] = True


@pytest.mark.slow
def test_online_the_mirror_holds_table_figures_and_files(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results.add()
    results.add("tail", rates=(4e-4, 0.01))
    sent, asked = Sent(), []
    monkeypatch.setattr(tracking, "log_in", lambda: None)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "init", lambda **options: asked.append(options) or sent)
    monkeypatch.setattr(wandb_target, "publish", lambda entity, project, rows, made: f"report of {len(rows)}")
    kept = tmp_path / "out" / "wandb" / "run-earlier" / "files.txt"  # an earlier mirror of this folder, say
    kept.parent.mkdir(parents=True)
    kept.write_text("not of the report")
    call = ["report", "--results", str(results.folder), "--out", str(tmp_path / "out"), "--to", "wandb:team/sparse"]
    assert main(call) == 0
    assert (asked[0]["entity"], asked[0]["project"], asked[0]["job_type"]) == ("team", "sparse", "report")
    assert {"leaderboard", "figures/curves-addition-v1", "figures/profiles", "finished"} <= set(sent.logged)
    mirrored = set(sent.artifacts[0].manifest.entries)
    assert {"leaderboard.html", "leaderboard.csv", "figures/profiles.pdf"} <= mirrored
    assert mirrored == {str(path.relative_to(tmp_path / "out")) for path in written(tmp_path / "out")} - {
        "wandb/run-earlier/files.txt"
    }
    assert "W&B Report report of 2" in capsys.readouterr().out


def test_the_report_of_the_web_says_what_the_page_says(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wr = pytest.importorskip("wandb_workspaces.reports.v2")
    results.add(rates=(4e-4, 0.1))
    results.add("tail", rates=(4e-4, 0.01))
    saved = []
    monkeypatch.setattr(wr.Report, "save", lambda self: saved.append(self))
    monkeypatch.setattr(wr.Report, "url", property(lambda self: "https://wandb.example/report"))
    rows = leaderboard.rows(records.scan(results.folder)[0])
    assert wandb_target.publish("team", "sparse", rows, "2 records") == "https://wandb.example/report"
    texts = [str(getattr(block, "text", "")) for block in saved[0].blocks]
    assert any("banel ends highest" in text for text in texts)
    assert any(text.startswith("| method") for text in texts)


def test_places_are_parsed() -> None:
    assert wandb_source.parse("wandb:team/sparse-v1.2") == "team/sparse-v1.2"
