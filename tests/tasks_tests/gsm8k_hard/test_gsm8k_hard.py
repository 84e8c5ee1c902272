"""The loop of a causal language model on GSM8K-Hard, with a tiny model, tokenizer and dataset built on the spot.

No network: `HF_HUB_OFFLINE` is set before anything of Hugging Face is imported.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from torch import Tensor

import suite
from suite import cli
from suite.cells.verify import verify
from suite.errors import UserError
from suite.generators.hf import CausalLM
from suite.policy import Generator
from tasks.common import extras
from tasks.gsm8k_hard import loading as hf_loading
from tasks.gsm8k_hard.task import Config, Gsm8kHard, Gsm8kHardTune, last_number

pytest.importorskip("transformers")
pytest.importorskip("datasets")

ROWS = [
    {"input": "2 and 3 ?", "code": "", "target": 5.0},
    {"input": "4 and 3 ?", "code": "", "target": 7.0},
    {"input": "many ?", "code": "", "target": None},
    {"input": None, "code": "", "target": 1.0},
]
TEMPLATE = "{% for m in messages %}ask {{ m.content }} {% endfor %}say"
CHARACTERS = ["[pad]", "[end]", *"0123456789abcdefghijklmnopqrstuvwxyz?.:QA", "Ġ", "Ċ"]
"""Space and newline as byte-level tokenizers write them."""
PIECES = re.compile(r"\[pad\]|\[end\]|.", re.DOTALL)


def build(folder: Path, *, chat: bool = True, pad: bool = True) -> Path:
    """A randomly initialised model of Qwen2's architecture and a tokenizer of characters, as the hub has them."""
    import transformers

    vocabulary = {symbol: i for i, symbol in enumerate(CHARACTERS)}
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=vocabulary, merges=[], unk_token=None, eos_token="[end]", pad_token="[pad]" if pad else None
    )
    if chat:
        tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=len(CHARACTERS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        tie_word_embeddings=True,
    )
    transformers.Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ["HF_DATASETS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    path = tmp_path_factory.mktemp("data") / "hard.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def task(model: Path, dataset: Path) -> Gsm8kHard:
    return Gsm8kHard(Config(question=0, model=str(model), dataset=str(dataset), length=6))


def tokens(text: str, length: int = 6) -> list[int]:
    """Characters as tokens, filled with padding."""
    row = [CHARACTERS.index({" ": "Ġ", "\n": "Ċ"}.get(piece, piece)) for piece in PIECES.findall(text)]
    return row + [0] * (length - len(row))


# -- the generator -------------------------------------------------------------------------------------------------


def test_the_prompt_is_the_questions_chat(task: Gsm8kHard, model: Path, dataset: Path) -> None:
    assert task.prior().prompt.tolist() == tokens("ask 2 and 3 ? say", 17)
    plain = Gsm8kHard(Config(question=0, model=str(model), dataset=str(dataset), prompt="plain"))
    assert plain.prior().prompt.tolist() == tokens("Question: 2 and 3 ?\nAnswer:", 27)


@pytest.mark.parametrize("ends", [False, True])
def test_a_plain_prompt_begins_as_the_tokenizer_begins_a_text(
    tmp_path: Path, model: Path, dataset: Path, ends: bool
) -> None:
    """Llama and Gemma put a token before; one that also puts the end behind would leave nothing to answer."""
    import transformers
    from tokenizers import processors

    folder = Path(shutil.copytree(model, tmp_path / "model"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    single = "[pad] $A [end]" if ends else "[pad] $A"
    special = [(name, CHARACTERS.index(name)) for name in ("[pad]", "[end]")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=special)
    tokenizer.save_pretrained(folder)
    prior = Gsm8kHard(Config(question=0, model=str(folder), dataset=str(dataset), prompt="plain")).prior()
    assert prior.prompt.tolist() == tokens("[pad]Question: 2 and 3 ?\nAnswer:", 28)


def test_a_template_that_tells_the_date_tells_one_day(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the same command would be one cell with two results, from one day to the next."""
    template = "{% macro day(f) %}{{ strftime_now(f) | lower }}{% endmacro %}\n{{ day('%-d %b %y') }} say"
    monkeypatch.setattr(sys.modules[__name__], "TEMPLATE", template)
    folder = build(tmp_path / "dated")
    task = Gsm8kHard(Config(question=0, model=str(folder), dataset=str(dataset)))
    assert task.prior().prompt.tolist() == tokens("26 jul 24 say", 13)


def test_the_prompt_is_part_of_the_cell(model: Path, dataset: Path) -> None:
    """Another version of transformers may render a template otherwise."""
    config = Config(question=0, model=str(model), dataset=str(dataset))
    chat, plain = (Gsm8kHard(dataclasses.replace(config, prompt=prompt)).assets for prompt in ("chat", "plain"))
    assert {name for name in chat if chat[name] != plain[name]} == {"prompt"}


def test_the_settings_of_a_multimodal_model_are_those_of_its_text(tmp_path: Path, model: Path, dataset: Path) -> None:
    """Gemma 3's configuration has the size of its vocabulary in `text_config`."""
    import transformers

    folder = tmp_path / "gemma"
    text = transformers.Gemma3TextConfig(
        vocab_size=len(CHARACTERS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=512, pad_token_id=0, eos_token_id=1, bos_token_id=0,
    )  # fmt: skip
    vision = transformers.SiglipVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    config = transformers.Gemma3Config(
        text_config=text.to_dict(), vision_config=vision.to_dict(), mm_tokens_per_image=4, image_token_index=40,
        boi_token_index=41, eoi_token_index=42,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    net = Gsm8kHard(Config(question=0, model=str(folder), dataset=str(dataset), length=6)).prior()
    assert net.vocab_size == len(CHARACTERS)
    x = net.sample(3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(net.log_prob(x), by_hand(net, x), rtol=0, atol=1e-4)
    assert math.isfinite(net.fit(x, generator=torch.Generator().manual_seed(0)))


def test_an_answer_ends_at_each_token_at_which_generate_stops(tmp_path: Path, model: Path, dataset: Path) -> None:
    """A model for chats names the end of a turn beside the end of a text."""
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    settings = json.loads((folder / "generation_config.json").read_text())
    turn = CHARACTERS.index("z")
    (folder / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [turn, 1]}))
    net = Gsm8kHard(Config(question=0, model=str(folder), dataset=str(dataset), length=6)).prior()
    assert (net.end, net.ends.tolist()) == (1, [1, turn])
    x = net.sample(400, torch.Generator().manual_seed(0))
    seen = [row for row in x.tolist() if turn in row[:-1]]
    assert seen  # 46 tokens, five places: about 40 of 400
    assert all(set(row[row.index(turn) + 1 :]) <= {0} for row in seen if 1 not in row[: row.index(turn)])
    assert net.log_prob(torch.tensor([tokens("2z3")])).tolist() == [-math.inf]
    whole = torch.tensor([tokens("2z")])
    two = net.model(input_ids=torch.tensor([net.prompt.tolist() + whole[0, :1].tolist()])).logits[0, -2:]
    expected = torch.log_softmax(two.double(), dim=-1)[[0, 1], [CHARACTERS.index("2"), turn]].sum()
    assert float(net.log_prob(whole)) == pytest.approx(float(expected.detach()), abs=1e-4)


def by_hand(net: CausalLM, x: Tensor, temperature: float = 1.0) -> Tensor:
    """log p token by token, each by a forward pass over all tokens before it, without a cache."""
    rows = []
    for row in x.tolist():
        seen, total = net.prompt.tolist(), 0.0
        for token in row:
            with torch.no_grad():
                logits = net.model(input_ids=torch.tensor([seen]), use_cache=False).logits[0, -1]
            total += float(torch.log_softmax(logits.double() / temperature, dim=-1)[token])
            seen.append(token)
            if token == net.end:
                break
        rows.append(total)
    return torch.tensor(rows, dtype=torch.float64)


def test_log_prob_is_the_sum_over_tokens_up_to_the_end(task: Gsm8kHard) -> None:
    net = task.prior()
    x = torch.tensor([tokens("2 3[end]"), tokens("[end]"), tokens("123456")])
    torch.testing.assert_close(net.log_prob(x), by_hand(net, x), rtol=0, atol=1e-4)
    torch.testing.assert_close(net.tempered(2.0).log_prob(x), by_hand(net, x, 2.0), rtol=0, atol=1e-4)
    assert net.uniform().log_prob(x).tolist() == pytest.approx([-k * math.log(len(CHARACTERS)) for k in (4, 1, 6)])
    malformed = torch.tensor([tokens("2[end]3"), tokens("2[end][end]")])
    assert net.log_prob(malformed).tolist() == [-math.inf] * 2


def test_samples_have_the_probabilities_that_they_are_given(task: Gsm8kHard) -> None:
    """The first token of 1,000 samples against softmax of the logits after the prompt: chi-square."""
    from scipy import stats

    net = task.prior()
    x = net.sample(1000, torch.Generator().manual_seed(0))
    assert (x.dtype, x.shape) == (torch.int64, (1000, 6))
    assert torch.isfinite(net.log_prob(x)).all()  # nothing but padding after an end
    with torch.no_grad():
        p = torch.softmax(net.model(input_ids=net.prompt[None]).logits[0, -1].double(), dim=-1).numpy()
    counts = torch.bincount(x[:, 0], minlength=len(CHARACTERS)).numpy()
    often = p * 1000 >= 5
    seen, expected = counts[often], p[often] * 1000
    rest = [[1000 - seen.sum()], [1000 - expected.sum()]] if not often.all() else [[], []]
    observed, wanted = [*seen, *rest[0]], [*expected, *rest[1]]
    assert stats.chisquare(observed, wanted).pvalue > 1e-3
    assert torch.equal(x, net.sample(1000, torch.Generator().manual_seed(0)))


def test_fitting_raises_the_likelihood_of_what_it_is_shown(task: Gsm8kHard) -> None:
    prior = task.prior()
    net, x = prior.clone(), torch.tensor([tokens("5[end]")] * 8)
    before = float(prior.log_prob(x)[0])
    net.fit(x, generator=torch.Generator().manual_seed(0), epochs=20, lr=0.1)
    assert float(net.log_prob(x)[0]) > before + 1
    assert float(prior.log_prob(x)[0]) == before
    again = prior.clone()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.log_prob(x), net.log_prob(x))
    assert isinstance(net, Generator)


# -- the reward -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [("so 5", 5), ("1,234.5 pens", 1234.5), ("12 - 7 = -5.", -5), ("none", None), ("3 and 4 .", 4), ("", None)],
)
def test_the_last_number_counts(text: str, number: float | None) -> None:
    assert last_number(text) == number


def test_the_reward_is_the_last_number(task: Gsm8kHard) -> None:
    rows = ["2 3[end]", "3 a 5", "5 a[end]", "a[end]", "12 5."]
    x = torch.tensor([tokens(row) for row in rows])
    assert task.verify(x).tolist() == [False, True, True, False, True]
    assert task.valid(x).tolist() == [True, True, True, False, True]
    assert task.show(x)[0] == "2 3"


def test_the_variant_for_tuning_asks_another_question(model: Path, dataset: Path) -> None:
    config = Config(question=0, model=str(model), dataset=str(dataset))
    assert (Gsm8kHard(config).answer, Gsm8kHardTune(config).answer) == (5.0, 7.0)


# -- the whole loop ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["banel", "rnd", "tail", "temperature"])
def test_a_baseline_runs_and_its_record_is_verified(tmp_path: Path, model: Path, dataset: Path, baseline: str) -> None:
    fields = {"question": 0, "model": str(model), "dataset": str(dataset), "length": 6, "save": True}
    small: dict[str, dict[str, object]] = {
        "banel": {"batch": 20, "pool": 64, "epochs": 1},
        "rnd": {"batch": 20, "policy_epochs": 1},
        "tail": {"pool": 64, "rounds": 1},
    }
    record = suite.run(
        "gsm8k-hard-v1",
        baseline,
        budget=40,
        heldout="100",
        config=small.get(baseline, {}),
        task_config=fields,
        results=tmp_path,
        tracking="off",
    )
    assert record.status == "finished", record.result.error
    assert set(record.identity.task.assets) == {"model", "question", "prompt"}
    assert (record.folder / "policy-final.safetensors").exists()
    (verdict,) = verify(tmp_path)
    assert verdict.verified, [check for check in verdict.checks if not check.ok]


@pytest.mark.slow
def test_weights_are_not_written_unless_asked_for(tmp_path: Path, model: Path, dataset: Path) -> None:
    fields = {"question": 0, "model": str(model), "dataset": str(dataset), "length": 6}
    record = suite.run(
        "gsm8k-hard-v1", "pretrained", heldout="50", task_config=fields, results=tmp_path, tracking="off"
    )
    assert record.status == "finished"
    assert not list(record.folder.glob("*.safetensors"))


# -- bad input --------------------------------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, **fields: Any) -> str:
    """The one line of a command that ends with 2 and leaves nothing behind."""
    capsys.readouterr()
    options = [f"--task.{name}={value}" for name, value in fields.items()]
    arguments = ["run", "--task", "gsm8k-hard-v1", "--baseline", "pretrained", "--results", str(tmp_path / "results")]
    assert cli.main([*arguments, "--tracking", "off", "--quiet", *options]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert not (tmp_path / "results").exists()
    return lines[0]


def test_a_question_out_of_range_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, dataset: Path
) -> None:
    line = refused(capsys, tmp_path, question=4, model=model, dataset=dataset)
    assert "--task.question 4 is out of range" in line
    assert "has 4 rows, use 0 to 3" in line


def test_a_row_without_a_number_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, dataset: Path
) -> None:
    line = refused(capsys, tmp_path, question=2, model=model, dataset=dataset)
    assert "row 2 of" in line
    assert "has no number in its field 'target': None; choose another --task.question" in line


def test_a_row_without_a_question_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, dataset: Path
) -> None:
    line = refused(capsys, tmp_path, question=3, model=model, dataset=dataset)
    assert "has no text in its field 'input': None; choose another --task.question" in line


def test_a_tokenizer_of_another_model_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dataset: Path
) -> None:
    """The model knows the first 20 of 46 tokens; the prompt holds others, and so does a model that lacks padding."""
    import transformers

    small = build(tmp_path / "small")
    model = transformers.AutoModelForCausalLM.from_pretrained(small)
    model.resize_token_embeddings(20)
    model.save_pretrained(small)
    line = refused(capsys, tmp_path, question=0, model=small, dataset=dataset)
    assert f"has 20 tokens, its tokenizer {len(CHARACTERS)}: they do not belong together" in line


