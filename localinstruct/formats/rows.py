"""One row of a file, as plain JSON values, becomes one or more Instances; pure.

The kind of a row is seen from its keys. Unknown keys are ignored, because public data sets carry
many; wrong types, missing keys and text that cannot be stored as UTF-8 are refused with what was
expected and what was found.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace

from localinstruct.records import Instance, JsonObject, Lineage, Message, Role

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
"""ShareGPT's names of speakers -> our roles."""

ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Malformed(ValueError):
    """A row or line that cannot be used: 'expected …, found …'.

    `line` (from 1) is where it stands in its text.
    """

    def __init__(self, text: str, line: int = 1) -> None:
        super().__init__(text)
        self.line = line


def to_instances(row: object, first_instance_only: bool = False) -> list[Instance]:
    """Every instance a row holds; Malformed when it is none of the known kinds."""
    if not isinstance(row, dict):
        raise Malformed(f"expected an object, found {describe(row)}")
    present = [key for key in _KINDS if key in row]
    filled = [key for key in present if row[key] is not None]
    if present:
        instances = _KINDS[(filled or present)[0]](row)
        return instances[:1] if first_instance_only else instances
    keys = ", ".join(sorted(map(str, row))[:8]) or "none"
    raise Malformed(
        f"expected a key instruction, messages, conversations or chosen, found keys: {keys}"
    )


def user_turn(instance: Instance) -> str:
    """The user's turn in a conversation: the instruction, and the input after an empty line."""
    return f"{instance.instruction}\n\n{instance.input}" if instance.input else instance.instruction


def unstorable(text: str) -> str | None:
    """The character for which `text` cannot be kept in a UTF-8 file, or None.

    It is a NUL character or half a surrogate pair.
    """
    match = _UNSTORABLE.search(text)
    if not match:
        return None
    name = "a NUL character" if match[0] == "\0" else f"a lone surrogate U+{ord(match[0]):04X}"
    return f"{name} at character {match.start()}"


def describe(value: object) -> str:
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


def _seed(row: JsonObject) -> list[Instance]:
    """Self-Instruct: one task with its instances."""
    cases = row["instances"]
    if not isinstance(cases, list) or not cases:
        instead = "an empty list" if cases == [] else describe(cases)
        raise Malformed(f"expected instances to be a list of input and output, found {instead}")
    name = _optional(row, "name") or str(row.get("id") or "")
    return [_case(row, case, number, name) for number, case in enumerate(cases)]


def _case(row: JsonObject, case: object, number: int, name: str) -> Instance:
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


def _plain(row: JsonObject) -> list[Instance]:
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


def _messages(row: JsonObject) -> list[Instance]:
    turns = row["messages"]
    instance = _conversation(row, _turns(turns, "messages", "role", "content", ROLES))
    thinking = _optional(turns[-1], "reasoning_content", "messages[-1].")
    return [replace(instance, thinking=thinking)]


def _sharegpt(row: JsonObject) -> list[Instance]:
    turns = _turns(row["conversations"], "conversations", "from", "value", SPEAKERS)
    system = _optional(row, "system")  # some exporters keep it beside the turns
    first = (Message("system", system),) if system and turns and turns[0].role != "system" else ()
    return [_conversation(row, first + turns)]


def _preference(row: JsonObject) -> list[Instance]:
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


def _conversation(row: JsonObject, turns: tuple[Message, ...]) -> Instance:
    """System first if at all, then user and assistant in turn, the assistant last."""
    system = turns[0].content if turns and turns[0].role == "system" else ""
    spoken = turns[1:] if turns and turns[0].role == "system" else turns
    for number, turn in enumerate(spoken):
        expected = ("user", "assistant")[number % 2]
        if turn.role != expected:
            turn_name = f"turn {len(turns) - len(spoken) + number}"
            raise Malformed(f"expected {turn_name} to be the {expected}'s, found the {turn.role}'s")
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
    value: object, key: str, who: str, what: str, roles: dict[str, Role]
) -> tuple[Message, ...]:
    """The turns of a conversation; `who` and `what` are the keys of a turn's speaker and words."""
    if not isinstance(value, list):
        raise Malformed(f"expected {key} to be a list, found {describe(value)}")
    return tuple(
        _turn(turn, f"{key}[{number}]", who, what, roles) for number, turn in enumerate(value)
    )


