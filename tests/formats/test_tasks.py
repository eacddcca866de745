"""Task files of three kinds and the checks they may ask for. Run: pytest
tests/formats/test_tasks.py"""

import json
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import DataError
from localinstruct.formats.checks import (
    AGAINST_OUTPUT,
    CHECKS,
    first_choice,
    keeps,
    last_number,
)
from localinstruct.formats.tasks import read_tasks

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
CASES: dict[str, tuple[Any, str, str]] = {
    "words": (3, "one two three", "one two"),
    "min_words": (2, "one two", "one"),
    "max_words": (2, "one two", "one two three"),
    "max_characters": (3, "abc", "abcd"),
    "lines": (2, "a\n\nb", "a"),
    "paragraphs": (2, "a\nb\n \nc", "a\nb"),
    "bullets": (2, "- a\n* b\n", "- a\n-b\n"),
    "placeholders": (1, "Dear [name],", "Dear name,"),
    "contains": (["Sea", "salt"], "salt of the SEA", "the sea"),
    "contains_one_of": (["sea", "salt"], "salt", "pepper"),
    "not_contains": ("never", "always", "Never!"),
    "starts_with": ("Yes", "Yes, so.", "yes, so."),
    "ends_with": ("Done.", "All. Done.", "Done. All."),
    "uppercase": (None, "ÄB 3", "Ab"),
    "lowercase": (True, "äb 3", "Ab"),
    "no_commas": (None, "a; b", "a, b"),
    "quoted": (None, '"a"', '"'),
    "title": (None, "<<On salt>>\nSalt.", "On salt"),
    "json": (None, '```json\n{"a": 1}\n```', "{a: 1}"),
    "json_schema": (SCHEMA, '{"age": 3}', '{"age": "3"}'),
    "words_between": ([2, 3], "one two three", "one two three four"),
    "sentences": (2, "It is e.g. 3.5 m. Dr. Po says so!", "One. Two. Three."),
    "max_sentences": (2, "One.\nTwo", "One? Two! Three."),
    "sentence_words": (3, "One two three. Four.", "One two three four."),
    "word_times": (["sea", 2], "Sea, the sea", "seas sea"),
    "questions": (1, "Why?", "Why? Why?"),
    "exclamations": (0, "So.", "So!"),
    "numbers": (2, "1. I have 3 and 1,200.5", "1. a\n2. b"),
    "capital_words": (2, "NATO and UN", "NATO A I"),
    "bold": (2, "**a** and **b c**", "**a** * b *"),
    "parentheses": (1, "a (b)", "a (b"),
    "title_case": (None, "The Sea's 2 Tides, Éva", "The sea"),
    "first_word": ("well", "**Well**, so.", "Wells"),
    "last_word": ("so", 'It is "so".', "So it is."),
    "ends_with_question": (None, "So?", "So? Yes."),
    "postscript": (None, "So.\nP.S. Yes.", "P.S. Yes.\nSo."),
    "uses_words": (["sea", "salt"], "Salt of the sea", "Salty sea"),
    "avoids_words": ("sea", "The seas", "The sea"),
    "no_letter": ("e", "A bird", "A BEE"),
    "json_keys": (["a", "b"], '{"b": 1, "a": 2}', '{"a": 1, "b": 2, "c": 3}'),
    "numbered": (2, "1. a\n2) b", "1. a\n3. b"),
    "checkboxes": (1, "- [ ] a", "- [x] a"),
    "headings": (1, "# A\ntext", "#A"),
    "table": (2, "| a | b |\n|:--|--:|\n| 1 | 2 |", "| a | b |\n| 1 | 2 |"),
    "code_block": (None, "So:\n```py\nx\n```", "```\nx"),
    "tag": ("note", "<note>a</note>", "<note></note>"),
    "divided": (2, "a\n***\nb", "a\n***"),
    "alphabetical": (None, "Fruit:\n- Apple\n- pear", "- pear\n- apple"),
    "in_order": (["salt", "sea"], "Salt in the sea", "Sea salt"),
    "ascending": (2, "1. From 3 to 20", "20 to 3"),
    "varied_starts": (2, "It is. We go.", "It is. It goes."),
    "language": ("French", "Le chat est dans la maison et il dort.", "The cat is in the house."),
    "quotations": (2, 'a "b" “c”', 'a "b'),
    "no_quotations": (None, "it's", 'a "b"'),
    "word_in_first_sentence": ("sea", "The sea. So.", "So. The sea."),
    "word_in_last_sentence": ("sea", "So. The sea.", "The sea. So."),
    "nth_word": (["sea", 2], "The sea", "Sea the"),
    "paragraph_starts": (["then", 2], "a\n\n**Then** b", "Then a\nThen b"),
    "lines_start_with": ("> ", "> a\n\n> b", "> a\nb"),
    "no_digits": (None, "two", "2"),
    "no_parentheses": (None, "a [b]", "a :)"),
}


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_says_yes_and_no(name: str) -> None:
    argument, good, bad = CASES[name]
    assert keeps({name: argument}, f" {good}\n", "")
    assert not keeps({name: argument}, bad, "")
    if name in ("uppercase", "lowercase"):
        assert not keeps({name: argument}, "123", "")


