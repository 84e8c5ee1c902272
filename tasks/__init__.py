"""Tasks: one file per family. The table is literal; nothing is imported until it is asked for."""

TASKS: dict[str, str] = {
    "gaussian-v1": "tasks.gaussian:Gaussian",
    "gaussian-tune-v1": "tasks.gaussian:GaussianTune",
    "addition-v1": "tasks.addition:Addition",
    "addition-nozeros-v1": "tasks.addition:AdditionNoZeros",
    "addition-tune-v1": "tasks.addition:AdditionTune",
    "lock-v1": "tasks.lock:Lock",
    "lock-tune-v1": "tasks.lock:LockTune",
    "decoys-v1": "tasks.decoys:Decoys",
    "decoys-tune-v1": "tasks.decoys:DecoysTune",
    "hypergrid-v1": "tasks.hypergrid:Hypergrid",
    "hypergrid-tune-v1": "tasks.hypergrid:HypergridTune",
    "queens-v1": "tasks.queens:Queens",
    "queens-tune-v1": "tasks.queens:QueensTune",
    "countdown-v1": "tasks.countdown:Countdown",
    "countdown-tune-v1": "tasks.countdown:CountdownTune",
    "ehrlich-v1": "tasks.ehrlich:Ehrlich",
    "ehrlich-tune-v1": "tasks.ehrlich:EhrlichTune",
    "rna-v1": "tasks.rna:Rna",
    "rna-tune-v1": "tasks.rna:RnaTune",
    "gsm8k-hard-v1": "tasks.gsm8k_hard:Gsm8kHard",
    "gsm8k-hard-tune-v1": "tasks.gsm8k_hard:Gsm8kHardTune",
}

TAGS: dict[str, tuple[str, ...]] = {
    "gaussian-v1": ("paper", "exact"),
    "gaussian-tune-v1": ("tuning", "exact"),
    "addition-v1": ("paper", "exact", "text"),
    "addition-nozeros-v1": ("paper", "exact", "text"),
    "addition-tune-v1": ("tuning", "exact", "text"),
    "lock-v1": ("control", "exact", "text"),
    "lock-tune-v1": ("tuning", "exact", "text"),
    "decoys-v1": ("control", "exact", "text"),
    "decoys-tune-v1": ("tuning", "exact", "text"),
    "hypergrid-v1": ("exact", "text"),
    "hypergrid-tune-v1": ("tuning", "exact", "text"),
    "queens-v1": ("exact", "text"),
    "queens-tune-v1": ("tuning", "exact", "text"),
    "countdown-v1": ("exact", "text"),
    "countdown-tune-v1": ("tuning", "exact", "text"),
    "ehrlich-v1": ("exact", "text"),
    "ehrlich-tune-v1": ("tuning", "exact", "text"),
    "rna-v1": ("text",),
    "rna-tune-v1": ("tuning", "text"),
    "gsm8k-hard-v1": ("paper", "text"),
    "gsm8k-hard-tune-v1": ("tuning", "text"),
}
"""What `suite report --tag` picks tasks by: `paper`, a task of the BaNEL paper; `exact`, its success
rates are; `control`, what can be learnt there is known: nothing, or the answer; `tuning`, for choosing configurations
and not for reporting; `text` or `image`, what a sample is shown as."""
