"""Tokenizers that cut texts as well-known models do, and random students of several shapes, for
GGUF files that llama.cpp reads."""

from pathlib import Path
from typing import Any

from localinstruct.gguf.cuts import PRE_TOKENIZERS
from localinstruct.gguf.vocabulary import PROBES
from localinstruct.records import Instance, Message

ROOT = Path(__file__).parents[2]
PAGES = (
    *("gguf.md", "recipes.md", "formats.md", "evaluation.md", "stale.md"),
    *("numbers.md", "student.md", "files.md", "nano.md"),
)
CORPUS = [*((ROOT / "docs" / name).read_text("utf-8") for name in PAGES), *PROBES * 3]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INSTRUCT = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}"
    "{{ eos_token }}{% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}"
)


def cutting_as(name: str, vocabulary: int = 900) -> Any:
    """A byte-level tokenizer with the cuts that llama.cpp knows by this name, as its models' own
    tokenizer.json has them; "other" has cuts that llama.cpp has no name for."""
    from tokenizers import Regex, pre_tokenizers
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Split

    plain = ByteLevel(add_prefix_space=False)
    if name == "gpt-2":
        cuts: Any = plain
    elif name == "smollm":
        cuts = pre_tokenizers.Sequence([Digits(individual_digits=True), plain])
    elif name == "other":
        cuts = pre_tokenizers.Sequence(
            [Split(Regex(r"[aeiou]"), "isolated"), ByteLevel(False, use_regex=False)]
        )
    else:
        patterns, _ = PRE_TOKENIZERS[name]
        steps = [Split(Regex(pattern), "isolated") for pattern in patterns]
        cuts = pre_tokenizers.Sequence([*steps, ByteLevel(False, use_regex=False)])
    return _trained(cuts, PRE_TOKENIZERS.get(name, ((), False))[1], vocabulary)


def _trained(cuts: Any, ignore_merges: bool, vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    inner.pre_tokenizer, inner.decoder = cuts, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    inner.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def sentencepiece(prefix: bool = True) -> Any:
    """Llama 2's kind: underscores for spaces, tokens for bytes, bos before every text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    steps = [normalizers.Prepend("▁")] if prefix else []
    inner.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<unk>", "<s>", "</s>", *pieces],
        show_progress=False,
        limit_alphabet=80,
        max_token_length=8,
    )
    words = [word for text in CORPUS for word in text.replace("\n", " ").split(" ")]
    inner.train_from_iterator([f"▁{word}" for word in words], trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = INSTRUCT
    return tokenizer


def save_random(folder: Path, tokenizer: Any, kind: str = "llama", **config: Any) -> Path:
    """A random model whose next tokens differ clearly, as a model directory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    shape = {
        "vocab_size": len(tokenizer) + 3,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "eos_token_id": tokenizer.eos_token_id,
    }
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape | config))
    with torch.no_grad():
        for weight in made.parameters():
            if weight.dim() == 1:  # norms and biases as training leaves them: not ones and zeros
                weight.add_(torch.randn_like(weight) * 0.2)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def talks() -> list[Instance]:
    """Rows with a system prompt, earlier turns and an input, and without."""
    earlier = (Message("user", "And 3, 14 and 159?"), Message("assistant", "No: it's 2."))
    plain = [Instance(text) for text in PROBES]
    return [
        *plain,
        *(Instance(text, "An input:\n\n- one\n- two") for text in PROBES[:4]),
        *(Instance(text, system="Be brief.") for text in PROBES[:4]),
        *(Instance(text, "x = 12", "", "Be “brief”.", earlier) for text in PROBES[:4]),
    ]
