"""A student of a few thousand random parameters with a tokenizer trained on the spot, and rows to
teach it."""

import json
import random
from pathlib import Path
from typing import Any

from localinstruct.records import Instance
from localinstruct.store.run import Kept, Run

CORPUS = [
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.",
    "paired with an input that provides further context. ### Instruction: ### Input: ### Response:",
    "Sort the words: red, green, blue. Name the opposite of cold. How many letters has the word "
    "house?",
    "The answer is 12. Yes, it is: “naïve café” — 3.5 °C, 東京, emoji 🙂, tab\tand\nnewline.",
]
WORDS = [
    "red",
    "green",
    "blue",
    "house",
    "river",
    "stone",
    "apple",
    "seven",
    "tiny",
    "cold",
    "warm",
    "north",
    "south",
    "paper",
    "glass",
    "naïve",
    "café",
    "東京",
    "🙂",
]

ROLE_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def byte_level(**special: str) -> Any:
    """GPT-2's kind: bytes, no token added to a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = special or {"eos_token": "<|end|>", "pad_token": "<|pad|>"}
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", "<|end|>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    inner.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def with_bos(end_too: bool = False) -> Any:
    """Llama 3's kind: bytes, a beginning token before every text; `end_too` also closes every
    text."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    inner = byte_level().backend_tokenizer
    single = "<|pad|> $A <|end|>" if end_too else "<|pad|> $A"
    numbers = [("<|pad|>", 0), ("<|end|>", 1)]
    inner.post_processor = processors.TemplateProcessing(single=single, special_tokens=numbers)
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<|pad|>", eos_token="<|end|>")


def metaspace() -> Any:
    """Llama 2's kind: SentencePiece's underscores, a space put before every text, bos, unk and byte
    fallback."""
    from tokenizers import (
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    inner.decoder = decoders.Metaspace()
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", "<s>", "</s>", *pieces], show_progress=False
    )
    inner.train_from_iterator(CORPUS, trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def save_student(folder: Path, tokenizer: Any, context: int = 256) -> Path:
    """A random Llama with this tokenizer, as a model directory."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)  # so small a model only waits for a second thread
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rows(count: int, seed: int = 0) -> list[Instance]:
    """Different small tasks, about half of them with an input."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        words = draw.sample(WORDS, draw.randint(2, 8))
        text = " ".join(words)
        if draw.random() < 0.5:
            made.append(
                Instance(f"Sort the words of list {number}.", text, ", ".join(sorted(words)))
            )
        else:
            made.append(
                Instance(f"Repeat loudly, please ({number}): {text}", "", f"{text.upper()}!")
            )
    return made


def keep(run: Run, instances: list[Instance]) -> None:
    """Commit rows to a run as one episode."""
    import numpy as np

    vector = np.zeros(4, dtype=np.float32)
    run.commit_episode(0, [Kept(row, (), vector) for row in instances], [], 0)


def recipe_data(**sections: Any) -> dict[str, Any]:
    """A recipe's values for tests: the smallest training that still has several steps and
    epochs."""
    train = {
        "epochs": 2,
        "batch_size": 8,
        "device_batch_size": 4,
        "max_length": 128,
        "save_steps": 3,
        "learning_rate": 5e-3,
    }
    base: dict[str, Any] = {
        "name": "tiny",
        "models": {"teacher": "none", "student": "tiny"},
        "method": {"alpaca": {}},
        "train": train | {"lora": {"r": 4, "alpha": 8, "dropout": 0.2}},
    }
    for key, value in sections.items():
        base[key] = base.get(key, {}) | value if isinstance(value, dict) else value
    return json.loads(json.dumps(base))


class Recorded:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.updates: list[tuple[str, float, float, str]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        self.updates.append((label, done, total, note))