@pytest.mark.parametrize("copied", ["<<A title>>", "<<title>>", "<<Your Title>>", "<<this>>"])
def test_an_example_copied_from_the_request_is_no_title(copied: str) -> None:
    assert not keeps({"title": True}, f"{copied}\nSalt.", "")
    assert keeps({"title": True}, "<<A title fight>>\nSalt.", "")


def test_all_checks_are_looked_at() -> None:
    assert set(CASES) == set(CHECKS)
    assert len(CHECKS) >= 60
    assert not any(keeps({name: CASES[name][0]}, " \n", "") for name in CHECKS)


def test_an_answer_that_keeps_a_rule_but_for_its_frame_keeps_it_loosely() -> None:
    for answer in ("Sure:\nsalt, sea", "salt, sea\nHope it helps!", "**Sure**\nsalt, *sea*\nBye"):
        assert not keeps({"max_words": 2, "lowercase": True}, answer)
        assert keeps({"max_words": 2, "lowercase": True}, answer, loose=True)
    assert not keeps({"no_commas": None}, "salt, sea", loose=True)
    assert not keeps({"no_commas": None}, "a, b", loose=True)
    assert not keeps({"exact": None}, "Sure:\nb", "b", loose=True)


def test_answers_against_an_output() -> None:
    assert last_number("so 1,250.50 in all") == 1250.5
    assert last_number("none") is None
    assert keeps({"number": None}, "It is 7, that is 12.0 in all.", "12")
    assert not keeps({"number": None}, "no idea", "12")
    assert first_choice("Not sure, but no: NO.", ["yes", "no"]) == "no"
    assert first_choice("nothing", ["no"]) is None
    assert keeps({"choice": ["yes", "no"]}, "Yes, because no one …", "yes")
    assert not keeps({"choice": ["yes", "no"]}, "perhaps", "yes")
    assert keeps({"option": ["oak", "rock"]}, "The answer is A.", "A")
    assert not keeps({"option": ["oak", "rock"]}, "A rock is no tree, so rock.", "oak")
    assert keeps({"exact": None, "max_words": 2}, "a  b", "a b")
    assert not keeps({"exact": None, "max_words": 1}, "a  b", "a b")
    assert set(AGAINST_OUTPUT) == {"exact", "number", "choice", "option"}


def written(tmp_path: Path, *rows: Any, as_list: bool = False) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(rows) if as_list else "\n".join(map(json.dumps, rows)))
    return path


def test_our_own_rows_have_checks(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"instruction": "Say a.", "output": "a", "family": "f"},
        {"instruction": "Two words.", "check": {"words": 2, "lowercase": True}},
        {"instruction": "1 + 1?", "output": "2", "check": "number"},
    )
    plain, rules, number = read_tasks(path)
    assert (plain.family, plain.is_right(" a "), plain.is_right("b")) == ("f", True, False)
    assert (rules.is_right("a b"), rules.is_right("A b"), rules.is_right("a")) == (
        True,
        False,
        False,
    )
    assert (number.is_right("So it is 2."), number.is_right("3")) == (True, False)


def test_self_instructs_and_alpaca_evals_tasks_are_only_judged(tmp_path: Path) -> None:
    user = {
        "id": "user_oriented_task_0",
        "motivation_app": "Mail",
        "instruction": "Shorten it.",
        "instances": [{"input": "A long letter.", "output": "A letter."}],
    }
    [mail] = read_tasks(written(tmp_path, user))
    assert (mail.family, mail.instance.input, dict(mail.check)) == ("Mail", "A long letter.", {})
    evaluated = {
        "dataset": "koala",
        "instruction": "Why?",
        "output": "So.",
        "generator": "some-model",
    }
    one, two = read_tasks(written(tmp_path, evaluated, evaluated, as_list=True))
    assert (one.family, one.instance.output, one.id, two.id) == ("koala", "So.", "task 1", "task 2")
    assert not one.is_right("So.")


def test_all_bad_lines_are_named_at_once(tmp_path: Path) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"check": {"max_wordz": 3}}, "did you mean 'max_words'"),
        ({"check": {"max_words": "three"}}, "a whole number, found 'three'"),
        ({"check": "number", "output": "two"}, "a number in the output, found 'two'"),
        (
            {"check": {"choice": ["yes", "no"]}, "output": "maybe"},
            "one of the choices, found 'maybe'",
        ),
        ({"check": "exact"}, "an output to check exact against"),
        ({"check": {"json_schema": {"type": "number!"}}}, "a JSON schema"),
        ({"check": {"json_schema": {"$ref": "http://far.example/s"}}}, "without $ref"),
        ({"check": {"words_between": [3]}}, "a list of two whole numbers"),
        ({"check": {"nth_word": ["a", 0]}}, "a word and a whole number from 1"),
        ({"check": {"in_order": ["a"]}}, "a list of two words or more"),
        ({"check": {"language": "Klingon"}}, "one of French"),
        ({"check": []}, "the name of a check or an object"),
        ({"output": " "}, "an output or a check"),
    ]
    with pytest.raises(DataError) as caught:
        read_tasks(written(tmp_path, *({"instruction": "Say.", **row} for row, _ in bad)))
    lines = caught.value.message.splitlines()[1:]
    assert len(lines) == len(bad)
    for number, (line, (_, words)) in enumerate(zip(lines, bad, strict=True), 1):
        assert f"tasks.jsonl:{number}:" in line
        assert words.casefold() in line.casefold()
