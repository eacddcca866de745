"""What stands beside a row's task and answer: system prompt, tools, the flag of classification."""

from localinstruct.formats.fields import Malformed, Row, as_json, as_text, describe
from localinstruct.formats.names import SYSTEMS, TOOLS
from localinstruct.formats.turns import read_turns
from localinstruct.records import JsonObject


def system_of(row: Row) -> str:
    """The system prompt that stands beside a row's turns, under any of its names."""
    key = row.filled(SYSTEMS)
    if key is None:
        return ""
    value = row.use(key)
    if isinstance(value, dict) and isinstance(value.get("parts"), list):  # Gemini
        [turn] = read_turns(row, [{"role": "system", "parts": value["parts"]}], key)
        return turn.content
    return as_text(value, key)


def tools_of(row: Row) -> str:
    """The tools of a row as JSON text; "" for none."""
    key = row.filled(TOOLS)
    tools = as_json(row.use(key), key) if key is not None else ""
    if tools:
        row.note("tools")
    return tools


def flag_of(data: JsonObject) -> bool:
    """Whether the task is one of classification, as its row says."""
    value = data.get("is_classification")
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if value is not None and not isinstance(value, bool):
        problem = f"expected is_classification to be true or false, found {describe(value)}"
        raise Malformed(problem, reason="wrong type")
    return bool(value)
