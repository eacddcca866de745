"""Code that does not parse: which code is looked at, and the process that parses it."""

import os
import signal
from collections.abc import Iterator
from itertools import pairwise

import pytest

from localinstruct.curate import code, parsers
from localinstruct.curate.code import LARGEST, Parsers, does_not_parse, pieces

LONG = "\n".join(f"value_{number} = [{number}, {number} + 1]" for number in range(1500))


@pytest.fixture
def worker() -> Iterator[Parsers]:
    process = Parsers()
    yield process
    process.end()


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


@pytest.mark.parametrize(
    ("instruction", "output", "languages"),
    [
        ("Write it.", fenced("python", "x = 1"), ["python"]),
        ("Write it.", f"{fenced('json', '1')}\n\n{fenced('yml', 'a: 1')}", ["json", "yaml"]),
        ("Write it.", fenced("rust", "let x = 1;"), []),
        ("Write it.", fenced("", "x = 1"), []),
        ("Write it in Python.", "def f(x):\n    return x", ["python"]),
        ("Write it.", "def f(x):\n    return x", []),
        ("What is Python good for?", "For many things, as people say.", []),
        ("Explain this JSON.", "It has two keys.", []),
        ("Give it as XML.", "<a/>", ["xml"]),
    ],
)
def test_only_code_whose_language_is_named(
    instruction: str, output: str, languages: list[str]
) -> None:
    assert [language for language, _ in pieces(instruction, output)] == languages


def test_one_process_serves_many_rows(worker: Parsers) -> None:
    assert worker.problem("python", "x = 1") == ""
    first = worker._process
    assert first is not None
    assert worker.problem("json", "{") != ""
    assert worker.problem("yaml", "a: [") != ""
    assert worker.problem("xml", "<a>") != ""
    assert worker._process is first
    worker.end()
    assert first.poll() == 0
    assert worker.problem("python", "x =") == "line 1: invalid syntax"


def test_too_much_time_ends_the_process_and_not_the_work() -> None:
    impatient = Parsers(seconds=1e-6)
    said = does_not_parse("Write it.", fenced("python", LONG), impatient)
    assert said == "python: not parsed after 1e-06 s"
    patient = Parsers()
    assert does_not_parse("Write it.", fenced("python", LONG), patient) is None
    patient.end()


def test_too_much_memory_is_a_reason() -> None:
    small = Parsers(memory_mib=1)
    said = does_not_parse("Write it.", fenced("python", LONG), small)
    small.end()
    assert said in ("python: nested too deeply", "python: its parser was ended")


def test_a_process_that_was_killed_is_a_reason_once(worker: Parsers) -> None:
    assert worker.problem("python", "x = 1") == ""
    assert worker._process is not None
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.wait()
    assert worker.problem("python", "x = 1") == "its parser was ended"
    assert worker.problem("python", "x = 1") == ""


def test_at_most_64_kib_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[int]()

    def problem(self: Parsers, language: str, text: str) -> str:
        seen.append(len(text))
        return ""

    monkeypatch.setattr(Parsers, "problem", problem)
    assert does_not_parse("Write it.", fenced("python", "x = (\n" + "# more\n" * LARGEST)) is None
    assert seen == []
    assert does_not_parse("Write it.", fenced("python", "x = 1")) is None
    assert len(seen) == 1


def test_what_is_left_out_or_filled_in_is_no_fault() -> None:
    for text in ("def f():\n    ...\n    x = (", "a: {{ name }}: b", "$ pip install x", "!ls"):
        assert does_not_parse("Write it.", fenced("python", text)) is None


def test_nothing_is_expanded() -> None:
    """Aliases are events, entities are refused; both in a process with little memory anyway."""
    names = "abcdef"
    lines = [f"{one}: &{one} [x]" for one in names[:1]]
    lines += [f"{two}: &{two} [*{one}, *{one}]" for one, two in pairwise(names)]
    assert parsers.yaml("\n".join(lines)) == ""
    with pytest.raises(ValueError, match="declares entities"):
        parsers.xml('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    assert parsers.answer("xml", '<!DOCTYPE a [<!ENTITY b "c">]><a/>').endswith("entities")


def test_a_child_of_this_process_starts_its_own(worker: Parsers) -> None:
    worker.problem("python", "x = 1")
    before = worker._process
    worker._owner += 1  # as after a fork
    assert worker.problem("python", "x = 1") == ""
    assert worker._process is not before
    assert before is not None
    before.communicate()


def test_the_shared_process_is_one() -> None:
    assert code._parsers() is code._parsers()
