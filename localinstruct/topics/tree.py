"""A tree of topics in a YAML file that a teacher grows and a person edits.

New topics are put into the text as it stands. Nothing that is there is moved, renamed or removed:
comments, order and quotas stay, and the new text is read back and compared before anybody writes
it. A topic with settings of its own ({topic: …, quota: …}) is a leaf and stays one. A topic that a
person deleted may be offered again. ruamel.yaml is not used: it keeps a comment with the value
before it, so what grows a list puts the next section's heading inside the list. Not covered:
whether the topics are any good (a person), topics behind YAML anchors.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from localinstruct.config import NOT_YAML, not_yaml, parse
from localinstruct.errors import RecipeError
from localinstruct.formats import Malformed, strict_json
from localinstruct.records import Completion, Message, Prompt, fill
from localinstruct.topics.coverage import Coverage

LONGEST = 60
"""Characters of a new topic's name, at most."""
_PLAIN = re.compile(r"[^\W\d_][\w '()/&-]*")
_TOPIC = "topic"

Edit = tuple[int, int, str]
"""Start and end in the file's text (characters), and the text that is put there."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A topic of the file that may have subtopics."""

    path: tuple[str, ...]
    """Names from the top down to the topic."""
    below: tuple[str, ...]
    """Names right below it."""
    add: Callable[[Sequence[str]], list[Edit]]
    """The edits that put more names below it."""


