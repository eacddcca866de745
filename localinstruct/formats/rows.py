"""One row of a file, as plain JSON values, becomes one or more Instances; pure.

The layout of a row is told from its keys: Self-Instruct, preference pairs, conversations, prompt
and completion, and the many names that people give to instruction, input and output. What would be
lost is counted by name: repairs, keys that nothing reads, notes on what is kept but not learnt.
Wrong types, missing keys and text that cannot be stored as UTF-8 are refused with what was expected
and what was found.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from localinstruct.formats.beside import flag_of, system_of, tools_of
from localinstruct.formats.fields import (
    Malformed,
    Row,
    as_text,
    describe,
    optional_text,
    text_of,
)
from localinstruct.formats.lineage import read_lineage
from localinstruct.formats.names import ANSWERS, CONVERSATIONS, INPUTS, TASKS
from localinstruct.formats.pairs import is_pair, pair
from localinstruct.formats.plain import answer_of, input_of, is_plain, plain, refuse_marked, task_of
from localinstruct.formats.turns import is_conversation, read_turns, talk
from localinstruct.records import Instance, JsonObject, Message


def to_instances(row: object, first_instance_only: bool = False) -> list[Instance]:
    """Every instance a row holds; Malformed when it is of no known layout."""
    if not isinstance(row, dict):
        raise Malformed(f"expected an object, found {describe(row)}", reason="no object")
    return instances_of(Row(row), first_instance_only=first_instance_only)


def instances_of(
    row: Row, columns: Mapping[str, str] | None = None, first_instance_only: bool = False
) -> list[Instance]:
    """Every instance of a row, whose repairs, notes and unused keys are then known."""
    if columns:
        row = _mapped(row, columns)
    for fits, read in _LAYOUTS:
        if fits(row):
            instances = read(row)
            break
    else:
        raise _unknown(row)
    if row.needs_answer:
        for instance in instances:
            _require_answer(instance)
    return instances[:1] if first_instance_only else instances


def user_turn(instance: Instance) -> str:
    """The user's turn in a conversation: the instruction, and the input after an empty line."""
    return f"{instance.instruction}\n\n{instance.input}" if instance.input else instance.instruction


def _require_answer(instance: Instance) -> None:
    if not instance.output.strip() and not instance.tool_calls:
        raise Malformed("expected words in the answer, found none", reason="empty answer")


def _mapped(row: Row, columns: Mapping[str, str]) -> Row:
    """The row under our names. Columns that are not named stay unused, and are counted so."""
    data, used = dict[str, Any](), set[str]()
    for name, column in columns.items():
        found, value = _column(row.data, column)
        if not found:
            keys = ", ".join(map(str, row.data)) or "none"
            problem = f"expected a column {column!r} for {name}, found keys: {keys}"
            raise Malformed(problem[:300], reason="a column is missing")
        data[name] = value
        used.add(column if column in row.data else column.partition(".")[0])
    row.ignored |= {str(key) for key, value in row.data.items() if value and key not in used}
    row.data = data
    return row


def _column(data: object, name: str) -> tuple[bool, object]:
    """(whether it is there, its value); a dot leads into an object."""
    if not isinstance(data, dict):
        return False, None
    if name in data:
        return True, data[name]
    head, dot, rest = name.partition(".")
    return _column(data.get(head), rest) if dot else (False, None)


def _is_own(row: Row) -> bool:
    """Tell a row that this program wrote, of which nothing is changed."""
    return row.has("lineage") and "instruction" in row.data


def _own(row: Row) -> list[Instance]:
    data = row.data | _extras(row.data)
    row.used |= set(data)
    bare = Row({}, frozenset(("join text parts",)))
    history, steps = (
        tuple(_own_turn(bare, turn, key) for turn in _own_list(data, key))
        for key in ("history", "steps")
    )
    return [
        Instance(
            instruction=text_of(data, "instruction"),
            input=optional_text(data, "input"),
            output=text_of(data, "output"),
            system=optional_text(data, "system"),
            history=history,
            rejected=optional_text(data, "rejected"),
            thinking=optional_text(data, "thinking"),
            name=optional_text(data, "name"),
            is_classification=flag_of(data),
            lineage=read_lineage(data["lineage"]),
            steps=steps,
            tool_calls=optional_text(data, "tool_calls"),
            tools=optional_text(data, "tools"),
        )
    ]


def _own_list(data: JsonObject, key: str) -> list[object]:
    turns = data.get(key) or []
    if not isinstance(turns, list):
        problem = f"expected {key} to be a list, found {describe(turns)}"
        raise Malformed(problem, reason="wrong type")
    return turns


def _own_turn(row: Row, turn: object, key: str) -> Message:
    if isinstance(turn, dict) and set(turn) - {"role", "content"} and "tool_calls" in turn:
        calls = optional_text(turn, "tool_calls")
        rest = {name: value for name, value in turn.items() if name != "tool_calls"}
        return replace(_own_turn(row, rest, key), tool_calls=calls)
    return read_turns(row, [turn], key)[0]


def _extras(data: JsonObject) -> JsonObject:
    """What Parquet keeps as JSON text beside the columns, see `write`."""
    text = optional_text(data, "extras")
    try:
        extras = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise Malformed("expected extras to be JSON, found other text") from None
    return extras if isinstance(extras, dict) else {}


def _is_seed(row: Row) -> bool:
    return row.has("instances") or ("instances" in row.data and "output" not in row.data)


