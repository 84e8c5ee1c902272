"""GSM8K-Hard, one question at a time: a causal language model writes a solution, its last number is checked.

Prior: a pre-trained model (default `Qwen/Qwen2.5-0.5B`) with the question as its fixed prompt. Reward 1 when the last
number of the answer is the dataset's target. Sparse on questions that the model almost never solves: which those are
depends on the model, so screen with 1e5 samples before anything is compared. The paper used a model tuned further on
GSM8K with PPO; the base rates of the plain model differ.

Needs `pip install 'sparse-reward-suite[hf]'`. Model and dataset come from the Hugging Face hub or from local paths.

Source: arXiv 2510.09596, section on reasoning; dataset: Gao et al., "PAL", arXiv 2211.10435.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from suite.config import setting
from suite.errors import UserError
from suite.generators.hf import CausalLM
from tasks.common.extras import library
from tasks.gsm8k_hard.loading import load_model, load_rows

TODAY = datetime.datetime(2024, 7, 26)
"""The day that a chat template which asks for the date is told, so that equal cells have equal prompts: the one that
Llama 3's templates fall back on."""
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Config:
    """Model, dataset and question."""

    question: int = setting(143, valid=(0, None), help="row of the dataset")
    model: str = setting("Qwen/Qwen2.5-0.5B", help="a model of the Hugging Face hub, or a local folder")
    dataset: str = setting("reasoning-machines/gsm-hard", help="a dataset of the hub, or a local JSONL file")
    length: int = setting(256, valid=(1, None), help="most tokens of a solution")
    prompt: str = setting("chat", choices=("chat", "plain"), help="the model's chat template, or question and answer")
    pad: str = setting("tokenizer", choices=("tokenizer", "end"), help="what stands behind the end of a solution")
    save: bool = setting(False, help="write the weights of the final and the best policy")


