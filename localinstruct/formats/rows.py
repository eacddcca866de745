"""One row of a file, as plain JSON values, becomes one or more Instances; pure.

The kind of a row is seen from its keys. Unknown keys are ignored, because public data sets carry
many; wrong types, missing keys and text that cannot be stored as UTF-8 are refused with what was
expected and what was found.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from localinstruct.records import Instance, Lineage, Message, Role

Row = dict[str, Any]

SPEAKERS: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "system": "system",
}
"""ShareGPT's names of who speaks -> our roles."""

ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Malformed(ValueError):
    """A row or line that cannot be used: 'expected …, found …', and the line (from 1) where it
    stands in its text."""

    def __init__(self, text: str, line: int = 1) -> None:
        super().__init__(text)
        self.line = line


def to_instances(row: Any, first_instance_only: bool = False) -> list[Instance]:
    """Every instance a row holds; Malformed when it is none of the known kinds."""
    if not isinstance(row, dict):
        raise Malformed(f"expected an object, found {describe(row)}")
    present = [key for key in _KINDS if row.get(key) is not None] or [
        key for key in _KINDS if key in row
    ]
    if present:
        return _KINDS[present[0]](row)[: 1 if first_instance_only else None]
    found = ", ".join(sorted(map(str, row))[:8]) or "none"
    raise Malformed(
        f"expected a key instruction, messages, conversations or chosen, found keys: {found}"
    )


def user_turn(instance: Instance) -> str:
    """Join what the user says in a conversation: the instruction, and the input after an empty
    line."""
    return f"{instance.instruction}\n\n{instance.input}" if instance.input else instance.instruction


def unstorable(text: str) -> str | None:
    """Why `text` cannot be kept in a UTF-8 file (a NUL character, half a surrogate pair), or
    None."""
    match = _UNSTORABLE.search(text)
    if not match:
        return None
    name = "a NUL character" if match[0] == "\0" else f"a lone surrogate U+{ord(match[0]):04X}"
    return f"{name} at character {match.start()}"


def describe(value: Any) -> str:
    """Name the JSON type of a value, for 'found …'."""
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _seed(row: Row) -> list[Instance]:
    """Self-Instruct: one task with its instances."""
    cases = row["instances"]
    if not isinstance(cases, list) or not cases:
        raise Malformed(
            f"expected instances to be a list of input and output, found {_or_empty(cases)}"
        )
    name = _optional(row, "name") or str(row.get("id") or "")
    return [_case(row, case, number, name) for number, case in enumerate(cases)]


def _case(row: Row, case: Any, number: int, name: str) -> Instance:
    if not isinstance(case, dict):
        raise Malformed(f"expected instances[{number}] to be an object, found {describe(case)}")
    where = f"instances[{number}]."
    return Instance(
        instruction=_instruction(row),
        input=_optional(case, "input", where),
        output=_text(case, "output", where),
        name=name,
        is_classification=_flag(row),
    )


def _plain(row: Row) -> list[Instance]:
    """Instruction, input, output; with the other fields of an Instance where the row has them."""
    instance = Instance(
        instruction=_text(row, "instruction") if row.get("lineage") else _instruction(row),
        input=_optional(row, "input"),
        output=_text(row, "output"),
        system=_optional(row, "system"),
        history=_turns(row.get("history") or [], "history", "role", "content", ROLES),
        rejected=_optional(row, "rejected"),
        thinking=_optional(row, "thinking"),
        name=_optional(row, "name") or _optional(row, "family"),
        is_classification=_flag(row),
        lineage=_lineage(row.get("lineage")),
    )
    return [instance.with_scores(**_regen_scores(row))]


def _messages(row: Row) -> list[Instance]:
    found = _conversation(row, _turns(row["messages"], "messages", "role", "content", ROLES))
    return [
        replace(
            found, thinking=_optional(row["messages"][-1], "reasoning_content", "messages[-1].")
        )
    ]


def _sharegpt(row: Row) -> list[Instance]:
    turns = _turns(row["conversations"], "conversations", "from", "value", SPEAKERS)
    system = _optional(row, "system")  # some exporters keep it beside the turns
    first = (Message("system", system),) if system and turns and turns[0].role != "system" else ()
    return [_conversation(row, first + turns)]


def _preference(row: Row) -> list[Instance]:
    """A pair as TRL has it: prompt, chosen and rejected, each a list of messages."""
    prompt, chosen, rejected = (
        _turns(row.get(key), key, "role", "content", ROLES)
        for key in ("prompt", "chosen", "rejected")
    )
    for key, answer in (("chosen", chosen), ("rejected", rejected)):
        if [turn.role for turn in answer] != ["assistant"]:
            raise Malformed(
                f"expected {key} to be one turn of the assistant, found {len(answer)} turns"
            )
    return [replace(_conversation(row, prompt + chosen), rejected=rejected[0].content)]


