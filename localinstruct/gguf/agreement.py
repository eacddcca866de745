"""Agreement of a GGUF file with a model directory: llama.cpp held against transformers.

The directory is what the file was made of, or what was made of the file.

Compared are the token ids of the rows' texts, the text of chats, and greedy answers. Each token of
a greedy answer must be transformers' own choice after those before it, or tied with it but for
rounding; any other difference is refused. Not covered: sampled answers, which depend on the
sampler.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import TrainerError
from localinstruct.gguf.llama_cpp import Answers, Questions, ask, turns
from localinstruct.records import Instance
from localinstruct.templates import messages
from localinstruct.templates.rendered import end_ids, rendered
from localinstruct.training import student

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXTS, CHATS, ANSWERS = 300, 100, 8
"""How many are compared, at most."""
MAX_TOKENS = 48
"""Tokens of a greedy answer."""
NEAR = {"f32": 1e-3, "f16": 0.02, "bf16": 0.03}
"""How far apart two logits may be to count as equally likely, as a share of the largest one.

llama.cpp multiplies in the precision of the weights, transformers in float32 on a CPU.
"""
NEAR_QUANTIZED = 0.06
"""The same where llama.cpp rounds what it multiplies to eight bits: for quantized weights."""
HINT = "Nothing was written. Use --format merged, or --converter FILE, and please report this."


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts of what was compared; all of it agrees but `parted`."""

    texts: int
    composed: int
    """Texts of `texts` whose ids differ only because llama.cpp does not compose characters."""
    chats: int
    refused: int
    """Chats that the student's template refuses; llama.cpp may write them, nobody learnt them."""
    answers: int
    parted: int
    """Answers with a token where two are equally likely, and the other one was taken."""

    def facts(self) -> tuple[tuple[str, str], ...]:
        """The counts in words."""
        composed = f" ({self.composed} differ in composed characters)" if self.composed else ""
        refused = f"; the template refuses {self.refused} more" if self.refused else ""
        parted = f", {self.parted} of them but for ties of two tokens" if self.parted else ""
        chats = f"llama.cpp writes the same text for {self.chats} rows{refused}"
        return (
            ("token ids", f"llama.cpp's are the same for {self.texts} texts{composed}"),
            *([("chats", chats)] if self.chats or self.refused else []),
            ("answers", f"llama.cpp gives the same {self.answers} greedy answers{parted}"),
        )


def compare(
    file: Path,
    folder: Path,
    rows: Sequence[Instance],
    precision: str,
    log: Path,
    answers: int = ANSWERS,
    *,
    with_chats: bool = True,
) -> Agreement:
    """Hold the file against the model in `folder`; TrainerError where they differ.

    `precision` is that of the file's matrices. At most `answers` of the rows are answered; a model
    without a chat template goes on with their texts. Without chats, what llama.cpp makes of the
    template is left aside.
    """
    tokenizer = student.load_tokenizer(folder)
    device = student.choose_device()
    model = student.load_base(folder, device).eval()
    near = NEAR.get(precision.lower(), NEAR_QUANTIZED)
    near = max(near, NEAR["bf16"] if device.dtype == "bfloat16" else 0)
    texts, chats = texts_of(rows)[:TEXTS], [turns(messages(row)) for row in rows[:CHATS]]
    written = [rendered(tokenizer, chat, add_generation_prompt=True) for chat in chats]
    context = student.longest_row(model, 10**6)
    held = [text for text in written if text] if tokenizer.chat_template else texts
    chats, written = (chats, written) if with_chats else ([], [])
    prompts = _prompts(tokenizer, held, context - MAX_TOKENS)[:answers]
    ends = end_ids(tokenizer)
    longest = max((len(ids) for ids in prompts), default=0) + MAX_TOKENS
    said = ask(
        Questions(str(file), texts, chats, prompts, MAX_TOKENS, min(context, longest + 8)), log
    )
    composed = _require_ids(tokenizer, texts, said)
    refused = _require_chats(tokenizer, chats, written, said)
    parted = sum(
        _require_answer(model, tokenizer, ids, theirs, ends, near)
        for ids, theirs in zip(prompts, said.prompts, strict=True)
    )
    return Agreement(len(texts), composed, len(chats) - refused, refused, len(prompts), parted)


def texts_of(rows: Sequence[Instance]) -> list[str]:
    """The different texts in rows, in order."""
    fields = (
        text
        for row in rows
        for text in (
            row.instruction,
            row.input,
            row.output,
            row.system,
            *(turn.content for turn in row.history),
        )
    )
    return [text for text in dict.fromkeys(fields) if text]


def _prompts(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], limit: int
) -> list[list[int]]:
    """Token ids of the prompts that leave room for an answer."""
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return [each for each in ids if len(each) <= limit]


def _require_ids(tokenizer: "PreTrainedTokenizerBase", texts: list[str], said: Answers) -> int:
    """The number of texts that differ in composed characters only."""
    composed = 0
    for text, theirs in zip(texts, said.texts, strict=True):
        ours = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if ours == theirs:
            continue
        if unicodedata.normalize("NFC", text) == text:
            place = next(
                (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), 0
            )
            near = tokenizer.convert_ids_to_tokens(ours[place : place + 6])
            others = tokenizer.convert_ids_to_tokens(theirs[place : place + 6])
            raise TrainerError(
                f"llama.cpp reads {text[:80]!r} otherwise than transformers does: "
                f"{others} in place of {near}.",
                HINT,
            )
        composed += 1
    return composed


def _require_chats(
    tokenizer: "PreTrainedTokenizerBase",
    chats: list[list[dict[str, str]]],
    written: list[str | None],
    said: Answers,
) -> int:
    """The number of chats that the student's own template refuses."""
    # llama.cpp takes a beginning of text out of a prompt that it puts one before by itself
    begin = tokenizer.bos_token or ""
    for chat, ours, theirs in zip(chats, written, said.chats, strict=True):
        if ours is not None and theirs not in (ours, ours.removeprefix(begin)):
            raise TrainerError(
                f"llama.cpp writes the chat {chat[-1]['content'][:80]!r} as\n{theirs!r}\n"
                f"instead of\n{ours!r}",
                HINT,
            )
    return sum(text is None for text in written)


def _require_answer(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompt: list[int],
    theirs: list[int],
    ends: list[int],
    near: float,
) -> bool:
    """True when some of their tokens are tied with ours, False when all are ours."""
    logits, parted = _logits(model, prompt, theirs), False
    for place, token in enumerate(theirs):
        row = logits[place]
        best = int(row.argmax())
        if token == best and (token not in ends or place == len(theirs) - 1):
            continue
        if token == best:
            raise TrainerError(
                f"llama.cpp goes on after {tokenizer.decode([token])!r}, which ends an answer.",
                HINT,
            )
        gap, scale = float(row[best] - row[token]), float(row.abs().max())
        if gap <= near * scale:
            parted = True  # from here on their answer is looked at, token by token
            continue
        said, ours = tokenizer.decode(theirs[: place + 1]), tokenizer.decode([best])
        raise TrainerError(
            f"llama.cpp answers otherwise than transformers: {said!r}, where that goes on "
            f"with {ours!r} (logits differ by {gap:.3g} of {scale:.3g}).",
            HINT,
        )
    return parted


def _logits(model: "PreTrainedModel", prompt: list[int], answer: list[int]) -> "torch.Tensor":
    """Logits before each token of the answer, (tokens, vocabulary) in float32 on the CPU."""
    import torch

    ids = torch.tensor([prompt + answer], device=model.device)
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0]
    return logits[len(prompt) - 1 : -1].float().cpu()
