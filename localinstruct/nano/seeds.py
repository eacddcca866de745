"""Seed and held-out tasks of the nano models, written by the grammar with fixed seeds."""

import json
from collections.abc import Iterator, Sequence
from random import Random

from localinstruct.nano.grammar import Task, families, make_task
from localinstruct.records import JsonObject

EVAL_PER_FAMILY = 3


def seed_tasks() -> list[JsonObject]:
    """One task of every family in the Self-Instruct schema."""
    rng = Random("nano seed tasks")
    return [_seed(number, make_task(rng, name)) for number, name in enumerate(families())]


def _seed(number: int, task: Task) -> JsonObject:
    return {
        "id": f"nano_seed_{number}",
        "name": task.family,
        "instruction": task.instruction,
        "instances": [{"input": task.input, "output": task.output}],
        "is_classification": families()[task.family].rule.classification,
    }


def eval_tasks() -> list[dict[str, str]]:
    """Held-out tasks, the same number of every family, none of them a seed task."""
    seen = {(seed["instruction"], seed["instances"][0]["input"]) for seed in seed_tasks()}
    return [
        {
            "id": f"nano_eval_{number}",
            "family": task.family,
            "instruction": task.instruction,
            "input": task.input,
            "output": task.output,
        }
        for number, task in enumerate(_unseen(Random("nano eval tasks"), seen))
    ]


def _unseen(rng: Random, seen: set[tuple[str, str]]) -> Iterator[Task]:
    for name in families():
        count = 0
        while count < EVAL_PER_FAMILY:
            task = make_task(rng, name)
            if (task.instruction, task.input) not in seen:
                seen.add((task.instruction, task.input))
                count += 1
                yield task


def as_jsonl(records: Sequence[JsonObject]) -> str:
    """One JSON object per line."""
    return "".join(json.dumps(record) + "\n" for record in records)