def _turn(turn: object, where: str, who: str, what: str, roles: dict[str, Role]) -> Message:
    if not isinstance(turn, dict):
        expected = f"{where} to be an object with {who} and {what}"
        raise Malformed(f"expected {expected}, found {describe(turn)}")
    speaker = _text(turn, who, f"{where}.")
    if speaker not in roles:
        expected = f"{where}.{who} to be one of {', '.join(roles)}"
        raise Malformed(f"expected {expected}, found {speaker[:40]!r}")
    return Message(roles[speaker], _text(turn, what, f"{where}."))


def _lineage(value: object) -> Lineage:
    """The lineage of a row: an object in our own rows, its JSON text in Parquet."""
    if isinstance(value, str) and value:
        value = _lineage_json(value)
    if not value:
        return Lineage()
    if not isinstance(value, dict):
        raise Malformed(f"expected lineage to be an object, found {describe(value)}")
    episode, offset = value.get("episode", -1), value.get("offset", -1)
    for key, number in (("episode", episode), ("offset", offset)):
        if type(number) is not int:
            expected = f"lineage.{key} to be a whole number"
            raise Malformed(f"expected {expected}, found {describe(number)}")
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


def _strings(lineage: JsonObject, key: str) -> tuple[str, ...]:
    texts = lineage.get(key) or []
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        kind = "ids" if key == "parents" else "texts"
        raise Malformed(f"expected lineage.{key} to be a list of {kind}, found something else")
    return tuple(texts)


def _lineage_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("expected lineage to be JSON, found other text") from None


def _regen_scores(row: JsonObject) -> dict[str, float]:
    """The scores of Alpaca's regen.json: ROUGE-L against its pool, so not named novelty_*."""
    scores: dict[str, float] = {}
    similar = "most_similar_instructions"
    if row.get(similar):
        scores["rouge_l_max"] = max(_scores(row[similar], similar).values())
    if row.get("avg_similarity_score") is not None:
        mean = {"avg_similarity_score": row["avg_similarity_score"]}
        scores["rouge_l_mean"] = _scores(mean, "the row")["avg_similarity_score"]
    return scores


def _scores(value: object, where: str) -> dict[str, float]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"expected {where} to be an object of numbers, found {describe(value)}")
    for key, score in value.items():
        if not isinstance(score, int | float) or isinstance(score, bool):
            expected = f"{where}[{str(key)[:40]!r}] to be a number"
            raise Malformed(f"expected {expected}, found {describe(score)}")
    return {str(key): float(score) for key, score in value.items()}


def _instruction(row: JsonObject) -> str:
    text = _text(row, "instruction")
    if not text.strip():
        raise Malformed("expected words in instruction, found none")
    return text


def _text(row: JsonObject, key: str, where: str = "") -> str:
    if key not in row:
        keys = ", ".join(map(str, row)) or "none"
        raise Malformed(f"expected a key {where}{key}, found keys: {keys}"[:300])
    value = row[key]
    if not isinstance(value, str):
        raise Malformed(f"expected {where}{key} to be text, found {describe(value)}")
    if fault := unstorable(value):
        raise Malformed(f"expected {where}{key} to be UTF-8 text, found {fault}")
    return value


def _optional(row: JsonObject, key: str, where: str = "") -> str:
    return "" if row.get(key) is None else _text(row, key, where)


def _flag(row: JsonObject) -> bool:
    value = row.get("is_classification")
    if value is not None and not isinstance(value, bool):
        raise Malformed(f"expected is_classification to be true or false, found {describe(value)}")
    return bool(value)


def _last(turns: tuple[Message, ...]) -> str:
    return f"the {turns[-1].role}'s" if turns else "no turns"


_KINDS: dict[str, Callable[[JsonObject], list[Instance]]] = {
    "instances": _seed,
    "instruction": _plain,
    "messages": _messages,
    "conversations": _sharegpt,
    "chosen": _preference,
}
"""Key that tells the kind of a row -> its reader; the first key that is there decides."""
