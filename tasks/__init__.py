"""Tasks: one file per family. The table is literal; nothing is imported until it is asked for."""

TASKS: dict[str, str] = {
    "gaussian-v1": "tasks.gaussian:Gaussian",
    "addition-v1": "tasks.addition:Addition",
    "addition-nozeros-v1": "tasks.addition:AdditionNoZeros",
    "addition-tune-v1": "tasks.addition:AdditionTune",
    "lock-v1": "tasks.lock:Lock",
    "lock-tune-v1": "tasks.lock:LockTune",
    "decoys-v1": "tasks.decoys:Decoys",
    "decoys-tune-v1": "tasks.decoys:DecoysTune",
}

TAGS: dict[str, tuple[str, ...]] = {
    "gaussian-v1": ("paper", "exact", "text"),
    "addition-v1": ("paper", "exact", "text"),
    "addition-nozeros-v1": ("paper", "exact", "text"),
    "addition-tune-v1": ("tuning", "exact", "text"),
    "lock-v1": ("control", "exact", "text"),
    "lock-tune-v1": ("tuning", "control", "exact", "text"),
    "decoys-v1": ("exact", "text"),
    "decoys-tune-v1": ("tuning", "exact", "text"),
}
"""What `suite report --tag` picks tasks by: `paper`, a task of the BaNEL paper; `exact`, its successes are
enumerated; `control`, nothing can be learnt there; `tuning`, for choosing configurations and not for reporting;
`text` or `image`, what a sample is shown as."""
