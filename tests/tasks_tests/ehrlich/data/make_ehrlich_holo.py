"""Values of `pytorch-holo`'s Ehrlich functions, to hold ours against. It pins numpy < 2: an environment of its own,

    python -m venv holo && holo/bin/pip install pytorch-holo==0.0.5 torch==2.13.0
    cd tests/tasks_tests/ehrlich/data && holo/bin/python make_ehrlich_holo.py > ehrlich_holo.json

Each case: the optimal solution, the same with ever more random symbols, samples of the chain, uniform sequences.
"""

import json
import math

import torch
from holo.test_functions.closed_form import Ehrlich

CASES = [
    {"num_states": 5, "dim": 7, "num_motifs": 1, "motif_length": 3, "quantization": 3, "random_seed": 0},
    {"num_states": 8, "dim": 16, "num_motifs": 2, "motif_length": 4, "quantization": 4, "random_seed": 1},
    {"num_states": 8, "dim": 16, "num_motifs": 2, "motif_length": 4, "quantization": 2, "random_seed": 2},
    {"num_states": 6, "dim": 24, "num_motifs": 3, "motif_length": 3, "quantization": 2, "random_seed": 3},
]


def case(arguments: dict[str, int]) -> dict[str, object]:
    function = Ehrlich(**arguments)
    rng = torch.Generator().manual_seed(0)
    best = function.optimal_solution()[None] if arguments["random_seed"] < 3 else function.initial_solution(2)
    near = best[:1].repeat(24, 1)
    for i, row in enumerate(near):
        for _ in range(1 + i // 4):
            place = torch.randint(arguments["dim"], (), generator=rng)
            row[place] = torch.randint(arguments["num_states"], (), generator=rng)
    uniform = torch.randint(arguments["num_states"], (4, arguments["dim"]), generator=rng)
    x = torch.cat([best, near, function.initial_solution(12), uniform])
    return {
        "arguments": arguments,
        "feasible": (function.transition_matrix > 0).tolist(),
        "motifs": [motif.tolist() for motif in function.motifs],
        "spacings": [spacing.tolist() for spacing in function.spacings],
        "sequences": x.tolist(),
        "values": [None if math.isinf(value) else value for value in function.evaluate_true(x).tolist()],
    }


print(json.dumps([case(arguments) for arguments in CASES]))
