"""Ollama folders: the template in Go writes what the student's own writes, with its stops and
today's date."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError

from docs import chat_templates
from localinstruct.errors import TrainerError
from localinstruct.export import export_request
from localinstruct.export.chat_template import chat_template
from localinstruct.export.go_template import Turns, go_template, literal
from localinstruct.export.ollama import Clock, modelfile, stops
from localinstruct.training import student
from tests.export.test_export import JINJA, PLAIN, names, shipped
from tests.support.tiny_student import ROLE_TEMPLATE, byte_level, with_bos
from tests.support.trained_runs import CPU, train_tiny, workspace
from tests.templates.test_rendered import GEMMA

GOLDEN = Path(__file__).parents[1] / "golden" / "ollama_templates.json"
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen 2.5's kind: a system prompt of its own where there is none."""
INSIDE = (
    "{% if messages[0].role == 'system' %}{% set s, talk = messages[0].content, messages[1:] %}"
    "{% else %}{% set s, talk = '', messages %}{% endif %}"
    "{% for m in talk %}{% if m.role == 'user' %}{{ bos_token }}[INST] "
    "{% if loop.first and s %}<<SYS>>\n{{ s }}\n<</SYS>>\n\n{% endif %}{{ m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
"""Llama 2's kind: the system prompt inside the first turn."""
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% "
    "endif %}{% for m in messages %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content "
    "}}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
"""Gemma's kind: no system prompt."""
BRACED = (
    "{% for m in messages %}{{ '{{' }}\"{{ m.role }}\"\u00a0{{ m.content }}{{ '}}' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '{{' }}\"assistant\"\u00a0{% endif %}"
)
"""Braces, quotes, and a blank that does not print."""
REPEATED = (
    "{% if messages[0].role == 'system' %}{% set s, talk = messages[0].content, messages[1:] %}"
    "{% else %}{% set s, talk = '', messages %}{% endif %}"
    "{% for m in talk %}{% if m.role == 'user' %}[INST]{% if loop.last and s %}{{ s }}\n\n{% "
    "endif %}{{ m.content }}[/INST]"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
"""Mistral's kind: the system prompt in the last turn."""
SHOUTED = "{% for m in messages %}{{ m.content | upper }}{% endfor %}"

KINDS = {
    "roles": ROLE_TEMPLATE,
    "default system": DEFAULT_SYSTEM,
    "inside": INSIDE,
    "no system": NO_SYSTEM,
    "braced": BRACED,
    "alpaca": "alpaca",
    "plain file": PLAIN,
}


def talk(*said: str, system: str = "") -> Turns:
    turns = [
        {"role": "assistant" if n % 2 else "user", "content": words} for n, words in enumerate(said)
    ]
    return [{"role": "system", "content": system}, *turns] if system else turns


TALKS = (
    talk("What is {{ this }}?"),
    talk("One,\ntwo", "3", 'and "four"?'),
    talk("a", "b", "c", "d", "e"),
    talk("Hi", system="Be “brief”."),
    talk("Hi", "Hello", "And now?", system="Be brief."),
)


def renderer(kind: str) -> Callable[[Turns], str]:
    tokenizer = with_bos()
    template = (
        KINDS[kind]
        if kind in ("roles", "default system", "inside", "no system", "braced")
        else None
    )
    made = template or chat_template(KINDS[kind], tokenizer)

    def render(turns: Turns) -> str:
        return str(
            tokenizer.apply_chat_template(
                turns, chat_template=made, add_generation_prompt=True, tokenize=False
            )
        )

    return render


def tokenizer_renderer(tokenizer: Any) -> Callable[[Turns], str]:
    def render(turns: Turns) -> str:
        return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))

    return render


def supported(kind: str, turns: Turns) -> bool:
    return turns[0]["role"] != "system" or kind != "no system"


