"""The Alpaca method: its prompt, its episode, its options. Reading the list is in
test_numbered_list.py."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from localinstruct import methods
from localinstruct.config import parse
from localinstruct.errors import RecipeError
from localinstruct.methods import METHODS, MethodSection, Then
from localinstruct.methods.alpaca import (
    AlpacaOptions,
    alpaca,
    build_prompt,
    draw_demonstrations,
    packaged_prompts,
    stops,
)
from localinstruct.methods.numbered_list import parse_list
from localinstruct.records import Completion, Instance, PoolView, Prompt, Reject

HERE = Path(__file__).parents[1]
SEEDS = [
    Instance("Give the plural of the  noun:", "mouse", "mice", name="plural"),
    Instance("Name three things\nthat float on water.", "", "A cork, a leaf and a boat."),
    Instance("Is the sentence a question?", "Where is the key?", "Yes", is_classification=True),
    Instance("Translate the greeting into Italian.", "Good evening", "Buona sera"),
    Instance("Which month comes after March?", "", "April"),
]


def golden(name: str, text: str) -> None:
    """Compare with tests/golden/NAME; LOCALINSTRUCT_GOLDEN=1 (make golden) rewrites it, and the
    diff is the review."""
    path = HERE / "golden" / name
    if os.environ.get("LOCALINSTRUCT_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def play(
    options: AlpacaOptions,
    script: list[list[Completion]],
    pool: PoolView | None = None,
    seed: int = 1,
) -> Any:
    """Run one episode on scripted completions: its prompts and its result."""
    episode = alpaca(pool or PoolView(SEEDS), options, Random(seed))
    prompts = next(episode)
    with pytest.raises(StopIteration) as stop:
        episode.send(script)
    return prompts, stop.value.value


def taken_apart(found: list[Instance | Reject]) -> tuple[list[list[str]], list[str]]:
    rows = [[one.instruction, one.input, one.output] for one in found if isinstance(one, Instance)]
    return rows, [one.reason for one in found if isinstance(one, Reject)]


# ---- the prompt


def test_prompt_golden() -> None:
    prompt = build_prompt(SEEDS[:3], AlpacaOptions(domain="railway  maintenance."))
    golden("alpaca_prompt.txt", prompt.text)


def test_prompt_has_alpacas_layout() -> None:
    prompt = build_prompt(SEEDS[:2], AlpacaOptions(prompt_text="Make {count}.{domain}\n\n"))
    assert prompt.text == (
        "Make 20.\n"
        "###\n1. Instruction: Give the plural of the noun\n1. Input:\nmouse\n1. Output:\nmice\n"
        "###\n2. Instruction: Name three things that float on water.\n2. Input:\n<noinput>\n2. "
        "Output:\n"
        "A cork, a leaf and a boat.\n"
        "###\n3. Instruction:"
    )


def test_every_packaged_prompt_states_the_count() -> None:
    assert "alpaca" in packaged_prompts()
    for name, text in packaged_prompts().items():
        assert "{count}" in text, name
        built = build_prompt(SEEDS[:1], AlpacaOptions(prompt=name, tasks_per_prompt=17)).text
        assert "17" in built
        assert "{" not in built.split("###")[0], name


def test_a_domain_is_said_once_and_only_where_asked() -> None:
    plain = build_prompt([], AlpacaOptions()).text
    steered = build_prompt([], AlpacaOptions(domain="beekeeping")).text
    assert steered.count("beekeeping") == 1
    assert steered.replace(" Every task must belong to this domain: beekeeping.", "") == plain


def test_a_demonstration_is_read_back_as_it_was_shown() -> None:
    text = build_prompt(SEEDS, AlpacaOptions(demonstrations=5)).text
    completion = text[text.index("1. Instruction:") + len("1. Instruction:") : text.rindex("###")]
    rows, rejects = taken_apart(parse_list(completion, 1, 20))
    assert rejects == []
    assert [one[1:] for one in rows] == [[seed.input, seed.output] for seed in SEEDS]
    assert rows[0][0] == "Give the plural of the noun"


def test_stops_cut_only_after_the_list() -> None:
    whole = (
        build_prompt(SEEDS * 4, AlpacaOptions()).text.removesuffix("###\n21. Instruction:")
        + "\nIt cost $20. In 2021. Instruction: 20. 21.\n20. x"
    )
    assert not any(stop in whole for stop in stops(20))
    for header in (
        "\n###\n21. Instruction: x",
        "\n21. Instruction: x",
        "\n### 21. Instruction:",
        "\n**21. Instruction:**",
    ):
        written = whole + header
        cut = min(written.find(stop) for stop in stops(20) if stop in written)
        assert written[:cut] in (whole, whole + "\n###")
    assert build_prompt([], AlpacaOptions(tasks_per_prompt=8)).stop == stops(8)


# ---- the episode


SCRIPT = [
    [
        Completion(
            " Write a riddle about a river.\n4. Input:\n<noinput>\n4. Output:\nI run but never "
            "walk.\n"
            "###\n5. Instruction: Count the vowels.\n5. Input:\nbanana\n5. Output:\n3\n"
            "##\n7. Instruction: Rename the file.\n7. Input:\nNone\n7. Output:\n\n"
            "###\n8. Instruction: Say which is heavier.\n8. Input:\na ton, a pound\n8. "
            "Output:\nThe t",
            finish_reason="length",
        )
    ],
    [Completion(" What is 2 + 2?\n4. Input:\nN/A\n4. Output:\n4"), Completion("")],
]


def test_episode_golden() -> None:
    prompts, found = play(AlpacaOptions(prompts_per_episode=2), SCRIPT, seed=7)
    told = [one.to_dict() if isinstance(one, Instance) else asdict(one) for one in found]
    shown = [prompt.text.split("List of 20 tasks:\n")[1].splitlines() for prompt in prompts]
    golden(
        "alpaca_episode.json",
        json.dumps({"shown": shown, "found": told}, indent=1, ensure_ascii=False) + "\n",
    )


def test_rows_name_the_demonstrations_of_their_own_prompt() -> None:
    prompts, found = play(AlpacaOptions(prompts_per_episode=2), SCRIPT, seed=7)
    ids = {seed.id: seed for seed in SEEDS}
    first, second = found[0], found[4]
    assert isinstance(first, Instance)
    assert isinstance(second, Instance)
    assert first.lineage.parents != second.lineage.parents
    for prompt, one in zip(prompts, (first, second), strict=True):
        assert one.lineage.method == "alpaca"
        assert [ids[parent].output in prompt.text for parent in one.lineage.parents] == [True] * 3


def test_the_same_rng_draws_the_same_prompts() -> None:
    def prompts(seed: int) -> list[Prompt]:
        return next(alpaca(PoolView(SEEDS), AlpacaOptions(prompts_per_episode=3), Random(seed)))

    assert prompts(3) == prompts(3)
    assert prompts(3) != prompts(4)
    assert len(prompts(3)) == 3


def test_demonstrations_are_distinct_and_fair() -> None:
    options, doubled = (
        AlpacaOptions(),
        PoolView([*SEEDS, *(replace(seed, name="again") for seed in SEEDS)]),
    )
    drawn = [draw_demonstrations(doubled, options, Random(seed)) for seed in range(200)]
    assert all(len({one.instruction for one in three}) == 3 for three in drawn)
    counts = [
        sum(seed.instruction in {one.instruction for one in three} for three in drawn)
        for seed in SEEDS
    ]
    assert min(counts) > 80
    assert max(counts) < 160


def test_a_small_pool_shows_what_it_has() -> None:
    options = AlpacaOptions(demonstrations=5)
    assert len(draw_demonstrations(PoolView(SEEDS[:2]), options, Random(1))) == 2
    prompts, found = play(
        options, [[Completion(" Sing.\n1. Input:\n-\n1. Output:\nLa")]], PoolView([])
    )
    assert prompts[0].text.endswith("tasks:\n###\n1. Instruction:")
    assert taken_apart(found) == ([["Sing.", "", "La"]], [])


def test_kept_rows_are_shown_once_there_are_enough() -> None:
    options = AlpacaOptions(demonstrations=3, kept_demonstrations=2)
    kept = [Instance(f"Kept task {index}", output="x") for index in range(9)]
    few = draw_demonstrations(PoolView(SEEDS, kept[:1]), options, Random(1))
    assert all(task in SEEDS for task in few)
    places = set()
    for seed in range(30):
        mixed = draw_demonstrations(PoolView(SEEDS, kept), options, Random(seed))
        assert sum(task in kept for task in mixed) == 2
        assert sum(task in SEEDS for task in mixed) == 1
        places.add(next(index for index, task in enumerate(mixed) if task in SEEDS))
    assert places == {0, 1, 2}


# ---- the options


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"demonstrations": 20}, "expected demonstrations below tasks_per_prompt"),
        (
            {"kept_demonstrations": 4},
            "expected kept_demonstrations to be a part of demonstrations; found 4 of 3",
        ),
        ({"prompt": "alpacca"}, "did you mean 'alpaca'?"),
        ({"prompt_text": "Write {count} tasks.", "domain": "law"}, "has no {domain}"),
        ({"demonstration": 2}, "did you mean 'demonstrations'?"),
        ({"tasks_per_prompt": 0}, "greater than or equal to 1"),
        (
            {"demonstrations": 30, "kept_demonstrations": 40},
            "found 30 of 20; expected kept_demonstrations",
        ),
    ],
)
def test_options_that_cannot_work_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse(AlpacaOptions, given, "recipe.yaml")
    assert said in error.value.message


def test_the_method_is_in_the_table() -> None:
    section = parse(MethodSection, {"alpaca": {"demonstrations": 2}}, "recipe.yaml")
    assert METHODS["alpaca"] is alpaca
    assert next(methods.play(section, Then(), PoolView(SEEDS), Random(1)))[0].text.count("###") == 3
