"""MNIST's zeros turned into sixes, 28 x 28 pixels: the paper's experiment on images.

Prior: a transformer over patches of 2 x 2 binary pixels, trained on zeros alone as in the paper. Reward 1 when the
image is a six by a frozen classifier and a density model (see :mod:`tasks.images.digits`). Too sparse to count: the
success rate that the paper reports is computed from likelihoods, the probability of all known sixes together; it has a
column of its own, `log_known`. With `share` 0.001 the prior was trained on other digits too, and sixes can be counted.

Needs `pip install 'sparse-reward-suite[images]'` and, once, the network: `suite pretrain mnist-0to6-v1` fetches the
images from OpenML through scikit-learn, which keeps them, and trains the networks. None of them is shipped.

Source: arXiv 2510.09596, the experiment on MNIST; images: LeCun et al. (1998), OpenML data set 554.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from suite.config import retuned
from suite.errors import UserError
from suite.store.assets import MANIFEST
from tasks.images import data as image_data
from tasks.images import digits


@dataclass(frozen=True)
class Config(digits.Config):
    """How rare sixes are; by default as in the paper, whose prior was trained on none."""

    share: float = retuned(digits.Config, "share", 0.0)


class Mnist(digits.Digits):
    """The paper's 28 x 28 images from a generator of zeros; a classifier and a density model must find a six."""

    config: Config
    name = "mnist-0to6-v1"
    space = 2**784
    extra: ClassVar[str] = "images"

    def __init__(self, config: Config) -> None:
        if not (self.shipped() / MANIFEST).exists():
            raise UserError(
                f"the networks of {self.name} are not trained here: run `suite pretrain {self.name}`, which fetches "
                "MNIST from OpenML (network; pip install 'sparse-reward-suite[images]')"
            )
        super().__init__(config)

    @classmethod
    def images(cls) -> image_data.Images:
        return image_data.mnist()


class MnistTune(Mnist):
    """The 28 x 28 images with another split and other networks: for tuning, never reported."""

    name = "mnist-0to6-tune-v1"
