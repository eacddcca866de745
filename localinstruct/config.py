"""Section: the frozen, strict base of everything a person configures in YAML.

Every field has its docstring (it becomes the recipe reference in docs/), unknown keys are refused
with the nearest right one, and all problems of a file are reported together. Not covered: what the
values mean; each section lives beside the code that uses it.
"""

import contextlib
import difflib
import functools
import reprlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)
from pydantic_core import ErrorDetails

from localinstruct.errors import LocalInstructError, RecipeError, UsageError
from localinstruct.records import JsonObject


class Section(BaseModel):
    """A frozen group of settings without room for unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
    )
    NEW: ClassVar[frozenset[str]] = frozenset()
    """Keys that releases before did not have: not written while they have their defaults.

    A run that an earlier release made thus has the digests that it had.
    """

    ALSO: ClassVar[Mapping[str, str]] = {}
    """Key -> another word that people may write for it."""

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> JsonObject:
        return self._stored(handler(self))

    def _stored(self, data: JsonObject) -> JsonObject:
        """The section's plain values as they are kept."""
        fields = type(self).model_fields
        plain = {
            key
            for key in self.NEW
            if getattr(self, key) == fields[key].get_default(call_default_factory=True)
        }
        return {key: value for key, value in data.items() if key not in plain}


S = TypeVar("S", bound=Section)
CORRECT = "Correct these keys and run the same command again."


Where = Callable[[Sequence[str | int]], str]
"""Keys from the outermost inwards -> ' (line 3)', or '' when they stand in no file."""


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
"""Shows a value, not all of it: a small file may hold a value too large for a message."""


def parse(section: type[S], data: JsonObject, source: str, where: Where = lambda keys: "") -> S:
    """A section built from plain values.

    RecipeError with every problem; `source` and `where` say its place.
    """
    built, problems = attempt(section, data, where)
    if built is None:
        raise RecipeError(f"{source}: {listing(problems)}", CORRECT)
    return built


def attempt(
    section: type[S], data: JsonObject, where: Where = lambda keys: ""
) -> tuple[S | None, list[str]]:
    """(`section` from plain values, []), or (None, a sentence for each problem)."""
    try:
        return section.model_validate(data), []
    except ValidationError as error:
        problems = error.errors(include_url=False)
        written = [(one, _as_written(section, one["loc"], data)) for one in problems]
        return None, [_explain(section, one, keys) + where(keys) for one, keys in written]


def load_yaml(path: Path) -> JsonObject:
    """The mapping in a YAML file; RecipeError as `read_text` and `yaml_mapping` raise it."""
    return yaml_mapping(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A text file that a person wrote; RecipeError where it is missing, unreadable or not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file.", nearby(path)) from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path}:{line}: cannot be read as UTF-8 text ({error}).") from None


def yaml_mapping(text: str, source: str) -> JsonObject:
    """The mapping a YAML text holds; RecipeError for bad YAML, and for a key given twice."""
    try:
        data, twice = _loaded(text)
    except NOT_YAML as error:
        raise not_yaml(source, text, error) from None
    if twice:
        raise RecipeError(
            listing([f"{source}:{sentence}" for sentence in twice]),
            "Keep one of them: of two, only the last would count.",
        )
    if not isinstance(data, dict):
        kind = "an empty file" if data is None else f"a {type(data).__name__}"
        raise RecipeError(f"{source}: expected a mapping of keys to values, found {kind}.")
    return data


