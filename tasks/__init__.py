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
