"""Images of zeros turned into sixes, 8 x 8 pixels: the paper's experiment on images, small enough for one core.

Prior: a transformer over the image's patches of 2 x 2 binary pixels, trained on zeros and, with a weight of 1e-3, on
all digits. Reward 1 when the image is a six: a frozen classifier is sure, p(six) > 0.99, and a density model of all
digits finds it as likely as real sixes are, above the 1st percentile of their log-density. Without the second condition
noise would be rewarded. Sparse because the prior was trained on few sixes: it draws two in ten thousand, about half of
which come from errors of the network and not from the sixes that it was trained on.

Source: arXiv 2510.09596, the experiment on MNIST; images: Alpaydin and Kaynak, "Optical Recognition of Handwritten
Digits", UCI (1998), as embedded in scikit-learn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor

from suite.config import setting
from suite.generators import Transformer
from suite.policy import Policy
from suite.store.assets import read_manifest
from tasks.common import ASSETS
from tasks.images.data import Images, digits
from tasks.images.pretrain import SHARES, Recipe, pretrain, prior_name
from tasks.images.shared import Judge, to_images


@dataclass(frozen=True)
class Config:
    """How rare sixes are."""

    share: float = setting(
        0.001, choices=SHARES, help="weight of all digits in what the prior was trained on; sets the base rate"
    )


class Digits:
    """8 x 8 images from a generator of zeros; a frozen classifier and a density model must find a six."""

    config: Config
    name: ClassVar[str] = "digits-0to6-v1"
    space: ClassVar[int] = 2**64
    """Binary images."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = self.shipped()
        self.files = {"prior": f"{prior_name(config.share)}.safetensors"}
        self.files |= {part: f"{part}.safetensors" for part in ("judge", "sixes")}
        self.manifest = read_manifest(self.folder, tuple(self.files.values()))
        self.assets: dict[str, str] = {file: self.manifest["files"][file] for file in self.files.values()}
        self.recipe = Recipe(**self.manifest["recipe"])

    @classmethod
    def shipped(cls) -> Path:
        """The folder of its networks."""
        return ASSETS / cls.name

    @classmethod
    def images(cls) -> Images:
        """What the networks are trained on."""
        return digits()

    def load(self, part: str) -> dict[str, Tensor]:
        return load_file(self.folder / self.files[part])

    def prior(self) -> Transformer:
        net = self.recipe.prior()
        net.load_state_dict(self.load("prior"))
        return net

    @functools.cached_property
    def judge(self) -> Judge:
        """In double precision, so that no reward depends on the rest of the batch."""
        judge = self.recipe.judge()
        judge.load_state_dict(self.load("judge"))
        return judge.double()

    @functools.cached_property
    def sixes(self) -> Tensor:
        """Real sixes that no network has seen, int64 (S, T)."""
        return self.load("sixes")["sixes"].long()

    def verify(self, x: Tensor) -> Tensor:
        return self.judge.is_six(x.cpu()).to(x.device)

    def show(self, x: Tensor) -> Tensor:
        return to_images(x.cpu())

    def quantities(self, policy: Policy) -> dict[str, float]:
        """`log_known`: log of the probability of all known sixes together, the paper's success rate, in nats.

        The known sixes are not the set that the reward accepts, so this is neither a lower nor an upper bound of the
        success rate.
        """
        return {"log_known": float(torch.logsumexp(policy.log_prob(self.sixes), dim=0))}

    @classmethod
    def pretrain(cls, say: Callable[[str], None]) -> None:
        """Train priors and judge."""
        pretrain(cls.name, cls.images(), cls.shipped(), say)


class DigitsTune(Digits):
    """8 x 8 images from zeros to sixes with another split and other networks: for tuning, never reported."""

    name = "digits-0to6-tune-v1"
