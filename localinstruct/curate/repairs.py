r"""Repairs: faults of a row's form that are mended, each by name, and the rows with them counted.

    unseen     control, zero-width and bidi characters, colours of a terminal, Windows newlines
    escapes    line breaks and quotes written as \n and \", HTML entities, letters as \u00e9
    no_input   "<noinput>", "N/A", "None" in place of an empty input

Text that is about code, markup or escapes keeps them. A repair that is switched off leaves its
fault to the rules `control_characters` and `escapes`. Not covered: text whose letters are lost.
"""

import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from localinstruct.curate import invisible
from localinstruct.curate.texts import has
from localinstruct.records import Instance, JsonObject

_TEXTS = ("instruction", "input", "output", "system", "rejected", "thinking")
_COLOURS = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
_ENTITY = re.compile(
    r"&(?:amp|quot|lt|gt|nbsp|apos|[lr][sd]quo|[mn]dash|hellip|eacute|copy|deg|times"
    r"|#\d{2,6}|#x[0-9a-fA-F]{2,5});"
)
_ESCAPE = re.compile(
    # after a letter or mark, before a blank, a capital or the end: LaTeX's \nu and C:\new stay
    r"(?<=[\w.,!?:;)\"'»”’\]…-])(?:\\r)?\\[nrt](?=\\|[A-Z0-9\s\"'*#([•-]|$)"
    r"|(?<=\\n)\\[nrt]|^\\n|\s\\[nt](?=\s|$|\\)"
)
_IN_QUOTES = re.compile(r"\\n[\"'`](?=[\s),;\]+]|$)|(?<=[(,=+\[\s])[\"'`]\\n")
_WRITTEN_OUT = re.compile(r"(?<=[\w.,!?:;)\]\"'])(?:\\r)?\\[nt]|(?<=\\n)\\n")
_QUOTE = re.compile(r"(?<!\\)\\([\"'])")
_LETTER = re.compile(r"\\u[0-9a-fA-F]{4}|\\x[a-fA-F][0-9a-fA-F]")
_AT_THE_END = re.compile(r"(?:(?<=[^\\\"'`])|(?<=[.!?][\"']))(?:\\r|\\n|\\t)+\s*$")
_ABOUT_ESCAPES = re.compile(
    r"\b(?:escap\w*|entit\w*|newlines?|line breaks?|regex\w*|regular expression|html|xml|latex"
    r"|unicode|backslash|paths?|c\+\+|printf|encod\w*|decod\w*|tab character|math|equation)\b",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"`|</|/>|\bprintf?\(|[\"']\\[nrt]|\\[nrt][\"'](?!$)|\\\\|;\s*\n|\{\n|\\[dwsb][+*\])]"
    r"|^(?:def|class|import|#include|function|const|let|var|SELECT|public) "
    r"|\b(?:program\w*|functions?|scripts?|json|python|java\w*|strings?|url|sql|bash|shell)\b"
    r"|\\(?:frac|sqrt|sum|int|alpha|beta|times|cdot|left|right|text|begin|mathbf|nabla|neq)\b",
    re.IGNORECASE | re.MULTILINE,
)
_NO_INPUT = re.compile(
    r"[<(\[\s\"'`*]*(?:input\s*:\s*)?[<(\[\s\"'`*]*"
    r"(?:(?:there is |there's )?no[\s_-]*(?:additional |further |specific |extra |other"
    r" )?(?:inputs?|context)"
    r"(?:\s+(?:is |was )?(?:required|needed|necessary|provided|given|available))?"
    r"|(?:input )?(?:none|not|nothing|unnecessary)(?: (?:is |was )?(?:required|needed|necessary"
    r"|provided|given|available|applicable|specified))?"
    r"|n ?[./\\]? ?a\.?|null|nan|nil|empty|blank|input|no|[-–—.…_]{1,5})?"
    r"[\s.]*/?[>)\]\s.\"'`*]*",
    re.IGNORECASE,
)


def colours(text: str) -> str:
    """Remove a terminal's colours with all unseen characters."""
    if "\x1b" in text:
        text = _COLOURS.sub("", text)
    return invisible.clean(text)


@lru_cache(maxsize=8)
def has_unseen(text: str) -> bool:
    """Tell whether `colours` would change the text."""
    if text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable():
        return False
    return colours(text) != text


