"""Conversations of files, in the shapes people keep them, as turns of system, user and assistant.

The names of speakers and keys are those of ShareGPT, of the OpenAI protocol, of Gemini and of many
exports. What would stop a conversation from being learnt (a greeting first, a user's word last) is
repaired and counted, or the row is refused with a reason.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from localinstruct.formats.fields import Malformed, Row, as_json, as_text, describe, unstorable
from localinstruct.records import Instance, JsonObject, Message, Role

SPEAKERS: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "customer": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "gpt4": "assistant",
    "claude": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "agent": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "function_response": "tool",
    "ipython": "tool",
    "environment": "tool",
}
"""Names of speakers in lower case -> our roles."""
CALLERS = ("function_call", "tool_call")
"""Speakers whose turn is a call of a tool by the assistant."""
WHO = ("role", "from", "speaker", "author", "user_type")
WHAT = ("content", "value", "text", "message", "utterance", "parts")
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thoughts", "thought")
FLAGS = ("weight", "loss", "train", "trainable", "training", "learn")
CALLS = ("tool_calls", "function_call")
_TEXT_PARTS = ("text", "input_text", "output_text")
_OPENED = re.compile(r"\s*<(think|thinking|thought|reasoning)>(.*?)</\1>(.*)", re.DOTALL)
_MARKED = re.compile(
    r"\s*<\|begin_of_thought\|>(.*?)<\|end_of_thought\|>\s*"
    r"(?:<\|begin_of_solution\|>)?(.*?)(?:<\|end_of_solution\|>)?\s*",
    re.DOTALL,
)
_LATE = re.compile(r"(.*?)</think(?:ing)?>(.*)", re.DOTALL)
_NEVER_CLOSED = re.compile(r"\s*<(think|thinking|thought|reasoning)>")


def is_conversation(value: object) -> bool:
    """True for a list that holds turns: objects with a speaker."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    keys = {str(key).lower() for key in value[0]}
    return bool(keys & set(WHO)) and bool(keys & {*WHAT, *CALLS})


def read_turns(row: Row, value: object, key: str) -> list[Message]:
    """The turns of a conversation that stands under `key`; lists of texts alternate."""
    if isinstance(value, str):
        value = _from_text(value, key)
    if not isinstance(value, list):
        problem = f"expected {key} to be a list, found {describe(value)}"
        raise Malformed(problem, reason="wrong type")
    if value and all(isinstance(turn, str) for turn in value):
        names: tuple[Role, Role] = ("user", "assistant")
        return [
            Message(names[number % 2], as_text(turn, f"{key}[{number}]"))
            for number, turn in enumerate(value)
        ]
    return [_turn(row, turn, f"{key}[{number}]", key) for number, turn in enumerate(value)]


def _from_text(text: str, key: str) -> object:
    """A conversation that a table keeps as JSON text."""
    if not text.lstrip().startswith("["):
        problem = f"expected {key} to be a list, found text"
        raise Malformed(problem, reason="wrong type")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        problem = f"expected {key} to be a list in JSON, found other text"
        raise Malformed(problem, reason="not JSON") from None


def _turn(row: Row, turn: object, where: str, key: str) -> Message:
    if not isinstance(turn, dict):
        problem = f"expected {where} to be an object with role and content, found {describe(turn)}"
        raise Malformed(problem, reason="wrong type")
    lower = {str(name).lower(): name for name in turn}
    who = next((lower[name] for name in WHO if name in lower), None)
    if who is None:
        keys = ", ".join(map(str, turn)) or "none"
        raise Malformed(f"expected a key {where}.role or {where}.from, found keys: {keys}"[:300])
    speaker = as_text(turn[who], f"{where}.{who}")
    role = _role(row, speaker, f"{where}.{who}")
    what = next((lower[name] for name in WHAT if name in lower and name != who), None)
    calls = next((name for name in CALLS if turn.get(name)), None)
    thoughts = next((name for name in THOUGHTS if turn.get(name)), None)
    if what is None and not calls:
        expected = f"{where}.{'value' if who == 'from' else 'content'}"
        keys = ", ".join(map(str, turn))
        raise Malformed(f"expected a key {expected}, found keys: {keys}"[:300])
    said, thinking = _thoughts_apart(turn[what]) if what is not None else (None, "")
    content = "" if what is None else _content(row, said, f"{where}.{what}", bool(calls))
    if thoughts:
        thinking = as_text(turn[thoughts], f"{where}.{thoughts}")
    if thinking:
        row.note("thoughts")
    used = {who, what, calls, thoughts, *FLAGS, "tool_call_id", "name", "id"}
    row.ignored |= {f"{key}[].{name}" for name, held in turn.items() if held and name not in used}
    if speaker.lower().replace("-", "_") in CALLERS:
        row.note("tools")
        return Message("assistant", "", thinking, _calls(content, where), _learn(row, turn, where))
    if calls or role == "tool":
        row.note("tools")
    called = _calls(turn[calls], f"{where}.{calls}") if calls else ""
    if role == "assistant" and not thinking:
        content, thinking = apart(row, content)
    return Message(role, content, thinking, called, _learn(row, turn, where))


