"""A tree of topics in a YAML file that a teacher grows and a person edits: new topics are put into
the text as it stands.

Nothing that is there is moved, renamed or removed: comments, order and quotas stay, and what was
put in is read back and compared before anybody writes it. A topic with settings of its own ({topic:
…, quota: …}) is a leaf and stays one. What a person deleted may be offered again. Not covered:
whether the topics are any good (a person), topics behind YAML anchors.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from localinstruct.config import parse
from localinstruct.errors import RecipeError
from localinstruct.formats import Malformed, strict_json
from localinstruct.judge.rubric import fill
from localinstruct.records import Completion, Message, Prompt
from localinstruct.topics.coverage import Coverage

LONGEST = 60
"""Characters of a new topic's name, at most."""
_PLAIN = re.compile(r"[^\W\d_][\w '()/&-]*")
_TOPIC = "topic"

Edit = tuple[int, int, str]
"""From where to where in the file's text (characters), and what is put there."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A topic of the file that may have subtopics: its path from the top, the names below it, and
    how to add more."""

    path: tuple[str, ...]
    below: tuple[str, ...]
    add: Callable[[Sequence[str]], list[Edit]]


def branches(text: str, name: str) -> list[Branch]:
    """Every topic that may grow, from the top down; RecipeError where the file is none that
    `coverage.topics` reads."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"{name}: not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(root, yaml.MappingNode) or not isinstance(content, dict):
        raise RecipeError(
            f"{name}: expected a mapping of topics, found {type(content).__name__}.",
            "For example:  Cooking: [bread, soups]",
        )
    wrapped = set(content) == {"topics"}
    parse(Coverage, {"topics": content["topics"] if wrapped else content}, name)
    return list(_inside(root.value[0][1] if wrapped else root, (), text))


def subtopics_prompt(branch: Branch, count: int) -> Prompt:
    """Ask for `count` more topics below one."""
    taken = f" Already named: {'; '.join(branch.below)}." if branch.below else ""
    words = fill(_words(), count=count, topic=" > ".join(branch.path), taken=taken)
    names = {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": LONGEST},
        "minItems": 1,
        "maxItems": count,
    }
    form = {
        "type": "object",
        "properties": {"topics": names},
        "required": ["topics"],
        "additionalProperties": False,
    }
    return Prompt(messages=(Message("user", words),), schema=form, max_tokens=64 + 32 * count)


def new_names(reply: Completion, branch: Branch, count: int) -> tuple[list[str], Counter[str]]:
    """The names in a reply that can be put below a topic, `count` at most, and why others cannot,
    with how often."""
    if reply.finish_reason != "stop":
        return [], Counter(
            {
                "reply cut off"
                if reply.finish_reason == "length"
                else f"reply {reply.finish_reason}": 1
            }
        )
    try:
        said = strict_json.parse(reply.text)["topics"]
    except (Malformed, KeyError, TypeError):
        return [], Counter({"reply not in form": 1})
    seen = {_flat(one) for one in (*branch.path, *branch.below)}
    names: list[str] = []
    why: Counter[str] = Counter()
    for one in said:
        found = " ".join("".join(c if c.isprintable() else " " for c in str(one)).split())
        problem = _problem(found, seen) or ("more than asked for" if len(names) == count else "")
        if problem:
            why[problem] += 1
        else:
            names.append(found)
            seen.add(_flat(found))
    return names, why


def grown(text: str, more: Mapping[tuple[str, ...], Sequence[str]], name: str) -> str:
    """The file's text with the names `more` below each path; RecipeError when it cannot take them
    where it stands."""
    before = branches(text, name)
    edits = [edit for one in before if more.get(one.path) for edit in one.add(more[one.path])]
    changed = text
    for start, end, piece in reversed(
        sorted(edits, key=lambda edit: edit[0])
    ):  # of two at one place, the first stays first
        changed = changed[:start] + piece + changed[end:]
    wanted = Counter(one.path for one in before) + Counter(
        (*path, one) for path, names in more.items() for one in names
    )
    try:
        right = Counter(one.path for one in branches(changed, name)) == wanted and _settings(
            changed
        ) == _settings(text)
    except RecipeError:
        right = False
    if not right:
        raise RecipeError(
            f"{name}: topics cannot be added to it as it is written; nothing was changed.",
            "Write it as plain lists and mappings, without anchors and text in several lines.",
        )
    return changed


def _problem(found: str, seen: set[str]) -> str:
    """Why a name cannot be used; "" when it can."""
    if not found:
        return "empty"
    if len(found) > LONGEST:
        return "too long"
    if ": " in found or found.endswith(":"):
        return "with a colon"
    return "named before" if _flat(found) in seen else ""


def _inside(
    node: yaml.Node, path: tuple[str, ...], text: str, flow: bool = False
) -> Iterator[Branch]:
    """The topics that a list, a mapping or a single name holds, and those below them."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _inside(item, path, text, flow or bool(node.flow_style))
    elif isinstance(node, yaml.MappingNode):
        flow = flow or bool(node.flow_style)
        if any(key.value == _TOPIC for key, _ in node.value):
            return
        for key, value in node.value:
            here = (*path, str(key.value))
            yield Branch(here, _names(value), _adder(key, value, text, flow))
            if not _is_nothing(value):
                yield from _inside(value, here, text, flow)
    else:
        yield Branch((*path, node.value), (), _adder(node, None, text, flow))


