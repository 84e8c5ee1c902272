"""What the 95 % interval of a sampled posterior match covers, by simulation over laws of successes and of policies.

    OMP_NUM_THREADS=1 python docs/experiments/match_coverage.py [--runs 4000]

Each line: a law of the successes under the prior, a policy, the true match, the success rate, and the share of runs
whose interval holds the truth, with that of either end. A run draws M = 200 successes of the prior, and how many draws
that took. Policies: the prior, the posterior, uniform, point masses on likely and unlikely successes, one that has
collapsed on a few, and log-normal ones. The lowest coverage is printed last.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor

from suite.measure.posterior import estimate, fidelity

BASE = 4e-4
SUCCESSES = 200


def laws(generator: torch.Generator) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(name, p* of every success, probability of each under a policy)."""
    for size, exponent in ((5, 1.0), (40, 0.0), (1000, 1.0), (65_000, 0.7)):
        p = torch.arange(1, size + 1, dtype=torch.float64) ** -exponent
        p /= p.sum()
        name = f"{size} successes, "
        yield f"{name}prior", p, BASE * p
        yield f"{name}posterior", p, p
        yield f"{name}uniform", p, torch.full((size,), 0.05 / size, dtype=torch.float64)
        few = torch.randperm(size, generator=generator)[: max(1, size // 50)]
        yield f"{name}collapsed on {len(few)}", p, BASE / size + _on(few, size, 0.5)
        for spread in (2, 5):
            z = (torch.randn(size, generator=generator, dtype=torch.float64) * spread).exp()
            yield f"{name}log-normal, SD {spread}", p, 0.3 * z / z.sum()
    for share in (1e-4, 3e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.5e-2, 3e-2, 0.1, 0.3):
        p = torch.full((2000,), (1 - share) / 1999, dtype=torch.float64)
        p[0] = share
        first = torch.tensor([0])
        yield f"point mass, p* = {share}", p, 1e-9 / 2000 + _on(first, 2000, 0.98)
        yield f"half of it, p* = {share}", p, BASE * p / 2 + _on(first, 2000, 0.5)


def _on(chosen: Tensor, size: int, mass: float) -> Tensor:
    out = torch.zeros(size, dtype=torch.float64)
    out[chosen] = mass / len(chosen)
    return out


def coverage(p: Tensor, policy: Tensor, runs: int, generator: torch.Generator) -> tuple[float, float, float, float]:
    """(truth, share of intervals that hold it, of lower ends at or below it, of upper ends at or above it)."""
    truth = fidelity((BASE * p).log(), policy.log())
    assert truth is not None
    drawn = torch.multinomial(p, runs * SUCCESSES, replacement=True, generator=generator).view(runs, SUCCESSES)
    ratio = (policy / (BASE * p)).sqrt()[drawn]
    # draws until the 200th success: 200 / b in the mean, negative binomial, here as a gamma law
    scale = torch.rand(runs, SUCCESSES, dtype=torch.float64, generator=generator).log().neg().mean(dim=1)
    low = high = both = 0
    for row, took in zip(ratio, scale.tolist(), strict=True):
        made = estimate(row, BASE / took, float(policy.sum()))
        below, above = made.low <= truth * (1 + 1e-9), made.high >= truth * (1 - 1e-9)
        low, high, both = low + below, high + above, both + (below and above)
    return truth, both / runs, low / runs, high / runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000)
    runs = parser.parse_args().runs
    generator = torch.Generator().manual_seed(0)
    least = 1.0
    for name, p, policy in laws(generator):
        truth, both, low, high = coverage(p, policy, runs, generator)
        least = min(least, both)
        print(f"{name:38} match {truth:.2e}  success {float(policy.sum()):.2e}  {both:.3f} ({low:.3f}, {high:.3f})")
    print(f"lowest coverage {least:.3f}")


if __name__ == "__main__":
    main()
