"""RNA: fillings by hand, folds known from base pairing, the missing extra, structures that cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from suite.cli import main

pytest.importorskip("RNA")

from tasks.rna import PAIRS, Config, Fillings, Rna, RnaTune, TuneConfig, pairs


def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, *options: str) -> str:
    """The error of a run with these options, which exits with 2 and writes nothing."""
    arguments = ["run", "--task", "rna-v1", "--baseline", "pretrained", "--results", str(tmp_path)]
    assert main([*arguments, *options]) == 2
    assert not list(tmp_path.iterdir())
    return capsys.readouterr().err


def at(pair: str) -> int:
    """The symbol of a pair."""
    return PAIRS.index((pair[0], pair[1]))


def test_pairs_by_hand() -> None:
    assert pairs("((...)).(...)") == {0: 6, 1: 5, 8: 12}


def test_a_filling_by_hand() -> None:
    """Symbols in the order of the target's places, pairs where they open: CG, AU, then A C G, then G alone."""
    task = Rna(Config(target="((...))."))
    x = torch.tensor([[at("CG"), at("AU"), 0, 1, 2, 2]])
    assert task.show(x) == ["CAACGUGG"]
    assert task.space == 6**2 * 4**4
    assert task.valid(x).tolist() == [True]
    x[0, 2] = 4  # a pair where one base stands
    assert task.valid(x).tolist() == [False]
    assert task.verify(x).tolist() == [False]


def test_strong_hairpins_fold_and_weak_ones_melt() -> None:
    """Eight G·C pairs under two loops of GNRA type, GAAA, hold; A·U pairs alone, without stacking to spare, do not."""
    task = Rna(Config())
    strong = [at("GC")] * 4 + [2, 0, 0, 0]
    weak = [at("AU")] * 4 + [0, 0, 0, 0]
    mixed = [at(pair) for pair in ("GC", "CG", "GC", "CG")] + [2, 0, 0, 0]
    x = torch.tensor([mixed + strong, weak + weak])
    assert task.show(x) == ["GCGCGAAAGCGCGGGGGAAACCCC", "AAAAAAAAUUUUAAAAAAAAUUUU"]
    assert task.verify(x).tolist() == [True, False]
    assert task.verify(x[[1, 0, 1, 0]]).tolist() == [False, True, False, True]


def test_a_hairpin_enumerated() -> None:
    """All 6 · 4³ fillings of the smallest hairpin: one pair never pays for its loop (Turner's rules), none folds."""
    task = Rna(Config(target="(...)"))
    x = torch.cartesian_prod(torch.arange(6), *[torch.arange(4)] * 3)
    assert len(x) == task.space == 384
    assert not task.verify(x).any()


def test_the_prior_by_hand() -> None:
    """A and U 0.44 each, C and G 0.06: of the pairs' weights 2 · 0.44², 2 · 0.06², 2 · 0.44 · 0.06."""
    prior = Rna(Config()).prior()
    total = 2 * (0.44**2 + 0.06**2 + 0.44 * 0.06)
    expected = [0.44**2, 0.44**2, 0.06**2, 0.06**2, 0.44 * 0.06, 0.44 * 0.06]
    p = prior.probabilities()
    assert p[0].tolist() == pytest.approx([e / total for e in expected], rel=1e-5)
    assert p[4].tolist() == pytest.approx([0.44, 0.06, 0.06, 0.44, 0, 0], rel=1e-5)
    assert prior.length == 16  # 8 pairs and 8 bases of 24


def test_the_proposal_has_stems_of_its_own() -> None:
    """A and U 0.35 each in pairs, bases that do not pair as in the prior."""
    task = Rna(Config())
    proposal = task.proposal(task.prior())
    assert isinstance(proposal, Fillings)
    p = proposal.probabilities()
    total = 2 * (0.35**2 + 0.15**2 + 0.35 * 0.15)
    assert p[0].tolist() == pytest.approx([e / total for e in [0.1225] * 2 + [0.0225] * 2 + [0.0525] * 2], rel=1e-5)
    assert torch.equal(p[4], task.prior().probabilities()[4])


def test_the_tune_variant_has_another_target() -> None:
    assert RnaTune(TuneConfig()).config.target != Rna(Config()).config.target


def test_no_fit_and_no_temperature_makes_what_is_no_filling() -> None:
    task, rng = Rna(Config()), torch.Generator().manual_seed(0)
    policy = task.prior()
    policy.fit(policy.sample(50, rng), generator=rng, epochs=50, lr=1.0)
    for drawn in (policy, policy.tempered(50.0), policy.uniform()):
        assert task.valid(drawn.sample(2000, rng)).all()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("((...)", "target has a ( without a ) at position 1"),
        ("(...))", "target has a ) without a ( at position 6"),
        ("((..))", "a hairpin loop needs at least 3 bases"),
        ("(xyz)", "target must be 1 to 200 of the symbols ( ) and ."),
    ],
)
def test_structures_that_cannot_be_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, target: str, said: str
) -> None:
    assert said in refused(capsys, tmp_path, "--task.target", target)


def test_the_missing_extra_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "RNA", None)  # what makes an import raise ImportError
    line = refused(capsys, tmp_path)
    assert "RNA is missing" in line
    assert "pip install 'sparse-reward-suite[bio]'" in line
    assert line.count("\n") == 1
