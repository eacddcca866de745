"""Preference pairs of files: a task with a better and a worse answer, as texts or as turns."""

import re
from collections.abc import Sequence

from localinstruct.formats.fields import Malformed, Row, as_text, describe
from localinstruct.formats.turns import apart, read_turns, talk
from localinstruct.records import Instance, JsonObject, Message

NAMES = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    ("response_j", "response_k"),
)
"""Keys of the better and the worse answer."""
_SPOKEN = re.compile(r"\n\n(Human|Assistant):")


def is_pair(data: JsonObject) -> bool:
    """True for a row with both answers."""
    return _names(data) is not None or (
        data.get("chosen") is not None and data.get("output") is None
    )


def _names(data: JsonObject) -> tuple[str, str] | None:
    both = (pair for pair in NAMES if all(data.get(key) is not None for key in pair))
    return next(both, None)


def pair(row: Row, prompt: object, key: str, system: str, tools: str) -> Instance:
    """The row of a pair; `prompt` (under `key`) may be a text, turns, or None."""
    better, worse = _names(row.data) or NAMES[0]
    chosen = _answer(row, row.use(better), better)
    rejected = _answer(row, row.use(worse), worse)
    before = _before(row, prompt, key)
    last, other = chosen[-1:], rejected[-1:]
    shared = _shared(chosen[:-1], rejected[:-1], better)
    if shared:
        before = shared if _covers(shared, before) else [*before, *shared]
    elif before and before[-1].role == "assistant":
        before = before[:-1]  # messages beside chosen hold its answer too
    if not before:
        problem = f"expected a prompt beside {better} and {worse}, found none"
        raise Malformed(problem, reason="no task")
    for name, turn in ((better, last), (worse, other)):
        if [one.role for one in turn] != ["assistant"]:
            found = f"the {turn[0].role}'s" if turn else "no turns"
            problem = f"expected {name} to end with a turn of the assistant, found {found}"
            raise Malformed(problem, reason="no answer")
    if not other[0].content.strip() or other[0].content == last[0].content:
        found = "none" if not other[0].content.strip() else "the same"
        problem = f"expected {worse} to be another answer than {better}, found {found}"
        raise Malformed(problem, reason="no other answer")
    instance = talk(row, [*before, *last], system).instance(tools, rejected=other[0].content)
    return instance.with_scores(**_scores(row))


def _scores(row: Row) -> dict[str, float]:
    scores = {}
    for name in ("score_chosen", "score_rejected", "chosen_score", "rejected_score"):
        value = row.data.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            row.used.add(name)
            scores[name] = float(value)
    return scores


def _answer(row: Row, value: object, key: str) -> list[Message]:
    """An answer as turns, its prompt before it where the file repeats that."""
    if isinstance(value, str):
        if _SPOKEN.match(value):
            return _spoken(value)
        answer, thinking = apart(row, as_text(value, key))
        return [Message("assistant", answer, thinking)]
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        problem = f"expected {key} to be a text or a list, found {describe(value)}"
        raise Malformed(problem, reason="wrong type")
    return read_turns(row, value, key)


def _spoken(text: str) -> list[Message]:
    """Turns of a text with Human: and Assistant: between empty lines (hh-rlhf)."""
    pieces = _SPOKEN.split(as_text(text, "a conversation"))[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    turns = zip(pieces[::2], pieces[1::2], strict=True)
    return [
        Message("user" if roles[who] == "user" else "assistant", words.strip())
        for who, words in turns
    ]


def _before(row: Row, prompt: object, key: str) -> list[Message]:
    """The turns before the answers."""
    if prompt is None:
        return []
    if isinstance(prompt, str):
        return [Message("user", as_text(prompt, key))]
    if isinstance(prompt, dict) and "messages" in prompt:  # OpenAI's preference files
        prompt = prompt["messages"]
    return read_turns(row, prompt, key)


def _shared(chosen: Sequence[Message], rejected: Sequence[Message], better: str) -> list[Message]:
    """The turns that both answers have before them."""
    if list(chosen) != list(rejected) and rejected:
        problem = f"expected the turns before the answers to be equal, found others in {better}"
        raise Malformed(problem, reason="unequal prompts")
    return list(chosen)


def _covers(shared: Sequence[Message], before: Sequence[Message]) -> bool:
    """True when the turns inside the answers are those of the prompt, or hold it."""
    said = [turn.content for turn in shared]
    asked = [turn.content for turn in before if turn.role != "assistant"]
    return all(text in said for text in asked)
