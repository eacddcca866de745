"""JSON of a form and thoughts of reasoning models: what the client sends, falls back to, and hands
on."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from localinstruct.errors import DataError
from localinstruct.formats import EXPORTS, read_instances, write
from localinstruct.methods.magpie import MagpieOptions, magpie
from localinstruct.records import Completion, Instance, Message, PoolView, Prompt
from localinstruct.store.run import open_run
from localinstruct.teacher import Sampling
from localinstruct.teacher import client as client_module
from localinstruct.teacher.client import Client
from localinstruct.teacher.structured import in_form
from localinstruct.teacher.thinking import split_thinking
from tests.support.episodes import play, rows_of
from tests.support.nano_server import SERVED
from tests.support.openai_server import Reply, chat, completion, failure, serving_script

FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"grade": {"type": "integer", "enum": [1, 2, 3]}},
    "required": ["grade"],
    "additionalProperties": False,
}
ASKED = Prompt(messages=(Message("user", "Grade it."),), schema=FORM)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(self: Client, attempt: int) -> None:
        return None

    monkeypatch.setattr(client_module.Client, "_pause", at_once)


def ask(
    url: str, prompt: Prompt, *, chat_model: bool = True, keep: bool = False, **more: Any
) -> list[Completion]:
    async def go() -> list[Completion]:
        sampling = Sampling(max_tokens=50, thinking="keep" if keep else "drop")
        client = Client(url, SERVED, chat=chat_model, sampling=sampling, timeout=60, **more)
        try:
            return await client.complete(prompt)
        finally:
            await client.close()

    return asyncio.run(go())


def scripted(
    tmp_path: Path, *replies: Reply, prompt: Prompt = ASKED
) -> tuple[list[Completion], list[dict[str, Any]]]:
    with serving_script(tmp_path / "s", lambda path, request, count: replies[count - 1]) as seen:
        answers = ask(f"unix://{tmp_path / 's'}", prompt)
    assert len(seen) == len(replies)
    return answers, [request for _, request in seen]


def test_a_form_is_sent_as_a_schema_and_what_fits_is_taken(tmp_path: Path) -> None:
    [answer], [sent] = scripted(tmp_path, (200, chat('{"grade":2}')))
    assert answer == Completion('{"grade":2}', "stop", 0, decoding="constrained")
    assert sent["response_format"]["json_schema"]["schema"] == FORM


def test_a_form_is_sent_with_a_text_that_is_continued_as_well(tmp_path: Path) -> None:
    text = Prompt(text="Grade:", schema=FORM, raw=True)
    [answer], [sent] = scripted(tmp_path, (200, completion('{"grade":2}')), prompt=text)
    assert answer.decoding == "constrained"
    assert (sent["prompt"], sent["response_format"]["json_schema"]["schema"]) == ("Grade:", FORM)


@pytest.mark.parametrize(
    "trouble",
    [
        (400, failure("grammar not supported")),
        (500, failure("engine")),
        (200, b"no json"),
        (200, chat("{" + " " * 40, reason="length")),
        (200, chat('{"grade":9}')),
        (200, chat("")),
    ],
    ids=["refused", "broken", "no protocol", "runaway", "off the form", "empty"],
)
def test_what_fails_under_a_schema_is_asked_once_without(tmp_path: Path, trouble: Reply) -> None:
    [answer], requests = scripted(tmp_path, trouble, (200, chat('```json\n{"grade": 3}\n```')))
    assert (answer.text, answer.finish_reason, answer.decoding) == ('{"grade": 3}', "stop", "free")
    assert ["response_format" in request for request in requests] == [True, False]


def test_a_server_that_hangs_on_a_schema_is_asked_without(tmp_path: Path) -> None:
    release = threading.Event()

    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        if "response_format" in request:
            release.wait(10)
            return None
        return 200, chat('{"grade": 1}')

    with serving_script(tmp_path / "s", reply) as seen:
        [answer] = ask(f"unix://{tmp_path / 's'}", ASKED, schema_timeout=1)
        release.set()
    assert (json.loads(answer.text), answer.decoding, len(seen)) == ({"grade": 1}, "free", 2)


def test_a_lost_connection_is_tried_again_under_the_schema(tmp_path: Path) -> None:
    [answer], requests = scripted(tmp_path, None, (200, chat('{"grade":1}')))
    assert answer.decoding == "constrained"
    assert all("response_format" in request for request in requests)


@pytest.mark.parametrize(
    ("freely", "reason"),
    [
        ((200, chat("I give it a 2.")), "not in form"),
        ((200, chat('{"grade": 2} I think')), "not in form"),
        ((200, chat('{"grade": 2, "grade": 3}')), "not in form"),
        ((200, chat("[]")), "not in form"),
        ((200, chat("")), "not in form"),
        ((200, chat('{"grade": 2}', reason="length")), "length"),
        ((400, failure("too long")), "refused: Error code: 400"),
    ],
)
def test_a_failure_is_never_an_empty_result(tmp_path: Path, freely: Reply, reason: str) -> None:
    [answer], _ = scripted(tmp_path, (200, chat("no")), freely)
    assert answer.finish_reason.startswith(reason)
    assert answer.decoding == "free"


def test_only_those_of_several_that_failed_are_asked_again(tmp_path: Path) -> None:
    several = Prompt(messages=ASKED.messages, schema=FORM, n=3)
    answers, requests = scripted(
        tmp_path,
        (200, chat('{"grade":1}', "hm", '{"grade":2}')),
        (200, chat('{"grade": 3}')),
        prompt=several,
    )
    assert [(a.text, a.decoding) for a in answers] == [
        ('{"grade":1}', "constrained"),
        ('{"grade":2}', "constrained"),
        ('{"grade": 3}', "free"),
    ]
    assert [request["n"] for request in requests] == [3, 1]


def test_the_form_is_read_strictly() -> None:
    good = ['{"grade":1}', ' {"grade": 1}\n', '```json\n{"grade": 1}\n```', '```\n{"grade": 1}```']
    bad = [
        "",
        "1",
        "null",
        '{"grade": true}',
        '{"grade": 1.5}',
        '{"grade": NaN}',
        '{"grade": 1, "why": ""}',
        '{"grade"',
        'Here: {"grade": 1}',
        '```\n{"grade": 1}\n``` good',
        "[" * 5000,
    ]
    assert [in_form(text, FORM) is not None for text in good + bad] == [True] * len(good) + [
        False
    ] * len(bad)


@pytest.mark.parametrize(
    ("text", "answer", "thinking"),
    [
        ("Four.", "Four.", ""),
        ("  kept as it is ", "  kept as it is ", ""),
        ("<think>two and two</think>\n\nFour.", "Four.", "two and two"),
        ("<think>\n\n</think>\n\nFour.", "Four.", ""),
        ("the template opened it</think>Four.", "Four.", "the template opened it"),
        ("<think>never closed", "", "never closed"),
        ("Four. <think>or five?", "Four. ", "or five?"),
        ("[THINK]hm[/THINK]Four.", "Four.", "hm"),
        ("<think>a</think>One <thinking>b</thinking>two", "One two", "a\n\nb"),
    ],
)
def test_thoughts_are_told_from_answers(text: str, answer: str, thinking: str) -> None:
    assert split_thinking(text) == (answer, thinking)


def test_thoughts_are_dropped_or_kept_from_both_endpoints(tmp_path: Path) -> None:
    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        if path.endswith("chat/completions"):
            return 200, chat("Four.", reasoning_content="hm") if count % 2 else chat(
                "Four.", reasoning="hm"
            )
        return 200, completion("<think>hm</think>Four.")

    url = f"unix://{tmp_path / 's'}"
    with serving_script(tmp_path / "s", reply):
        for chat_model in (True, True, False):
            for keep in (True, False):
                [answer] = ask(url, Prompt(text="2+2?"), chat_model=chat_model, keep=keep)
                assert (answer.text, answer.thinking) == ("Four.", "hm" if keep else "")


def test_a_thought_that_uses_up_the_tokens_is_a_cut_off_answer(tmp_path: Path) -> None:
    [answer], _ = scripted(
        tmp_path,
        (200, chat(None, reason="length", reasoning="hm")),
        prompt=Prompt(messages=ASKED.messages),
    )
    assert (answer.text, answer.finish_reason) == ("", "length")


def test_a_thought_stands_in_its_own_field_and_leaves_the_id_alone() -> None:
    options = MagpieOptions(talks_per_episode=1, frame=["U:", "\nA:"])
    replies = iter(
        [Completion("Why?", thinking="never an instruction"), Completion("So.", thinking="hm")]
    )
    _, found = play(magpie(PoolView([]), options, Random(1)), lambda prompt: next(replies))
    [row] = rows_of(found)
    assert (row.instruction, row.output, row.thinking) == ("Why?", "So.", "hm")
    assert row.id == Instance("Why?", output="So.").id


def test_what_formats_do_with_thoughts(tmp_path: Path) -> None:
    row = Instance("Why?", output="So.", thinking="hm")
    holding, refusals = [], []
    for format in EXPORTS:
        try:
            write(
                [replace(row, rejected="No.") if format == "preference" else row],
                format,
                tmp_path / format,
            )
        except DataError as refused:
            refusals.append(refused.message)
        else:
            assert read_instances(tmp_path / format) == [row]
            holding.append(format)
    assert holding == ["jsonl", "messages", "parquet"]
    assert all("has thoughts beside the answer" in message for message in refusals)


def test_logs_and_rows_from_before_stay_readable(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.record(0, 0, 0, {}, "d", [Completion("x", decoding="free", thinking="hm")])
        assert run.recall(0, 0, 0, "d") == [Completion("x", "stop", 0, "hm", "free")]
    before: dict[str, Any] = {"text": "x", "finish_reason": "stop", "tokens": 3}
    assert Completion(**before) == Completion("x", "stop", 3)
    old = Instance("a").to_dict()
    for key in ("thinking",):
        del old[key]
    for key in ("answered_by", "rejected_by", "original"):
        del old["lineage"][key]
    assert Instance.from_dict(old) == Instance("a")


@pytest.mark.vllm
@pytest.mark.slow
def test_a_real_server_keeps_to_the_form_and_what_it_cannot_do_falls_back(nano_server: str) -> None:
    ten = Prompt(messages=ASKED.messages, schema=FORM, n=10, temperature=1.0, max_tokens=16)
    answers = ask(nano_server, ten)
    assert {one.decoding for one in answers} == {"constrained"}
    assert [json.loads(one.text)["grade"] in (1, 2, 3) for one in answers] == [True] * 10
    longer = {
        "type": "object",
        "properties": {"why": {"type": "string", "minLength": 200}},
        "required": ["why"],
    }
    [cut] = ask(nano_server, Prompt(messages=ASKED.messages, schema=longer, max_tokens=20))
    slow = Prompt(messages=ASKED.messages, schema=longer, max_tokens=400)
    [hurried] = ask(nano_server, slow, schema_timeout=0.01)
    assert (cut.decoding, hurried.decoding) == ("free", "free")
    assert {cut.finish_reason, hurried.finish_reason} <= {"length", "not in form"}