def _role(row: Row, speaker: str, where: str) -> Role:
    name = speaker.lower().replace("-", "_").strip()
    if name in CALLERS:
        return "assistant"
    if name not in SPEAKERS:
        expected = f"{where} to be one of {', '.join(SPEAKERS)}"
        problem = f"expected {expected}, found {speaker[:40]!r}"
        raise Malformed(problem, reason="unknown speaker")
    if name == "developer" and not row.repair("developer is system"):
        raise Malformed(f"expected {where} to be system, found 'developer'", reason="developer")
    return SPEAKERS[name]


def _content(row: Row, value: object, where: str, may_be_null: bool) -> str:
    """A turn's text; text parts are joined, other parts refused."""
    if value is None and may_be_null:
        return ""
    if isinstance(value, dict) and ("parts" in value or "text" in value):
        value = value.get("parts", [value])  # exports of chats: {"content_type": …, "parts": […]}
    if not isinstance(value, list):
        return as_text(value, where)
    texts = [_part(part, f"{where}[{number}]") for number, part in enumerate(value)]
    if not row.repair("join text parts"):
        raise Malformed(f"expected {where} to be text, found a list", reason="text in parts")
    joined = ""
    for text in texts:
        glued = not joined or joined[-1].isspace() or text[:1].isspace()
        joined += text if glued else f"\n{text}"
    return joined


def _thoughts_apart(value: object) -> tuple[object, str]:
    """(a turn's parts less those that are thoughts, the thoughts)."""
    if not isinstance(value, list):
        return value, ""
    kinds = ("thinking", "reasoning")
    thoughts = [part for part in value if isinstance(part, dict) and part.get("type") in kinds]
    texts = [part.get(part["type"], part.get("text", "")) for part in thoughts]
    said = "\n\n".join(as_text(text, "a part of thoughts") for text in texts)
    return [part for part in value if part not in thoughts], said


def _part(part: object, where: str) -> str:
    if isinstance(part, str):
        return as_text(part, where)
    kind = part.get("type", "text") if isinstance(part, dict) else describe(part)
    if isinstance(part, dict) and kind in _TEXT_PARTS and "text" in part:
        return as_text(part["text"], f"{where}.text")
    problem = f"expected {where} to be text, found a part of type {str(kind)[:40]!r}"
    raise Malformed(problem, reason="a part that is no text")


def _calls(value: object, where: str) -> str:
    """Calls of tools as JSON text: a list of objects with name and arguments."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            problem = f"expected {where} to be a call in JSON, found other text"
            raise Malformed(problem, reason="tool call") from None
    calls = value if isinstance(value, list) else [value]
    return as_json([_call(call, where) for call in calls], where)


def _call(call: object, where: str) -> JsonObject:
    inner = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        problem = f"expected {where} to have the name of a tool, found none"
        raise Malformed(problem, reason="tool call")
    arguments = inner.get("arguments", inner.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            problem = f"expected the arguments of {inner['name'][:40]!r} to be JSON, found text"
            raise Malformed(problem, reason="tool call") from None
    return {"name": inner["name"], "arguments": arguments}


def _learn(row: Row, turn: JsonObject, where: str) -> bool:
    """False where the file says that this turn is not to be learnt."""
    for name in FLAGS:
        value = turn.get(name)
        if value is None or (name == "training" and not isinstance(value, bool)):
            continue
        if isinstance(value, str) and value.strip().lower() in ("true", "false", "0", "1"):
            value = value.strip().lower() in ("true", "1")
        if not isinstance(value, bool | int | float):
            problem = f"expected {where}.{name} to be true, false or a number, found {value!r}"
            raise Malformed(problem[:200], reason="wrong type")
        if not isinstance(value, bool) and value not in (0, 1):
            row.note("weights other than 0 and 1, read as 1")
        row.note("turns marked to be learnt or not")
        return bool(value)
    return True


def apart(row: Row, text: str) -> tuple[str, str]:
    """(answer, thoughts) of a text that has thoughts between marks before its answer."""
    if "thoughts apart" not in row.repairs_allowed:
        return text, ""
    answer, thinking = text, ""
    if match := _OPENED.fullmatch(text):
        answer, thinking = match[3], match[2]
    elif match := _MARKED.fullmatch(text):
        answer, thinking = match[2], match[1]
    elif _NEVER_CLOSED.match(text):
        problem = "expected the thoughts to end before the answer, found no closing mark"
        raise Malformed(problem, reason="unfinished thoughts")
    elif "<think" not in text and (match := _LATE.fullmatch(text)):
        answer, thinking = match[2], match[1]  # the template had opened it
    if answer == text:
        return text, ""
    row.note("thoughts")
    row.repair("thoughts apart")
    return answer.strip("\n "), thinking.strip()


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation cut into what an Instance holds."""

    system: str
    history: tuple[Message, ...]
    task: str
    steps: tuple[Message, ...]
    answer: Message

    def instance(self, tools: str = "", name: str = "", rejected: str = "") -> Instance:
        """The row: its last answer is learnt."""
        return Instance(
            instruction=self.task,
            output=self.answer.content,
            system=self.system,
            history=self.history,
            rejected=rejected,
            thinking=self.answer.thinking,
            name=name,
            steps=self.steps,
            tool_calls=self.answer.tool_calls,
            tools=tools,
        )