def branches(text: str, name: str) -> list[Branch]:
    """Every topic that may grow, from the top down.

    RecipeError for a file that `coverage.topics` does not read; `name` is the file's, for messages.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except NOT_YAML as error:
        raise not_yaml(name, text, error) from None
    if not isinstance(root, yaml.MappingNode) or not isinstance(content, dict):
        raise RecipeError(
            f"{name}: expected a mapping of topics, found {type(content).__name__}.",
            "For example:  Cooking: [bread, soups]",
        )
    has_topics_key = set(content) == {"topics"}
    parse(Coverage, content if has_topics_key else {"topics": content}, name)
    return list(_inside(root.value[0][1] if has_topics_key else root, (), text))


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
    schema = {
        "type": "object",
        "properties": {"topics": names},
        "required": ["topics"],
        "additionalProperties": False,
    }
    return Prompt(messages=(Message("user", words),), schema=schema, max_tokens=64 + 32 * count)


def new_names(reply: Completion, branch: Branch, count: int) -> tuple[list[str], Counter[str]]:
    """The names in a reply that can be put below a topic, and the problems of the others.

    `count` names at most; the counter says how often each problem occurred.
    """
    if reply.finish_reason != "stop":
        cut_off = reply.finish_reason == "length"
        return [], Counter({"reply cut off" if cut_off else f"reply {reply.finish_reason}": 1})
    try:
        value = strict_json.parse(reply.text)
    except Malformed:
        value = None
    offered = value.get("topics") if isinstance(value, dict) else None
    if not isinstance(offered, list):
        return [], Counter({"reply not in form": 1})
    seen = {_flat(name) for name in (*branch.path, *branch.below)}
    names: list[str] = []
    problems: Counter[str] = Counter()
    for value in offered:
        name = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
        problem = _problem(name, seen) or ("more than asked for" if len(names) == count else "")
        if problem:
            problems[problem] += 1
        else:
            names.append(name)
            seen.add(_flat(name))
    return names, problems


def with_topics(text: str, more: Mapping[tuple[str, ...], Sequence[str]], name: str) -> str:
    """The file's text with the names `more` below each path.

    RecipeError when it cannot take them where it stands; `name` is the file's, for messages.
    """
    before = branches(text, name)
    edits = [
        edit for topic in before if more.get(topic.path) for edit in topic.add(more[topic.path])
    ]
    edits.sort(key=lambda edit: edit[0])
    changed = text
    for start, end, piece in reversed(edits):  # of two at one place, the first stays first
        changed = changed[:start] + piece + changed[end:]
    expected = Counter(topic.path for topic in before)
    expected += Counter((*path, new) for path, names in more.items() for new in names)
    try:
        paths = Counter(topic.path for topic in branches(changed, name))
    except RecipeError:
        paths = Counter()
    if paths != expected or _settings(changed) != _settings(text):
        raise RecipeError(
            f"{name}: topics cannot be added to it as it is written; nothing was changed.",
            "Write it as plain lists and mappings, without anchors and text in several lines.",
        )
    return changed


def _problem(name: str, seen: set[str]) -> str:
    """The reason why a name cannot be used; "" when it can."""
    if not name:
        return "empty"
    if len(name) > LONGEST:
        return "too long"
    if ": " in name or name.endswith(":"):
        return "with a colon"
    return "named before" if _flat(name) in seen else ""


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
    """The function that puts names below the topic `key`, in the style that stands there."""

    def add(names: Sequence[str]) -> list[Edit]:
        written = [_yaml_name(name) for name in names]
        if value is None or _is_nothing(value):
            return _leaf_to_branch(key, value, written, text, flow)
        if isinstance(value, yaml.ScalarNode):
            start, end = value.start_mark.index, value.end_mark.index
            return [_at(start, "["), _at(end, f", {', '.join(written)}]")]
        assert isinstance(value, yaml.CollectionNode)
        mapping = isinstance(value, yaml.MappingNode)
        if value.flow_style:
            last = value.end_mark.index - 1
            comma = ", " if value.value and not text[:last].rstrip().endswith(",") else ""
            items = [f"{name}: null" if mapping else name for name in written]
            return [_at(last, comma + ", ".join(items))]
        items = [f"{name}:" if mapping else f"- {name}" for name in written]
        lines = "".join(f"\n{' ' * value.start_mark.column}{item}" for item in items)
        return [_at(_line_end(text, _end(value)), lines)]

    return add


def _leaf_to_branch(
    key: yaml.Node, value: yaml.Node | None, written: Sequence[str], text: str, flow: bool
) -> list[Edit]:
    """The edits that put names below a topic that has nothing below it yet."""
    if value is None:
        start = end = key.end_mark.index
    else:
        start, end = value.start_mark.index, value.end_mark.index
    colon = ":" if value is None else ""
    if flow:
        return [(start, end, f"{colon} [{', '.join(written)}]")]
    indent = " " * (key.start_mark.column + 2)
    lines = "".join(f"\n{indent}- {name}" for name in written)
    return [(start, end, colon), _at(_line_end(text, end), lines)]


def _at(position: int, piece: str) -> Edit:
    return position, position, piece


def _end(node: yaml.Node) -> int:
    """The end of a node's last word; blanks and comments after it are not part of it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _line_end(text: str, position: int) -> int:
    newline = text.find("\n", position)
    return len(text) if newline < 0 else newline


def _is_nothing(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _settings(text: str) -> list[str]:
    """The mappings with settings of their own, wherever they stand."""

    def walk(value: object) -> Iterator[str]:
        if isinstance(value, dict) and _TOPIC in value:
            yield yaml.safe_dump(value)  # its keys are sorted
        elif isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                yield from walk(item)

    return list(walk(yaml.safe_load(text)))


def _yaml_name(name: str) -> str:
    """A name as YAML reads it back: as it stands where it can, else in quotes."""
    if _PLAIN.fullmatch(name) and yaml.safe_load(name) == name:
        return name
    return json.dumps(name, ensure_ascii=False)


def _flat(name: str) -> str:
    return " ".join(name.casefold().split())


def new_tree(about: str) -> str:
    """A new file with one topic at its top."""
    head = "# Topics of a recipe: coverage: {topics: THIS_FILE}. Edit it as you like; leaves count."
    return f"{head}\n{_yaml_name(about)}:\n"


@cache
def _words() -> str:
    words = resources.files("localinstruct.topics").joinpath("prompts", "subtopics.txt")
    return words.read_text(encoding="utf-8").removesuffix("\n")
