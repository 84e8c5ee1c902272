"""The paper's compute-scaling figure: BaNEL's improvement over base by epochs of the failure model.

python docs/experiments/compute_scaling.py results-nozeros docs/results/compute-scaling.png
"""

import math
import sys

import matplotlib.pyplot as plt
import seaborn as sns

from suite import records

PAPER = {1: 4.4, 2: 10, 3: 13, 5: 12.5, 10: 90, 20: 41, 50: 5.8, 100: 73}
"""Improvement over base, mean of 5 seeds, read off the paper's figure (arXiv 2510.09596); another target and base."""

found, _ = records.scan(sys.argv[1])
runs = [record for record in found if record.baseline == "banel" and record.task == "addition-nozeros-v1"]
by_epochs: dict[int, list[float]] = {}
for run in sorted(runs, key=lambda run: (run.identity["baseline"]["config"]["epochs"], run.seed)):
    by_epochs.setdefault(run.identity["baseline"]["config"]["epochs"], []).append(run.result["improvement_final"])
controls = {
    record.baseline: record.result["improvement_final"] for record in found if record.identity["baseline"]["control"]
}

print("| epochs E | improvement over base, each seed | geometric mean | paper, mean of 5 |\n|---|---|---|---|")
for epochs, gains in by_epochs.items():
    geometric = math.exp(sum(map(math.log, gains)) / len(gains))
    print(f"| {epochs} | {', '.join(f'{gain:.2g}' for gain in gains)} | {geometric:.2g} | {PAPER.get(epochs, '')} |")
print({name: f"{gain:.3g}" for name, gain in controls.items()})

sns.set_theme(style="whitegrid")
figure, axis = plt.subplots(figsize=(6, 4))
for epochs, gains in by_epochs.items():
    axis.scatter(
        [epochs] * len(gains), gains, color="#0173b2", s=18, label="BaNEL here, each seed" if epochs == 1 else None
    )
means = [math.exp(sum(map(math.log, gains)) / len(gains)) for gains in by_epochs.values()]
axis.plot(list(by_epochs), means, color="#0173b2", label="BaNEL here, geometric mean")
axis.plot(list(PAPER), list(PAPER.values()), "--", color="#949494", label="BaNEL in the paper, mean of 5")
for name, gain in controls.items():
    axis.axhline(gain, linestyle=":", color="#de8f05", linewidth=1)
    axis.annotate(name, (1, gain), color="#de8f05", fontsize=8, va="bottom")
axis.axhline(1, color="black", linewidth=0.8)
axis.set(xscale="log", yscale="log", xlabel="epochs of the failure model, E", ylabel="improvement over base, final")
axis.legend(fontsize=8)
figure.tight_layout()
figure.savefig(sys.argv[2], dpi=120)