@pytest.mark.parametrize("kind", KINDS)
def test_golden_templates_for_ollama(kind: str) -> None:
    """Every text here was rendered by Go's text/template and by Jinja, with the same result (the
    next test, where Go is)."""
    found = go_template(renderer(kind))
    known = json.loads(GOLDEN.read_text("utf-8")) if GOLDEN.exists() else {}
    if os.environ.get("LOCALINSTRUCT_GOLDEN") == "1":
        GOLDEN.write_text(
            json.dumps(known | {kind: found}, indent=1, ensure_ascii=False) + "\n", "utf-8"
        )
    assert json.loads(GOLDEN.read_text("utf-8"))[kind] == found


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("go")
    source = Path(__file__).parents[1] / "data" / "render_template.go"
    environment = os.environ | {"GOCACHE": str(folder / "cache"), "GO111MODULE": "off"}
    subprocess.run(
        ["go", "build", "-o", str(folder / "render"), str(source)], env=environment, check=True
    )
    return folder / "render"


needs_go = pytest.mark.skipif(
    shutil.which("go") is None, reason="no Go here; the golden texts stand for it"
)


def in_go(go: Path, template: str, turns: Turns) -> str:
    given = {
        "template": template,
        "system": turns[0]["content"] if turns[0]["role"] == "system" else "",
        "messages": turns,
    }
    return subprocess.run(
        [str(go)], input=json.dumps(given), capture_output=True, text=True, check=True
    ).stdout


@needs_go
@pytest.mark.parametrize("kind", KINDS)
def test_go_writes_what_jinja_writes(kind: str, go: Path) -> None:
    render, template = renderer(kind), go_template(renderer(kind))
    talks = [turns for turns in TALKS if supported(kind, turns)]
    assert [in_go(go, template, turns) for turns in talks] == [render(turns) for turns in talks]
    assert len(talks) >= 3


@needs_go
def test_go_writes_what_every_template_of_trl_writes_or_it_is_refused(go: Path) -> None:
    """The 51 come to 20 forms: why the translator is a general one."""
    tokenizer = byte_level(bos_token="<s>", eos_token="</s>")
    written = dict[str, str]()
    for name, text in chat_templates.shipped().items():
        tokenizer.chat_template = text
        try:
            template = go_template(tokenizer_renderer(tokenizer))
        except TrainerError:
            continue
        for turns in TALKS:
            with contextlib.suppress(TemplateError):  # its own refusal of a system prompt
                expected = tokenizer_renderer(tokenizer)(turns)
                assert in_go(go, template, turns) == expected, name
        written[name] = template
    assert (len(written), len(set(written.values()))) == (51, 20)


@pytest.mark.parametrize(
    "template", [REPEATED, SHOUTED, "{{ messages[0].content }}{{ messages[0].content }}", JINJA]
)
def test_a_template_that_is_more_than_texts_between_turns_is_refused(template: str) -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = chat_template(template, tokenizer) if template == JINJA else template
    with pytest.raises(TrainerError, match="more than fixed texts between turns") as caught:
        go_template(tokenizer_renderer(tokenizer))
    assert "--format merged" in caught.value.hint


def test_literals_survive_the_modelfile() -> None:
    assert literal("<|user|>\n") == "<|user|>\n"
    assert literal('say "hi"') == '{{ "say \\"hi\\"" }}'
    assert literal("a\u00a0🙂\u200d{{") == '{{ "a\\U000000a0🙂\\U0000200d{{" }}'


# -- the folder
# --------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "choose_device", lambda: CPU)


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(workspace(tmp_path_factory.mktemp("lab"), with_bos()))


def commands(text: str) -> list[tuple[str, str]]:
    """(name, value) of a Modelfile's commands, read as Ollama's parser reads them: quotes, then
    anything up to a line's end."""
    found, rest = [], text
    while rest := rest.lstrip("\n"):
        line, _, after = rest.partition("\n")
        if line.startswith("#"):
            rest = after
            continue
        name, _, value = rest.partition(" ")
        quote = '"""' if value.startswith('"""') else '"' if value.startswith('"') else ""
        if name == "PARAMETER":
            key, _, value = value.partition(" ")
            name, quote = key, '"' if value.startswith('"') else ""
        inner, _, rest = value[len(quote) :].partition(f"{quote}\n")
        found.append((name, inner))
    return found


