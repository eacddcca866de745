"""Checks on the form of an answer, one named function each, in families, as in IFEval. Pure.

A check gets an answer with its ends stripped and the argument that a task gives, and says yes or
no. The idea is IFEval's (Zhou et al. 2023, arXiv 2311.07911), the checks are our own. The method
`constraints` asks for them in words (methods/prompts/constraints); what the words say is what the
function here looks at. Not covered: whether an answer that keeps the rules is also good; regular
expressions, because a bad one never ends.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from localinstruct.curate.languages import language
from localinstruct.formats import measures
from localinstruct.formats.measures import (
    has_word,
    items_of,
    lines_of,
    paragraphs_of,
    sentences_of,
    times,
    words_of,
)
from localinstruct.records import JsonObject

Argument = Any
"""A check's argument as the file gives it; `ARGUMENTS` has seen to its type."""


@dataclass(frozen=True, slots=True)
class Check:
    """A rule: the kind of its argument, and the function that says whether an answer keeps it."""

    argument: str
    """A key of `ARGUMENTS`."""
    holds: Callable[[str, Argument], bool]


def json_value(text: str) -> object:
    """The JSON value a text is, alone or in one fenced block; ValueError when it is none."""
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*?)\n?```", text.strip(), re.DOTALL)
    return json.loads(fenced[1] if fenced else text)


def _is_json(text: str, _: object = None) -> bool:
    try:
        json_value(text)
    except (ValueError, RecursionError):
        return False
    return True


def _fits_schema(text: str, schema: JsonObject) -> bool:
    import jsonschema

    return _is_json(text) and jsonschema.Draft202012Validator(schema).is_valid(json_value(text))


def _has_keys(text: str, keys: str | list[str]) -> bool:
    value = json_value(text) if _is_json(text) else None
    return isinstance(value, dict) and set(value) == set(_texts(keys))


def _texts(argument: str | list[str]) -> list[str]:
    return [argument] if isinstance(argument, str) else argument


def _contained(text: str, argument: str | list[str]) -> list[bool]:
    """Yes or no for each text of an argument: it stands in `text`, in any case."""
    return [part.casefold() in text.casefold() for part in _texts(argument)]


def _with_words(text: str, argument: str | list[str]) -> list[bool]:
    """Yes or no for each word of an argument: it stands in `text` as a whole, in any case."""
    return [has_word(text, word) for word in _texts(argument)]


def _has_letters(text: str) -> bool:
    return any(letter.isalpha() for letter in text)


_COPIED = r"(?:(?:a |the |your )?title|this)>>"
_TITLE = re.compile(rf"<<(?!{_COPIED})[^>\n]+>>|^#{{1,6}} \S", re.MULTILINE | re.IGNORECASE)


def _is_title_case(text: str, _: object) -> bool:
    firsts = [word[0] for word in re.findall(r"[^\W\d_][\w'’]*", text)]
    return bool(firsts) and all(letter == letter.upper() for letter in firsts)


def _is_quoted(text: str, _: object) -> bool:
    return len(text) > 1 and text[0] + text[-1] in ('""', "“”", "«»", "「」")


def _has_title(text: str, _: object) -> bool:
    """A title that is one: an example copied from the request (<<A title>>) is none."""
    return _TITLE.search(text) is not None


def _first_word(text: str, word: str) -> bool:
    return words_of(text)[: len(word.split())] == word.casefold().split()


def _last_word(text: str, word: str) -> bool:
    return words_of(text)[-len(word.split()) :] == word.casefold().split()


def _in_tag(text: str, tag: str) -> bool:
    begin, end = f"<{tag}>", f"</{tag}>"
    inside = text.removeprefix(begin).removesuffix(end)
    return len(text) == len(inside) + len(begin) + len(end) and bool(inside.strip())


def _is_alphabetical(text: str, _: object) -> bool:
    items = [item.strip("*_\"' ").casefold() for item in items_of(text)]
    return len(items) > 1 and items == sorted(items)


def _in_order(text: str, words: list[str]) -> bool:
    found = words_of(text)
    places = [found.index(word.casefold()) if word.casefold() in found else -1 for word in words]
    return -1 not in places and places == sorted(places)


def _ascends(text: str, least: int) -> bool:
    numbers = measures.numbers(text)
    return len(numbers) >= least and all(a < b for a, b in pairwise(numbers))


def _varied_starts(text: str, least: int) -> bool:
    starts = [words_of(sentence)[:1] for sentence in sentences_of(text)]
    return len(starts) >= least and len({*map(tuple, starts)}) == len(starts)


def _in_sentence(place: int) -> Callable[[str, str], bool]:
    def holds(text: str, word: str) -> bool:
        sentences = sentences_of(text)
        return bool(sentences) and has_word(sentences[place], word)

    return holds


def _nth_word(text: str, argument: list[Any]) -> bool:
    word, place = argument
    return words_of(text)[place - 1 : place] == [word.casefold()]


def _paragraph_starts(text: str, argument: list[Any]) -> bool:
    word, place = argument
    paragraphs = paragraphs_of(text)
    return len(paragraphs) >= place and words_of(paragraphs[place - 1])[:1] == [word.casefold()]


def _has_postscript(text: str, _: object) -> bool:
    last = lines_of(text)[-1:]
    return len(lines_of(text)) > 1 and last[0].strip().startswith("P.S.")


LANGUAGES = {
    "French": "fr", "German": "de", "Spanish": "es", "Italian": "it", "Portuguese": "pt",
    "Dutch": "nl", "Polish": "pl", "Swedish": "sv", "Russian": "cyrillic", "Chinese": "zh",
    "Japanese": "ja", "Korean": "ko", "Greek": "el", "Hindi": "hi", "English": "en",
}  # fmt: skip
"""Name of a language -> what `curate.languages` calls it."""
LENGTH: dict[str, Check] = {
    "words": Check("number", lambda text, n: len(text.split()) == n),
    "min_words": Check("number", lambda text, n: len(text.split()) >= n),
    "max_words": Check("number", lambda text, n: len(text.split()) <= n),
    "words_between": Check("range", lambda text, ends: ends[0] <= len(text.split()) <= ends[1]),
    "max_characters": Check("number", lambda text, n: len(text) <= n),
    "sentences": Check("number", lambda text, n: len(sentences_of(text)) == n),
    "max_sentences": Check("number", lambda text, n: len(sentences_of(text)) <= n),
    "sentence_words": Check(
        "number", lambda text, n: all(len(one.split()) <= n for one in sentences_of(text))
    ),
    "lines": Check("number", lambda text, n: len(lines_of(text)) == n),
    "paragraphs": Check("number", lambda text, n: len(paragraphs_of(text)) == n),
}
COUNTS: dict[str, Check] = {
    "placeholders": Check("number", lambda text, n: measures.placeholders(text) >= n),
    "word_times": Check("counted", lambda text, given: times(text, given[0]) >= given[1]),
    "questions": Check("number", lambda text, n: text.count("?") == n),
    "exclamations": Check("number", lambda text, n: text.count("!") == n),
    "numbers": Check("number", lambda text, n: len(measures.numbers(text)) >= n),
    "capital_words": Check("number", lambda text, n: measures.capital_words(text) >= n),
    "bold": Check("number", lambda text, n: measures.bold(text) >= n),
    "parentheses": Check("number", lambda text, n: measures.parentheses(text) >= n),
}
CASING: dict[str, Check] = {
    "uppercase": Check("none", lambda text, _: _has_letters(text) and text == text.upper()),
    "lowercase": Check("none", lambda text, _: _has_letters(text) and text == text.lower()),
    "title_case": Check("none", _is_title_case),
}
ENDS: dict[str, Check] = {
    "starts_with": Check("text", lambda text, start: text.startswith(start)),
    "ends_with": Check("text", lambda text, end: text.endswith(end)),
    "first_word": Check("text", _first_word),
    "last_word": Check("text", _last_word),
    "ends_with_question": Check("none", lambda text, _: text.endswith("?")),
    "postscript": Check("none", _has_postscript),
}
WORDS: dict[str, Check] = {
    "contains": Check("texts", lambda text, parts: all(_contained(text, parts))),
    "contains_one_of": Check("texts", lambda text, parts: any(_contained(text, parts))),
    "not_contains": Check("texts", lambda text, parts: not any(_contained(text, parts))),
    "uses_words": Check("texts", lambda text, words: all(_with_words(text, words))),
    "avoids_words": Check("texts", lambda text, words: not any(_with_words(text, words))),
    "no_letter": Check("text", lambda text, letter: letter.casefold() not in text.casefold()),
}
FORMAT: dict[str, Check] = {
    "json": Check("none", _is_json),
    "json_schema": Check("schema", _fits_schema),
    "json_keys": Check("texts", _has_keys),
    "bullets": Check("number", lambda text, n: measures.bullets(text) == n),
    "numbered": Check("number", lambda text, n: measures.numbered(text) == n),
    "checkboxes": Check("number", lambda text, n: measures.checkboxes(text) == n),
    "headings": Check("number", lambda text, n: measures.headings(text) == n),
    "title": Check("none", _has_title),
    "table": Check("number", lambda text, n: measures.table_columns(text) == n),
    "code_block": Check("none", lambda text, _: measures.code_blocks(text) == 1),
    "tag": Check("text", _in_tag),
    "divided": Check("number", lambda text, n: measures.parts_between(text) == n),
}
ORDER: dict[str, Check] = {
    "alphabetical": Check("none", _is_alphabetical),
    "in_order": Check("list", _in_order),
    "ascending": Check("number", _ascends),
    "varied_starts": Check("number", _varied_starts),
}
LANGUAGE: dict[str, Check] = {
    "language": Check("language", lambda text, name: language(text) == LANGUAGES[name]),
}
QUOTATION: dict[str, Check] = {
    "quoted": Check("none", _is_quoted),
    "quotations": Check("number", lambda text, n: measures.quotations(text) >= n),
    "no_quotations": Check("none", lambda text, _: not set('"“”«»') & set(text)),
}
POSITION: dict[str, Check] = {
    "word_in_first_sentence": Check("text", _in_sentence(0)),
    "word_in_last_sentence": Check("text", _in_sentence(-1)),
    "nth_word": Check("counted", _nth_word),
    "paragraph_starts": Check("counted", _paragraph_starts),
    "lines_start_with": Check(
        "text", lambda text, start: all(line.startswith(start) for line in lines_of(text))
    ),
}
PUNCTUATION: dict[str, Check] = {
    "no_commas": Check("none", lambda text, _: "," not in text),
    "no_digits": Check("none", lambda text, _: not any(map(str.isdigit, text))),
    "no_parentheses": Check("none", lambda text, _: not set("()") & set(text)),
}
FAMILIES: dict[str, dict[str, Check]] = {
    "length": LENGTH,
    "counts": COUNTS,
    "casing": CASING,
    "start and end": ENDS,
    "words": WORDS,
    "format": FORMAT,
    "order": ORDER,
    "language": LANGUAGE,
    "quotation": QUOTATION,
    "position": POSITION,
    "punctuation": PUNCTUATION,
}
CHECKS: dict[str, Check] = {
    name: check for family in FAMILIES.values() for name, check in family.items()
}
"""Name in a task file -> the rule, which looks at the answer alone."""
FAMILY_OF: dict[str, str] = {name: family for family, table in FAMILIES.items() for name in table}
