"""Runs that bring nothing end, whatever the form of their silence; and the end says why."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from localinstruct.errors import NothingNew, UsageError
from localinstruct.generation.diagnosis import CURES, STAGES, diagnosis, ending
from localinstruct.generation.scheduler import Job
from localinstruct.generation.stage import converse, make_job
from localinstruct.generation.stop_rule import StopRule
from localinstruct.methods import METHODS, MethodSection
from localinstruct.methods.own import OwnMethod, loaded, own
from localinstruct.own_code import holding
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.recipe.generate import Generate
from localinstruct.records import Completion, Instance, PoolView, Prompt
from localinstruct.store.run import open_run
from tests.generation.test_scheduler import SEEDS
from tests.support.episodes import play
from tests.support.scripted import HashEncoder


class Mute:
    """Answers without a word, and without a count of tokens, as some servers do."""

    async def complete(self, prompt: Prompt) -> list[Completion]:
        return [Completion("", "stop", 0)]


def says_nothing(pool: PoolView, options: object, rng: Random) -> Any:
    return []
    yield


def asks_for_nothing(pool: PoolView, options: object, rng: Random) -> Any:
    yield []
    yield []
    return []


def asks_and_keeps_silent(pool: PoolView, options: object, rng: Random) -> Any:
    yield [Prompt("Name a river.")]
    return []


def for_ever(pool: PoolView, options: object, rng: Random) -> Any:
    while True:
        yield []


def asks_for_ever(pool: PoolView, options: object, rng: Random) -> Any:
    while True:
        yield [Prompt("And?")]


def recipe_of(**sections: object) -> Recipe:
    given: dict[str, object] = {
        "name": "t",
        "models": {"teacher": "t", "student": "s"},
        "method": {"alpaca": {}},
        "generate": {"target": 10, "in_flight": 4, "stop_window": 30},
    }
    given |= sections
    if METHODS.keys() & {"answer", "preference", "grounded"} & set(given["method"]):  # type: ignore[call-overload]
        given["novelty"] = {"against": "kept"}
    return Recipe.model_validate(given)


def own_recipe(function: Callable[..., Any], **generate: object) -> Recipe:
    entry = OwnMethod(name=function.__name__, sha256="0" * 64)
    method = loaded(holding(entry, function), Path())
    chosen = recipe_of()
    section = chosen.method.model_copy(update={"alpaca": None, "own": method})
    few = chosen.generate.model_copy(update=generate)
    return chosen.model_copy(update={"method": section, "generate": few})


def work(recipe: Recipe, folder: Path) -> int:
    with open_run(folder) as run:
        try:
            job = make_job(recipe, SEEDS, "digest")
            asyncio.run(converse(job, run, Mute(), HashEncoder(), Silent()))
        finally:
            episodes = len(run.episodes())
    return episodes


@pytest.mark.parametrize("stop_below", [0.01, 0.0])
@pytest.mark.parametrize("method", [says_nothing, asks_for_nothing, asks_and_keeps_silent])
def test_an_own_method_that_brings_nothing_is_stopped(
    method: Callable[..., Any], stop_below: float, tmp_path: Path
) -> None:
    with pytest.raises(NothingNew) as caught:
        work(own_recipe(method, stop_below=stop_below), tmp_path)
    assert "last 30 episodes" in caught.value.message
    assert f"{method.__name__}.episodes" in caught.value.hint
    with open_run(tmp_path) as run:  # and at once when it is started again
        assert len(run.episodes()) == 30
    with pytest.raises(NothingNew):
        work(own_recipe(method, stop_below=stop_below), tmp_path)


@pytest.mark.parametrize("method", [for_ever, asks_for_ever])
def test_an_episode_that_does_not_end_is_an_error_of_the_method(
    method: Callable[..., Any], tmp_path: Path
) -> None:
    chosen = own_recipe(method).method.own
    assert chosen is not None
    with pytest.raises(UsageError, match=r"yielded 1,000 times and did not return") as caught:
        play(own(PoolView(SEEDS), chosen, Random(0)), lambda prompt: "yes")
    assert f"{Path(__file__).name}:" in caught.value.message


def test_the_others_go_on_while_an_episode_asks_for_nothing(tmp_path: Path) -> None:
    """It is found out although it never waits for anything."""
    with pytest.raises(UsageError, match="did not return"):
        work(own_recipe(for_ever), tmp_path)


def test_rows_in_between_end_the_silence() -> None:
    rule = StopRule(Generate(stop_window=10), own_recipe(says_nothing).method)
    for _ in range(5):
        rule.note(0, 0, 0)
    rule.note(1, 1, 9)
    for _ in range(8):
        rule.note(0, 0, 0)
    rule.check(None, 1)  # type: ignore[arg-type]  # a run is read only when it stops


def test_full_documents_are_no_silence() -> None:
    rule = StopRule(Generate(stop_window=10), MethodSection.model_validate({"grounded": {}}))
    for _ in range(100):
        rule.note(0, 0, 0)
    rule.check(None, 0)  # type: ignore[arg-type]


# -- the diagnosis


def job_of(**sections: object) -> Job:
    return make_job(recipe_of(**sections), SEEDS, "digest")


@pytest.mark.parametrize(
    ("sections", "counts", "words"),
    [
        (
            {"method": {"answer": {}}, "sampling": {"max_tokens": 200}},
            [("parse", "answer truncated", 14)],
            ["14 of 15 candidates: answer truncated (cut at 200 tokens)", "sampling.max_tokens"],
        ),
        (
            {"method": {"magpie": {}}},
            [("parse", "question truncated", 9)],
            ["method.magpie.question_tokens"],
        ),
        ({}, [("novelty", "too similar", 12)], ["at 0.85 now", "sampling.temperature"]),
        ({}, [("parse", "missing output", 12)], ["method", "models.teacher"]),
        ({}, [("filter", "too short", 8)], ["filters.set"]),
        ({}, [("filter", "own filter", 8)], ["your own filter", "show --rejects"]),
        (
            {"then": {"judge": {"at_least": 4}}},
            [("judge", "judged too low", 9)],
            ["then.judge.at_least"],
        ),
        ({}, [("mine", "not blue", 9)], ["9 of 10 candidates: not blue", "show --rejects"]),
        ({}, [("parse", "a new reason", 9)], ["models.teacher"]),
    ],
)
def test_the_dominant_reject_and_the_key_that_cures_it(
    sections: dict[str, object], counts: list[tuple[str, str, int]], words: list[str]
) -> None:
    line = diagnosis(job_of(**sections), counts, 1)
    assert line is not None
    assert "\n" not in line
    for word in words:
        assert word in line, line


def test_nothing_is_said_where_no_reject_stands_out() -> None:
    assert diagnosis(job_of(), [], 20) is None
    assert (
        diagnosis(job_of(), [("parse", "truncated", 2), ("novelty", "too similar", 1)], 17) is None
    )


def test_every_key_of_a_cure_is_a_key_of_recipes() -> None:
    whole = recipe_of().model_json_schema()

    def resolves(key: str) -> bool:
        node = whole
        for part in key.split("."):
            names = [node, *node.get("anyOf", [])]
            found = [one["$ref"] for one in names if "$ref" in one]
            node = whole["$defs"][found[0].rpartition("/")[2]] if found else node
            if part not in node.get("properties", {}):
                return False
            node = node["properties"][part]
        return True

    keys = {key for _, keys in [*CURES.values(), *STAGES.values()] for key in keys}
    assert len(keys) > 15
    assert [key for key in keys if not resolves(key)] == []
    assert not resolves("sampling.max_token")


def test_a_cure_names_no_key_of_another_method() -> None:
    for name in METHODS:
        for stage, reason in [*CURES, *((stage, "?") for stage in STAGES)]:
            job = job_of(method={name: {}}, novelty={"against": "kept"})
            line = diagnosis(job, [(stage, reason, 9)], 1) or ""
            others = [other for other in METHODS if other != name]
            assert not [other for other in others if f"method.{other}." in line], line


def test_the_diagnosis_is_said_once_after_twenty_candidates(tmp_path: Path) -> None:
    class Cut:
        async def complete(self, prompt: Prompt) -> list[Completion]:
            return [Completion("An answer that is cut", "length", 5)]

    said = list[str]()

    class Listening(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    tasks = [Instance(f"Say {number}.", output="…") for number in range(60)]
    chosen = recipe_of(
        method={"answer": {}},
        sampling={"max_tokens": 200},
        generate={"target": 60, "in_flight": 4, "stop_window": 1000},
    )
    with open_run(tmp_path) as run:
        job = make_job(chosen, tasks, "digest")
        asyncio.run(converse(job, run, Cut(), HashEncoder(), Listening()))
    assert [line for line in said if "candidates:" in line] == [
        "20 of 20 candidates: answer truncated (cut at 200 tokens). Look at sampling.max_tokens"
    ]


# -- the end


def test_an_early_end_says_why() -> None:
    kept = [Instance("x", output="y")]
    assert ending(job_of(generate={"target": 1}), 4, kept) == "target reached"
    assert ending(job_of(method={"answer": {}}), 4, kept) == (
        "all 4 tasks of the seed file were asked; more tasks bring more"
    )
    words = ending(job_of(method={"grounded": {"rounds": 2}}), 8, kept)
    assert words.startswith("all 4 passages were asked about 2 times; more documents, or method.")
    full = {"topics": [{"topic": "tea", "quota": 1}]}
    asked = {"alpaca": {"prompt_text": "{domain} {count}"}}
    row = Instance("x", output="y", lineage=kept[0].lineage.__class__(topic="tea"))
    assert "coverage.topics" in ending(job_of(coverage=full, method=asked), 4, [row])
    ours = make_job(own_recipe(says_nothing), SEEDS, "digest")
    assert ending(ours, 7, kept) == "says_nothing has no more than 7 episodes"