def test_an_ollama_folder_has_weights_template_and_stops(run_path: Path, tmp_path: Path) -> None:
    done = shipped(run_path, "ollama", tmp_path / "out")
    text = (tmp_path / "out" / "Modelfile").read_text()
    found = commands(text)
    assert found[0] == ("FROM", ".")
    assert dict(found)["TEMPLATE"] == go_template(renderer("alpaca"))
    assert [value for name, value in found if name == "stop"] == ["<|end|>", "### Instruction:"]
    assert dict(found)["num_ctx"] == "256"
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert done.next.startswith("ollama create first -f {}/Modelfile")
    assert (
        json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["add_bos_token"]
        is False
    )
    # the beginning of text stands in the template, once
    assert "<|pad|>Below is an instruction" in text
    assert names(tmp_path) == ["out"]


def test_a_chat_student_brings_its_own_template_and_stops(run_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = ROLE_TEMPLATE
    wanted = order_of(run_path, template="chat", stop=["<|user|>"])
    assert stops(wanted, tokenizer) == ["<|end|>", "<|user|>"]
    text = modelfile(wanted, tokenizer, 32_768, Clock())
    assert "num_ctx" not in text
    assert dict(commands(text))["TEMPLATE"].startswith('{{ $last := "" }}{{ range .Messages }}')


DATED = {
    "llama 3": (
        "{% if date_string is not defined %}{% if strftime_now is defined %}"
        "{% set date_string = strftime_now('%d %b %Y') %}{% else %}"
        "{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}"
        "<|start|>system\n\nToday Date: {{ date_string }}\n\n"
        "{% if messages[0].role == 'system' %}{{ messages[0].content }}"
        "{% set messages = messages[1:] %}"
        "{% endif %}<|end|>{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
    ),
    "mistral": (
        "{% if messages[0].role == 'system' %}{{ messages[0].content }}"
        "{% set messages = messages[1:] %}"
        "{% else %}The current date is {{ strftime_now('%Y-%m-%d') }}.{% endif %}"
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    ),
    "granite": (
        "Today's Date: {{ strftime_now('%B %d, %Y') }}.\n"
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    ),
}
"""Templates that print the day on which they are rendered."""


@pytest.mark.parametrize("kind", DATED)
def test_the_day_of_the_export_is_not_frozen_into_the_template(kind: str, run_path: Path) -> None:
    import time

    tokenizer, clock = byte_level(), Clock()
    tokenizer.chat_template = DATED[kind]
    text = modelfile(order_of(run_path, template="chat"), tokenizer, 32_768, clock)
    assert "{{ currentDate }}" in dict(commands(text))["TEMPLATE"]
    assert "D0today" not in text
    assert time.strftime("%Y") not in text
    assert "2024" not in text
    own_format = next(iter(clock.formats))
    assert own_format in clock.note()
    assert ("where the student" in clock.note()) is (kind != "mistral")


def test_an_end_of_turn_is_a_stop_beside_the_end_of_text(run_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"]}
    )
    tokenizer.chat_template = GEMMA
    assert stops(order_of(run_path, template="chat"), tokenizer) == ["<|end|>", "<end_of_turn>"]


def order_of(run_path: Path, **changes: Any) -> Any:
    from dataclasses import replace

    from localinstruct.models.catalog import load_catalog
    from localinstruct.pipeline import recipe_of
    from localinstruct.store.run import read_run

    with read_run(run_path) as run:
        recipe, home = recipe_of(run)
    wanted = export_request(recipe, load_catalog(home).get("tiny"), run_path)
    if "stop" in changes:
        changes["base"] = wanted.base.model_copy(update={"chat": True, "stop": changes.pop("stop")})
    return replace(wanted, **changes)
