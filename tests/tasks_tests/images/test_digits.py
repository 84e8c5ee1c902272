"""Digits: patches and the judge by hand, real images and noise put to the shipped judge, the shipped files' sizes."""

from __future__ import annotations

import math

import pytest
import torch

from suite import config as configs
from suite.generators import Shape, Transformer
from tasks.images.data import Images, digits
from tasks.images.digits import ASSETS, Config, Digits, DigitsTune
from tasks.images.pretrain import RECIPES, SHARES, mixture
from tasks.images.shared import SIX, Judge, to_images, to_symbols


def test_patches_by_hand() -> None:
    """Bits of a patch from its first pixel to its last: 1, 2, 4, 8."""
    image = torch.tensor([[1, 0, 0, 1], [0, 0, 1, 1], [0, 1, 0, 0], [1, 1, 0, 0]])
    assert to_symbols(image[None]).tolist() == [[1, 2 + 4 + 8, 2 + 4 + 8, 0]]


def test_symbols_and_images_are_inverse() -> None:
    x = torch.randint(16, (50, 16), generator=torch.Generator().manual_seed(0))
    images = to_images(x)
    assert images.shape == (50, 8, 8)
    assert set(images.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(to_symbols(images), x)


def judge_that_is_sure(logit: float) -> Judge:
    """The classifier's logits are 0, and `logit` for a six, whatever the image: p = e^logit / (e^logit + 9)."""
    torch.manual_seed(0)
    judge = Judge(4, width=8, layers=1).double()
    last = judge.classifier[2]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    with torch.no_grad():
        last.bias[SIX] = logit
    return judge


def test_a_six_needs_both_a_sure_classifier_and_density() -> None:
    """p(six) crosses 0.99 at a logit of log(9 · 99) = 6.79; of 21 different densities ten lie above the median."""
    x = torch.randint(16, (21, 4), generator=torch.Generator().manual_seed(0))
    for logit, sure in ((math.log(9 * 99) - 0.01, False), (math.log(9 * 99) + 0.01, True)):
        judge = judge_that_is_sure(logit)
        judge.least.fill_(-math.inf)
        assert judge.is_six(x).tolist() == [sure] * 21
        with torch.no_grad():
            judge.least.copy_(judge.density.log_likelihood(x).median())
        assert int(judge.is_six(x).sum()) == 10 * sure


def test_the_classifier_sees_the_pixels_in_reading_order() -> None:
    """log p(digit) of the shipped network, computed here from its weights and scikit-learn's own image."""
    task, image = Digits(Config()), digits().binary()[:1]
    first, _, last = task.judge.classifier
    hidden = torch.nn.functional.gelu(image.flatten(1).double() @ first.weight.T + first.bias)
    expected = torch.log_softmax(hidden @ last.weight.T + last.bias, dim=-1)
    torch.testing.assert_close(task.judge.log_probs(to_symbols(image)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cls", [Digits, pytest.param(DigitsTune, marks=pytest.mark.slow)])
def test_real_sixes_are_rewarded_other_digits_and_noise_are_not(cls: type[Digits]) -> None:
    """Images that no network has seen. The classifier alone would reward noise: that is why there is a density."""
    task = cls(Config())
    _, held_out = digits().split(RECIPES[cls.name].seed)
    found = task.verify(to_symbols(held_out.binary()))
    assert float(found[held_out.label == SIX].double().mean()) > 0.75
    assert int(found[held_out.label != SIX].sum()) <= 1
    noise = task.prior().uniform().sample(20_000, torch.Generator().manual_seed(0))
    assert int(task.verify(noise).sum()) == 0
    assert int((task.judge.log_probs(noise)[:, SIX].exp() > 0.99).sum()) > 0


@pytest.mark.slow
def test_known_sixes_are_the_held_out_ones_and_their_likelihoods_are_summed() -> None:
    task = Digits(Config())
    _, held_out = digits().split(RECIPES["digits-0to6-v1"].seed)
    real = {tuple(row) for row in to_symbols(held_out.of(SIX).binary()).tolist()}
    assert {tuple(row) for row in task.sixes.tolist()} == real
    prior = task.prior()
    total = sum(math.exp(float(prior.log_prob(six[None]))) for six in task.sixes)
    assert task.quantities(prior)["log_known"] == pytest.approx(math.log(total), abs=1e-4)
    uniform = task.quantities(prior.uniform())["log_known"]
    assert uniform == pytest.approx(math.log(len(task.sixes)) - 64 * math.log(2), rel=1e-9)


def test_a_mixture_by_enumeration() -> None:
    """Its conditional probabilities multiply to (1 - s) p(x) + s q(x), for all 27 strings of two networks."""
    x = torch.cartesian_prod(*[torch.arange(3)] * 3)
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append(Transformer(Shape(vocab_size=3, length=3, end=None, width=8, layers=1)))
    found = mixture(*nets, 0.2, x).gather(-1, x[..., None]).sum(dim=(1, 2))
    p, q = (net.log_prob(x).exp() for net in nets)
    torch.testing.assert_close(found.double(), (0.8 * p + 0.2 * q).log(), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_share_of_other_digits_sets_the_base_rate() -> None:
    """Sixes among 20,000 samples of the three priors, the one that has met none among them."""
    hits = []
    for share in SHARES:
        task = Digits(Config(share=share))
        hits.append(int(task.verify(task.prior().sample(20_000, torch.Generator().manual_seed(0))).sum()))
    assert hits[0] <= hits[1] < hits[2]


def test_a_training_image_is_binarised_at_a_level_of_its_own() -> None:
    """Grey 0.1 and 0.9 lie outside the levels, 0.5 in their middle: 0, 1, and either, half the time."""
    grey = torch.tensor([0.1, 0.9, 0.5, 0.5]).view(1, 2, 2)
    drawn = Images(grey, torch.tensor([3])).draw(1000, torch.Generator().manual_seed(0))
    assert drawn.label.tolist() == [3] * 1000
    a, b, c, d = drawn.grey.flatten(1).T
    assert (int(a.sum()), int(b.sum())) == (0, 1000)
    assert torch.equal(c, d)
    assert 430 < int(c.sum()) < 570  # 4.4 standard errors


def test_split_parts_share_no_image_and_differ_between_seeds() -> None:
    images = Images(torch.arange(9.0).view(9, 1, 1), torch.zeros(9).long())
    seen, held_out = images.split(1)
    assert (len(seen.label), len(held_out.label)) == (6, 3)
    assert sorted(torch.cat([seen.grey, held_out.grey]).flatten().tolist()) == list(range(9))
    assert not torch.equal(images.split(2)[1].grey, held_out.grey)


def test_a_share_that_was_not_trained_is_refused() -> None:
    with pytest.raises(configs.UserError, match=r"0\.0, 0\.001, 0\.01"):
        configs.build(Config, {"share": 0.5})


@pytest.mark.parametrize("cls", [Digits, DigitsTune])
def test_the_shipped_files_are_small(cls: type[Digits]) -> None:
    """The issue's limit: 2 MB of safetensors a task."""
    files = list((ASSETS / cls.name).glob("*.safetensors"))
    assert len(files) == 2 + len(SHARES)
    assert sum(path.stat().st_size for path in files) <= 2_000_000
