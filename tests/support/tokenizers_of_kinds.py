"""Tokenizers of the kinds that students and teachers have, trained on the spot."""

from typing import Any

from tests.support.tiny_student import CORPUS, byte_level, metaspace, with_bos

WORDS = [*CORPUS, "A tag is closed with </p> or </s>, a talk with <|im_end|>. <s> [SEP] [CLS]"]


def _wrapped(inner: Any, **special: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def word_piece() -> Any:
    """BERT's kind: lower case, control characters removed, [CLS] and [SEP] around a text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    inner.train_from_iterator(WORDS, trainer)
    inner.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return _wrapped(inner, eos_token="[SEP]", bos_token="[CLS]", unk_token="[UNK]")


def unigram() -> Any:
    """T5's and XLM-R's kind: SentencePiece's Unigram, which would find "</s>" as a piece."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    inner = Tokenizer(models.Unigram())
    inner.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Nmt()])
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.UnigramTrainer(
        vocab_size=300,
        special_tokens=["<unk>", "<s>", "</s>"],
        unk_token="<unk>",
        show_progress=False,
    )
    inner.train_from_iterator(WORDS, trainer)
    return _wrapped(inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def prepended() -> Any:
    """Llama 2's older files: the space in front comes from the normalizer, "▁" is no split."""
    from tokenizers import Tokenizer, models, normalizers, trainers

    inner = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<unk>", "<s>", "</s>", *pieces],
        max_token_length=12,
        show_progress=False,
    )
    inner.train_from_iterator(WORDS, trainer)
    return _wrapped(inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def whole_words() -> Any:
    """Llama 3's kind of BPE: a word of the vocabulary is taken whole, a special one too."""
    import json

    from tokenizers import Tokenizer

    data = json.loads(byte_level().backend_tokenizer.to_str())
    data["model"]["ignore_merges"] = True
    return _wrapped(Tokenizer.from_str(json.dumps(data)), eos_token="<|end|>", pad_token="<|pad|>")


def many_marks() -> Any:
    """Phi-3's kind: added tokens behind the vocabulary, with flags of every sort."""
    from tokenizers import AddedToken

    tokenizer = byte_level()
    tokenizer.add_tokens(
        [
            AddedToken("<|im_start|>", special=True, normalized=False),
            AddedToken("<|im_end|>", special=True, rstrip=True, normalized=False),
            AddedToken("<|user|>", special=False, normalized=True),
            AddedToken("<think>", special=True),
            AddedToken("</think>", special=True),
            AddedToken("  ", special=False),
        ]
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|><|user|>' + m.role + '\n' + m.content "
        "+ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|><|user|>assistant\n' }}{% endif %}"
    )
    return tokenizer


KINDS = (
    byte_level,
    with_bos,
    metaspace,
    word_piece,
    unigram,
    prepended,
    whole_words,
    many_marks,
)
