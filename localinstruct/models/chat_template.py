"""The chat template of a model: its own or the one of models.yaml, checked, and fit for rows.

A template is a small program that the server runs on every request, in Jinja's sandbox. It must be
a regular file of an acceptable size that is Jinja. Training, evaluation, servers and exports take
it from here, with what it needs before it (`templates.chat`). Not covered: the template of an
endpoint, which its server keeps to itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from localinstruct.models.json_files import MAX_TEMPLATE_BYTES, load_object
from localinstruct.models.template_trial import bomb_problem, rendered
from localinstruct.records import Instance
from localinstruct.templates.chat import (
    Adapted,
    Rendered,
    Talk,
    Unrenderable,
    adapted,
    assembled,
    talks,
)

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
ROWS_AT_ONCE = 100
"""Rows that one guarded child renders."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A model's chat template fit for rows (`form`), and the special tokens it may write."""

    form: Adapted
    tokens: tuple[tuple[str, str], ...]
    own: bool = True
    """True where a loader of the directory would take the very same text."""

    def problems(self, rows: Sequence[Instance]) -> Iterator[Unrenderable | None]:
        """For each row the reason why this template cannot hold it, or None."""
        for start in range(0, len(rows), ROWS_AT_ONCE):
            block = rows[start : start + ROWS_AT_ONCE]
            each = [talks(row) for row in block]
            every = [talk for own in each for talk in own]
            [texts] = rendered([self.form.text], every, dict(self.tokens))
            given = iter(texts)
            for row, own in zip(block, each, strict=True):
                yield _problem(row, [next(given) for _ in own])


def chat_of(directory: Path, given: str | None = None) -> Chat | None:
    """The chat template of the model in `directory`, or of models.yaml (`given`).

    None where there is none, or several of which none is the default and none is chosen.
    """
    text = chosen_text(directory, given)
    if text is None:
        return None
    tokens = special_tokens(directory)
    form = _adapted(text, tokens)
    return Chat(form, tokens, own=given is None and form.text == loaders_text(directory))


def chosen_text(directory: Path, given: str | None = None) -> str | None:
    """The template that is meant, as its author wrote it.

    A student that was trained with one of several has that one only, as its default.
    """
    named = own_templates(directory)
    if given is None or (is_name(given) and given not in named):
        return named.get("default")
    return named[given] if given in named else template_text(given)


def own_templates(directory: Path) -> dict[str, str]:
    """The model's own templates by name, "default" first; read as transformers does.

    Beyond it, chat_template.json counts where nothing else names one.
    """
    found = {}
    extra = directory / "additional_chat_templates"
    places = [("default", directory / "chat_template.jinja")]
    places += [(path.stem, path) for path in sorted(extra.glob("*.jinja"))]
    for name, path in places:
        if path.is_file() and path.stat().st_size <= MAX_TEMPLATE_BYTES:
            found[name] = path.read_text(encoding="utf-8", errors="replace")
    for file in ("tokenizer_config.json", "chat_template.json"):
        found = found or _in_json(load_object(directory / file).get("chat_template"))
    return found


def loaders_text(directory: Path) -> str | None:
    """The template that transformers and vLLM take by themselves, which skip chat_template.json."""
    files = [directory / "chat_template.jinja", directory / "additional_chat_templates"]
    config = load_object(directory / "tokenizer_config.json").get("chat_template")
    there = config or any(path.exists() for path in files)
    return own_templates(directory).get("default") if there else None


def unchosen(directory: Path, given: str | None = None) -> list[str]:
    """The names of a model's templates where none is the default and none is chosen; else []."""
    named = own_templates(directory)
    return [] if given or not named or "default" in named else list(named)


