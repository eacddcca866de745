"""Section: the frozen, strict base of everything a person configures in YAML.

Every field has its docstring (it becomes the recipe reference in docs/), unknown keys are refused with the nearest right
one, and all problems of a file are reported together. Not covered: what the values mean; each section lives beside the
code that uses it.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from localinstruct.errors import RecipeError


class Section(BaseModel):
    """A frozen group of settings without room for unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


S = TypeVar("S", bound=Section)


def parse(section: type[S], data: dict[str, Any], source: str) -> S:
    """Build `section` from plain values; raise RecipeError with every problem, `source` naming where they stand."""
    try:
        return section.model_validate(data)
    except ValidationError as error:
        problems = [_explain(section, problem) for problem in error.errors(include_url=False)]
        raise RecipeError(
            f"{source}: {listing(problems)}", "Correct these keys and run the same command again."
        ) from None


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping a YAML file holds; RecipeError for a missing or unreadable file, bad YAML, or another type."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file.", nearby(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as UTF-8 text ({error}).") from None
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"{path}: not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(data, dict):
        found = "an empty file" if data is None else f"a {type(data).__name__}"
        raise RecipeError(f"{path}: expected a mapping of keys to values, found {found}.")
    return data


def nearby(path: Path) -> str:
    """A hint that names the files of the same kind that are there."""
    folder = path.parent if path.parent.is_dir() else Path()
    names = sorted(str(p) for p in folder.glob(f"*{path.suffix or '.yaml'}"))
    close = difflib.get_close_matches(str(path), names, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return (
        f"Found in {folder.resolve()}: {', '.join(names[:8])}."
        if names
        else f"Nothing of this kind in {folder.resolve()}."
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """' (did you mean X?)' or the list of what is known, to append to a refusal."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


def listing(problems: list[str]) -> str:
    """One problem inline, several as an indented list with their count."""
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems\n" + "\n".join(f"  - {problem}" for problem in problems)


def _explain(section: type[Section], problem: Any) -> str:
    """One pydantic problem as a sentence: the key, what was expected, what was found."""
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        owner = _section_at(section, problem["loc"][:-1])
        return f"{where}: unknown key; {did_you_mean(str(problem['loc'][-1]), owner.model_fields)}"
    if problem["type"] == "missing":
        return f"{where}: missing, and it has no default"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower() + message[1:]} (found {problem['input']!r})" if where else message


def _section_at(section: type[Section], path: tuple[Any, ...]) -> type[Section]:
    """The section class that stands at `path` below `section`, or `section` where the path leads elsewhere."""
    for part in path:
        field = section.model_fields.get(str(part))
        section = (inner_section(field.annotation) if field else None) or section
    return section


def inner_section(annotation: Any) -> type[Section] | None:
    """The section class in an annotation such as `Train` or `AlpacaOptions | None`, if there is one."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None
