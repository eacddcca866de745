"""Magpie: the words of a chat template around a talk, the talk itself, and what cannot be used."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from localinstruct.errors import ModelError, RecipeError
from localinstruct.generation.inputs import completed, frame_of
from localinstruct.methods.magpie import MagpieOptions, magpie
from localinstruct.models.catalog import ModelSpec, load_catalog
from localinstruct.recipe import Recipe, load_recipe
from localinstruct.records import Completion, Message, PoolView
from tests.methods.test_alpaca import golden
from tests.support.episodes import play, reasons_of, rows_of, scripted, told

ROOT = Path(__file__).parents[2]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' "
    "}}{% endfor %}"
)
FRAME = [
    "<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>assistant\n",
    "<|im_end|>\n<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>assistant\n",
]
TALKS = MagpieOptions(turns=2, talks_per_episode=3, frame=FRAME)
SCRIPT: list[list[Completion | str]] = [
    [
        "How do bees find home?",
        Completion("Tell me a long", "length"),
        "<think>What to ask</think>Hm?",
    ],
    [" By the sun. "],
    ["And at night?"],
    [Completion("They st", "length")],
]


def recipe(**options: Any) -> Recipe:
    return load_recipe(
        ROOT / "recipes/magpie.yaml", tuple(f"method.magpie.{k}={v}" for k, v in options.items())
    )


def endpoint(**keys: Any) -> ModelSpec:
    given = {
        "name": "m",
        "endpoint": "http://127.0.0.1:1/v1",
        "served_name": "m",
        "roles": ["teacher"],
        "context": 64,
    }
    return ModelSpec(**{**given, "licence": "x", "chat": True, **keys})


def test_episode_golden() -> None:
    calls, found = play(magpie(PoolView([]), TALKS, Random(1)), scripted(*SCRIPT))
    golden(
        "magpie_episode.json",
        json.dumps(told(calls, found, {}), indent=1, ensure_ascii=False) + "\n",
    )


def test_a_talk_goes_on_in_the_templates_words_and_keeps_what_it_had() -> None:
    calls, found = play(magpie(PoolView([]), TALKS, Random(1)), scripted(*SCRIPT))
    assert [prompt.text for prompt in calls[0]] == [FRAME[0]] * 3
    assert all(prompt.raw and prompt.stop == ("<|im_end|>",) for prompt in calls[0] + calls[2])
    talk = f"{FRAME[0]}How do bees find home?{FRAME[1]}By the sun.{FRAME[2]}"
    assert [prompt.text for prompt in calls[2]] == [talk]
    [row] = rows_of(found)
    assert (row.instruction, row.output, row.history) == (
        "How do bees find home?",
        "By the sun.",
        (),
    )
    assert reasons_of(found) == [
        "question truncated",
        "template marks in the question",
        "answer truncated",
    ]


def test_later_turns_become_a_row_with_history() -> None:
    script = scripted(["What is moss?"], ["A plant."], ["Where?"], ["In shade."])
    options = TALKS.model_copy(update={"talks_per_episode": 1, "system": "You like plants."})
    calls, found = play(magpie(PoolView([]), options, Random(1)), script)
    [row] = rows_of(found)
    assert (row.instruction, row.output) == ("Where?", "In shade.")
    assert row.history == (Message("user", "What is moss?"), Message("assistant", "A plant."))
    assert [turn.role for turn in calls[3][0].messages] == ["system", "user", "assistant", "user"]


def test_the_frame_is_read_from_the_template() -> None:
    assert frame_of(endpoint(chat_template=CHATML), TALKS) == FRAME
    system = frame_of(endpoint(chat_template=CHATML), MagpieOptions(system="Be brief."))
    assert system == ["<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n", FRAME[1]]


def test_the_nano_chats_frame_is_the_open_slot_of_its_list() -> None:
    spec = load_catalog(ROOT).get("nano-chat")
    options = completed(recipe(turns=2), spec).options
    assert options.frame[0].endswith("<noinput>.\n\n###\n1. Instruction:")
    assert options.frame[1:] == [
        "\n1. Input:\n<noinput>\n1. Output:\n",
        "\n###\n2. Instruction:",
        "\n2. Input:\n<noinput>\n2. Output:\n",
    ]
    [first, *_] = next(magpie(PoolView([]), options, Random(1)))
    assert first.stop == ("\n1. Input:",)


def test_a_frame_of_ones_own_is_taken() -> None:
    assert completed(recipe(frame='["U:", "A:"]'), endpoint()).options.frame == ["U:", "A:"]
    with pytest.raises(RecipeError, match="expected 4 pieces for 2 turns, found 2"):
        completed(recipe(frame='["U:", "A:"]', turns=2), endpoint())


def test_a_base_model_is_refused_and_so_is_a_template_that_hides() -> None:
    with pytest.raises(RecipeError, match="nano-teacher is a base model"):
        completed(recipe(), load_catalog(ROOT).get("nano-teacher"))
    with pytest.raises(ModelError, match="cannot be read from a tokenizer"):
        completed(recipe(), endpoint())
    with pytest.raises(ModelError, match="does not render a talk of 1 turns"):
        completed(recipe(), endpoint(chat_template="{{ messages[0].role }}"))
    with pytest.raises(ModelError, match="not Jinja"):
        completed(recipe(), endpoint(chat_template="{% for message in messages %}"))
    with pytest.raises(ModelError, match="refuses a talk"):
        completed(
            recipe(), endpoint(chat_template="{{ raise_exception('no ' + messages[0].role) }}")
        )
    with pytest.raises(ModelError, match="its tokenizer has no chat template"):
        completed(
            recipe(), load_catalog(ROOT).get("nano-student").model_copy(update={"chat": True})
        )
