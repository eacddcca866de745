"""Verbalized sampling (Zhang et al. 2025): several tasks with their probabilities, the tails kept.

Asked for one thing, an aligned model says the likeliest; asked for several with how probable each
is, it also says rare ones (arXiv 2510.01171). One reply is JSON with some tasks and their
probabilities; those above `tail` are rejects. An option of `alpaca`, for teachers that follow
instructions. Not covered: whether a stated probability means anything; `tail: 1` keeps all, as the
arm to compare with.
"""

import json
import math
from collections.abc import Sequence

from localinstruct.curate.invisible import clean
from localinstruct.methods.prompt_files import prompt_file
from localinstruct.records import (
    Completion,
    Instance,
    JsonObject,
    Lineage,
    Prompt,
    Reject,
    fill,
)

STAGE = "verbalized"


def tasks_prompt(
    demonstrations: Sequence[Instance], count: int, tail: float, steer: str = ""
) -> Prompt:
    """Ask for `count` tasks with their probabilities, as JSON under a schema."""
    shown = [
        {"instruction": task.instruction, "input": task.input, "output": task.output}
        for task in demonstrations
    ]
    text = fill(
        prompt_file("verbalized", "tasks"),
        demonstrations="".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in shown),
        count=count,
        tail=f"{tail:g}",
        steer=steer,
    )
    return Prompt(text=text, schema=schema(count))


def schema(count: int) -> JsonObject:
    """The form of a reply: `count` tasks, each with a probability."""
    texts = {name: {"type": "string"} for name in ("instruction", "input", "output")}
    fields = {**texts, "probability": {"type": "number", "minimum": 0, "maximum": 1}}
    item = {"type": "object", "properties": fields, "required": list(fields)}
    tasks = {"type": "array", "items": item, "minItems": 1, "maxItems": count}
    return {"type": "object", "properties": {"tasks": tasks}, "required": ["tasks"]}


def read_tasks(reply: Completion, tail: float, lineage: Lineage) -> list[Instance | Reject]:
    """The tasks of a reply, those of the tail as rows with their probability among the scores."""
    ending = f"finish_reason {reply.finish_reason!r}"
    try:
        found = json.loads(reply.text[reply.text.find("{") : reply.text.rfind("}") + 1])
        tasks = found["tasks"]
    except (ValueError, RecursionError, KeyError, TypeError):
        reason = "truncated" if reply.finish_reason == "length" else "not in form"
        return [Reject("parse", reason, reply.text, f"expected JSON with tasks; {ending}")]
    if not isinstance(tasks, list) or not tasks:
        return [Reject("parse", "not in form", reply.text, f"no tasks in it; {ending}")]
    return [_row(task, tail, lineage) for task in tasks]


def _row(task: object, tail: float, lineage: Lineage) -> Instance | Reject:
    given = task if isinstance(task, dict) else {}
    instruction, text, output = (
        clean(given[name]).strip() if isinstance(given.get(name), str) else ""
        for name in ("instruction", "input", "output")
    )
    said = given.get("probability")
    probability: float = math.nan
    if isinstance(said, int | float) and not isinstance(said, bool):
        probability = said
    if not instruction or not output:
        return Reject("parse", "missing output", instruction, "no instruction or no output")
    if not 0 <= probability <= 1:
        return Reject(STAGE, "no probability", instruction, f"found {str(said)[:40]!r}")
    if probability > tail:
        detail = f"probability {probability:g}, above {tail:g}"
        return Reject(STAGE, "not from the tail", instruction, detail, float(probability))
    row = Instance(instruction, input=text, output=output, lineage=lineage)
    return row.with_scores(probability=float(probability))