def test_a_model_that_lacks_its_pad_token_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dataset: Path
) -> None:
    import transformers

    bare = build(tmp_path / "bare", pad=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(bare)
    tokenizer.add_special_tokens({"pad_token": "[filling]"})
    tokenizer.save_pretrained(bare)
    line = refused(capsys, tmp_path, question=0, model=bare, dataset=dataset)
    assert "lacks its tokenizer's pad token; pass --task.pad end" in line
    assert Gsm8kHard(Config(question=0, model=str(bare), dataset=str(dataset), pad="end")).prior().fill == 1


def test_a_solution_longer_than_the_model_reads_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, dataset: Path
) -> None:
    line = refused(capsys, tmp_path, question=0, model=model, dataset=dataset, length=500)
    assert "the prompt has 17 tokens and" in line
    assert "512 positions; use at most 495" in line


def test_an_empty_chat_template_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "TEMPLATE", " ".strip())
    bare = build(tmp_path / "bare")
    line = refused(capsys, tmp_path, question=0, model=bare, dataset=dataset)
    assert "has an empty chat template; pass --task.prompt plain" in line


def test_another_template_or_other_weights_are_another_cell(tmp_path: Path, dataset: Path) -> None:
    folder = build(tmp_path / "model")
    found = set()
    for _ in range(3):
        hf_loading.load_model.cache_clear()
        found.add(Gsm8kHard(Config(question=0, model=str(folder), dataset=str(dataset))).assets["model"])
        if len(found) == 1:
            (folder / "chat_template.jinja").write_text("say {{ messages[0].content }}")
        else:
            weights = folder / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert len(found) == 3


