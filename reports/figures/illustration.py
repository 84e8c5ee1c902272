"""The paper's 1-D illustration: prior, sampled histogram, failure model and posterior, round by round.

The method runs as it is; what it does is seen from outside. Its prior is a table that notes every fit with the random
stream it was given, so a fit with the stream "failure_model" is one of the failure model, and the verifier notes what
was evaluated. All streams are those of `suite run`, so the picture is of a run that can be repeated.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reports.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from suite.generators import Table

CAPTION = (
    "The 1-D illustration, round by round: what was sampled and evaluated, what the failure model learnt of the "
    "failures, and the posterior that leaves them. Successes lie in the two shaded bins; the method is never "
    "shown one."
)
TASK, BASELINE, PURPOSE = "gaussian-v1", "banel", "failure_model"


class Step(NamedTuple):
    """One round: numbers of samples and probabilities of each of V outcomes."""

    sampled: list[int]
    failure_model: list[float]
    posterior: list[float]
    success_rate: float


class Steps(NamedTuple):
    """A run of the method on the 1-D task."""

    labels: list[str]
    """What the task calls each outcome."""
    prior: list[float]
    successes: list[int]
    """The outcomes of reward 1."""
    base_rate: float
    rounds: list[Step]


def watch(seed: int = 0, *, budget: int = 2000, config: dict[str, object] | None = None) -> Steps:
    """Run the method and keep what it sampled, fitted and yielded in every round."""
    import torch

    from suite import config as configs
    from suite import registry
    from suite import task as tasks
    from suite.oracle import Oracle, Verifier
    from suite.seeding import Streams, cell_seed, derive
    from suite.store.ledger import Ledger

    task_entry, method = registry.load("task", TASK), registry.load("baseline", BASELINE)
    task = task_entry.target(configs.build(task_entry.config_class, {}))
    start: Table = task.prior()
    prior = _watched(start)
    outcomes = torch.arange(start.vocab_size)[:, None]  # (V, 1)
    sampled: list[Any] = []

    def verify(x: Any) -> Any:
        sampled.append(torch.bincount(x[:, 0], minlength=start.vocab_size).tolist())
        return task.verify(x)

    def rate_of(policy: Any) -> float:
        return float(tasks.exact(task, policy) or 0.0)

    own = cell_seed(seed, TASK, BASELINE)
    streams = Streams(derive(own, "method"))
    ledger = Ledger(Path(":memory:"))
    oracle = Oracle(
        Verifier(verify), ledger, budget=budget, prior=prior, generator=Streams(derive(own, "oracle"))("draw")
    )
    fits = prior.fits
    rounds: list[Step] = []
    settings = configs.build(method.config_class, config or {})
    for step in method.target(settings, prior.clone(), oracle, streams):
        fitted = [p for stream, p in fits if stream is streams(PURPOSE)]
        posterior = step.policy.log_prob(outcomes).exp().tolist()
        rounds.append(Step(sampled[-1], fitted[-1], posterior, rate_of(step.policy)))
        fits.clear()
    ledger.close()
    successes = task.verify(outcomes).nonzero()[:, 0].tolist()
    return Steps(task.show(outcomes), start.probabilities()[0].tolist(), successes, rate_of(start), rounds)


def _watched(table: Table) -> Any:
    """A copy of a table whose fits, and those of all its clones, are noted with the stream they were given."""
    from suite.generators import Table

    class Watched(Table):
        fits: list[tuple[Any, list[float]]]

        def clone(self) -> Any:
            copy = Watched(self.logits[0])
            copy.fits = self.fits
            return copy

        def fit(self, x: Any, *, generator: Any, **options: Any) -> float:
            loss = super().fit(x, generator=generator, **options)
            self.fits.append((generator, self.probabilities()[0].tolist()))
            return loss

    made = Watched(table.logits[0])
    made.fits = []
    return made


def figure(steps: Steps) -> Figure:
    """One line of three panels for each round, the prior's outline in each of them."""
    places = list(range(len(steps.prior)))
    colour = style.BASELINES[BASELINE]
    with style.canvas(12, 1.9 * len(steps.rounds) + 0.5) as drawing:
        axes = drawing.subplots(len(steps.rounds), 3, squeeze=False, sharex=True, sharey="row")
        for k, (line, step) in enumerate(zip(axes, steps.rounds, strict=True)):
            total = sum(step.sampled)
            shown = ([n / total for n in step.sampled], step.failure_model, step.posterior)
            for ax, heights, name in zip(line, shown, ("sampled", "failure model", "posterior"), strict=True):
                ax.bar(
                    places, heights, width=0.9, color={"sampled": "0.6", "failure model": "#0072B2"}.get(name, colour)
                )
                ax.step(places, steps.prior, where="mid", color="0.2", linewidth=0.9)
                for place in steps.successes:
                    ax.axvspan(place - 0.5, place + 0.5, color="#009E73", alpha=0.25, linewidth=0, zorder=0)
                ax.set_yticks([])
                rate = f", success {step.success_rate:.2g}" if name == "posterior" else ""
                ax.set_title(f"round {k + 1}: {name}{rate}", loc="left", fontsize="small")
        for ax in axes[-1]:
            ax.set_xticks(places[::5], steps.labels[::5])
        drawing.suptitle(
            f"{BASELINE} on {TASK}; outline: the prior (success {steps.base_rate:.2g}); shaded: reward 1",
            fontsize="medium",
        )
    return drawing