class Gsm8kHard:
    """GSM8K-Hard: one question that a causal language model almost never solves; its last number is checked."""

    config: Config
    extra: ClassVar[str] = "hf"
    shift: ClassVar[int] = 0
    """Added to the row of the question, so that the variant for tuning has other questions."""

    def __init__(self, config: Config) -> None:
        self.config = config
        library("transformers", "hf")  # before anything is downloaded
        rows = load_rows(config.dataset)
        index = config.question + self.shift
        if index >= len(rows):
            raise UserError(
                f"--task.question {config.question} is out of range: {config.dataset} has {len(rows)} rows, "
                f"use 0 to {len(rows) - 1 - self.shift}"
            )
        row, where = rows[index], f"row {index} of {config.dataset}"
        self.question = text_of(row["input"], where)
        self.answer = number_of(row["target"], where)

    @functools.cached_property
    def loaded(self) -> tuple[Any, Any, str]:
        """(model, tokenizer, what identifies the weights)."""
        return load_model(self.config.model)

    @property
    def assets(self) -> dict[str, str]:
        row = hashlib.sha256(f"{self.question}\0{self.answer!r}".encode()).hexdigest()
        prompt = hashlib.sha256(str(self.prompt_tokens(self.loaded[1]).tolist()).encode()).hexdigest()
        return {"model": self.loaded[2], "question": row, "prompt": prompt}

    def prior(self) -> CausalLM:
        model, tokenizer, _ = self.loaded
        end, *also_ends = ends_of(model, tokenizer)
        fill = end if self.config.pad == "end" else tokenizer.pad_token_id
        if fill is None:
            raise UserError(f"--task.model {self.config.model} has no pad token; pass --task.pad end")
        config = model.config.get_text_config()
        prompt, known = self.prompt_tokens(tokenizer), int(config.vocab_size)
        positions = getattr(config, "max_position_embeddings", None)
        if positions is not None and len(prompt) + self.config.length > positions:
            raise UserError(
                f"--task.length {self.config.length}: the prompt has {len(prompt)} tokens and --task.model "
                f"{self.config.model} {positions} positions; use at most {positions - len(prompt)}"
            )
        if max(end, *also_ends, int(prompt.max())) >= known:
            raise UserError(
                f"--task.model {self.config.model} has {known} tokens, its tokenizer {len(tokenizer)}: they do not "
                "belong together; choose another model"
            )
        if fill >= known:
            raise UserError(f"--task.model {self.config.model} lacks its tokenizer's pad token; pass --task.pad end")
        length, saved = self.config.length, self.config.save
        return CausalLM(model, prompt, length=length, end=end, fill=fill, saved=saved, also_ends=also_ends).clone()

    def prompt_tokens(self, tokenizer: Any) -> Tensor:
        """The prompt that puts the question to the model, int64 (P,): the tokens that `generate` would get."""
        if self.config.prompt == "plain":
            tokens: list[int] = tokenizer(f"Question: {self.question}\nAnswer:")["input_ids"]
            while tokens and tokens[-1] == tokenizer.eos_token_id:  # of a tokenizer that ends what it is given
                tokens.pop()
        elif tokenizer.chat_template is None:
            raise UserError(f"--task.model {self.config.model} has no chat template; pass --task.prompt plain")
        else:
            asked = [{"role": "user", "content": self.question}]
            template = on_one_day(tokenizer.get_chat_template())
            text = tokenizer.apply_chat_template(
                asked, chat_template=template, tokenize=False, add_generation_prompt=True
            )
            tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        if not tokens:
            raise UserError(f"--task.model {self.config.model} has an empty chat template; pass --task.prompt plain")
        return torch.tensor(tokens, dtype=torch.long)

    def show(self, x: Tensor) -> list[str]:
        texts: list[str] = self.loaded[1].batch_decode(x.cpu(), skip_special_tokens=True)
        return texts

    def verify(self, x: Tensor) -> Tensor:
        """True (B,) where the last number of a solution is the answer."""
        found = [last_number(text) for text in self.show(x)]
        right = [n is not None and math.isclose(n, self.answer, rel_tol=1e-6, abs_tol=1e-6) for n in found]
        return torch.tensor(right, dtype=torch.bool, device=x.device)

    def valid(self, x: Tensor) -> Tensor:
        """True (B,) where a solution holds a number."""
        return torch.tensor([last_number(text) is not None for text in self.show(x)], device=x.device).bool()


class Gsm8kHardTune(Gsm8kHard):
    """GSM8K-Hard with the next question of the dataset: for tuning, never reported."""

    shift = 1


def ends_of(model: Any, tokenizer: Any) -> list[int]:
    """The tokens at which `generate` stops: those of the model's generation settings, else the tokenizer's own."""
    known = getattr(model.generation_config, "eos_token_id", None)
    found = [known] if isinstance(known, int) else list(known or [tokenizer.eos_token_id])
    return sorted(found, key=lambda token: token != tokenizer.eos_token_id)


def on_one_day(template: str) -> str:
    """A chat template in which `strftime_now` tells TODAY."""
    if "strftime_now" not in template:
        return template
    codes = [f"%{flag}{letter}" for flag in ("-", "") for letter in "aAwdbBmyYHIpMSfjUWGuV"]
    told = "".join(f"|replace('{code}', '{TODAY.strftime(code)}')" for code in codes)
    return "{% macro strftime_now(format) %}{{ format" + told + " }}{% endmacro %}{{ '' }}" + template


def last_number(text: str) -> float | None:
    """The last number of a text, commas between digits left out; None where there is none."""
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def text_of(value: object, where: str) -> str:
    """The text that a dataset gives as its question; UserError where there is none."""
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where} has no text in its field 'input': {value!r}; choose another --task.question")
    return value


def number_of(value: object, where: str) -> float:
    """The number that a dataset gives as its answer.

    Raises:
        UserError: there is none, or it is not finite.
    """
    try:
        number = float(str(value).replace(",", ""))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where} has no number in its field 'target': {value!r}; choose another --task.question")
    return number
