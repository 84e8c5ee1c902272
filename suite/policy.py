"""What a baseline yields: anything that can be sampled and scored, and the ways to build one from another."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from suite.counted import Counted, distinct_rows, merged


@runtime_checkable
class Policy(Protocol):
    """A distribution over samples of T symbols."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n samples, int64 (n, T)."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, float (B,), of samples int64 (B, T)."""


@runtime_checkable
class Generator(Policy, Protocol):
    """A policy that can be fitted and copied: what a task hands over and a baseline improves."""

    vocab_size: int
    length: int

    def fit(
        self,
        x: Tensor,
        *,
        generator: torch.Generator,
        epochs: int = 1,
        lr: float = 1e-3,
        batch_size: int = 128,
        weights: Tensor | None = None,
    ) -> float:
        """Raise the (weighted) log-likelihood of x; the mean loss of the last epoch, nats per sample.

        A generator of the engine also takes `counts`, int64 (B,): row i then stands for so many equal samples.
        """

    def clone(self) -> Self:
        """An independent copy."""

    def state_dict(self) -> dict[str, Any]:
        """The weights by name."""

    def load_state_dict(self, state: Any) -> Any:
        """Take over weights."""

    def tempered(self, temperature: float) -> Policy:
        """The same generator with every conditional probability raised to 1 / temperature."""

    def uniform(self) -> Policy:
        """Uniform over the samples that the task declares well formed, else over symbols, one by one."""


def sample_counts(policy: Policy, n: int, generator: torch.Generator) -> Counted:
    """Draw n samples from any policy as the different ones among them.

    A policy's own `sample_counts(n, generator)` is called where it has one; else it is sampled and its different
    samples are scored.
    """
    if _has_own_counts(policy):
        counted: Counted = policy.sample_counts(n, generator)  # type: ignore[attr-defined]
        return counted
    return counted_samples(policy, policy.sample(n, generator))


def _has_own_counts(policy: Policy) -> bool:
    """Whether a policy's `sample_counts` goes with its `sample` and `log_prob`: none of these replaced later."""
    names, kinds = ("sample", "log_prob"), type(policy).__mro__
    made_by = {name: [name in vars(kind) for kind in kinds] for name in (*names, "sample_counts")}
    if not any(made_by["sample_counts"]):
        return False
    at = made_by["sample_counts"].index(True)
    return not any(name in getattr(policy, "__dict__", {}) or any(made_by[name][:at]) for name in names)


def counted_samples(policy: Policy, x: Tensor) -> Counted:
    """The different ones among samples of a policy, int64 (n, T), in lexicographic order."""
    strings, row = distinct_rows(x)
    log_p = policy.log_prob(strings.clone())  # a class of a method's own may work in place
    return Counted(strings, torch.bincount(row, minlength=len(strings)), log_p.double())


def fit_counts(policy: Generator, samples: Counted, **how: Any) -> float:
    """`policy.fit` on a counted sample; row by row where a task's own generator takes no `counts`.

    Args:
        how: the other arguments of `fit`.
    """
    takes = inspect.signature(policy.fit).parameters
    if "counts" in takes or any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        loss: float = policy.fit(samples.strings, counts=samples.counts, **how)  # type: ignore[call-arg]
        return loss
    return policy.fit(samples.strings.repeat_interleave(samples.counts, dim=0), **how)


class Round(NamedTuple):
    """One step of a baseline: the policy after it and the method's own numbers."""

    policy: Policy
    metrics: dict[str, float]
    state: Any = None
    """What `run(…, state=…)` goes on from, of the kinds of :mod:`suite.store.state`; None where the method keeps none,
    so that a killed run replays its rounds."""


class Tempered:
    """A generator sampled at a temperature, symbol by symbol; infinite is uniform over symbols."""

    def __init__(self, net: Any, temperature: float) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.net = net
        self.temperature = temperature

    @property
    def parts(self) -> tuple[Policy, ...]:
        return (self.net,)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        x: Tensor = self.net.sample(n, generator, self.temperature)
        return x

    def sample_counts(self, n: int, generator: torch.Generator) -> Counted:
        own = getattr(self.net, "sample_counts", None)
        if own is None:
            return counted_samples(self, self.sample(n, generator))
        drawn: Counted = own(n, generator, self.temperature)
        return drawn

    def log_prob(self, x: Tensor) -> Tensor:
        log_p: Tensor = self.net.log_prob(x, self.temperature)
        return log_p

    def log_prob_forest(self, forest: Any) -> Tensor:
        log_p: Tensor = self.net.log_prob_forest(forest, self.temperature)
        return log_p