NOT_YAML = (yaml.YAMLError, RecursionError, ValueError)
"""What PyYAML raises at a text; ValueError for a date or number that is none."""
_CURES = (
    ("'\\t'", "Indent with blanks: a tab is no indentation in YAML."),
    ("mapping values", 'Put a value that has a colon in it in quotation marks:  key: "one: two"'),
    ("could not find expected ':'", "Write every line of a section as  key: value"),
    ("unexpected end of stream", "Close the quotation mark or bracket that is open."),
    ("<block end>", "Indent the keys of one section by the same number of blanks."),
    ("expected ',' or", "Put a comma between the parts in brackets, and close the bracket."),
    ("undefined alias", 'Put a value that begins with * in quotation marks:  key: "*all"'),
    ("constructor for the tag", 'Put a value that begins with ! in quotation marks:  key: "!x"'),
    ("cannot start any token", 'Put a value that begins with this sign in quotation marks: "@x"'),
)
"""Words of PyYAML's error -> what to type."""
_OTHERS = "Correct this line; a value with signs in it goes in quotation marks."
_QUOTE = 'Put a value that only looks like a date or a number in quotation marks: "2001-13-01"'
_FLATTEN = "Write fewer brackets or sections in one another."
_DELETE = "Delete this character, which is not seen in most editors."
_EXCERPT = 60
"""Columns of a line that an error shows."""


def not_yaml(source: str, text: str, error: Exception) -> RecipeError:
    """An error of PyYAML in few lines: the place, the line with a mark below, what to type."""
    if isinstance(error, yaml.reader.ReaderError):
        start = text.rfind("\n", 0, error.position) + 1
        line = text.count("\n", 0, error.position)
        shown = _excerpt(text.split("\n"), line, error.position - start)
        problem = f"the character U+{ord(text[error.position]):04X} may not stand in it"
        return RecipeError(f"{source}:{line + 1}: not valid YAML: {problem}.{shown}", _DELETE)
    if not isinstance(error, yaml.MarkedYAMLError):
        is_deep = isinstance(error, RecursionError)
        problem = "its parts stand too deeply in one another" if is_deep else str(error)[:200]
        return RecipeError(f"{source}: not valid YAML: {problem}.", _FLATTEN if is_deep else _QUOTE)
    mark, lines = error.problem_mark or error.context_mark, text.split("\n")
    problem = error.problem or "it cannot be read"
    begin = error.context_mark
    if begin and mark and begin.line != mark.line:
        if not "".join(lines[mark.line :]).strip():  # at the end of the text: where it begins
            mark = begin
        problem += f", {error.context}, which begins on line {begin.line + 1}"
    if mark is None:
        return RecipeError(f"{source}: not valid YAML: {problem}.", _OTHERS)
    before = lines[mark.line][: mark.column] if mark.line < len(lines) else ""
    sign = "<block end>" if "mapping values" in problem and ":" not in before else problem
    cure = next((words for known, words in _CURES if known in sign), _OTHERS)
    shown = _excerpt(lines, mark.line, mark.column)
    return RecipeError(f"{source}:{mark.line + 1}: not valid YAML: {problem}.{shown}", cure)