def special_tokens(directory: Path) -> tuple[tuple[str, str], ...]:
    """The special tokens of the tokenizer, as pairs of name and text."""
    sources = [load_object(directory / "special_tokens_map.json")]
    sources.append(load_object(directory / "tokenizer_config.json"))
    found = {}
    for source in sources:
        for name in SPECIAL:
            value = source.get(name)
            text = value.get("content") if isinstance(value, dict) else value
            if isinstance(text, str) and text:
                found[name] = text
    if "eos_token" not in found and (text := _end_of_config(directory)):
        found["eos_token"] = text
    return tuple(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Note:
    """A fact about a model's chat template that its user should know, and what to do about it."""

    words: str
    fix: str = ""
    usable: bool = True
    """False where nobody can be asked in a chat."""


def notes_on(name: str, directory: Path, given: str | None = None) -> list[Note]:
    """Facts about the chat template of a model; [] for one that holds every row as it is."""
    if names := unchosen(directory, given):
        words = f"has the chat templates {', '.join(names)}, and none of them is its default"
        keys = " or ".join(f"`chat_template: {one}`" for one in names)
        return [Note(words, f"choose by {keys} in the entry of {name} in models.yaml", False)]
    chat = chat_of(directory, given)
    if chat is None:
        return []
    if chat.form.problem:
        fix = (
            "train a student with --set train.template=alpaca, or give `chat_template: FILE.jinja` "
            f"in the entry of {name} in models.yaml"
        )
        return [Note(f"has a chat template that {chat.form.problem}", fix)]
    notes = [Note(f"has a chat template that {change}") for change in chat.form.changes]
    return notes + [Note(f"has a chat template that cannot hold {one}") for one in chat.form.lacks]


def served_template(directory: Path, given: str | None) -> str | None:
    """The template to give a server beside the model; None where its own is right as it is."""
    chat = chat_of(directory, given)
    if chat is None:
        return None if given is None else template_text(given)
    return None if chat.own else chat.form.text


def template_problems(given: str, directory: Path | None = None) -> list[str]:
    """Problems of a template given as text, as a .jinja file or by name; [] for a good one."""
    path = Path(given)
    if is_name(given):
        names = list(own_templates(directory)) if directory else []
        if given in names:
            return []
        known = f"its templates are {', '.join(names)}" if names else "it has no templates by name"
        return [
            "chat_template: expected a template that renders `messages`, a .jinja file, or the "
            f"name of one of the model's own templates ({known}); found {given!r}"
        ]
    if is_file_name(given) and not path.is_file():
        there = "a folder" if path.is_dir() else "nothing there"
        return [f"chat_template: looked for a file at {path}, found {there}"]
    size = path.stat().st_size if is_file_name(given) else len(given.encode())
    if size > MAX_TEMPLATE_BYTES:
        return [f"chat_template: expected at most {MAX_TEMPLATE_BYTES:,} bytes, found {size:,}"]
    try:
        return _syntax_problems(template_text(given))
    except (OSError, UnicodeDecodeError) as error:
        return [f"chat_template: {path} cannot be read as UTF-8 text: {error}"]


def template_text(given: str) -> str:
    """The template itself, whether it was given as text or as a file."""
    return Path(given).read_text(encoding="utf-8") if is_file_name(given) else given


def is_file_name(given: str) -> bool:
    """Tell whether this names a file: one line that ends in .jinja, as no template does."""
    return "\n" not in given and given.endswith(".jinja")


def is_name(given: str) -> bool:
    """Tell whether this is the name of one of a model's templates: a word, not Jinja."""
    return "{" not in given and not is_file_name(given) and len(given.split()) == 1


@lru_cache(maxsize=64)
def _adapted(text: str, tokens: tuple[tuple[str, str], ...]) -> Adapted:
    def render(forms: Sequence[str], probed: Sequence[Talk]) -> list[list[Rendered]]:
        return rendered(forms, probed, dict(tokens))

    return adapted(text, render)


def _problem(row: Instance, texts: Sequence[Rendered]) -> Unrenderable | None:
    try:
        assembled(row, texts)
    except Unrenderable as error:
        return error
    return None


def _in_json(value: object) -> dict[str, str]:
    """{name: text} of `chat_template` in a JSON file: one text, or a list of named ones."""
    if isinstance(value, str):
        return {"default": value} if value else {}
    entries = value if isinstance(value, list) else []
    return {
        str(entry["name"]): entry["template"]
        for entry in entries
        if isinstance(entry, dict) and "name" in entry and isinstance(entry.get("template"), str)
    }


def _end_of_config(directory: Path) -> str | None:
    """The text of the end token that config.json names by its id."""
    number = load_object(directory / "config.json").get("eos_token_id")
    number = number[0] if isinstance(number, list) and number else number
    added = load_object(directory / "tokenizer.json").get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and token.get("id") == number:
            return str(token.get("content"))
    return None


def _syntax_problems(text: str) -> list[str]:
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(text)
    except TemplateSyntaxError as error:
        return [f"chat_template: not Jinja: line {error.lineno}: {error.message}"]
    if "message" not in text:
        return ["chat_template: expected a template that renders `messages`"]
    return [f"chat_template: {problem}"] if (problem := bomb_problem(text)) else []
