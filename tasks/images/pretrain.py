"""Training of the image generators and of the networks that judge their images.

`suite pretrain digits-0to6-v1` writes `tasks/assets/digits-0to6-v1/`: one prior for each share of other digits, the
judge, and real sixes. Judge and priors see the same two thirds of the images; the judge's threshold and the known sixes
come from the held-out third. The recipe fixes everything by (seed, steps).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from suite.generators import Transformer
from suite.store.assets import write_manifest
from tasks.common.training import Say, Schedule, generator, train
from tasks.images.data import Images
from tasks.images.shared import SIX, SYMBOLS, Judge, shape_of, to_symbols

ZERO = 0
SHARES = (0.0, 0.001, 0.01)
"""Shares of all digits in what a prior is trained on; the rest is zeros."""
LEVELS = (0.25, 0.375, 0.5, 0.625, 0.75)
"""Grey levels at which real sixes are binarised for the judge's threshold, a percentile of their log-density."""
PERCENTILE = 0.01
BLOCK = 2048
NOISE = 100_000
"""Uniform images on which it is measured that the judge takes none for a six."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What fixes the networks of a task."""

    seed: int
    """Seed of the networks and of the split of the images."""
    side: int
    width: int = 32
    """Shape of the priors, which methods sample from and train."""
    layers: int = 2
    zeros_steps: int = 1000
    digits_steps: int = 500
    distil_steps: int = 1000
    pool: int = 20_000
    """Strings of zeros, and a tenth as many of all digits, at whose prefixes the mixture is learned."""
    batch: int = 128
    lr: float = 1e-2
    """Of the transformers, by Muon."""
    classifier_lr: float = 3e-3
    """By AdamW."""
    judge_width: int = 64
    judge_steps: int = 500
    classifier_steps: int = 1500
    known: int = 1000
    """Most real sixes that are kept."""

    def judge(self) -> Judge:
        return Judge(self.side, width=self.judge_width)

    def prior(self) -> Transformer:
        return Transformer(shape_of(self.side, self.width, self.layers))


STEPS = ("zeros_steps", "digits_steps", "distil_steps", "judge_steps")
LARGE = {"width": 64, "pool": 5000} | dict.fromkeys(STEPS, 4000)
RECIPES = {
    "digits-0to6-v1": Recipe(seed=1, side=8),
    "digits-0to6-tune-v1": Recipe(seed=2, side=8),
    "mnist-0to6-v1": Recipe(seed=1, side=28, **LARGE),
    "mnist-0to6-tune-v1": Recipe(seed=2, side=28, **LARGE),
}