def _seed(row: Row) -> list[Instance]:
    """Self-Instruct: one task with its instances."""
    cases = row.use("instances")
    if not isinstance(cases, list) or not cases:
        instead = "an empty list" if cases == [] else describe(cases)
        raise Malformed(f"expected instances to be a list of input and output, found {instead}")
    row.used |= {"name", "id", "instruction", "is_classification"}
    name = optional_text(row.data, "name") or str(row.data.get("id") or "")
    return [_case(row, case, number, name) for number, case in enumerate(cases)]


def _case(row: Row, case: object, number: int, name: str) -> Instance:
    if not isinstance(case, dict):
        raise Malformed(f"expected instances[{number}] to be an object, found {describe(case)}")
    where = f"instances[{number}]."
    return Instance(
        instruction=task_of(row, "instruction"),
        input=input_of(row, optional_text(case, "input", where)),
        output=answer_of(row, case, "output", where),
        name=name,
        is_classification=flag_of(row.data),
    )


def _is_talk(row: Row) -> bool:
    return _talk_key(row) is not None


def _talk_key(row: Row) -> str | None:
    """The key of the row's conversation, where there is one."""
    lower = row.lower()
    present = [lower[name] for name in CONVERSATIONS if name in lower]
    for key in present:
        value = row.data[key]
        is_named = key in ("messages", "conversations") and value is not None
        if is_conversation(value) or is_named:
            return key
        texts = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
        if texts and len(value) > 1 and row.find((*TASKS, *ANSWERS)) is None:
            return key
        if isinstance(value, str) and value.lstrip().startswith("[{"):
            return key
    return None


def _conversation(row: Row) -> list[Instance]:
    key = _talk_key(row) or ""
    turns = read_turns(row, row.use(key), key)
    _look_beside(row, turns)
    talked = talk(row, turns, system_of(row))
    name = optional_text(row.data, "name")
    row.used |= {"name"}
    if any(turn.learn and turn.role == "assistant" for turn in talked.history):
        row.note("conversations with earlier answers (train.loss_on: all learns them)")
    return [talked.instance(tools_of(row), name)]


def _look_beside(row: Row, turns: list[Message]) -> None:
    """Count as used what only repeats the conversation (magpie, ultrachat)."""
    said = {turn.content.strip() for turn in turns}
    for names in (TASKS, INPUTS, ANSWERS):
        key = row.filled(names)
        value = row.data[key] if key is not None else None
        if isinstance(value, str) and key is not None and value.strip() in said:
            row.used.add(key)


def _is_pair(row: Row) -> bool:
    return is_pair(row.data)


def _pair(row: Row) -> list[Instance]:
    tools, system = tools_of(row), system_of(row)
    lower = row.lower()
    key = next((lower[name] for name in CONVERSATIONS if row.has(lower.get(name, ""))), None)
    given = row.filled(("prompt", *TASKS)) or row.filled(INPUTS) or key
    prompt = row.use(given) if given is not None else None
    if given in TASKS and row.data.get("input") and isinstance(prompt, str):
        prompt = f"{prompt}\n\n{as_text(row.use('input'), 'input')}"
    if given is not None and key is not None:
        row.used.add(key)
    return [pair(row, prompt, given or "prompt", system, tools)]


def _is_completion(row: Row) -> bool:
    return row.has("prompt") and row.has("completion") and not isinstance(row.data["prompt"], str)


def _completion(row: Row) -> list[Instance]:
    """TRL's prompt and completion as messages."""
    refuse_marked(row)
    turns = read_turns(row, row.use("prompt"), "prompt")
    answer = row.use("completion")
    if isinstance(answer, str):
        answer = [{"role": "assistant", "content": answer}]
    turns += read_turns(row, answer, "completion")
    return [talk(row, turns, system_of(row)).instance(tools_of(row))]


def _unknown(row: Row) -> Malformed:
    keys = ", ".join(sorted(map(str, row.data))[:8]) or "none"
    found = f"found keys: {keys}"
    if set(row.data) <= {"text", "id"} and "text" in row.data:
        problem = (
            "expected task and answer in columns of their own, found one column text; "
            "split it first, into instruction and output"
        )
        return Malformed(problem, reason="one text column")
    tasks, answers = row.find(TASKS), row.find(ANSWERS)
    if tasks is not None and answers is None:
        problem = f"expected a key output (or response, completion, answer) beside {tasks}, {found}"
        return Malformed(problem, reason="unknown layout")
    problem = f"expected a key instruction, messages, conversations or chosen, {found}"
    return Malformed(problem, reason="unknown layout")


def guess(row: JsonObject) -> str:
    """A mapping of columns to try for a row of no known layout; "" where none can be guessed."""
    texts = [str(key) for key, value in row.items() if isinstance(value, str) and value.strip()]
    lists = [str(key) for key, value in row.items() if is_conversation(value)]
    if lists:
        return f"messages={lists[0]}"
    if len(texts) < 2:
        return ""
    asks = ("q", "prompt", "ask", "instr", "task", "user", "human", "problem")
    answers = ("a", "resp", "repl", "out", "compl", "sol", "gpt", "bot", "target")
    task = next((key for key in texts if key.lower().startswith(asks)), texts[0])
    others = [key for key in texts if key != task]
    longest = max(others, key=lambda key: len(row[key]))
    answer = next((key for key in others if key.lower().startswith(answers)), longest)
    return f"instruction={task},output={answer}"


_LAYOUTS: tuple[tuple[Callable[[Row], bool], Callable[[Row], list[Instance]]], ...] = (
    (_is_own, _own),
    (_is_seed, _seed),
    (_is_pair, _pair),
    (_is_talk, _conversation),
    (_is_completion, _completion),
    (is_plain, plain),
)
"""(whether a row is of this layout, its reader); the first that fits reads it."""