def _excerpt(lines: Sequence[str], number: int, column: int) -> str:
    """A line of a text around a column, with a mark below it; "" where it is empty."""
    line = lines[number].rstrip() if number < len(lines) else ""
    if not line:
        return ""
    start = max(0, column - _EXCERPT // 2)
    shown = line[start : start + _EXCERPT]
    before = shown[: column - start]
    width = len(before) + sum(unicodedata.east_asian_width(letter) in "WF" for letter in before)
    visible = "".join(letter if letter.isprintable() else "→" for letter in shown)
    return f"\n    {visible}\n    {' ' * width}^"


def lines_of(path: Path) -> Where:
    """The lines of keys in a YAML file that `load_yaml` has read, as `lines_in` gives them."""

    @functools.cache  # a file with thousands of problems is read once more, not once for each
    def lines() -> Where:
        with contextlib.suppress(OSError, ValueError):
            return lines_in(path.read_text(encoding="utf-8"))
        return lambda keys: ""

    def where(keys: Sequence[str | int]) -> str:
        return lines()(keys)

    return where


def lines_in(text: str) -> Where:
    """The lines of keys in a YAML text; of a missing key, the line of what it is missing from."""

    @functools.cache
    def root() -> yaml.Node | None:
        with contextlib.suppress(ValueError, yaml.YAMLError, RecursionError):
            return yaml.compose(text, Loader=yaml.SafeLoader)
        return None

    return lambda keys: _line(root(), keys)


def _line(node: yaml.Node | None, keys: Sequence[str | int]) -> str:
    said = ""
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = next((part for part in node.value if part[0].value == str(key)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            found = (node.value[key], node.value[key])
        else:
            found = None
        if found is None:
            break
        said, node = f" (line {found[0].start_mark.line + 1})", found[1]
    return said


def _loaded(text: str) -> tuple[object, list[str]]:
    """(the value of a YAML text, a sentence for each key that stands twice in the same mapping)."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        # before merges (`<<`) are resolved: what they bring may be given anew
        twice = _repeated(node)
        return (None if node is None else loader.construct_document(node)), twice
    finally:
        loader.dispose()


def _repeated(root: yaml.Node | None) -> list[str]:
    """Sentences 'LINE: expected the key …' for keys that stand twice in one mapping."""
    found, seen, waiting = dict[int, str](), set[int](), [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        first: dict[tuple[str, str], int] = {}
        for part in node.value:
            key, value = part if isinstance(node, yaml.MappingNode) else (None, part)
            waiting += [key, value]
            if isinstance(key, yaml.ScalarNode):
                line, name = key.start_mark.line + 1, (key.tag, key.value)
                if name in first:
                    found[key.start_mark.index] = (
                        f"{line}: expected the key {key.value!r} once, found it again (first on "
                        f"line {first[name]})"
                    )
                first.setdefault(name, line)
    return [found[place] for place in sorted(found)]


def nearby(path: Path) -> str:
    """A hint that names the files of the same kind that are there."""
    here = Path.cwd() / path.name
    if here.exists() and here != path.absolute():
        return f"A relative path begins at the workspace; here is one: {here}"
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


def raise_together(problems: Sequence[LocalInstructError]) -> None:
    """Raise nothing, the one problem, or one error that lists all, of the first UsageError's kind.

    Each message begins with a key or a file and a colon; so does each hint then.
    """
    if not problems:
        return
    if len(problems) == 1:
        raise problems[0]
    kind = next((type(one) for one in problems if isinstance(one, UsageError)), type(problems[0]))
    hints = [f"{one.message.partition(':')[0]}: {one.hint}" for one in problems if one.hint]
    raise kind(
        listing([one.message.replace("\n", "\n    ") for one in problems]),
        "\n".join(dict.fromkeys(hints)),
    )


def _as_written(
    section: type[Section], keys: Sequence[str | int], data: object
) -> tuple[str | int, ...]:
    """The keys to a value in the words in which they stand in the data."""
    written = list[str | int]()
    for place, key in enumerate(keys):
        word = _section_at(section, tuple(keys[:place])).ALSO.get(str(key))
        held: JsonObject = data if isinstance(data, dict) else {}
        written.append(word if word and word in held and key not in held else key)
        data = held.get(str(written[-1]))
    return tuple(written)


def _explain(section: type[Section], problem: ErrorDetails, keys: Sequence[str | int]) -> str:
    """One pydantic problem as a sentence: the key, what was expected, what was found."""
    where = ".".join(str(part) for part in keys)
    if problem["type"] == "extra_forbidden":
        owner = _section_at(section, problem["loc"][:-1])
        return f"{where}: unknown key; {did_you_mean(str(problem['loc'][-1]), owner.model_fields)}"
    if problem["type"] == "missing":
        return f"{where}: missing, and it has no default"
    message = problem["msg"].removeprefix("Value error, ")
    return (
        f"{where}: {message[0].lower() + message[1:]} (found {_SHORT.repr(problem['input'])})"
        if where
        else message
    )


def _section_at(section: type[Section], path: tuple[str | int, ...]) -> type[Section]:
    """The section class at `path` below `section`, or `section` where the path leads elsewhere."""
    for part in path:
        field = section.model_fields.get(str(part))
        section = (inner_section(field.annotation) if field else None) or section
    return section


def inner_section(annotation: object) -> type[Section] | None:
    """The section class in an annotation such as `Train` or `AlpacaOptions | None`, or None."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None