class Trainer:
    """Trains the networks of one recipe on its share of the images, with checkpoints in a folder."""

    def __init__(self, recipe: Recipe, images: Images, work: Path, say: Say) -> None:
        self.recipe, self.work, self.say = recipe, work, say
        self.seen, self.held_out = images.split(recipe.seed)

    def fit(self, name: str, net: nn.Module, steps: int, loss_of: Callable[[torch.Generator], Tensor]) -> None:
        """Train `net` in place; `loss_of` draws its images."""
        is_transformer = isinstance(net, Transformer)
        lr = self.recipe.lr if is_transformer else self.recipe.classifier_lr
        schedule = Schedule(steps, lr, "muon" if is_transformer else "adamw")
        train(
            net,
            loss_of,
            generator(self.recipe.seed),
            schedule,
            checkpoint=self.work / f"{name}.pt",
            recipe=dataclasses.asdict(self.recipe),
            say=lambda line: self.say(f"{name}: {line}"),
        )

    def judge(self) -> Judge:
        """Classifier and density of all digits; the threshold from real sixes that neither has seen."""
        torch.manual_seed(self.recipe.seed)
        judge, batch = self.recipe.judge(), self.recipe.batch

        def cross_entropy(rng: torch.Generator) -> Tensor:
            images = self.seen.draw(2 * batch, rng)
            return F.cross_entropy(judge.classifier(images.grey.flatten(1)), images.label)

        self.fit("classifier", judge.classifier, self.recipe.classifier_steps, cross_entropy)
        self.fit(
            "density", judge.density, self.recipe.judge_steps, lambda rng: nll(judge.density, self.seen, batch, rng)
        )
        sixes = self.held_out.of(SIX)
        real = torch.cat([to_symbols(sixes.binary(level)) for level in LEVELS])
        with torch.no_grad():
            judge.least.copy_(judge.density.log_likelihood(real).quantile(PERCENTILE))
        return judge

    def teacher(self, name: str, images: Images, steps: int) -> Transformer:
        """A generator of these images."""
        torch.manual_seed(self.recipe.seed)
        net = self.recipe.prior()
        self.fit(name, net, steps, lambda rng: nll(net, images, self.recipe.batch // 2, rng))
        return net

    def priors(self) -> dict[float, Transformer]:
        """By share: a generator of zeros, and of all digits with the weight `share`.

        With a weight of 1e-3 in the likelihood all digits would leave no trace in a network trained for minutes. So two
        networks are trained, one on zeros and one on all digits, and one more follows their mixture.
        """
        zeros = self.teacher("zeros", self.seen.of(ZERO), self.recipe.zeros_steps)
        everything = self.teacher("all-digits", self.seen, self.recipe.digits_steps)
        rng = generator(self.recipe.seed)
        x = torch.cat([zeros.sample(self.recipe.pool, rng), everything.sample(self.recipe.pool // 10, rng)])  # (B, T)
        return {share: self.distilled(zeros, everything, share, x) if share else zeros for share in SHARES}

    def distilled(self, zeros: Transformer, everything: Transformer, share: float, x: Tensor) -> Transformer:
        """One network with the conditional probabilities of the mixture, at the prefixes of strings of both, x (B, T).

        A tenth of the prefixes are those of all digits, far more than the share, so that rare digits are learnt too.
        """
        target = torch.cat([mixture(zeros, everything, share, rows) for rows in torch.split(x, BLOCK)])  # (B, T, V)
        torch.manual_seed(self.recipe.seed)
        net, batch = zeros.clone(), self.recipe.batch

        def divergence(rng: torch.Generator) -> Tensor:
            rows = torch.randint(len(x), (batch,), generator=rng)
            log_p = torch.log_softmax(net.logits(x[rows]), dim=-1)
            return F.kl_div(log_p, target[rows], reduction="none", log_target=True).sum(dim=(1, 2)).mean()

        self.fit(prior_name(share), net, self.recipe.distil_steps, divergence)
        return net

    def known(self) -> Tensor:
        """Real sixes that no network has seen, each image once, uint8 (S, T)."""
        sixes = to_symbols(self.held_out.of(SIX).binary()[: self.recipe.known])
        distinct: Tensor = torch.unique(sixes, dim=0)
        return distinct.to(torch.uint8)

    def measured(self, judge: Judge, priors: dict[float, Transformer]) -> dict[str, Any]:
        """How good the networks are, on images that they have not seen, and on noise."""
        x, label = to_symbols(self.held_out.binary()), self.held_out.label
        noise = torch.randint(SYMBOLS, (NOISE, x.shape[1]), generator=generator(self.recipe.seed))
        with torch.no_grad():
            right = judge.log_probs(x).argmax(dim=1) == label
            zeros = x[label == ZERO]
            nats = {str(share): -float(net.log_likelihood(zeros).mean()) for share, net in priors.items()}
            density = -float(judge.density.log_likelihood(x).mean())
        found = judge.is_six(x)
        return {
            "held_out": len(label),
            "accuracy": float(right.float().mean()),
            "sixes_accepted": float(found[label == SIX].float().mean()),
            "others_accepted": float(found[label != SIX].float().mean()),
            "noise_accepted": float(judge.is_six(noise).float().mean()),
            "density_nats": density,
            "prior_nats_of_zeros": nats,
        }


def nll(net: Transformer, images: Images, n: int, rng: torch.Generator) -> Tensor:
    """Mean negative log-likelihood of n images, in nats an image."""
    return -net.log_likelihood(to_symbols(images.draw(n, rng).grey)).mean()


@torch.no_grad()
def mixture(first: Transformer, second: Transformer, share: float, x: Tensor) -> Tensor:
    """Next-symbol log-probabilities of (1 - share) first + share second before each symbol of x, (B, T, V)."""
    joint, reached = [], []
    for weight, net in ((1 - share, first), (share, second)):
        log_p = torch.log_softmax(net.logits(x), dim=-1)  # (B, T, V)
        met = log_p.gather(-1, x[..., None]).squeeze(-1).cumsum(dim=1)  # (B, T)
        before = F.pad(met[:, :-1], (1, 0)) + math.log(weight)  # of the prefix, with the weight
        joint.append(before[..., None] + log_p)
        reached.append(before)
    return torch.logaddexp(*joint) - torch.logaddexp(*reached)[..., None]


def prior_name(share: float) -> str:
    return f"prior-{share:g}"


def pretrain(task_id: str, images: Images, folder: Path, say: Say, recipe: Recipe | None = None) -> None:
    """Train the networks of a task and write them, the known sixes and the manifest into `folder`."""
    recipe = recipe or RECIPES[task_id]
    work = folder / "checkpoints"
    work.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(recipe, images, work, say)
    judge = trainer.judge()
    priors = trainer.priors()
    save_file(judge.state_dict(), folder / "judge.safetensors")
    save_file({"sixes": trainer.known()}, folder / "sixes.safetensors")
    for share, net in priors.items():
        save_file(net.state_dict(), folder / f"{prior_name(share)}.safetensors")
    measured = trainer.measured(judge, priors)
    write_manifest(folder, command=f"suite pretrain {task_id}", recipe=dataclasses.asdict(recipe), measured=measured)
    say(f"wrote {folder}; {measured}")