def test_a_hub_that_does_not_answer_is_asked_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    import huggingface_hub as hub

    asked = []

    class Session:
        def head(self, url: str, timeout: float) -> None:
            asked.append(url)
            raise OSError("no network")

    monkeypatch.setattr(hub, "get_session", Session)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    hf_loading.ask_the_hub_once.cache_clear()
    for _ in range(2):
        line = refused(capsys, tmp_path, question=0, model=model, dataset="nobody/no-such-dataset")
        assert "go online, or give a local JSONL file" in line
    assert asked == [hub.constants.ENDPOINT]
    hf_loading.ask_the_hub_once.cache_clear()


def test_a_model_without_a_chat_template_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dataset: Path
) -> None:
    bare = build(tmp_path / "bare", chat=False)
    line = refused(capsys, tmp_path, question=0, model=bare, dataset=dataset)
    assert "has no chat template; pass --task.prompt plain" in line


def test_a_model_without_a_pad_token_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dataset: Path
) -> None:
    bare = build(tmp_path / "bare", pad=False)
    line = refused(capsys, tmp_path, question=0, model=bare, dataset=dataset)
    assert "has no pad token; pass --task.pad end" in line
    net = Gsm8kHard(Config(question=0, model=str(bare), dataset=str(dataset), pad="end")).prior()
    assert net.fill == net.end


