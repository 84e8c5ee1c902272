"""What a task is, and the optional parts that the engine looks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from suite.errors import UserError, VerifierError, one_line
from suite.policy import Generator, Policy


@runtime_checkable
class Task(Protocol):
    """A pre-trained generator and a costly yes/no verifier; `Task(config)`.

    A task may also have any of:

    - `verify_heldout(x) -> bool (B,)`: the same answers, cheaper (a table), for held-out measurement;
    - `valid(x) -> bool (B,)`: which samples are well formed;
    - `success_log_probs(policy) -> float64 (S,) | None`: log p of every success, where they can be enumerated;
    - `exact(policy) -> float | None`: the success rate, where it is known but successes are too many to list;
    - `affinity(policy, other) -> float | None`: Σ_x √(p(x) q(x)) over the successes x, where they are too many to list;
    - `prior_successes() -> PriorSuccesses | None`: successes drawn from the prior, where nothing is enumerated;
    - `space: int`: how many samples are well formed;
    - `cost: Cost`: what one evaluation costs, in money or seconds, for the leaderboard;
    - `extra: str`: the extra of this package that it needs, `hf` for `pip install 'sparse-reward-suite[hf]'`;
    - `assets: dict[str, str]`: sha256 of the files it needs, by name;
    - `proposal(prior) -> Policy`: where importance sampling looks for successes besides the policy;
    - `quantities(policy) -> dict[str, float]`: numbers of its own about a policy, each in a column of its own;
    - `references() -> dict[str, Policy]`: a hand-written rule, an optimal posterior;
    - `pretrain(say)`: a class method that makes the assets, saying how far it is.
    """

    config: Any

    def prior(self) -> Generator:
        """A fresh copy of the pre-trained generator."""

    def verify(self, x: Tensor) -> Tensor:
        """Rewards, bool (B,), of samples int64 (B, T).

        A costly verifier may `yield` them in slices, bool (n,), in the samples' order, or as :class:`Answered` in any
        order: each slice is noted on disk as it comes, and a run that is killed in the middle asks only for the rest.
        """

    def show(self, x: Tensor) -> list[str] | Tensor:
        """Samples as text, or as images float (B, H, W) in [0, 1]."""


class Answered(NamedTuple):
    """Answers to some samples of a batch, in whatever order they come."""

    places: Tensor
    """Which rows of the batch, int64 (n,); each once."""
    rewards: Tensor
    """0 or 1, (n,)."""


class Cost(NamedTuple):
    """What one evaluation costs."""

    amount: float
    unit: str
    """`USD`, `s`: any short word."""


class PriorSuccesses(NamedTuple):
    """Successes that were drawn from a task's prior before any method ran."""

    strings: Tensor
    """int64 (M, T), independent draws of the prior that succeed; equal ones stay."""
    draws: int
    """Draws of the prior until the last of them."""


