"""Models and datasets from the Hugging Face hub or from local paths; every failure is one line that says what to do."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.store.assets import sha256
from tasks.common.extras import first_line, library

TIMEOUT = 10.0
"""Seconds that the hub has for its first answer."""


@functools.cache
def ask_the_hub_once() -> None:
    """Ask the hub once; where it does not answer, loaders read their caches alone instead of retrying."""
    hub, datasets = library("huggingface_hub", "hf"), library("datasets", "hf")
    if hub.constants.HF_HUB_OFFLINE:
        return
    try:
        hub.get_session().head(hub.constants.ENDPOINT, timeout=TIMEOUT)
    except Exception:  # of whatever client the hub uses
        hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True


@functools.lru_cache(maxsize=2)
def load_rows(name: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a dataset, each with `input` and `target`; of a local JSONL file, or of the hub's split `train`."""
    datasets = library("datasets", "hf")
    datasets.disable_progress_bars()  # of local work; the hub's own show what is downloaded
    path = Path(name)
    if path.suffix in (".jsonl", ".json") and not path.exists():
        raise UserError(f"--task.dataset {name}: no such file")
    try:
        if path.is_file():
            rows = datasets.load_dataset("json", data_files=str(path), split="train")
        else:
            ask_the_hub_once()
            rows = datasets.load_dataset(name, split="train")
    except Exception as error:  # what libraries for files, archives and networks raise
        remedy = "write one JSON object a line" if path.is_file() else "go online, or give a local JSONL file"
        raise UserError(f"--task.dataset {name} cannot be loaded ({first_line(error)}); {remedy}") from error
    missing = {"input", "target"} - set(rows.column_names)
    if missing:
        raise UserError(f"--task.dataset {name} lacks the column {', '.join(sorted(missing))}; has {rows.column_names}")
    found: Sequence[Mapping[str, Any]] = rows
    return found


@functools.lru_cache(maxsize=2)
def load_model(name: str) -> tuple[Any, Any, str]:
    """(causal language model, tokenizer, what identifies the weights): the hub's commit, or a hash of local files."""
    transformers = library("transformers", "hf")
    transformers.utils.logging.disable_progress_bar()
    try:
        if not Path(name).is_dir():
            ask_the_hub_once()
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype="float32")
    except Exception as error:  # missing files, no network, an unknown architecture
        raise UserError(
            f"--task.model {name} cannot be loaded ({first_line(error)}); go online, or give a local folder"
        ) from error
    if tokenizer.eos_token_id is None:
        raise UserError(f"--task.model {name} has no end-of-text token; choose a model that has one")
    return model, tokenizer, identity_of(name, model)


def identity_of(name: str, model: Any) -> str:
    """The commit of a hub model, or one sha256 over all files of a local one, tokenizer and chat template included."""
    commit = getattr(model.config, "_commit_hash", None)
    if commit:
        return str(commit)
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(name).iterdir() if path.is_file()):
        digest.update(f"{path.name}\0{sha256(path)}\n".encode())
    return digest.hexdigest()
