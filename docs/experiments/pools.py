"""How the price of a pool grows with its size, and Hugging Face's `generate` beside it, on addition-v1's prior.

    OMP_NUM_THREADS=1 python docs/experiments/pools.py [--hf]

One process, one thread. All sizes are drawn in turn, five times; the median is printed, so that ratios hold on a busy
machine too. `--hf` (extra hf) draws from a GPT-2 of the same width, layers and heads with random weights: its time
does not depend on what it writes, eight symbols without an end.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch

from suite import registry

SIZES = (4_096, 24_000, 250_000, 1_000_000)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def generate(n: int) -> Callable[[], object]:
    """Hugging Face's sampling of n strings, a thousand at a time (a larger batch was no faster)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=13, n_positions=9, n_embd=64, n_layer=2, n_head=4, bos_token_id=12, eos_token_id=None
    )
    net = GPT2LMHeadModel(config).eval()
    begin = torch.full((1000, 1), 12)

    def work() -> object:
        return [
            net.generate(
                begin[: min(1000, n - i)], do_sample=True, top_k=0, max_new_tokens=8, eos_token_id=None, pad_token_id=0
            )
            for i in range(0, n, 1000)
        ]

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hf", action="store_true", help="measure transformers' generate too")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    entry = registry.load("task", "addition-v1")
    prior = entry.target(entry.config_class()).prior()
    generator = torch.Generator().manual_seed(0)
    work = {f"sample {n:,}": (lambda n=n: prior.sample_counts(n, generator)) for n in SIZES}
    pool = prior.sample(24_000, generator)
    work["log_prob 24,000"] = lambda: prior.log_prob(pool)
    net = prior.clone()
    work["fit 8,000 once"] = lambda: net.fit(pool[:8_000], generator=generator, lr=1e-5)
    if asked.hf:
        work |= {f"generate {n:,}": generate(n) for n in (4_096, 24_000)}
    for one in work.values():
        one()
    taken = {name: statistics.median(times) for name, times in rounds(work).items()}
    unit = taken["sample 24,000"]
    for name, took in taken.items():
        print(f"{name:18} {took:7.3f} s  {took / unit:6.2f} x sample 24,000")
    if asked.hf:
        print(f"generate / sample at 4,096: {taken['generate 4,096'] / taken['sample 4,096']:.1f}")
        each = taken["generate 24,000"] / 24_000
        print(f"generate, its time a string, / sample at 250,000: {250_000 * each / taken['sample 250,000']:.1f}")
    print(f"largest memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def rounds(work: dict[str, Callable[[], object]], times: int = 5) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(times):
        for name, one in work.items():
            taken[name].append(seconds(one))
    return taken


if __name__ == "__main__":
    main()
