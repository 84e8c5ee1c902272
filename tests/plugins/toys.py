"""Toy tasks for tests: codes in a table, of which a few open the lock."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from suite import compute
from suite.config import setting
from suite.generators import Forest, Shape, Table, Transformer
from suite.policy import Policy


@dataclass(frozen=True)
class Config:
    """Which codes succeed."""

    codes: int = setting(64, valid=(2, None))
    successes: int = setting(4, valid=(0, None))
    secret: int = setting(0)


class Codes:
    """A uniform prior over codes, `successes` of them drawn by the secret; success rates are exact."""

    config: Config

    def __init__(self, config: Config) -> None:
        self.config = config
        order = torch.randperm(config.codes, generator=torch.Generator().manual_seed(config.secret))
        self.winners = order[: config.successes].sort().values

    def prior(self) -> Table:
        return Table(torch.zeros(self.config.codes))

    def verify(self, x: Tensor) -> Tensor:
        compute.count(len(x), 10.0 * len(x))
        return torch.isin(x[:, 0], self.winners)

    def show(self, x: Tensor) -> list[str]:
        return [str(code) for code in x[:, 0].tolist()]

    def success_log_probs(self, policy: Policy) -> Tensor:
        return policy.log_prob(self.winners[:, None])

    def exact(self, policy: Policy) -> float | None:
        return float(self.success_log_probs(policy).exp().sum())


class Uncounted(Codes):
    """The same where nobody can enumerate the successes."""

    def success_log_probs(self, policy: Policy) -> None:  # type: ignore[override]
        return None

    def exact(self, policy: Policy) -> float | None:
        return None


class Images(Codes):
    """The same shown as images of 2 x 2 pixels."""

    def show(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return (x[:, :1, None].float() / self.config.codes).expand(-1, 2, 2)


class Broken(Codes):
    """The verifier's machine is down."""

    def verify(self, x: Tensor) -> Tensor:
        raise OSError("no route to the laboratory")


class Deadly(Codes):
    """Kills its own process once, on call $KILL_AT of `verify` ($KILL_WHERE=verify), or of `valid`, which the runner
    calls after the answer ($KILL_WHERE=valid); $KILL_FLAG is the file that remembers it."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.calls = {"verify": 0, "valid": 0}

    def die(self, where: str) -> None:
        self.calls[where] += 1
        flag = Path(os.environ["KILL_FLAG"])
        if where == os.environ["KILL_WHERE"] and self.calls[where] == int(os.environ["KILL_AT"]) and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def verify_heldout(self, x: Tensor) -> Tensor:
        return torch.isin(x[:, 0], self.winners)

    def verify(self, x: Tensor) -> Tensor:
        self.die("verify")
        return super().verify(x)

    def valid(self, x: Tensor) -> Tensor:
        self.die("valid")
        return torch.ones(len(x), dtype=torch.bool)


class Strings:
    """Strings over a, b and a full stop, at most five letters; those of at least two that begin and end with b succeed.

    The prior is an untrained transformer, so that every baseline meets a network of several symbols.
    """

    config: Config
    SHAPE = Shape(vocab_size=3, length=6, end=2, width=8, layers=1, heads=2)

    def __init__(self, config: Config) -> None:
        self.config = config
        letters = [list(word) for n in range(2, 6) for word in itertools.product((0, 1), repeat=n)]
        won = [word + [2] * (6 - len(word)) for word in letters if word[0] == word[-1] == 1]
        self.forest = Forest(torch.tensor(won), 3, 2)

    def prior(self) -> Transformer:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Transformer(self.SHAPE)

    def valid(self, x: Tensor) -> Tensor:
        return x[:, -1] == 2  # it came to its end

    def verify(self, x: Tensor) -> Tensor:
        length = (x != 2).sum(dim=1)
        last = x.gather(1, (length - 1).clamp(min=0)[:, None]).squeeze(1)
        return (length >= 2) & (length <= 5) & (x[:, 0] == 1) & (last == 1)

    def show(self, x: Tensor) -> list[str]:
        return ["".join("ab."[symbol] for symbol in row).rstrip(".") + "." for row in x.tolist()]

    def success_log_probs(self, policy: Policy) -> Tensor:
        walk = getattr(policy, "log_prob_forest", None)
        return policy.log_prob(self.strings) if walk is None else walk(self.forest)

    @property
    def strings(self) -> Tensor:
        x = torch.tensor(list(itertools.product(range(3), repeat=6)))
        ended = (x == 2).cumsum(dim=1) > 0
        return x[self.verify(x) & ~((x != 2) & ended).any(dim=1)]

    def exact(self, policy: Policy) -> float | None:
        return float(self.success_log_probs(policy).exp().sum())
