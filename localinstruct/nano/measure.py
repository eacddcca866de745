"""Quality of the nano models: right answers, variety of lists, exact match of the student.

Uses transformers, so that it needs no server; the demo measures the same things through vLLM.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from localinstruct.nano.grammar import check, families, recognise
from localinstruct.nano.pages import PROMPT, TASKS_PER_LIST
from localinstruct.records import JsonObject

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ITEM = re.compile(
    r"\s*(\d+)\. Instruction: ([^\n]+)\n\1\. Input:\n(.+?)\n\1\. Output:\n(.+?)\s*", re.DOTALL
)
Row = tuple[str, str, str]  # instruction, input, output


@dataclass(frozen=True, slots=True)
class ListReport:
    """Measured quality of list completions."""

    items: int
    well_formed: float
    recognised: float
    """Share of the well-formed items."""
    right: float
    """Share of the recognised items."""
    distinct: float
    """Share of the well-formed items that are not a repetition."""
    entropy_bits: float
    """Entropy of the families; log2 of their number is the most."""
    wrong: dict[str, tuple[int, int]]
    """Family -> wrong answers, answers; for families with fewer than nine right ones in ten."""


def list_prompt(seeds: Sequence[JsonObject], rng: Random, shown: int = 3) -> str:
    """The Alpaca prompt with a few demonstrations, open at the next instruction."""
    text = PROMPT.read_text("utf-8").rstrip("\n").format(count=TASKS_PER_LIST) + "\n\n"
    for number, seed in enumerate(rng.sample(seeds, shown), start=1):
        [instance] = seed["instances"]
        given = instance["input"] or "<noinput>"
        text += f"###\n{number}. Instruction: {seed['instruction']}\n{number}. Input:\n{given}\n"
        text += f"{number}. Output:\n{instance['output']}\n"
    return f"{text}###\n{shown + 1}. Instruction:"


def items(completion: str, first: int = 4) -> list[Row | None]:
    """Split a completion into rows; None stands for an item that is not well-formed."""
    parts = f"{first}. Instruction:{completion}".split("###\n")
    matches = [ITEM.fullmatch(part) for part in parts]
    return [
        match and (match[2], "" if match[3] == "<noinput>" else match[3], match[4])
        for match in matches
    ]


def list_report(completions: Iterable[str]) -> ListReport:
    """Judge list completions by the grammar."""
    every = [row for completion in completions for row in items(completion)]
    rows = [row for row in every if row]
    judged = [(task[0], check(*row)) for row in rows if (task := recognise(row[0], row[1]))]
    total = Counter(name for name, _ in judged)
    good = Counter(name for name, right in judged if right)
    low = {name: (n - good[name], n) for name, n in total.items() if good[name] < 0.9 * n}
    shares = [n / len(judged) for n in total.values()]
    return ListReport(
        items=len(every),
        well_formed=len(rows) / len(every),
        recognised=len(judged) / max(1, len(rows)),
        right=good.total() / max(1, len(judged)),
        distinct=len(set(rows)) / max(1, len(rows)),
        entropy_bits=-sum(share * math.log2(share) for share in shares),
        wrong=dict(sorted(low.items(), key=lambda entry: -entry[1][0])),
    )


def generate(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[str],
    max_tokens: int,
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
) -> list[str]:
    """Complete prompts in one batch, greedily unless a temperature is given."""
    import torch

    tokenizer.padding_side = "left"
    batch = tokenizer(list(prompts), return_tensors="pt", padding=True, add_special_tokens=False)
    batch.pop("token_type_ids", None)
    sampling = {"temperature": temperature, "top_p": top_p, "top_k": 0} if temperature else {}
    sampling |= {"max_new_tokens": max_tokens, "do_sample": bool(temperature)}
    with torch.no_grad():
        ids = model.generate(**batch, **sampling)  # (prompts, tokens)
    return tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def teacher_lists(
    directory: Path, seeds: Path, lists: int, *, temperature: float, top_p: float, seed: int = 0
) -> list[str]:
    """Let a teacher complete lists at the given sampling settings."""
    import torch

    torch.manual_seed(seed)
    model, tokenizer = load(directory)
    demonstrations = [json.loads(line) for line in seeds.read_text("utf-8").splitlines()]
    rng = Random(seed)
    prompts = [list_prompt(demonstrations, rng) for _ in range(lists)]
    return generate(model, tokenizer, prompts, 800, temperature=temperature, top_p=top_p)


def load(directory: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load a model in fp32 and its tokenizer from a directory of this disk."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, local_files_only=True
    )
    return model.eval(), AutoTokenizer.from_pretrained(directory, local_files_only=True)


def exact_match(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    tasks: Sequence[dict[str, str]],
    prompts: Sequence[str],
) -> dict[str, float]:
    """Share of held-out tasks answered exactly: key "" for all, and one key per family.

    `prompts` are the tasks as the student reads them, in the order of `tasks`.
    """
    answers: list[str] = []
    for start in range(0, len(prompts), 80):
        answers += generate(model, tokenizer, prompts[start : start + 80], 48)
    right = [answer.strip() == task["output"] for answer, task in zip(answers, tasks, strict=True)]
    report = {"": sum(right) / len(right)}
    for name in families():
        own = [good for good, task in zip(right, tasks, strict=True) if task["family"] == name]
        report[name] = sum(own) / max(1, len(own))
    return report
