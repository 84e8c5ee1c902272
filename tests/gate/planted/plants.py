"""Mistakes that real methods, oracles and estimators have had, each as an edit of one or two lines of source."""

from __future__ import annotations

from typing import NamedTuple


class Edit(NamedTuple):
    """Replace `old`, which stands in the file exactly once, by `new`."""

    file: str
    old: str
    new: str


class Plant(NamedTuple):
    """One regression."""

    name: str
    edits: tuple[Edit, ...]


def plant(name: str, *edits: tuple[str, str, str]) -> Plant:
    return Plant(name, tuple(Edit(*edit) for edit in edits))


BANEL, FILTERING = "baselines/banel.py", "baselines/common/filtering.py"
ORACLE, RUNNER, WALK = "suite/oracle.py", "suite/cells/runner.py", "suite/generators/walk.py"

HOT = "def hot(p: Any) -> Any:\n    return p.tempered(2.0) if hasattr(p, 'tempered') else p\n\n\n"

PLANTS = (
    plant(
        "sign of the likelihood ratio", (FILTERING, "return log_prior - log_failure", "return log_failure - log_prior")
    ),
    plant(
        "τ from the wrong end",
        (
            FILTERING,
            "log_tau = _edge(score, counts, k)",
            "log_tau = -_edge(-score, counts, k)",
        ),
    ),
    plant(
        "failure model never trained",
        (BANEL, "torch.cat(met), epochs=config.epochs", "torch.cat(met), epochs=0 * config.epochs"),
    ),
    plant(
        "distillation on the rejected",
        (FILTERING, "    edge = _edge(score, pool", "    score = -score\n    edge = _edge(score, pool"),
    ),
    plant("wrong sign of the KL penalty", ("baselines/common/novelty.py", "(standard - kl *", "(standard + kl *")),
    plant(
        "successes leak into training", (ORACLE, "failures = x[~self._answer(x)]", "failures = x[self._answer(x) >= 0]")
    ),
    plant(
        "RND's target is trained too",
        ("baselines/common/novelty_net.py", "self.target.to(device).requires_grad_(False)", "self.target.to(device)"),
        (
            "baselines/common/novelty_net.py",
            "torch.optim.Adam(self.predictor.parameters(), lr=lr, fused=True)",
            "torch.optim.Adam([*self.predictor.parameters(), *self.target.parameters()], lr=lr, fused=True)",
        ),
        ("baselines/common/novelty_net.py", "features[rows]).mean()", "self.target(observed[rows])).mean()"),
    ),
    plant(
        "count table reset each round",
        ("baselines/count.py", "counts.update(codes)", "counts.clear(); counts.update(codes)"),
    ),
    plant(
        "temperature 2 at evaluation",
        (RUNNER, "estimators.measure(self.posterior, policy,", "estimators.measure(self.posterior, hot(policy),"),
        (RUNNER, "def frozen(", HOT + "def frozen("),
    ),
    plant("budget off by one", (ORACLE, "return self.budget - self._spent", "return self.budget - self._spent + 1")),
    plant(
        "duplicates in a batch are free",  # all of them: a run would never end on few strings
        (
            ORACLE,
            'torch.ones(len(x), dtype=torch.bool) if self.duplicates == "charge" else self._is_new(x)',
            "self._is_new(x)",
        ),
    ),
    plant(
        "one seed used for all",
        ("suite/seeding.py", "return derive(seed, task, baseline)", "return derive(0, task, baseline)"),
    ),
    plant(
        "estimator drops invalid samples",
        (
            "suite/measure/estimators.py",
            "monte_carlo(int(rewards.sum()), n))",
            "monte_carlo(int(rewards.sum()), n if valid is None else int(drawn.counts[valid].sum())))",
        ),
    ),
    plant(
        "stale KV cache",
        (WALK, "tuple(row[parents] for row in self.rows)", "tuple(row[0 * parents] for row in self.rows)"),
    ),
    plant(
        "held-out evaluations are charged",
        (
            RUNNER,
            '        before = compute.spent("heldout")\n        stream = ',
            '        before = compute.spent("heldout")\n'
            "        x = policy.sample(5, torch.Generator().manual_seed(0))\n"
            "        self.ledger.charge(900 + self.rounds, x, torch.ones(5, dtype=torch.bool))\n        stream = ",
        ),
    ),
    plant(
        "learning rate of the policy ten times too small",
        ("suite/generators/factored.py", "min(MOST, lr * self.lr_scale)", "min(MOST, 0.1 * lr * self.lr_scale)"),
    ),
    plant(
        "a failure model of the prior's start only", (BANEL, "torch.cat(met), epochs", "torch.cat(met)[:20], epochs")
    ),
    plant(
        "pool drawn from the prior", (BANEL, "sample_counts(posterior, config.pool", "sample_counts(prior, config.pool")
    ),
)

SLOW_SAMPLER = plant(
    "a 1.5 times slower sampler",
    (
        "suite/generators/transformer.py",
        "        return in_random_order(",
        "        self.sample_counts(n // 2, torch.Generator().manual_seed(0), temperature)\n"
        "        return in_random_order(",
    ),
)
