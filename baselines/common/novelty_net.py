"""Random network distillation as a score of novelty: the bonus of the RND baseline, the filter of rnd-filter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from baselines.common.novelty import one_hot
from suite import compute
from suite.policy import Generator
from suite.seeding import Streams

CLIP = 5.0
"""Whitened observations are clipped to ±5, as in arXiv 1810.12894."""


def prediction_error(predicted: Tensor, target: Tensor) -> Tensor:
    """‖f̂(x) − f(x)‖², the mean over features, float (B,), of features (B, F)."""
    return (predicted - target).square().mean(dim=1)


class RunningStd:
    """Standard deviation of all values seen, merged batch by batch (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.n = 0
        self.mean = 0.0
        self.m2 = 0.0
        """Sum of squared deviations from the mean."""

    def update(self, values: Tensor) -> None:
        n = len(values)
        mean = float(values.double().mean())
        m2 = float((values.double() - mean).square().sum())
        delta, total = mean - self.mean, self.n + n
        self.m2 += m2 + delta**2 * self.n * n / total
        self.mean += delta * n / total
        self.n = total

    @property
    def std(self) -> float:
        """Population standard deviation; 1 before two values were seen."""
        return (self.m2 / self.n) ** 0.5 if self.n > 1 and self.m2 > 0 else 1.0


class RandomNetworkDistillation:
    """A fixed random network f and a predictor f̂ trained on visited samples (Burda et al., arXiv 1810.12894).

    The prediction error is large where x is unlike the visited samples. Observations are one-hot strings, whitened by
    samples of the prior; errors are divided by their running standard deviation.

    Args:
        prior: its samples give the mean and scale of the whitening.
        features: outputs of both networks, F.
        lr: learning rate of the predictor.
        epochs: passes of the predictor over each batch visited.
        state: a :meth:`state` to go on from.
    """

    def __init__(
        self, prior: Generator, rng: Streams, *, features: int, lr: float, epochs: int, state: Any = None
    ) -> None:
        self.vocab_size = prior.vocab_size
        self.epochs = epochs
        self.rng = rng
        size = prior.length * prior.vocab_size
        seed = int(torch.randint(2**62, (), generator=rng("novelty_net"), device=rng("novelty_net").device))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.target = mlp(size, features, hidden=1)
            self.predictor = mlp(size, features, hidden=2)
        device = rng("novelty_net").device
        self.target.to(device).requires_grad_(False)
        self.predictor.to(device)
        self.optimizer = torch.optim.Adam(self.predictor.parameters(), lr=lr, fused=True)
        self.mean: Tensor
        self.scale: Tensor
        self.errors = RunningStd()
        if state is not None:
            learned, (self.mean, self.scale), (self.errors.n, self.errors.mean, self.errors.m2) = state
            for part, content in zip(self._learning, learned, strict=True):
                part.load_state_dict(content)
            return
        seen = one_hot(prior.sample(2000, rng("whitening")), self.vocab_size)
        self.mean, self.scale = seen.mean(dim=0), seen.std(dim=0).clamp(min=1e-2)

    @property
    def _learning(self) -> tuple[Any, ...]:
        return self.target, self.predictor, self.optimizer

    def state(self) -> tuple[object, ...]:
        """Networks and optimiser, whitening, running standard deviation."""
        learned = tuple(part.state_dict() for part in self._learning)
        return learned, (self.mean, self.scale), (self.errors.n, self.errors.mean, self.errors.m2)

    def observe(self, x: Tensor) -> Tensor:
        """Whitened one-hot strings, float (B, T · V)."""
        return ((one_hot(x, self.vocab_size) - self.mean) / self.scale).clamp(-CLIP, CLIP)

    def error(self, observed: Tensor) -> Tensor:
        """Prediction error, float (B,), with gradients for the predictor."""
        return prediction_error(self.predictor(observed), self.target(observed))

    @torch.no_grad()
    def novelty(self, x: Tensor) -> Tensor:
        """Prediction error over its running standard deviation, float (B,), of samples (B, T); learns nothing."""
        self._count(len(x), self.target, self.predictor)
        return self.error(self.observe(x)) / self.errors.std

    @torch.no_grad()
    def normalise(self, x: Tensor) -> None:
        """Update the running standard deviation with the errors of x."""
        self._count(len(x), self.target, self.predictor)
        self.errors.update(self.error(self.observe(x)))

    def visit(self, x: Tensor) -> float:
        """Train the predictor on visited samples (B, T); the loss of the last minibatch."""
        observed = self.observe(x)
        loss = torch.zeros(())
        with compute.phase("training"):
            features = self.target(observed)  # (B, F)
            self._count(len(x), self.target)
            for _ in range(self.epochs):
                order = torch.randperm(len(x), generator=self.rng("predictor"), device=x.device)
                for rows in torch.split(order, 128):
                    loss = prediction_error(self.predictor(observed[rows]), features[rows]).mean()
                    self.optimizer.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    self.optimizer.step()
                self._count(len(x), self.predictor, self.predictor, self.predictor)
        return float(loss.detach())

    def _count(self, samples: int, *passes: nn.Module) -> None:
        parameters = sum(p.numel() for net in passes for p in net.parameters())
        compute.count(samples, 2.0 * parameters * samples)


def mlp(inputs: int, outputs: int, *, hidden: int, width: int = 128) -> nn.Sequential:
    """A ReLU network with `hidden` hidden layers of the given width."""
    layers: list[nn.Module] = []
    for size in [inputs] + [width] * (hidden - 1):
        layers += [nn.Linear(size, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))