def _conversation(row: Row, turns: tuple[Message, ...]) -> Instance:
    """System first if at all, then user and assistant in turn, the assistant last."""
    system = turns[0].content if turns and turns[0].role == "system" else ""
    spoken = turns[1:] if turns and turns[0].role == "system" else turns
    for number, turn in enumerate(spoken):
        expected = ("user", "assistant")[number % 2]
        if turn.role != expected:
            place = len(turns) - len(spoken) + number
            raise Malformed(
                f"expected turn {place} to be the {expected}'s, found the {turn.role}'s"
            )
    if len(spoken) < 2 or spoken[-1].role != "assistant":
        raise Malformed(f"expected the last turn to be the assistant's, found {_last(turns)}")
    if not spoken[-2].content.strip():
        raise Malformed("expected words in the last turn of the user, found none")
    return Instance(
        instruction=spoken[-2].content,
        output=spoken[-1].content,
        system=system,
        history=spoken[:-2],
        name=_optional(row, "name"),
    )


def _turns(
    value: Any, key: str, who: str, what: str, roles: dict[str, Role]
) -> tuple[Message, ...]:
    if not isinstance(value, list):
        raise Malformed(f"expected {key} to be a list, found {describe(value)}")
    return tuple(
        _turn(turn, f"{key}[{number}]", who, what, roles) for number, turn in enumerate(value)
    )


def _turn(turn: Any, where: str, who: str, what: str, roles: dict[str, Role]) -> Message:
    if not isinstance(turn, dict):
        raise Malformed(
            f"expected {where} to be an object with {who} and {what}, found {describe(turn)}"
        )
    speaker = _text(turn, who, f"{where}.")
    if speaker not in roles:
        raise Malformed(
            f"expected {where}.{who} to be one of {', '.join(roles)}, found {speaker[:40]!r}"
        )
    return Message(roles[speaker], _text(turn, what, f"{where}."))


def _lineage(value: Any) -> Lineage:
    """Our own rows carry it as an object, Parquet as its JSON text."""
    if isinstance(value, str) and value:
        value = _parsed(value)
    if not value:
        return Lineage()
    if not isinstance(value, dict):
        raise Malformed(f"expected lineage to be an object, found {describe(value)}")
    episode, offset = value.get("episode", -1), value.get("offset", -1)
    for key, number in (("episode", episode), ("offset", offset)):
        if type(number) is not int:
            raise Malformed(
                f"expected lineage.{key} to be a whole number, found {describe(number)}"
            )
    where = "lineage."
    return Lineage(
        method=_optional(value, "method", where),
        episode=episode,
        parents=_strings(value, "parents"),
        teacher=_optional(value, "teacher", where),
        topic=_optional(value, "topic", where),
        answered_by=_optional(value, "answered_by", where),
        rejected_by=_optional(value, "rejected_by", where),
        original=_optional(value, "original", where),
        source=_optional(value, "source", where),
        offset=offset,
        evidence=_strings(value, "evidence"),
        scores=_scores(value.get("scores"), "lineage.scores"),
    )


def _strings(lineage: dict[str, Any], key: str) -> tuple[str, ...]:
    found = lineage.get(key) or []
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        what = "ids" if key == "parents" else "texts"
        raise Malformed(f"expected lineage.{key} to be a list of {what}, found something else")
    return tuple(found)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("expected lineage to be JSON, found other text") from None


def _regen_scores(row: Row) -> dict[str, float]:
    """Alpaca's regen.json: ROUGE-L against its pool, so named rouge_l_* and not novelty_*."""
    scores: dict[str, float] = {}
    if row.get("most_similar_instructions"):
        scores["rouge_l_max"] = max(
            _scores(row["most_similar_instructions"], "most_similar_instructions").values()
        )
    if row.get("avg_similarity_score") is not None:
        mean = {"avg_similarity_score": row["avg_similarity_score"]}
        scores["rouge_l_mean"] = _scores(mean, "the row")["avg_similarity_score"]
    return scores


def _scores(value: Any, where: str) -> dict[str, float]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"expected {where} to be an object of numbers, found {describe(value)}")
    for key, score in value.items():
        if not isinstance(score, int | float) or isinstance(score, bool):
            raise Malformed(
                f"expected {where}[{str(key)[:40]!r}] to be a number, found {describe(score)}"
            )
    return {str(key): float(score) for key, score in value.items()}


def _instruction(row: Row) -> str:
    text = _text(row, "instruction")
    if not text.strip():
        raise Malformed("expected words in instruction, found none")
    return text


def _text(row: Row, key: str, where: str = "") -> str:
    if key not in row:
        raise Malformed(
            f"expected a key {where}{key}, found keys: {', '.join(map(str, row)) or 'none'}"[:300]
        )
    value = row[key]
    if not isinstance(value, str):
        raise Malformed(f"expected {where}{key} to be text, found {describe(value)}")
    if fault := unstorable(value):
        raise Malformed(f"expected {where}{key} to be UTF-8 text, found {fault}")
    return value


def _optional(row: Row, key: str, where: str = "") -> str:
    return "" if row.get(key) is None else _text(row, key, where)


def _flag(row: Row) -> bool:
    value = row.get("is_classification")
    if value is not None and not isinstance(value, bool):
        raise Malformed(f"expected is_classification to be true or false, found {describe(value)}")
    return bool(value)


def _or_empty(value: Any) -> str:
    return "an empty list" if value == [] else describe(value)


def _last(turns: tuple[Message, ...]) -> str:
    return f"the {turns[-1].role}'s" if turns else "no turns"


_KINDS: dict[str, Callable[[Row], list[Instance]]] = {
    "instances": _seed,
    "instruction": _plain,
    "messages": _messages,
    "conversations": _sharegpt,
    "chosen": _preference,
}
"""The key that tells -> how such a row is read; the first that is there decides."""