def talk(row: Row, turns: Sequence[Message], system: str = "") -> Talk:
    """The conversation of these turns, repaired where that is allowed.

    System first if at all, then user and assistant in turn with the calls of tools between, the
    assistant last.
    """
    system, spoken = _system(row, list(turns), system)
    spoken = _users_merged(row, _trimmed(row, spoken))
    spoken = _cut(row, spoken)
    _require_order(spoken, len(turns))
    asked = max(number for number, turn in enumerate(spoken) if turn.role == "user")
    history, task, answer = spoken[:asked], spoken[asked], spoken[-1]
    if not task.content.strip():
        raise Malformed("expected words in the last turn of the user, found none", reason="no task")
    empty = [turn for turn in history if not (turn.content.strip() or turn.tool_calls)]
    if empty and row.needs_answer:
        problem = f"expected words in every turn, found an empty turn of the {empty[0].role}"
        raise Malformed(problem, reason="empty turn")
    steps = tuple(spoken[asked + 1 : -1])
    return Talk(system, tuple(history), task.content, steps, answer)


def _system(row: Row, turns: list[Message], beside: str) -> tuple[str, list[Message]]:
    """(system prompt, the other turns); several at the beginning are merged."""
    texts = [beside] if beside.strip() else []
    first = next((n for n, turn in enumerate(turns) if turn.role != "system"), len(turns))
    texts += [turn.content for turn in turns[:first] if turn.content.strip()]
    texts = list(dict.fromkeys(texts))
    later = next((n for n, turn in enumerate(turns) if turn.role == "system" and n >= first), None)
    if later is not None:
        who = "user" if turns[later - 1].role in ("assistant", "system") else "assistant"
        problem = f"expected turn {later} to be the {who}'s, found the system's"
        raise Malformed(problem, reason="system prompt in the middle")
    if len(texts) > 1 and not row.repair("merge system turns"):
        raise Malformed("expected one system prompt, found several", reason="several system turns")
    return "\n\n".join(texts), turns[first:]


def _trimmed(row: Row, turns: list[Message]) -> list[Message]:
    """The turns from the first of the user to the last of the assistant."""
    users = [number for number, turn in enumerate(turns) if turn.role == "user"]
    if users and users[0] > 0 and row.repair("trim first turns"):
        turns = turns[users[0] :]
    end = len(turns)
    while end and turns[end - 1].role in ("user", "tool"):
        end -= 1
    answered = any(turn.role == "user" for turn in turns[:end])
    if end < len(turns) and answered and row.repair("trim last user turn"):
        turns = turns[:end]
    return turns


def _users_merged(row: Row, turns: list[Message]) -> list[Message]:
    merged: list[Message] = []
    for turn in turns:
        again = merged and merged[-1].role == "user" == turn.role
        if again and row.repair("merge user turns"):
            texts = [text for text in (merged[-1].content, turn.content) if text.strip()]
            merged[-1] = replace(merged[-1], content="\n\n".join(texts))
        else:
            merged.append(turn)
    return merged


def _cut(row: Row, turns: list[Message]) -> list[Message]:
    """Turns up to the last answer that may be learnt: later ones would change nothing."""
    if not turns or turns[-1].role != "assistant" or turns[-1].learn:
        return turns
    learnt = [n for n, turn in enumerate(turns) if turn.role == "assistant" and turn.learn]
    if not learnt:
        problem = "expected an answer that may be learnt, found none (weight, loss, train)"
        raise Malformed(problem, reason="nothing to learn")
    if not row.repair("cut after last learnt turn"):
        problem = "expected the last answer to be one that is learnt, found another"
        raise Malformed(problem, reason="last turn not learnt")
    return turns[: learnt[-1] + 1]


_FOLLOWS: dict[str, tuple[Role, ...]] = {
    "": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "call": ("tool",),
    "tool": ("assistant", "tool"),
}


def _require_order(turns: list[Message], total: int) -> None:
    before, offset = "", total - len(turns)
    for number, turn in enumerate(turns):
        expected = _FOLLOWS[before]
        if turn.role not in expected and not (before == "call" and turn.role == "assistant"):
            where = f"turn {number + offset}"
            who = f"the {expected[0]}'s"
            problem = f"expected {where} to be {who}, found the {turn.role}'s"
            raise Malformed(problem, reason="turns out of order")
        before = "call" if turn.tool_calls else turn.role
    if len(turns) < 2 or turns[-1].role != "assistant":
        found = f"the {turns[-1].role}'s" if turns else "no turns"
        problem = f"expected the last turn to be the assistant's, found {found}"
        raise Malformed(problem, reason="no answer")
    if fault := next(filter(None, (unstorable(turn.content) for turn in turns)), None):
        raise Malformed(f"expected UTF-8 text, found {fault}", reason="not UTF-8")
