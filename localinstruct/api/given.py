"""What a Python program gives, checked, and errors in its words: `name=`, not `--name`."""

import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import ParamSpec, TypeVar

from localinstruct.errors import LocalInstructError, UsageError

P = ParamSpec("P")
T = TypeVar("T")
_PARTS = re.compile(r"(?<=[.;,:])(\s+)|(\n)")
"""Ends of the parts of a text; a command to type is one part."""
_FLAG = re.compile(r"--(fresh|redo)\b")
_NAME = re.compile(r"--name(?![\w-])(?: ([A-Za-z0-9][\w.-]*[\w]))?")
_SET = re.compile(r"--set ('?)([a-z_][\w.]*)=(\S+?)\1(?=[.,;)]?(?:\s|$))")
_FROM = re.compile(r"\(from --set ([a-z_][\w.]*)=(.*)\)$", re.MULTILINE)
_VALUES = {"null": "None", "true": "True", "false": "False"}
_OTHER = re.compile(r"--(columns|encoding)\b")


def in_python(text: str) -> str:
    """A text of the command line in a program's words; commands to type stay as they are."""
    text = _FROM.sub(lambda found: f"(from {_setting(*found.groups())})", text)
    parts = [part for part in _PARTS.split(text) if part]
    return "".join(part if "localinstruct " in part else _words(part) for part in parts)


def _words(text: str) -> str:
    text = _FLAG.sub(r"\1=True", text)
    text = _NAME.sub(lambda found: f'name="{found[1]}"' if found[1] else "name=", text)
    text = _SET.sub(lambda found: _setting(found[2], found[3]), text)
    return _OTHER.sub(r"\1=", text)


def _setting(key: str, value: str) -> str:
    return f'settings={{"{key}": {_VALUES.get(value, value)}}}'


def speaks_python(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose errors name its parameters, where they named options of a command."""

    @functools.wraps(function)
    def inner(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return function(*arguments, **named)
        except LocalInstructError as problem:
            problem.message, problem.hint = in_python(problem.message), in_python(problem.hint)
            problem.args = (problem.message,)
            raise

    return inner


def a_path(value: object, name: str) -> Path:
    """A path; UsageError for anything else, such as None or a number."""
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"{name}: expected a path as text or Path, found {_kind(value)}.")
    return Path(value)


def a_mapping(value: object, name: str, example: str) -> dict[str, object]:
    """A mapping with texts as keys, {} for None; UsageError for anything else."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{name}: expected a mapping, found {_kind(value)}.", f"Like {example}")
    odd = [key for key in value if not isinstance(key, str)]
    if odd:
        raise UsageError(f"{name}: expected texts as keys, found {odd[0]!r}.", f"Like {example}")
    return dict(value)


def a_text(value: object, name: str, example: str) -> str:
    """A text; UsageError for anything else."""
    if not isinstance(value, str):
        raise UsageError(f"{name}: expected a text, found {_kind(value)}.", f"Like {example}")
    return value


def rows_of(value: object) -> Iterable[object]:
    """Rows to go through; UsageError for what cannot be, and for a single row."""
    single = isinstance(value, str | bytes | Mapping)
    if single or not isinstance(value, Iterable):
        raise UsageError(
            f"rows: expected a list of rows, found {'a single ' if single else ''}{_kind(value)}.",
            "Put it into a list: [row]",
        )
    return value


def require_callable(value: object, name: str) -> None:
    """UsageError for what is neither None nor a function."""
    if value is not None and not callable(value):
        raise UsageError(f"{name}: expected a function, found {_kind(value)}.")


def _kind(value: object) -> str:
    return type(value).__name__
