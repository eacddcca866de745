"""nano-chat: a chat template named in models.yaml, from its text to an answer of the real
server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from localinstruct.errors import ModelError, RecipeError
from localinstruct.models.catalog import ModelSpec, checked, load_catalog
from localinstruct.models.json_files import MAX_TEMPLATE_BYTES
from localinstruct.progress import Silent
from localinstruct.records import Completion, Message, Prompt
from localinstruct.teacher import Sampling, Serve
from localinstruct.teacher.client import Client
from localinstruct.teacher.vllm import Server, vllm_command
from tests.support.nano_server import ROOT, SERVED, nano_workspace
from tests.support.openai_server import chat, completion, serving_script

SPEC = load_catalog(ROOT).get("nano-chat")
PREAMBLE = (
    (ROOT / "localinstruct/methods/prompts/alpaca_nano.txt")
    .read_text("utf-8")
    .strip()
    .format(count=20)
)


def rendered(*turns: tuple[str, str]) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    messages = [{"role": role, "content": content} for role, content in turns]
    template = environment.from_string(SPEC.chat_template or "")
    return template.render(messages=messages, add_generation_prompt=True)


def test_a_question_becomes_an_item_of_the_list_the_nano_teacher_knows() -> None:
    asked = rendered(("user", "Which month\ncomes after March?"))
    item = "###\n1. Instruction: Which month comes after March?\n1. Input:\n<noinput>\n1. Output:\n"
    assert asked == f"{PREAMBLE}\n\n{item}"


def test_what_follows_a_blank_line_is_the_items_input_and_earlier_turns_are_items() -> None:
    asked = rendered(
        ("system", "Be brief."),
        ("user", "Sort the numbers.\n\n3, 1"),
        ("assistant", "1, 3"),
        ("user", "And 5, 4?"),
    )
    assert asked == (
        f"Be brief.\n{PREAMBLE}\n\n###\n1. Instruction: Sort the numbers.\n1. Input:\n3, 1\n1. "
        "Output:\n1, 3\n"
        "###\n2. Instruction: And 5, 4?\n2. Input:\n<noinput>\n2. Output:\n"
    )


def test_the_server_gets_the_template_and_the_digest_tells_it() -> None:
    command = vllm_command(
        Server(Path("m"), "n", Serve(), Path(), "vllm", Silent(), chat_template="x"), Path("f/s")
    )
    assert command[command.index("--chat-template") + 1] == "f/chat_template.jinja"
    bare = load_catalog(ROOT).get("nano-teacher")
    other = SPEC.model_copy(update={"chat_template": "{{ messages }}"})
    assert len({bare.digest, SPEC.digest, other.digest}) == 3


def entry(**keys: Any) -> ModelSpec:
    return SPEC.model_copy(update=keys)


def test_a_template_is_looked_at_before_it_is_served(tmp_path: Path) -> None:
    (tmp_path / "large.jinja").write_text("message" + " " * MAX_TEMPLATE_BYTES)
    (tmp_path / "good.jinja").write_text("{{ messages }}")
    (tmp_path / "latin.jinja").write_bytes(b"messages \xff")
    wrong = {
        "{% for message in messages %}": "not Jinja",
        "hello": "expected a template that renders",
        str(tmp_path / "gone.jinja"): "found nothing there",
        str(tmp_path / "large.jinja"): "expected at most 1,048,576 bytes",
        str(tmp_path / "latin.jinja"): "cannot be read as UTF-8",
    }
    for template, problem in wrong.items():
        with pytest.raises(ModelError, match=problem):
            checked(entry(chat_template=template))
    assert checked(entry(chat_template=str(tmp_path / "good.jinja"))).is_dir()


def test_a_template_file_is_relative_to_models_yaml_and_needs_a_chat(tmp_path: Path) -> None:
    text = (
        "m: {path: m, roles: [teacher], chat: true, context: 64, licence: x, chat_template: "
        "t.jinja}"
    )
    (tmp_path / "models.yaml").write_text(text)
    assert load_catalog(tmp_path).get("m").chat_template == str(tmp_path / "t.jinja")
    (tmp_path / "models.yaml").write_text(text.replace("chat: true", "chat: false"))
    with pytest.raises(RecipeError, match="expected chat: true"):
        load_catalog(tmp_path)


def test_stop_strings_of_the_model_end_answers_and_raw_text_is_continued(tmp_path: Path) -> None:
    def reply(path: str, request: dict[str, Any], count: int) -> tuple[int, bytes]:
        return 200, chat("a") if path.endswith("chat/completions") else completion("b")

    async def ask() -> list[str]:
        client = Client(url, "m", chat=True, sampling=Sampling(), timeout=60, stop=["\n###"])
        prompts = [Prompt(text="x", stop=("y",)), Prompt(text="x", raw=True)]
        texts = [(await client.complete(prompt))[0].text for prompt in prompts]
        await client.close()
        return texts

    url = f"unix://{tmp_path}/s"
    with serving_script(tmp_path / "s", reply) as seen:
        assert asyncio.run(ask()) == ["a", "b"]
    assert [(path, request.get("stop")) for path, request in seen] == [
        ("/v1/chat/completions", ["y", "\n###"]),
        ("/v1/completions", None),
    ]


@pytest.mark.vllm
@pytest.mark.slow
def test_the_nano_teacher_answers_chats(nano_server: str, tmp_path: Path) -> None:
    spec = load_catalog(nano_workspace(tmp_path, nano_server)).get("nano-chat")
    sampling = Sampling(temperature=0, max_tokens=60)

    async def ask(*prompts: Prompt) -> list[Completion]:
        client = Client(
            nano_server, SERVED, chat=True, sampling=sampling, timeout=60, stop=spec.stop
        )
        answers = [(await client.complete(prompt))[0] for prompt in prompts]
        await client.close()
        return answers

    month = Message("user", "Which month comes after March?")
    chain = (
        month,
        Message("assistant", "April"),
        Message("user", "Pick the greatest number in the list.\n\n4, 10, 6"),
    )
    answers = asyncio.run(ask(Prompt(messages=(month,)), Prompt(messages=chain)))
    assert [answer.finish_reason for answer in answers] == ["stop", "stop"]
    assert [answer.text.strip() for answer in answers] == ["April", "10"]