def unescaped(text: str, about: str = "") -> str:
    """A text whose line breaks, quotes and letters were written as escapes, as it was meant.

    `about` is the rest of the row: where either is about code or markup, little is changed.
    """
    if "<br" in text and "|" not in text and not (_MARKUP.search(text) or _CODE.search(about)):
        text = text if _ABOUT_ESCAPES.search(about) else _BREAK.sub("\n", text)
    has_entity = "&" in text and _ENTITY.search(text)
    if not has_entity and "\\" not in text:
        return text
    if _ABOUT_ESCAPES.search(about):
        return text
    if text[:1] == text[-1:] == '"' and '\\"' in text and (whole := _json_string(text)):
        return whole
    changed = _AT_THE_END.sub("", text)
    if "\n" not in changed and len(_WRITTEN_OUT.findall(changed)) >= 2 and not _quoted(changed):
        changed = changed.replace("\\r", "").replace("\\n", "\n").replace("\\t", "\t")
        changed = _QUOTE.sub(r"\1", changed)
    elif not (_CODE.search(changed) or _CODE.search(about)):
        changed = _ESCAPE.sub(lambda match: "\t" if match[0].endswith("t") else "\n", changed)
        changed = _LETTER.sub(lambda match: chr(int(match[0][2:], 16)), changed)
        changed = _QUOTE.sub(r"\1", changed)
        if has_entity:
            changed = _ENTITY.sub(lambda match: html.unescape(match[0]), changed)
    return invisible.clean(changed) if changed != text else text


_BREAK = re.compile(r"<br ?/?>\s?", re.IGNORECASE)
_MARKUP = re.compile(r"</|<(?!br\b)[a-z]", re.IGNORECASE)


def _json_string(text: str) -> str:
    try:
        whole = json.loads(text)
    except ValueError:
        return ""
    return whole if isinstance(whole, str) else ""


def _quoted(text: str) -> bool:
    """Tell whether most of a text's line breaks stand in the quotes of a program."""
    return 2 * len(_IN_QUOTES.findall(text)) >= text.count("\\n")


_MISREAD = re.compile(
    "(?:â€[™œ\x9d\u009d“”˜¦¢]|â€(?=\\W|$)|Ã[©¨¤¶¼±¡³º§ª«¢®¯´»Ÿ\xa0€‰–]|Â[°£§©®·«»\xa0½¼²³]|ï¿½"
    "|Ð[°-¿])"
)


def misread(text: str) -> str:
    """Words in which UTF-8 was read as Latin-1 or cp1252, "" if none."""
    if text.isascii():
        return ""
    match = _MISREAD.search(text)
    return f"UTF-8 read as Latin-1: {match[0]!r}" if match else ""


def no_input(text: str) -> bool:
    """Tell whether an input only says that there is none."""
    bare = text.strip()
    is_word = bare.casefold() in ("not", "nothing", "unnecessary")
    return 0 < len(text) <= 60 and bare != "" and not is_word and bool(_NO_INPUT.fullmatch(text))


def _unseen(row: Instance) -> Instance:
    return on_texts(row, lambda text: colours(text) if has_unseen(text) else text)


def on_texts(row: Instance, change: Callable[[str], str]) -> Instance:
    """The row with each of its texts changed, earlier turns too; itself where none was."""
    changed: JsonObject = {}
    for name in _TEXTS:
        text = getattr(row, name)
        if text and (new := change(text)) != text:
            changed[name] = new
    if row.history:
        turns = tuple(replace(turn, content=change(turn.content)) for turn in row.history)
        if turns != row.history:
            changed["history"] = turns
    return replace(row, **changed) if changed else row


def _escapes(row: Instance) -> Instance:
    if not has(f"{row.instruction}{row.output}", ("&", "\\", "<")):
        return row
    instruction = unescaped(row.instruction, row.output).strip()
    output = unescaped(row.output, f"{row.instruction}\n{row.input[:2000]}")
    same = instruction == row.instruction.strip()
    return replace(row, instruction=row.instruction if same else instruction, output=output)


def _no_input(row: Instance) -> Instance:
    return replace(row, input="") if no_input(row.input) else row


REPAIRS: dict[str, Callable[[Instance], Instance]] = {
    "unseen": _unseen,
    "escapes": _escapes,
    "no_input": _no_input,
}
"""Every repair by name, in the order in which they are made; each gives the row itself back where
there is nothing to mend."""


def repaired(row: Instance, names: Sequence[str]) -> tuple[Instance, tuple[str, ...]]:
    """(the row as mended, the names of the repairs that changed it)."""
    made = []
    for name in names:
        mended = REPAIRS[name](row)
        if mended is not row and mended != row:
            row = mended
            made.append(name)
    return row, tuple(made)