def test_without_network_the_hub_is_not_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, dataset: Path
) -> None:
    line = refused(capsys, tmp_path, question=0, model="nobody/no-such-model", dataset=dataset)
    assert "--task.model nobody/no-such-model cannot be loaded" in line
    assert "go online, or give a local folder" in line
    line = refused(capsys, tmp_path, question=0, model=model, dataset="nobody/no-such-dataset")
    assert "--task.dataset nobody/no-such-dataset cannot be loaded" in line
    assert "go online, or give a local JSONL file" in line
    assert "no such file" in refused(capsys, tmp_path, question=0, model=model, dataset="missing.jsonl")


def test_a_dataset_of_another_schema_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path
) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"input": "1 ?", "answer": 1}\n')
    line = refused(capsys, tmp_path, question=0, model=model, dataset=path)
    assert "lacks the column target" in line


def test_missing_extras_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: Path
) -> None:
    hf_loading.load_rows.cache_clear()
    monkeypatch.setitem(sys.modules, "datasets", None)  # what makes an import raise ImportError
    line = refused(capsys, tmp_path, question=0, model="any", dataset=dataset)
    assert "datasets is missing" in line
    assert "pip install 'sparse-reward-suite[hf]'" in line
    hf_loading.load_rows.cache_clear()
    monkeypatch.setitem(sys.modules, "transformers", None)
    line = refused(capsys, tmp_path, question=0, model="any", dataset="nobody/no-such-dataset")  # is not looked for
    assert "transformers is missing" in line
    with pytest.raises(UserError, match="pip install"):
        extras.library("no_such_library", "hf")
