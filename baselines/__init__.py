"""Baselines: one file per method. The table is literal; nothing is imported until it is asked for."""

BASELINES: dict[str, str] = {
    "banel": "baselines.banel:run",
    "rnd": "baselines.rnd:run",
    "count": "baselines.count:run",
    "pseudo-count": "baselines.pseudo_count:run",
    "unlikelihood": "baselines.unlikelihood:run",
    "nsr": "baselines.nsr:run",
    "npo": "baselines.npo:run",
    "reinforce": "baselines.reinforce:run",
    "grpo": "baselines.grpo:run",
    "cem": "baselines.cem:run",
    "raft": "baselines.raft:run",
    "pretrained": "baselines.pretrained:run",
    "uniform": "baselines.uniform:run",
    "temperature": "baselines.temperature:run",
    "tail": "baselines.tail:run",
    "blind": "baselines.blind:run",
    "rnd-filter": "baselines.rnd_filter:run",
    "shortfall": "baselines.shortfall:run",
    "pointmass": "baselines.pointmass:run",
}

CONTROLS: tuple[str, ...] = ("uniform", "temperature", "tail", "blind", "rnd-filter")
"""Baselines that spend no reward evaluation: a method is compared with the best of them (see docs/protocol.md)."""
