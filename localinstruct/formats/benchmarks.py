"""Rows of evaluation files that people have, as tasks with their checks.

GSM8K (the number after ####), multiple choice (MMLU, ARC, HellaSwag and their like), yes-or-no
questions, IFEval. The rest of its kind is read as rows are, and judged.
"""

import string
from collections.abc import Mapping
from typing import Any

from localinstruct.formats.checks import last_number, read_checks
from localinstruct.formats.fields import Malformed, as_text, describe
from localinstruct.records import Instance, JsonObject

Made = tuple[str, Instance, Mapping[str, Any]]
"""(family, instance, checks)"""
QUESTIONS = ("question", "query", "instruction", "prompt", "problem", "ctx", "goal", "input")
CHOICES = ("choices", "options", "endings", "candidates")
RIGHT = (
    "answer",
    "answerKey",
    "answer_key",
    "answer_idx",
    "answer_index",
    "correct_answer",
    "correct",
    "label",
    "target",
    "gold",
    "output",
)
FAMILIES = ("subject", "category", "family", "activity_label", "topic")
_IFEVAL: dict[str, tuple[str, str]] = {
    "punctuation:no_comma": ("no_commas", ""),
    "change_case:english_lowercase": ("lowercase", ""),
    "change_case:english_capital": ("uppercase", ""),
    "startend:quotation": ("quoted", ""),
    "startend:end_checker": ("ends_with", "end_phrase"),
    "detectable_format:title": ("title", ""),
    "detectable_format:json_format": ("json", ""),
    "detectable_format:number_bullet_lists": ("bullets", "num_bullets"),
    "detectable_content:number_placeholders": ("placeholders", "num_placeholders"),
    "keywords:existence": ("contains", "keywords"),
    "keywords:forbidden_words": ("not_contains", "forbidden_words"),
}
"""IFEval's name of a constraint -> (our check, its argument in kwargs)."""


def benchmark_task(row: JsonObject) -> Made | None:
    """The task of a row of one of these files, or None for a row of another kind."""
    if "instruction_id_list" in row:
        return _ifeval(row)
    if (choices := _choices(row)) is not None:
        return _multiple_choice(row, *choices)
    answer, question = row.get("answer"), row.get("question")
    if isinstance(answer, str) and "####" in answer and isinstance(question, str):
        number = answer.rpartition("####")[2].strip()
        if last_number(number) is None:
            raise Malformed(f"expected a number after ####, found {number[:40]!r}")
        return (
            _family(row),
            Instance(as_text(question, "question"), output=number),
            {"number": None},
        )
    if isinstance(answer, bool) and isinstance(question, str):
        context = row.get("passage") or row.get("context") or ""
        said = "yes" if answer else "no"
        task = Instance(as_text(question, "question"), as_text(context, "passage"), said)
        return _family(row), task, {"choice": ["yes", "no"]}
    return None


def _family(row: JsonObject) -> str:
    return next((str(row[key]) for key in FAMILIES if row.get(key)), "")


def _choices(row: JsonObject) -> tuple[list[str], list[str]] | None:
    """(labels, texts) of the answers to choose from."""
    found = next((row[key] for key in CHOICES if row.get(key)), None)
    if found is None and all(isinstance(row.get(letter), str) for letter in "AB"):
        found = {letter: row[letter] for letter in string.ascii_uppercase if row.get(letter)}
    if found is None or not any(key in row for key in RIGHT):
        return None
    if isinstance(found, dict) and isinstance(found.get("text"), list):  # ARC
        texts = found["text"]
        labels = [str(label) for label in found.get("label") or string.ascii_uppercase]
        return labels[: len(texts)], _texts(texts)
    if isinstance(found, dict):
        return [str(label) for label in found], _texts(list(found.values()))
    if not isinstance(found, list) or len(found) > len(string.ascii_uppercase):
        raise Malformed(f"expected choices to be a list of texts, found {describe(found)}")
    return list(string.ascii_uppercase[: len(found)]), _texts(found)


def _texts(values: list[object]) -> list[str]:
    return [as_text(value, f"choices[{number}]") for number, value in enumerate(values)]


def _multiple_choice(row: JsonObject, labels: list[str], texts: list[str]) -> Made:
    question = next((row[key] for key in QUESTIONS if row.get(key)), None)
    if question is None:
        raise Malformed("expected a question beside the choices, found none")
    place = _right(row, labels, texts)
    letters = string.ascii_uppercase
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip(letters, texts, strict=False))
    task = f"{as_text(question, 'question')}\n\n{listed}\n\nAnswer with the letter."
    return _family(row), Instance(task, output=letters[place]), {"option": texts}


def _right(row: JsonObject, labels: list[str], texts: list[str]) -> int:
    """The place of the right answer, given as its place (from 0), its letter, or its text."""
    key = next(key for key in RIGHT if key in row)
    value = row[key]
    if isinstance(value, str):
        for known in (labels, [label.lower() for label in labels], texts):
            if value.strip() in known:
                return known.index(value.strip())
        value = int(value) if value.strip().isdigit() else value
    if type(value) is int and 0 <= value < len(texts):
        return value
    expected = f"{key} to be one of {', '.join(labels)}, its place or its text"
    raise Malformed(f"expected {expected}, found {str(value)[:40]!r}")


def _ifeval(row: JsonObject) -> Made:
    """The constraints as checks where we have them all, else a task to be judged."""
    names, arguments = row["instruction_id_list"], row.get("kwargs") or []
    if not isinstance(names, list) or not isinstance(arguments, list):
        expected = "instruction_id_list and kwargs to be lists"
        raise Malformed(f"expected {expected}, found {describe(names)}")
    task = Instance(as_text(row.get("prompt"), "prompt"))
    checks: JsonObject = {}
    for number, name in enumerate(names):
        given = arguments[number] if number < len(arguments) else {}
        check = _constraint(str(name), given if isinstance(given, dict) else {})
        if check is None or check[0] in checks:
            return "ifeval, judged", task, {}
        checks[check[0]] = check[1]
    try:
        return "ifeval", task, read_checks(checks, "") if checks else {}
    except ValueError as problem:
        raise Malformed(str(problem)) from None


def _constraint(name: str, given: JsonObject) -> tuple[str, Any] | None:
    if name == "length_constraints:number_words":
        words = given.get("num_words")
        if type(words) is not int:
            return None
        least = given.get("relation") == "at least"
        return ("min_words", words) if least else ("max_words", max(words - 1, 0))
    if name not in _IFEVAL:
        return None
    check, key = _IFEVAL[name]
    return check, given.get(key) if key else None
