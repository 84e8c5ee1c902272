"""The committed sweep files are what `suite sweep-init` writes, in W&B's schema."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from suite import registry
from suite.cli import main
from suite.search.space import parameters
from suite.search.sweep import read

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "sweeps").glob("*/*.yaml"))
# Top-level keys of W&B's sweep schema: https://docs.wandb.ai/models/sweeps/sweep-config-keys
SCHEMA = "program entity project description name method metric metrics parameters early_terminate command scheduler"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_committed_file_is_what_its_first_line_says(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = path.read_text()
    command = text.splitlines()[0].removeprefix("# Made by `suite ").removesuffix("`.")
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_committed_file_runs_here_and_keeps_to_wandbs_schema(path: Path) -> None:
    sweep = read(path)
    assert set(sweep.content) <= set(SCHEMA.split())
    assert sweep.content["command"] == ["${env}", "suite", "trial", "--config", "${args_json_file}"]
    assert sweep.defaults().keys() == sweep.distributions.keys(), "a shipped default lies outside its search range"


FAMILIES = [name.removesuffix("-tune-v1") for name in registry.ids("task") if name.endswith("-tune-v1")]
TUNABLE = [name for name in registry.ids("baseline") if parameters(registry.load("baseline", name).config_class)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_baseline_with_something_to_tune_has_a_file_that_tunes_on_the_familys_variant(family: str) -> None:
    """`make sweeps` writes those that are missing. Seeds and budget are a report's: docs/sweeps.md."""
    untunable = set(registry.ids("baseline")) - set(TUNABLE)
    assert untunable == {"pretrained", "uniform", "pointmass"}  # they have no field to search
    for baseline in TUNABLE:
        sweep = read(ROOT / "sweeps" / family / f"{baseline}.yaml")
        settings = sweep.settings
        tuned = (sweep.cell.task, settings.reported, sweep.cell.baseline)
        assert tuned == (f"{family}-tune-v1", [f"{family}-v1"], baseline)
        assert (settings.seeds, settings.first_seed, sweep.cell.budget) == (4, 1000, 7500)


def test_every_family_with_a_variant_for_tuning_is_in_the_table() -> None:
    """The tasks' own tags are a second list of them."""
    tagged = {name for name in registry.ids("task") if "tuning" in registry.tags(name)}
    assert tagged == {f"{family}-tune-v1" for family in FAMILIES}


@pytest.mark.parametrize("protocol", ["failures-only", "failures-padded", "all-rewards"])
def test_a_sweep_under_another_protocol_is_made_by_the_command_of_its_first_line(
    protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep-init", "--task", "gaussian-tune-v1", "--baseline", "banel", "--protocol", protocol]
    assert main(command) == 0
    text = capsys.readouterr().out
    (tmp_path / "s.yaml").write_text(text)
    assert read(tmp_path / "s.yaml").cell.protocol == protocol
    again = text.splitlines()[0].removeprefix("# Made by `suite ").removesuffix("`.")
    assert ("--protocol" in again) == (protocol != "failures-only")
    assert main(shlex.split(again)) == 0
    assert capsys.readouterr().out == text


def test_sweeps_is_no_package() -> None:
    """A Python package of that name would shadow W&B's own."""
    assert not list((ROOT / "sweeps").glob("*.py"))


def test_layout_and_comments_do_not_make_another_study_and_content_does(tmp_path: Path) -> None:
    content = yaml.safe_load(FILES[0].read_text())
    other = tmp_path / "other.yaml"
    other.write_text("# a comment\n" + yaml.safe_dump(content, sort_keys=True))
    assert read(other).study == read(FILES[0]).study
    content["parameters"]["budget"]["value"] = 7000
    other.write_text(yaml.safe_dump(content))
    assert read(other).study != read(FILES[0]).study