class Mixture:
    """p(x) = Σ_k w_k p_k(x): one of several policies is drawn by its weight, then the sample from it.

    Args:
        policies: the K parts.
        weights: of the parts, K numbers ≥ 0 with a sum above 0; divided by their sum.
    """

    def __init__(self, policies: Sequence[Policy], weights: Sequence[float]) -> None:
        total = math.fsum(weights)
        if len(policies) != len(weights) or not policies:
            raise ValueError(f"a mixture of {len(policies)} policies with {len(weights)} weights")
        if min(weights) < 0 or not 0 < total < math.inf:
            raise ValueError(f"weights of a mixture must be at least 0 with a finite sum above 0, got {list(weights)}")
        self.parts = tuple(policies)
        self.weights = tuple(weight / total for weight in weights)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n samples, int64 (n, T), in no order that tells their part."""
        x = torch.cat([part.sample(k, generator) for part, k in self._split(n, generator)])
        return x[torch.randperm(n, generator=generator, device=generator.device).to(x.device)]

    def sample_counts(self, n: int, generator: torch.Generator) -> Counted:
        drawn = [sample_counts(part, k, generator) for part, k in self._split(n, generator)]
        strings, counts = merged(torch.cat([one.strings for one in drawn]), torch.cat([one.counts for one in drawn]))
        return Counted(strings, counts, self.log_prob(strings))

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), float64 (B,)."""
        return self.mixed([part.log_prob(x) for part in self.parts])

    def mixed(self, log_p: Sequence[Tensor]) -> Tensor:
        """log Σ_k w_k p_k(x), float64 (B,), from the K parts' log-probabilities, (B,) each."""
        weights = torch.tensor(self.weights, dtype=torch.float64, device=log_p[0].device)
        return torch.logsumexp(torch.stack(list(log_p)).double() + weights.log()[:, None], dim=0)

    def _split(self, n: int, generator: torch.Generator) -> list[tuple[Policy, int]]:
        """How many of n samples each part gives, drawn by the weights."""
        weights = torch.tensor(self.weights, dtype=torch.float64, device=generator.device)
        drawn = torch.multinomial(weights, n, replacement=True, generator=generator) if n else weights[:0].long()
        return list(zip(self.parts, torch.bincount(drawn, minlength=len(weights)).tolist(), strict=True))


class Acceptance(NamedTuple):
    """How many of `n` draws from the prior passed all filters; the estimate of the normaliser."""

    hits: int
    n: int


class Filtered:
    """Algorithm 1's posterior (arXiv 2510.09596): the prior outside the union of rejection regions.

    p(x) = prior(x) · 1[log prior(x) − log φ_k(x) ≥ log τ_k for all k] / P(accept), where P(accept) is estimated
    from the acceptance handed over; the estimate enters `log_prob` and whatever is computed from it.
    """

    MAX_DRAWS = 2000
    """Draws from the prior per sample asked for before rejection sampling gives up."""

    def __init__(self, prior: Policy, filters: list[tuple[Policy, float]], acceptance: Acceptance) -> None:
        self.prior = prior
        self.filters = filters
        self.acceptance = acceptance

    @property
    def parts(self) -> tuple[Policy, ...]:
        return (self.prior, *(model for model, _ in self.filters))

    def accepts(self, x: Tensor) -> Tensor:
        """True (B,) where x lies outside every rejection region."""
        log_prior = self.prior.log_prob(x)
        keep = torch.ones(len(x), dtype=torch.bool, device=x.device)
        for model, log_tau in self.filters:
            keep &= log_prior - model.log_prob(x) >= log_tau
        return keep

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Rejection sampling, int64 (n, T).

        Raises:
            RuntimeError: fewer than n accepted after 2,000 n draws.
        """
        kept: list[Tensor] = []
        found = drawn = 0
        while found < n:
            if drawn >= self.MAX_DRAWS * n:
                raise RuntimeError(
                    f"rejection sampling accepted {found} of {drawn} draws, wanted {n}; "
                    "a smaller filter_factor or fewer rounds keep the acceptance up"
                )
            x = self.prior.sample(max(n, 256), generator)
            drawn += len(x)
            kept.append(x[self.accepts(x)])
            found += len(kept[-1])
        return torch.cat(kept)[:n]

    def log_prob(self, x: Tensor) -> Tensor:
        log_normaliser = torch.tensor(self.acceptance.hits / self.acceptance.n, dtype=torch.float64).log()
        log_p = self.prior.log_prob(x) - log_normaliser
        return torch.where(self.accepts(x), log_p, -torch.inf)


COMBINED = (Tempered, Mixture, Filtered)
"""The ways to build a policy from others that the oracle draws from and that are saved."""


def check_samples(x: Tensor, vocab_size: int) -> None:
    """ValueError unless x holds samples: int64 (B, T), all symbols below the vocabulary's size."""
    if x.dtype != torch.int64 or x.ndim != 2:
        raise ValueError(f"samples must be int64 (B, T), got {x.dtype} {tuple(x.shape)}")
    low, high = (int(x.min()), int(x.max())) if x.numel() else (0, 0)
    if low < 0 or high >= vocab_size:
        raise ValueError(f"symbols must lie in 0..{vocab_size - 1}, got {low}..{high}")


def own_types(prior: Any) -> frozenset[type]:
    """The classes that a task vouches for: its prior's and its uniform distribution's."""
    uniform = getattr(prior, "uniform", None)
    return frozenset({type(prior)} | ({type(uniform())} if uniform else set())) - set(COMBINED)


def made_of_engine_parts(policy: Policy, own: frozenset[type]) -> bool:
    """Whether a policy consists of the task's :func:`own_types` and this module's combinators only.

    The oracle draws from such policies alone under `failures-only`: a method's own `sample` could record
    withheld successes: what it was asked for, less the failures. Exact measurement asks such policies alone
    for the probabilities of all successes: a method's own `log_prob` could record those.
    """
    if any(callable(getattr(type(policy), name, None)) for name in vars(policy)):
        return False  # a method of the class, replaced on this one object
    if isinstance(policy, COMBINED) and type(policy) in COMBINED:
        return all(made_of_engine_parts(part, own) for part in policy.parts)
    return type(policy) in own
