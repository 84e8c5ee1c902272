"""Binary images as strings of patches, and the networks that decide whether one shows a six."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.generators import Shape, Transformer

PATCH = 2
"""Side of a patch in pixels. One symbol is a patch: a quarter of the symbols, a sixteenth of the attention."""
SYMBOLS = 2 ** (PATCH * PATCH)
SIX, CLASSES = 6, 10
CONFIDENCE = 0.99
"""The least probability of a six, by the classifier, that is rewarded."""


def shape_of(side: int, width: int, layers: int) -> Shape:
    """A transformer over the images of a side, in pixels."""
    return Shape(vocab_size=SYMBOLS, length=(side // PATCH) ** 2, end=None, width=width, layers=layers)


def to_symbols(images: Tensor) -> Tensor:
    """Images of 0 and 1, (B, S, S), as patches in reading order, int64 (B, (S / 2)²); a patch's first pixel is 1, its
    last one 8."""
    batch, side, _ = images.shape
    grid = images.long().view(batch, side // PATCH, PATCH, side // PATCH, PATCH)
    pixels = grid.transpose(2, 3).reshape(batch, -1, PATCH * PATCH)  # (B, T, 4)
    return (pixels << torch.arange(PATCH * PATCH, device=images.device)).sum(dim=-1)


def to_images(x: Tensor) -> Tensor:
    """The inverse of :func:`to_symbols`: float32 (B, S, S) of 0 and 1."""
    batch, across = len(x), round(x.shape[1] ** 0.5)
    pixels = (x[..., None] >> torch.arange(PATCH * PATCH, device=x.device)) & 1  # (B, T, 4)
    grid = pixels.view(batch, across, across, PATCH, PATCH).transpose(2, 3)
    return grid.reshape(batch, across * PATCH, across * PATCH).float()


class Judge(nn.Module):
    """Whether an image is a six: a classifier is sure of it, and it is as likely as real sixes are.

    The second condition rejects noise: a classifier alone is sure of many images that show no digit.

    Attributes:
        classifier: pixels (B, S²) to logits of the ten digits.
        density: log-density over images of all digits.
        least: the 1st percentile of the log-density of real sixes, in nats.
    """

    least: Tensor

    def __init__(self, side: int, *, hidden: int = 64, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.classifier = nn.Sequential(nn.Linear(side**2, hidden), nn.GELU(), nn.Linear(hidden, CLASSES))
        self.density = Transformer(shape_of(side, width, layers))
        self.register_buffer("least", torch.zeros(()))

    def log_probs(self, x: Tensor) -> Tensor:
        """log p(digit | image), (B, 10), of images as symbols, int64 (B, T)."""
        pixels = to_images(x).flatten(1).to(self.least.dtype)
        return torch.log_softmax(self.classifier(pixels), dim=-1)

    @torch.no_grad()
    def is_six(self, x: Tensor) -> Tensor:
        """True (B,) where p(six) > 0.99 and the log-density lies above `least`.

        The density is computed only for images that pass the classifier, which are few where successes are rare.
        """
        passed = self.log_probs(x)[:, SIX].exp() > CONFIDENCE
        passed[passed.clone()] = self.density.log_likelihood(x[passed]) > self.least
        return passed
