"""Rows of instruction, input and output, under the names that people give them."""

import re
from dataclasses import replace
from typing import Any

from localinstruct.formats.beside import flag_of, system_of, tools_of
from localinstruct.formats.fields import Malformed, Row, as_text, describe, optional_text, text_of
from localinstruct.formats.lineage import regen_scores
from localinstruct.formats.names import ANSWERS, INPUTS, LISTED, TASKS
from localinstruct.formats.turns import THOUGHTS, apart, read_turns
from localinstruct.records import Instance, JsonObject, Message

_NO_INPUT = re.compile(
    r"\W*(no[ _-]?input( (is |was )?(required|needed|necessary|provided|given|available))?|n/a"
    r"|(?-i:NA)|none|null|nan|nil|none (required|needed|provided)|not (applicable|required|needed)"
    r"|no (additional |further )(input|context|information)( (is )?(required|needed))?)\W*",
    re.IGNORECASE,
)


def refuse_marked(row: Row) -> None:
    """Refuse an answer that is marked as a bad one (KTO: label false)."""
    if isinstance(label := row.data.get("label"), bool):
        row.used.add("label")
    if label is False:
        problem = "expected an answer to learn, found one with label false"
        raise Malformed(problem, reason="marked as a bad answer")


def is_plain(row: Row) -> bool:
    """True for a row with a task and an answer under any of their names."""
    has_task = row.find(TASKS) is not None or row.find(INPUTS) is not None
    has_answer = row.find(ANSWERS) is not None or row.filled(LISTED) is not None
    return "instruction" in row.data or (has_task and has_answer)


def plain(row: Row) -> list[Instance]:
    """Instruction, input, output under the names that people give them."""
    if "completion" in row.data:
        refuse_marked(row)
    task = row.find(TASKS) or row.find(INPUTS) or ""
    contexts = [key for name in INPUTS if (key := row.find((name,))) and key != task]
    context = next((key for key in contexts if row.data[key]), contexts[0] if contexts else None)
    family = optional_text(row.data, "name") or optional_text(row.data, "family")
    row.used |= {"name", "family", "is_classification"}
    words = task_of(row, task)
    first, *others = _answers(row)
    instance = Instance(
        instruction=words,
        input=input_of(row, _optional_value(row, context)) if context else "",
        system=system_of(row),
        history=_history(row),
        rejected=optional_text(row.data, "rejected"),
        name=family,
        is_classification=flag_of(row.data),
        tools=tools_of(row),
        **first,
    )
    row.used |= {"rejected", "most_similar_instructions", "avg_similarity_score"}
    if scores := regen_scores(row.data):
        instance = instance.with_scores(**scores)
    return [instance, *(replace(instance, **answer) for answer in others)]


def _answers(row: Row) -> list[dict[str, Any]]:
    """Output, thoughts and scores of every answer that the row holds."""
    key = row.find(ANSWERS)
    listed = row.filled(LISTED)
    if (key is None or row.data[key] is None) and listed is not None:
        return _several(row, listed)
    text = answer_of(row, row.data, key or "output")
    thought = next((name for name in THOUGHTS if isinstance(row.data.get(name), str)), None)
    if thought is not None and row.data[thought]:
        row.note("thoughts")
        return [{"output": text, "thinking": as_text(row.use(thought), thought)}]
    answer, thinking = apart(row, text)
    return [{"output": answer, "thinking": thinking}]


def _several(row: Row, key: str) -> list[dict[str, Any]]:
    """Several answers to one prompt (distilabel's generations, UltraFeedback's completions)."""
    values = row.use(key)
    if not isinstance(values, list) or not values:
        problem = f"expected {key} to be a list of answers, found {describe(values)}"
        raise Malformed(problem, reason="wrong type")
    row.note("several answers for a prompt, a row each")
    answers = []
    for number, value in enumerate(values):
        text, where = value, f"{key}[{number}]"
        if isinstance(value, dict):
            name = next((name for name in (*ANSWERS, "text", "content") if name in value), "")
            row.ignored |= {f"{key}[].{other}" for other in value if other != name}
            text = value.get(name)
        answer, thinking = apart(row, as_text(text, where))
        answers.append({"output": answer, "thinking": thinking})
    return answers


def task_of(row: Row, key: str) -> str:
    """The words of a task."""
    row.used.add(key)
    if key in row.data and row.data[key] is None:
        raise Malformed(f"expected {key} to be text, found null", reason="no task")
    text = text_of(row.data, key)
    if not text.strip():
        raise Malformed(f"expected words in {key}, found none", reason="no task")
    return text


def _optional_value(row: Row, key: str) -> str:
    value = row.use(key)
    return "" if value is None else as_text(value, key)


def input_of(row: Row, text: str) -> str:
    """An input; one that only says that there is none is emptied."""
    if _NO_INPUT.fullmatch(text) and row.repair("empty no-input marker"):
        return ""
    return text


def answer_of(row: Row, data: JsonObject, key: str, where: str = "") -> str:
    """An answer as text."""
    row.used.add(key)
    value = data.get(key)
    if type(value) in (int, float) and row.repair("number as text"):
        return str(value)
    if row.needs_answer and value is None and key in data:
        problem = f"expected {where}{key} to be text, found null"
        raise Malformed(problem, reason="empty answer")
    return text_of(data, key, where)


def _history(row: Row) -> tuple[Message, ...]:
    """Earlier turns: as turns, as pairs of question and answer, or as texts in turn."""
    history = row.use("history") or []
    if isinstance(history, list) and history and isinstance(history[0], list | tuple):
        texts = [text for pair in history for text in _both(pair)]
        return tuple(read_turns(row, texts, "history"))
    turns = read_turns(row, history, "history")
    if any(turn.role == "system" for turn in turns):
        problem = "expected turns of user and assistant in history, found the system's"
        raise Malformed(problem, reason="system prompt in the middle")
    return tuple(turns)


def _both(pair: object) -> list[str]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        problem = "expected every pair in history to be a question and its answer"
        raise Malformed(problem, reason="wrong type")
    return [as_text(text, "a text in history") for text in pair]