def _names(node: yaml.Node) -> tuple[str, ...]:
    """The names right below a topic."""
    if isinstance(node, yaml.SequenceNode):
        return tuple(name for item in node.value for name in _names(item))
    if isinstance(node, yaml.MappingNode):
        topic = [str(value.value) for key, value in node.value if key.value == _TOPIC]
        return tuple(topic or [str(key.value) for key, _ in node.value])
    return () if _is_nothing(node) else (str(node.value),)


def _adder(
    key: yaml.Node, value: yaml.Node | None, text: str, flow: bool
) -> Callable[[Sequence[str]], list[Edit]]:
    """How names are put below the topic `key`: in the style that stands there."""

    def add(names: Sequence[str]) -> list[Edit]:
        said = [_said(name) for name in names]
        if value is None or _is_nothing(value):  # a leaf becomes a branch
            start, end = (
                (key.end_mark.index,) * 2
                if value is None
                else (value.start_mark.index, value.end_mark.index)
            )
            colon = ":" if value is None else ""
            if flow:
                return [(start, end, f"{colon} [{', '.join(said)}]")]
            lines = "".join(f"\n{' ' * (key.start_mark.column + 2)}- {one}" for one in said)
            return [(start, end, colon), _at(_line_end(text, end), lines)]
        if isinstance(value, yaml.ScalarNode):
            start, end = value.start_mark.index, value.end_mark.index
            return [_at(start, "["), _at(end, f", {', '.join(said)}]")]
        assert isinstance(value, yaml.CollectionNode)
        mapping = isinstance(value, yaml.MappingNode)
        if value.flow_style:
            last = value.end_mark.index - 1
            comma = ", " if value.value and not text[:last].rstrip().endswith(",") else ""
            return [
                _at(last, comma + ", ".join(f"{one}: null" if mapping else one for one in said))
            ]
        indent = " " * value.start_mark.column
        lines = "".join(f"\n{indent}{one}:" if mapping else f"\n{indent}- {one}" for one in said)
        return [_at(_line_end(text, _end(value)), lines)]

    return add


def _at(position: int, piece: str) -> Edit:
    return position, position, piece


def _end(node: yaml.Node) -> int:
    """Where the last word of a node ends; blanks and comments after it are not part of it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _line_end(text: str, position: int) -> int:
    found = text.find("\n", position)
    return len(text) if found < 0 else found


def _is_nothing(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _settings(text: str) -> list[str]:
    """The mappings with settings of their own, wherever they stand."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict) and _TOPIC in value:
            yield yaml.safe_dump(value)  # its keys are sorted
        elif isinstance(value, dict | list):
            for one in value.values() if isinstance(value, dict) else value:
                yield from walk(one)

    return list(walk(yaml.safe_load(text)))


def _said(name: str) -> str:
    """A name as YAML reads it back: as it stands where it can, else in quotes."""
    if _PLAIN.fullmatch(name) and yaml.safe_load(name) == name:
        return name
    return json.dumps(name, ensure_ascii=False)


def _flat(name: str) -> str:
    return " ".join(name.casefold().split())


def planted(about: str) -> str:
    """A new file with one topic at its top."""
    return (
        f"# Topics of a recipe: coverage: {{topics: THIS_FILE}}. Edit it as you like; leaves "
        f"count.\n{_said(about)}:\n"
    )


@cache
def _words() -> str:
    words = resources.files("localinstruct.topics").joinpath("prompts", "subtopics.txt")
    return words.read_text(encoding="utf-8").removesuffix("\n")
