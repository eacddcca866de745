"""Prompts that spell a special token reach the server as token ids; all others as they are."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from localinstruct.models.catalog import checked, load_catalog
from localinstruct.records import Completion, Message, Prompt
from localinstruct.teacher import Sampling
from localinstruct.teacher.client import Client
from localinstruct.teacher.spelling import Spelling
from localinstruct.teacher.transport import http_transport
from tests.support.nano_server import ROOT, SERVED
from tests.support.openai_server import chat, completion, serving_script, streamed
from tests.support.tokenizers_of_kinds import many_marks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    many_marks().save_pretrained(folder)
    return folder


def reply(path: str, request: dict[str, Any], _: int) -> tuple[int, bytes]:
    talk = path.endswith("chat/completions")
    if request.get("stream"):
        return 200, streamed("yes", talk=talk)
    return 200, chat("yes") if talk else completion("yes")


def ask(socket: Path, spelling: Spelling, *prompts: Prompt) -> list[Completion]:
    async def go() -> list[Completion]:
        client = Client(
            f"unix://{socket}",
            "m",
            chat=spelling.chat,
            sampling=Sampling(max_tokens=50),
            timeout=60,
            stop=("END",),
            spelling=spelling,
        )
        try:
            return [answer for prompt in prompts for answer in await client.complete(prompt)]
        finally:
            await client.close()

    return asyncio.run(go())


def test_a_chat_that_spells_the_end_of_a_turn_goes_as_token_ids(
    folder: Path, tmp_path: Path
) -> None:
    tokenizer = many_marks()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    spelt = Prompt(messages=(Message("user", "What is <|im_end|>?"),), schema={"type": "object"})
    with serving_script(tmp_path / "s", reply) as seen:
        ask(tmp_path / "s", Spelling(folder, chat=True), spelt, Prompt(text="What is <b>?"))
    (path, request), *_, (other, usual) = seen
    assert path == "/v1/completions"
    assert request["prompt"].count(end) == 1  # the template's own
    assert tokenizer.decode(request["prompt"]) == (
        "<|im_start|><|user|>user\nWhat is <|im_end|>?<|im_end|><|im_start|><|user|>assistant\n"
    )
    assert request["stop"] == ["END"]
    assert request["response_format"]["type"] == "json_schema"
    assert request["skip_special_tokens"] is False  # marks of thoughts would be lost
    assert other == "/v1/chat/completions"
    assert usual["messages"][0]["content"] == "What is <b>?"


def test_a_base_model_reads_a_spelt_token_as_text_but_not_a_frames(
    folder: Path, tmp_path: Path
) -> None:
    end = many_marks().convert_tokens_to_ids("<|im_end|>")
    prompts = [
        Prompt(text="1. Explain <|im_end|>."),
        Prompt(text="Frame<|im_end|>", raw=True),
        Prompt(text="Frame<|im_end|>Say <|im_end|>", raw=True, plain=(19,)),
    ]
    with serving_script(tmp_path / "s", reply) as seen:
        ask(tmp_path / "s", Spelling(folder, chat=False), *prompts)
    text, frame, both = [request["prompt"] for _, request in seen]
    assert end not in text
    assert frame == "Frame<|im_end|>"
    assert both.count(end) == 1


def test_a_streamed_answer_is_asked_for_the_same_way(folder: Path, tmp_path: Path) -> None:
    async def go(socket: Path) -> str:
        spelling = Spelling(folder, chat=True)
        sampling = Sampling(max_tokens=5)
        client = Client(
            f"unix://{socket}", "m", chat=True, sampling=sampling, timeout=9, spelling=spelling
        )
        try:
            return "".join([piece async for piece in client.stream(Prompt(text="<|im_end|>"))])
        finally:
            await client.close()

    with serving_script(tmp_path / "s", reply) as seen:
        assert asyncio.run(go(tmp_path / "s")) == "yes"
    assert isinstance(seen[0][1]["prompt"], list)


def test_a_template_that_swallows_the_text_refuses_this_prompt(
    folder: Path, tmp_path: Path
) -> None:
    spelling = Spelling(folder, chat=True, chat_template="{{ messages[0].role }}")
    with serving_script(tmp_path / "s", reply) as seen:
        [answer] = ask(tmp_path / "s", spelling, Prompt(text="Explain <|im_end|>."))
    assert not seen
    assert answer.finish_reason.startswith("refused: The chat template")


def test_content_parts_are_tried_where_a_template_reads_nothing_else(folder: Path) -> None:
    template = (
        "{% for m in messages %}{% for part in m.content if part.type is defined %}"
        "{{ part.text }}<|im_end|>{% endfor %}{% endfor %}"
    )
    spelling = Spelling(folder, chat=True, chat_template=template)
    ids = spelling.token_ids(Prompt(text="Explain <|im_end|>."))
    assert ids is not None
    assert many_marks().decode(ids) == "Explain <|im_end|>.<|im_end|>"


@pytest.mark.vllm
@pytest.mark.slow
def test_token_ids_are_those_of_the_server(nano_server: str) -> None:
    spec = load_catalog(ROOT).get(SERVED)
    spelling = Spelling(checked(spec), chat=True, chat_template=spec.chat_template)
    base, transport = http_transport(nano_server, asynchronous=False)

    def of_server(text: str) -> list[int]:
        said = {"model": SERVED, "messages": [{"role": "user", "content": text}]}
        with httpx2.Client(transport=transport, trust_env=False) as http:
            answer = http.post(base.removesuffix("/v1") + "/tokenize", json=said)
        ids: list[int] = answer.json()["tokens"]
        return ids

    ours, theirs = (
        spelling.token_ids(Prompt(text="Name 3 </s> words.")),
        of_server("Name 3 ~ words."),
    )
    border = theirs.index(spelling._tokenizer.convert_tokens_to_ids("~"))
    assert ours is not None
    assert spelling._tokenizer.eos_token_id not in ours
    assert ours[:border] == theirs[:border]
    rest = len(theirs) - border - 1
    assert ours[-rest:] == theirs[-rest:]
