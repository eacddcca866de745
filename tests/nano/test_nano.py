"""The task grammar answers its own tasks, the shipped files are what the code writes, and the
models can be built.

Run alone: python -m pytest tests/nano/test_nano.py
"""

import re
from pathlib import Path
from random import Random

import pytest

from localinstruct.nano import seeds
from localinstruct.nano.grammar import check, families, make_task, readings, recognise
from localinstruct.nano.lexicon import categories, opposites, vocabulary
from localinstruct.nano.pages import mixed_tasks, page, task_list

ROOT = Path(__file__).parents[2]
ITEM = re.compile(
    r"\s*(\d+)\. Instruction: ([^\n]+)\n\1\. Input:\n(.+?)\n\1\. Output:\n(.+?)\s*", re.DOTALL
)
WEIGHTS = ROOT / "localinstruct" / "nano" / "weights"
FAMILIES = sorted(families())
NOT_IN_INSTRUCTIONS = set(
    [
        "image",
        "images",
        "picture",
        "file",
        "files",
        "map",
        "draw",
        "plot",
        "graph",
        "music",
        "video",
        "audio",
    ]
)


def test_there_are_enough_families_and_words() -> None:
    assert len(FAMILIES) >= 40
    assert len(vocabulary()) >= 2000


@pytest.mark.parametrize("name", FAMILIES)
def test_tasks_are_read_back_as_written(name: str) -> None:
    rng = Random(name)
    tasks = [make_task(rng, name) for _ in range(200)]
    for task in tasks:
        found = list(readings(task.instruction, task.input))
        assert {family for family, _ in found} == {name}, task
        assert {families()[name].rule.answer(slots) for _, slots in found} == {task.output}, task
        assert check(task.instruction, task.input, task.output) is True
        assert check(task.instruction, task.input, task.output + " x") is False
    assert len({(task.instruction, task.input) for task in tasks}) > 25


@pytest.mark.parametrize("name", FAMILIES)
def test_tasks_would_pass_the_filters(name: str) -> None:
    rng = Random(name)
    for task in (make_task(rng, name) for _ in range(100)):
        assert len(task.instruction.split()) > 3
        assert task.output not in ("", task.input)
        assert "\n" not in task.output
        assert task.instruction.isascii()
        assert task.instruction[0].isalpha()
        assert not set(task.instruction.lower().split()) & NOT_IN_INSTRUCTIONS


@pytest.mark.parametrize("name", FAMILIES)
def test_every_phrasing_is_used(name: str) -> None:
    assert len(families()[name].phrasings) >= 4
    assert len({p.instruction for p in families()[name].phrasings}) == len(
        families()[name].phrasings
    )


def test_tasks_repeat_by_seed() -> None:
    assert [make_task(Random(3)) for _ in range(5)] == [make_task(Random(3)) for _ in range(5)]
    first, second = Random(4), Random(4)
    assert task_list(first) == task_list(second)
    assert page(first) == page(second)


def test_other_texts_are_not_ours() -> None:
    for text in (
        "Write a poem about the sea.",
        "What is the plural of blorf?",
        "What is the capital of Atlantis?",
        "",
    ):
        assert recognise(text, "") is None
        assert check(text, "", "anything") is None
    assert check("What is the opposite of hot?", "", "cold") is True
    assert check("What is the opposite of hot?", "", "warm") is False


def test_facts_agree_with_each_other() -> None:
    assert all(word != other for word, other in opposites().items())
    assert len(categories()) > 450


def test_shipped_tasks_are_what_the_grammar_writes() -> None:
    assert (ROOT / "seeds" / "nano_seed_tasks.jsonl").read_text("utf-8") == seeds.as_jsonl(
        seeds.seed_tasks()
    )
    assert (ROOT / "seeds" / "nano_eval_tasks.jsonl").read_text("utf-8") == seeds.as_jsonl(
        seeds.eval_tasks()
    )


def test_held_out_tasks_are_held_out() -> None:
    seen = {(seed["instruction"], seed["instances"][0]["input"]) for seed in seeds.seed_tasks()}
    held_out = {(task["instruction"], task["input"]) for task in seeds.eval_tasks()}
    assert len(held_out) == len(seeds.eval_tasks()) == seeds.EVAL_PER_FAMILY * len(FAMILIES) >= 200
    assert not seen & held_out


def test_lists_mix_families_and_are_read_back() -> None:
    tasks = mixed_tasks(Random(1), 20)
    assert len({task.family for task in tasks}) == 20
    text = "".join(text for text, _ in task_list(Random(2)))
    _, _, completion = text.partition("1. Instruction:")
    items = [ITEM.fullmatch(part) for part in f"1. Instruction:{completion}".split("###\n")]
    assert len(items) == 20
    for item in items:
        assert item
        instruction, given, answer = item[2], item[3].replace("<noinput>", ""), item[4]
        assert recognise(instruction, given)
        assert check(instruction, given, answer)


def test_student_pages_never_show_the_formats_of_fine_tuning() -> None:
    rng = Random(5)
    text = "".join(piece for _ in range(500) for piece, _ in page(rng))
    assert len(text) > 100_000
    for mark in ("### ", "Response:", "Instruction:", "Below is", "<noinput>"):
        assert mark not in text


def test_shipped_models_are_small_and_plain() -> None:
    expected = {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    for name in ("teacher", "student"):
        assert {path.name for path in (WEIGHTS / name).iterdir()} == expected
        assert "auto_map" not in (WEIGHTS / name / "config.json").read_text("utf-8")
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= 16 * 2**20


def test_micro_build_gives_models_that_load(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from localinstruct.nano.build import build_nano

    seen: list[tuple[int, int]] = []
    build_nano(
        tmp_path,
        size="micro",
        seed=1,
        progress=lambda step, total, loss, speed, eta: seen.append((step, total)),
    )
    assert seen
    for name in ("teacher", "student"):
        model = AutoModelForCausalLM.from_pretrained(tmp_path / name)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / name)
        prompt = tokenizer("What is", return_tensors="pt", return_token_type_ids=False)
        assert len(model.generate(**prompt, max_new_tokens=5)) == 1
        text = "### Response:cold, 12. It's <noinput>\n\n  {\"a\": 'b'}"
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
