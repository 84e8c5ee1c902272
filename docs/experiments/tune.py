"""Random search on addition-tune-v1, the same effort for every baseline.

Eight configurations (the defaults, and seven drawn from the tunable ranges) run on seed 1000; the best two of them run
on seeds 1001 and 1002 too. One JSON line per configuration.

    python docs/experiments/tune.py banel rnd count temperature > tuning.jsonl
"""

import json
import math
import random
import sys

import suite
from suite import config as configs
from suite import registry


def pick(field: configs.FieldSpec, draw: random.Random) -> object:
    """A value from the search range of a tunable field."""
    if field.choices:
        return draw.choice(field.choices)
    if field.log:
        value = math.exp(draw.uniform(math.log(field.low), math.log(field.high)))
    else:
        value = draw.uniform(field.low, field.high)
    return round(value) if field.type is int else float(f"{value:.3g}")


def measure(baseline: str, config: dict[str, object], seeds: list[int]) -> float:
    """Geometric mean of the final success rate over seeds."""
    runs = [
        suite.run("addition-tune-v1", baseline, seed=seed, config=config, results="tuning", tracking="off")
        for seed in seeds
    ]
    final = [run.final.success_rate if run.final else 1e-9 for run in runs]
    geometric = math.exp(sum(map(math.log, final)) / len(final))
    effective = [run.result.curve[-1].effective_successes for run in runs]
    line = {"baseline": baseline, "config": config, "seeds": seeds, "final": geometric, "each": final}
    print(json.dumps(line | {"effective": effective}), flush=True)
    return geometric


for baseline in sys.argv[1:]:
    draw = random.Random(0)
    fields = [field for field in configs.specs(registry.load("baseline", baseline).config_class) if field.tunable]
    grid = [{}] + [{field.name: pick(field, draw) for field in fields} for _ in range(7)]
    ranked = sorted(grid, key=lambda config: -measure(baseline, config, [1000]))
    for config in ranked[:2]:
        measure(baseline, config, [1000, 1001, 1002])
