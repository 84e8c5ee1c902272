"""MNIST without the network: 28 x 28 images of our own in place of the download, tiny networks, the whole loop."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch

import reports
from suite import cli
from suite.cells import identity
from tasks.images import data as image_data
from tasks.images import digits
from tasks.images import pretrain as image_pretrain
from tasks.images.pretrain import Recipe
from tasks.images.shared import SIX, to_symbols

STEPS = dict.fromkeys(("zeros_steps", "digits_steps", "distil_steps", "judge_steps", "classifier_steps"), 2)
TINY = Recipe(seed=1, side=28, width=8, layers=1, judge_width=8, batch=4, pool=10, known=3, **STEPS)


def scans(n: int = 60) -> SimpleNamespace:
    """What scikit-learn gives for MNIST, in small: grey levels 0 to 255 in rows of 784, labels as text."""
    rng = np.random.default_rng(0)
    return SimpleNamespace(data=rng.integers(256, size=(n, 784)), target=np.array([str(i % 10) for i in range(n)]))


@pytest.fixture
def openml(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """OpenML answers; the calls that it got."""
    calls: list[tuple[Any, ...]] = []

    def fetch(name: str, *, version: int, as_frame: bool, **options: Any) -> SimpleNamespace:
        calls.append((name, version, as_frame))
        return scans()

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    return calls


@pytest.fixture
def assets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty folder of assets, and recipes that take a moment."""
    monkeypatch.setattr(image_pretrain, "NOISE", 100)
    folder = tmp_path / "assets"
    monkeypatch.setattr(digits, "ASSETS", folder)
    for name in ("mnist-0to6-v1", "mnist-0to6-tune-v1"):
        monkeypatch.setitem(image_pretrain.RECIPES, name, TINY)
    identity.kept_task.cache_clear()
    yield folder
    identity.kept_task.cache_clear()  # tasks with these networks are for nobody else


def suite(*arguments: str) -> int:
    return cli.main([*arguments])


def test_images_are_read_as_scikit_learn_gives_them(openml: list[tuple[Any, ...]]) -> None:
    images, raw = image_data.mnist(), scans()
    assert openml == [("mnist_784", 1, False)]
    assert (images.grey.shape, images.grey.dtype) == ((60, 28, 28), torch.float32)
    assert float(images.grey[7, 2, 3]) == pytest.approx(raw.data[7, 2 * 28 + 3] / 255)
    assert images.label[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


@pytest.mark.slow
def test_the_networks_are_trained_and_a_baseline_runs(
    openml: list[tuple[Any, ...]], assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert suite("pretrain", "mnist-0to6-v1") == 0
    results = tmp_path / "results"
    small = ["--budget", "10", "--batch", "10", "--pool", "16", "--epochs", "1", "--heldout", "10"]
    common = ["--task", "mnist-0to6-v1", "--baseline", "banel", "--results", str(results), "--tracking", "off"]
    assert suite("run", *common, *small) == 0, capsys.readouterr().err
    table = reports.load(results)
    assert table["task_config"].unique().tolist() == ['{"share":0.0}']
    assert table["success_rate"].notna().all()
    known = table["quantities.log_known"]
    assert len(known) == 2
    # three known sixes of 784 pixels under hardly trained networks: near three images of 2^784
    assert known.tolist() == pytest.approx([np.log(3) - 784 * np.log(2)] * 2, rel=0.3)
    assert suite("verify", "--results", str(results)) == 0


def test_known_sixes_come_from_the_images_that_are_held_out(
    openml: list[tuple[Any, ...]], assets: Path, tmp_path: Path
) -> None:
    trainer = image_pretrain.Trainer(TINY, image_data.mnist(), tmp_path, print)
    _, held_out = image_data.mnist().split(TINY.seed)
    real = {tuple(row) for row in to_symbols(held_out.of(SIX).binary()).tolist()}
    assert {tuple(row) for row in trainer.known().tolist()} <= real
    assert len(trainer.known()) == min(TINY.known, len(real))


# -- bad input --------------------------------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that ends with 2."""
    capsys.readouterr()
    assert suite(*arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_task_that_is_not_trained_says_what_to_run(
    assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    run = ("run", "--task", "mnist-0to6-v1", "--baseline", "pretrained", "--results", str(results))
    line = refused(capsys, *run)
    assert "`suite pretrain mnist-0to6-v1`" in line
    assert "network" in line
    assert "pip install 'sparse-reward-suite[images]'" in line
    assert not results.exists()


def test_without_network_the_error_says_so(
    assets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise URLError("[Errno -2] Name or service not known")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    line = refused(capsys, "pretrain", "mnist-0to6-v1")
    assert "OpenML's mnist_784 cannot be loaded (<urlopen error [Errno -2] Name or service not known>)" in line
    assert "go online once, scikit-learn keeps it in" in line
    assert not assets.exists()


@pytest.mark.parametrize("task", ["mnist-0to6-v1", "digits-0to6-v1"])
def test_a_missing_scikit_learn_is_named(
    assets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # what makes an import raise ImportError
    line = refused(capsys, "pretrain", task)
    assert "sklearn is missing" in line
    assert "pip install 'sparse-reward-suite[images]'" in line
