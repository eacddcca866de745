"""Fields of a row from a file: texts of the right type, repairs that are named, keys not used."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, field_validator

from localinstruct.config import Section
from localinstruct.errors import UsageError
from localinstruct.records import JsonObject

Repair = Literal[
    "trim first turns",
    "trim last user turn",
    "merge system turns",
    "merge user turns",
    "developer is system",
    "join text parts",
    "empty no-input marker",
    "number as text",
    "thoughts apart",
    "cut after last learnt turn",
]
"""Names of the changes that make a row of a file usable."""
REPAIRS: tuple[Repair, ...] = get_args(Repair)
FIELDS = (
    "instruction",
    "input",
    "output",
    "system",
    "history",
    "messages",
    "chosen",
    "rejected",
    "thinking",
    "tools",
    "name",
)
"""What a column of a file can be named as in `columns`."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Malformed(ValueError):
    """A row or line that cannot be used: 'expected …, found …'.

    `line` (from 1) is where it stands in its text, `reason` a short fixed word to count by. Of
    bytes that are no UTF-8, `sample` holds some; after a `final` one the file cannot be read on.
    """

    sample = b""
    final = False

    def __init__(self, text: str, line: int = 1, reason: str = "unusable") -> None:
        super().__init__(text)
        self.line, self.reason = line, reason


def _text_encoding(name: str | None) -> str | None:
    try:
        "".encode(name or "utf-8")
    except (LookupError, ValueError):
        raise ValueError("expected the name of a text encoding, such as cp1252") from None
    return name


Encoding = Annotated[str | None, AfterValidator(_text_encoding)]
"""Name of a text encoding that Python knows, or None."""


class Reading(Section):
    """How the rows of a file are read."""

    NEW = frozenset({"columns", "encoding", "on_bad_row", "repairs", "key"})
    columns: dict[str, str] = Field(default_factory=dict)
    """Names of the file's columns, where they cannot be told: {instruction: question, output:
    reply}; a dot goes into an object (meta.answer). On the left: instruction, input, output,
    system, history, messages, chosen, rejected, thinking, tools, name."""
    encoding: Encoding = None
    """Encoding of the file's text, such as cp1252 or gbk; None is UTF-8."""
    on_bad_row: Literal["skip", "stop"] = "skip"
    """Leave out a row that cannot be used and count it, or stop at it. More than half such rows
    stop the reading in any case."""
    repairs: list[Repair] | None = None
    """Repairs that may be made; None is all of them, [] none."""
    key: str | None = None
    """Name of the list of rows where the file is one object that holds several lists."""

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        unknown = [name for name in columns if name not in FIELDS]
        if unknown:
            raise ValueError(f"expected names out of {', '.join(FIELDS)}, found {unknown[0]!r}")
        if columns and not {"instruction", "messages", "chosen"} & set(columns):
            raise ValueError("expected instruction, messages or chosen among the names")
        return columns


def parse_columns(text: str) -> dict[str, str]:
    """Columns as a command gives them: 'instruction=question,output=reply'.

    UsageError for a part without a name or without a column.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for name, between, column in pairs:
        if not (name.strip() and column.strip()):
            raise UsageError(
                f"--columns: expected NAME=COLUMN, found '{name}{between}{column}'.",
                "For example --columns instruction=question,output=reply",
            )
    return {name.strip(): column.strip() for name, _, column in pairs}


@dataclass(slots=True)
class Row:
    """One row while it is read: its values, what was done to it, and which keys were used."""

    data: JsonObject
    repairs_allowed: frozenset[str] = frozenset(REPAIRS)
    needs_answer: bool = False
    repaired: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    """Keys inside turns that nothing reads."""
    _lower: dict[str, str] | None = None

    def repair(self, name: Repair) -> bool:
        """True when this repair may be made, which is then counted."""
        allowed = name in self.repairs_allowed
        if allowed and name not in self.repaired:
            self.repaired.append(name)
        return allowed

    def note(self, text: str) -> None:
        """Remember something about the row that people should hear of."""
        if text not in self.notes:
            self.notes.append(text)

    def has(self, key: str) -> bool:
        """True when the key is there with a value that is not null."""
        return self.data.get(key) is not None

    def lower(self) -> dict[str, str]:
        """Key in lower case, blanks as underscores -> the key as it stands."""
        if self._lower is None:
            keys = reversed(self.data)
            self._lower = {str(key).strip().lower().replace(" ", "_"): key for key in keys}
        return self._lower

    def become(self, data: JsonObject) -> None:
        """Take other values, as a mapping of columns gives them."""
        self.data, self._lower = data, None

    def find(self, names: Iterable[str]) -> str | None:
        """The key of the first of these names with a value, else of the first that is there."""
        lower = self.lower()
        present = [lower[name] for name in names if name in lower]
        filled = next((key for key in present if self.data[key] is not None), None)
        return filled if filled is not None or not present else present[0]

    def filled(self, names: Iterable[str]) -> str | None:
        """The key of the first of these names that has a value."""
        key = self.find(names)
        return key if key is not None and self.data[key] is not None else None

    def use(self, key: str) -> object:
        """The value of a key, which counts as used from now on."""
        self.used.add(key)
        return self.data.get(key)

    def unused(self) -> set[str]:
        """Keys with a value that nothing has read, those inside turns as `messages[].KEY`."""
        bare = {key for key, value in self.data.items() if value not in (None, "", [], {})}
        return {str(key) for key in bare - self.used - {"id"}} | self.ignored


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


def unstorable(text: str) -> str | None:
    """The character for which `text` cannot be kept in a UTF-8 file, or None.

    It is a NUL character or half a surrogate pair.
    """
    match = _UNSTORABLE.search(text)
    if not match:
        return None
    name = "a NUL character" if match[0] == "\0" else f"a lone surrogate U+{ord(match[0]):04X}"
    return f"{name} at character {match.start()}"


def as_text(value: object, where: str) -> str:
    """A value that is a text which can be stored; Malformed otherwise."""
    if not isinstance(value, str):
        problem = f"expected {where} to be text, found {describe(value)}"
        raise Malformed(problem, reason="wrong type")
    if fault := unstorable(value):
        problem = f"expected {where} to be UTF-8 text, found {fault}"
        raise Malformed(problem, reason="not UTF-8")
    return value


def text_of(data: JsonObject, key: str, where: str = "") -> str:
    """The text of a key that must be there."""
    if key not in data:
        keys = ", ".join(map(str, data)) or "none"
        problem = f"expected a key {where}{key}, found keys: {keys}"[:300]
        raise Malformed(problem, reason="a key is missing")
    return as_text(data[key], f"{where}{key}")


def optional_text(data: JsonObject, key: str, where: str = "") -> str:
    """The text of a key, or "" where it is absent or null."""
    return "" if data.get(key) is None else text_of(data, key, where)


def as_json(value: object, where: str) -> str:
    """A value of tools as JSON text; "" for none of them. Text must be JSON itself."""
    if isinstance(value, str):
        if not value.strip():
            return ""
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Malformed(f"expected {where} to be JSON, found other text") from None
    if not value:
        return ""
    text = json.dumps(value, ensure_ascii=False)
    return as_text(text, where)
