"""Images of handwritten digits: scikit-learn's own, embedded in it, and OpenML's MNIST through scikit-learn."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from suite.errors import UserError
from tasks.common.extras import first_line, library

HELD_OUT = 1 / 3
"""Share of the images that no network is trained on; thresholds and known sixes come from them."""
THRESHOLDS = (0.25, 0.75)
"""A training image is binarised at a grey level drawn from here: strokes of every width that the scan allows."""
MIDDLE = 0.5


class Images(NamedTuple):
    """Grey images and what they show."""

    grey: Tensor
    """float32 (N, S, S) in [0, 1]."""
    label: Tensor
    """int64 (N,)."""

    def rows(self, keep: Tensor) -> Images:
        return Images(self.grey[keep], self.label[keep])

    def split(self, seed: int) -> tuple[Images, Images]:
        """(to train on, held out)."""
        order = torch.randperm(len(self.label), generator=torch.Generator().manual_seed(seed))
        cut = round(len(order) * HELD_OUT)
        return self.rows(order[cut:]), self.rows(order[:cut])

    def of(self, digit: int) -> Images:
        return self.rows(self.label == digit)

    def draw(self, n: int, rng: torch.Generator) -> Images:
        """n of them with replacement, binarised at a random level each."""
        row = torch.randint(len(self.label), (n,), generator=rng)
        low, high = THRESHOLDS
        level = low + (high - low) * torch.rand(n, 1, 1, generator=rng)
        return Images((self.grey[row] > level).float(), self.label[row])

    def binary(self, level: float = MIDDLE) -> Tensor:
        """All of them binarised at one level, float32 (N, S, S) of 0 and 1."""
        return (self.grey > level).float()


def digits() -> Images:
    """1,797 images of 8 x 8 pixels and 17 grey levels (Alpaydin and Kaynak, 1998), embedded in scikit-learn."""
    found = library("sklearn.datasets", "images").load_digits()
    return Images(torch.tensor(found.images, dtype=torch.float32) / 16, torch.tensor(found.target).long())


def mnist() -> Images:
    """70,000 images of 28 x 28 pixels and 256 grey levels (LeCun et al., 1998), from OpenML; scikit-learn keeps them.

    Raises:
        UserError: scikit-learn is missing, or the images are not in its folder and OpenML cannot be reached.
    """
    datasets = library("sklearn.datasets", "images")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of every retry
            found = datasets.fetch_openml("mnist_784", version=1, as_frame=False, parser="pandas", n_retries=1)
    except Exception as error:  # what networks, OpenML and archives raise
        raise UserError(
            f"OpenML's mnist_784 cannot be loaded ({first_line(error)}); go online once, scikit-learn keeps it in "
            f"{datasets.get_data_home()} ($SCIKIT_LEARN_DATA)"
        ) from error
    grey = torch.as_tensor(found.data, dtype=torch.float32).view(-1, 28, 28) / 255
    return Images(grey, torch.tensor([int(label) for label in found.target]))
