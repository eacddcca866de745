"""Values for a chat template: where they hold, how they travel, and names that it does not read."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import ModelError, RecipeError
from localinstruct.models.catalog import ModelSpec, checked, load_catalog
from localinstruct.models.chat_template import chosen_text
from localinstruct.progress import Silent
from localinstruct.recipe import packaged_workspace
from localinstruct.records import Prompt
from localinstruct.teacher import Sampling, Serve
from localinstruct.teacher.client import Client
from localinstruct.teacher.serving import server_of, serving
from localinstruct.training.student import load_tokenizer
from tests.support.openai_server import chat, completion, serving_script
from tests.support.sound_model import dump, sound_model

THINKER = (
    "{%- for message in messages %}{{ '<|' + message.role + '|>' + message.content }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think></think>' }}"
    "{%- endif %}{% endif %}"
)
ENTRY = (
    "m:\n  path: sound\n  chat: true\n  roles: [teacher, student]\n  context: 512\n  licence: MIT\n"
)


def entry(folder: Path, more: str = "", template: str = THINKER) -> ModelSpec:
    if not (folder / "sound").exists():
        dump(sound_model(folder) / "tokenizer_config.json", {"chat_template": template})
    (folder / "models.yaml").write_text(ENTRY + more)
    return load_catalog(folder).get("m")


def asked(spec: ModelSpec, **more: Any) -> str:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    text = chosen_text(spec.directory, spec.template)
    assert text is not None
    turns = [{"role": "user", "content": "Hi"}]
    made = ImmutableSandboxedEnvironment().from_string(text)
    return str(made.render(messages=turns, add_generation_prompt=True, **more))


def test_values_hold_wherever_the_template_is_used(tmp_path: Path) -> None:
    assert asked(entry(tmp_path)) == "<|user|>Hi<|assistant|>"
    off = entry(tmp_path, "  chat_template_kwargs: {enable_thinking: false}\n")
    assert asked(off) == "<|user|>Hi<|assistant|><think></think>"
    assert asked(off, enable_thinking=True) == asked(off)
    assert checked(off) == off.directory


@pytest.mark.parametrize(
    ("value", "shown"),
    [("low", "low"), ('"it\'s \\"so\\""', 'it\'s "so"'), ("3", "3"), ("0.5", "0.5"), ("é", "é")],
)
def test_a_value_arrives_as_it_is_written(tmp_path: Path, value: str, shown: str) -> None:
    template = "{{ effort }}{% for message in messages %}{% endfor %}"
    spec = entry(tmp_path, f"  chat_template_kwargs: {{effort: {value}}}\n", template)
    assert asked(spec) == shown


def test_a_name_that_the_template_does_not_read_is_named(tmp_path: Path) -> None:
    spec = entry(tmp_path, "  chat_template_kwargs: {enable_thinkin: false}\n")
    with pytest.raises(ModelError, match="enable_thinkin; did you mean 'enable_thinking'"):
        checked(spec)
    spec = entry(
        tmp_path, "  chat_template_kwargs: {mood: good}\n  chat_template: '{{ messages }}'\n"
    )
    with pytest.raises(ModelError, match="does not read mood; it reads no names of its own"):
        checked(spec)


def test_a_model_without_a_template_cannot_have_values_for_it(tmp_path: Path) -> None:
    spec = entry(tmp_path, "  chat_template_kwargs: {enable_thinking: false}\n")
    dump(tmp_path / "sound" / "tokenizer_config.json", {})
    with pytest.raises(ModelError, match="expected a chat template that reads them, found none"):
        checked(spec)
    (tmp_path / "models.yaml").write_text(
        ENTRY.replace("chat: true", "chat: false") + "  chat_template_kwargs: {a: 1}\n"
    )
    with pytest.raises(RecipeError, match="expected chat: true beside them"):
        load_catalog(tmp_path)
    missing = spec.model_copy(update={"path": str(tmp_path / "nowhere")})
    assert missing.template is None


def test_the_digest_of_a_model_has_its_values(tmp_path: Path) -> None:
    plain, off, low = (
        entry(tmp_path, f"  chat_template_kwargs: {values}\n").digest
        for values in ("{}", "{enable_thinking: false}", "{enable_thinking: true}")
    )
    assert len({plain, off, low}) == 3
    assert plain == entry(tmp_path).digest


def test_a_student_is_trained_and_asked_with_the_values() -> None:
    nano = load_catalog(packaged_workspace()).get("nano-chat")
    values = {"chat_template": THINKER, "chat_template_kwargs": {"enable_thinking": False}}
    spec = nano.model_copy(update=values)
    tokenizer = load_tokenizer(checked(spec), spec.template)
    turns = [{"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert text.endswith("<think></think>")
    server = server_of(spec, Serve(), Path("home"), Silent())
    command = server.command(Path("s"))
    place = command.index("--default-chat-template-kwargs")
    assert command[place + 1] == '{"enable_thinking": false}'
    assert "--chat-template" in command


def test_a_server_of_others_is_told_with_each_chat(tmp_path: Path) -> None:
    async def go(is_chat: bool) -> None:
        client = Client(
            f"unix://{tmp_path}/s",
            "m",
            chat=is_chat,
            sampling=Sampling(),
            chat_template_kwargs={"enable_thinking": False},
        )
        try:
            await client.complete(Prompt(text="Hi"))
        finally:
            await client.close()

    def reply(path: str, *_: Any) -> Any:
        return 200, chat("yes") if "chat" in path else completion("yes")

    with serving_script(tmp_path / "s", reply) as seen:
        asyncio.run(go(True))
        asyncio.run(go(False))
    [(_, spoken), (_, continued)] = seen
    assert spoken["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in continued


@pytest.mark.vllm
@pytest.mark.exhaustive
@pytest.mark.parametrize("refuses", [False, True])
def test_a_value_reaches_the_template_in_a_real_vllm(tmp_path: Path, refuses: bool) -> None:
    nano = load_catalog(packaged_workspace()).get("nano-chat")
    own = chosen_text(nano.directory, nano.chat_template)
    template = "{% if refuses %}{{ raise_exception('as told') }}{% endif %}" + str(own)
    values = {"chat_template": template, "chat_template_kwargs": {"refuses": refuses}}
    serve = Serve(max_num_seqs=4, max_model_len=512)

    async def go(connect: Any) -> Any:
        client = connect("nano-chat", Sampling(max_tokens=20, temperature=0.0))
        try:
            return await client.complete(Prompt(text="Give the plural of dog."))
        finally:
            await client.close()

    with serving(nano.model_copy(update=values), serve, tmp_path, Silent()) as connect:
        [answer] = asyncio.run(go(connect))
    assert ("as told" in answer.finish_reason) == refuses
    assert (answer.text == "") == refuses