def answers(verify: Callable[[Tensor], Any], x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Answers of a verifier that is not trusted to keep to its interface, as they come.

    A verifier may return the rewards of all samples, or yield those of the next samples, or of some, again and again.

    Yields:
        (places int64 (P,), rewards bool (P,)) of the samples that were answered with 0 or 1.

    Raises:
        VerifierError: it raised, or left by `sys.exit`, or its answer is not one 0 or 1 per sample. What it answered
            well has been yielded before.
        Unavailable: it cannot be reached; likewise.
    """
    try:
        answer = verify(x.clone())  # a plug-in that sorts in place sorts its own copy
        if not isinstance(answer, Iterator):
            yield from _good(answer, 0, len(x), whole=True)
            return
        done = 0
        met = torch.zeros(len(x), dtype=torch.bool)
        for part in answer:
            if isinstance(part, Answered):
                yield from _placed(part, met)
                done += len(part.places)
            else:
                yield from _good(part, done, len(x), whole=False)
                done += len(part)
    except (VerifierError, UserError):
        raise
    except (Exception, SystemExit) as error:
        raise VerifierError(f"the verifier raised {one_line(error)}") from error
    if done != len(x):
        raise VerifierError(f"the verifier yielded {done} answers for {len(x)} samples")


def _good(answer: object, first: int, rows: int, *, whole: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows of an answer that are 0 or 1; VerifierError, afterwards, where there are others."""
    left = rows - first
    if not isinstance(answer, Tensor) or answer.ndim != 1 or (len(answer) != left if whole else len(answer) > left):
        shape = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        size = f"({rows},)" if whole else f"(n,) with n up to {left}"
        raise VerifierError(f"the verifier must answer with a tensor of shape {size}, got {shape}")
    good = (answer == 0) | (answer == 1)
    if good.any():
        yield first + good.nonzero().flatten(), answer[good].bool()
    if not good.all():
        raise VerifierError(f"the verifier must answer 0 or 1, got {answer[~good][0].item()}")


def _placed(part: Answered, met: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The same of answers that say which rows they are of; `met`, bool (B,), takes these."""
    places = part.places
    known = met.clone()
    if (
        places.dtype == torch.int64
        and places.ndim == 1
        and (not len(places) or 0 <= places.min() <= places.max() < len(met))
    ):
        met[places] = True
    if int(met.sum()) != int(known.sum()) + len(places):
        raise VerifierError(
            f"the verifier must answer each of the {len(met)} samples once, got the rows {places.tolist()[:5]}"
        )
    for rows, rewards in _good(part.rewards, 0, len(places), whole=True):
        yield places[rows], rewards


def verified(verify: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """Rewards, bool (B,), of a verifier that is not trusted to keep to its interface; as :func:`answers`."""
    rewards = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for places, known in answers(verify, x):
        rewards[places.to(x.device)] = known.to(x.device)
    return rewards


def verify_heldout(task: Task, x: Tensor) -> Tensor:
    """Rewards for held-out measurement, bool (B,)."""
    return verified(getattr(task, "verify_heldout", task.verify), x)


def valid(task: Task, x: Tensor) -> Tensor | None:
    """Which samples are well formed, bool (B,); None where the task does not say."""
    check = getattr(task, "valid", None)
    if check is None:
        return None
    answer = check(x.clone())
    if not isinstance(answer, Tensor) or answer.dtype != torch.bool or answer.shape != (len(x),):
        raise ValueError(
            f"the task's valid(x) must answer with a bool tensor of shape ({len(x)},), got {_kind(answer)}"
        )
    return answer


def _kind(answer: object) -> str:
    """Type and shape of what a task answered, for an error."""
    return f"{answer.dtype} {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__


def shown(task: Task, x: Tensor) -> list[str] | Tensor:
    """Samples as text, or as images float (B, H, W) in [0, 1]."""
    made = task.show(x.clone())
    if isinstance(made, Tensor):
        right = made.is_floating_point() and made.ndim == 3 and bool(((made >= 0) & (made <= 1)).all())
        found = f"a tensor {_kind(made)}"
    else:
        right = isinstance(made, list) and all(isinstance(text, str) for text in made)
        found = f"{len(made)} of them in a list" if isinstance(made, list) else _kind(made)
    if not right or len(made) != len(x):
        raise ValueError(
            f"the task's show(x) must answer with a list of {len(x)} strings, or with images float ({len(x)}, H, W) in "
            f"[0, 1], got {found}"
        )
    return made


def success_log_probs(task: Task, policy: Policy) -> Tensor | None:
    """log p of every success, float64 (S,); None where the success set is not enumerated."""
    enumerate_ = getattr(task, "success_log_probs", None)
    log_p = None if enumerate_ is None else enumerate_(policy)
    if log_p is None:
        return None
    if not isinstance(log_p, Tensor) or not log_p.is_floating_point() or log_p.ndim != 1:
        kind = _kind(log_p)
        raise ValueError(f"the task's success_log_probs(policy) must answer with floats of shape (S,), got {kind}")
    return log_p.double()


ROUNDING = 1e-6
"""What a sum over successes may exceed 1 by."""


def enumerated(task: Task, policy: Policy) -> tuple[float | None, Tensor | None]:
    """The exact success rate and log p of every success, float64 (S,); None for what the task does not enumerate.

    Raises:
        ValueError: the rate is no number between 0 and 1.
    """
    log_p = success_log_probs(task, policy)
    if log_p is not None:
        rate = float(log_p.exp().sum())
    else:
        own = getattr(task, "exact", None)
        found = None if own is None else own(policy)
        if found is None:
            return None, None
        rate = float(found)
    if not -ROUNDING <= rate <= 1 + ROUNDING:
        raise ValueError(f"the task's exact success rate is {rate:g}, not between 0 and 1")
    return rate, log_p


def exact(task: Task, policy: Policy) -> float | None:
    """The success rate by enumeration; None where the task enumerates nothing of this policy."""
    return enumerated(task, policy)[0]


def affinity(task: Task, policy: Policy, other: Policy) -> float | None:
    """Σ_x √(p(x) q(x)) over the successes x, where the task computes it without listing them; else None."""
    own = getattr(task, "affinity", None)
    found = None if own is None else own(policy, other)
    return None if found is None else float(found)


def cost(task: Task) -> Cost | None:
    """What one evaluation of a task costs; None where it does not say.

    Raises:
        ValueError: it is no amount ≥ 0 and unit.
    """
    own = getattr(task, "cost", None)
    if own is None:
        return None
    amount, unit = own
    if not (isinstance(amount, int | float) and 0 <= amount < float("inf") and isinstance(unit, str) and unit):
        raise ValueError(f"the task's cost must be (amount ≥ 0, unit), Cost(0.02, 'USD'), got {own}")
    return Cost(float(amount), unit)


def prior_successes(task: Task) -> PriorSuccesses | None:
    """The task's own successes of the prior; None where it has none.

    Raises:
        ValueError: they are of another shape than strings int64 (M, T) and a number of draws.
    """
    own = getattr(task, "prior_successes", None)
    made = None if own is None else own()
    if made is None:
        return None
    strings, draws = made
    if not isinstance(strings, Tensor) or strings.dtype != torch.int64 or strings.ndim != 2 or draws < len(strings):
        raise ValueError(
            "the task's prior_successes() must answer with (strings int64 (M, T), draws ≥ M), got "
            f"({_kind(strings)}, {draws})"
        )
    return PriorSuccesses(strings, int(draws))


PROPOSAL_TEMPERATURE = 2.0


def proposal(task: Task, prior: Generator) -> Policy:
    """The task's proposal for importance sampling; else the prior at temperature 2, whose tail is heavier."""
    own = getattr(task, "proposal", None)
    made: Policy = prior.tempered(PROPOSAL_TEMPERATURE) if own is None else own(prior)
    return made


def quantities(task: Task, policy: Policy) -> dict[str, float]:
    """The task's own numbers about a policy; none where it has none."""
    own = getattr(task, "quantities", None)
    return {} if own is None else {str(name): float(value) for name, value in own(policy).items()}


def assets(task: Task) -> dict[str, str]:
    """sha256 of the task's files by name."""
    return {str(name): str(sha256) for name, sha256 in dict(getattr(task, "assets", {})).items()}


@torch.no_grad()
def is_exact(task: Task) -> bool:
    """Whether success rates of this task are enumerated; what it enumerates is checked where it is measured."""
    prior = task.prior()
    ways = (getattr(task, name, None) for name in ("success_log_probs", "exact"))
    return any(way(prior) is not None for way in ways if way is not None)
