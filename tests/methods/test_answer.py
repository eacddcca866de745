"""Answers one at a time: as a method over a file, as a step, and the best of several."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from localinstruct.errors import RecipeError
from localinstruct.generation.inputs import require_chats
from localinstruct.generation.stage import converse, make_job
from localinstruct.methods.answer import AnswerOptions, answer, answer_rows
from localinstruct.models.catalog import ModelSpec
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Instance, Lineage, Message, PoolView, Prompt
from localinstruct.store.run import open_run
from tests.methods.test_alpaca import golden
from tests.support.episodes import grade, play, reasons_of, rows_of, scripted, told
from tests.support.scripted import HashEncoder

ROWS = [
    Instance("Name a tree.", output="Rock.", lineage=Lineage("alpaca", 3)),
    Instance("Add the numbers.", "2 3", "6"),
    Instance("Say hi.", output="Yo."),
    Instance("Name a river.", output="?"),
    Instance("Spell owl.", output="?"),
]
BEST = AnswerOptions.model_validate(
    {"best_of": 2, "keep_original": True, "grading": {"rubric": "alpaca-5-point"}}
)


SCRIPT: list[list[Any]] = [
    [
        ["Oak.", "A tree is\n\n"],
        ["5", Completion("The sum of", "length")],
        [Completion("", "length"), " "],
        [Completion("", "refused: too long")] * 2,
        ["o w l", "owl"],
    ],
    [grade(3), grade(4), Completion("{", "length"), Completion("?", "not in form"), grade(2)],
]


def test_episode_golden() -> None:
    calls, found = play(answer_rows(ROWS, BEST, Random(1)), scripted(*SCRIPT))
    golden(
        "answer_episode.json",
        json.dumps(told(calls, found, {}), indent=1, ensure_ascii=False) + "\n",
    )


def test_the_best_graded_answer_stays_and_says_who_wrote_it() -> None:
    [asked, _], found = play(answer_rows(ROWS, BEST, Random(1)), scripted(*SCRIPT))
    assert {(prompt.role, prompt.n) for prompt in asked} == {("answerer", 2)}
    assert asked[1].messages == (Message("user", "Add the numbers.\n\n2 3"),)
    tree, spelt = rows_of(found)
    assert tree.output == "A tree is"
    assert tree.lineage == Lineage(
        "alpaca", 3, answered_by="answerer", original="Rock.", scores={"alpaca-5-point": 4}
    )
    assert spelt.output == "owl"
    assert spelt.lineage.scores == {"alpaca-5-point": 2, "alpaca-5-point.ungraded": 1}
    assert sorted(reasons_of(found)) == ["judge cut off", "no answer", "not answered"]


def test_an_ungraded_row_stays_if_the_recipe_says_so() -> None:
    options = BEST.model_copy(
        update={"grading": BEST.grading.model_copy(update={"on_failure": "keep"})}
    )
    _, found = play(answer_rows(ROWS, options, Random(1)), scripted(*SCRIPT))
    assert [(row.output, row.lineage.scores) for row in rows_of(found)][1] == ("5", {})


def test_one_answer_needs_no_judge() -> None:
    options = AnswerOptions(system="Be brief.")
    talk = Instance("And now?", history=(Message("user", "Hi"), Message("assistant", "Hello")))
    calls, found = play(
        answer_rows([talk], options, Random(1)), lambda prompt: Completion("So. ", thinking="hm")
    )
    [[prompt]] = calls
    assert [turn.role for turn in prompt.messages] == ["system", "user", "assistant", "user"]
    assert rows_of(found) == [
        replace(talk, output="So.", thinking="hm", lineage=Lineage(answered_by="answerer"))
    ]


def test_a_cut_answer_is_a_reject() -> None:
    cut = Completion("The sum", "length")
    _, found = play(answer_rows(ROWS[:1], AnswerOptions(), Random(1)), lambda prompt: cut)
    assert reasons_of(found) == ["answer truncated"]


def recipe(**more: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "t",
            "models": {"teacher": "t", "student": "s", "answerer": "big"},
            "method": {"answer": {}},
            "novelty": {"against": "kept", "threshold": 1},
            "filters": {"set": "none"},
            "generate": {"target": 99},
            **more,
        }
    )


class Echo:
    """Answers a task with its own words."""

    async def complete(self, prompt: Prompt) -> list[Completion]:
        return [Completion(f"Done: {prompt.messages[-1].content}")] * prompt.n


def test_as_a_method_it_answers_the_file_once_and_ends(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        job = make_job(
            recipe(), ROWS, "digest-t", {"teacher": "digest-t", "answerer": "digest-big"}
        )
        for _ in range(2):
            asyncio.run(converse(job, run, Echo(), HashEncoder(), Silent()))
        kept = list(run.kept())
    assert [row.instruction for row in kept] == [row.instruction for row in ROWS]
    assert kept[1].output == "Done: Add the numbers.\n\n2 3"
    assert {row.lineage.answered_by for row in kept} == {"digest-big"}
    assert [row.lineage.parents for row in kept] == [(row.id,) for row in ROWS]


def test_the_method_is_the_step_on_one_task() -> None:
    _, found = play(
        answer(PoolView(ROWS, number=1), AnswerOptions(), Random(1)), lambda prompt: "5"
    )
    [row] = rows_of(found)
    assert (row.instruction, row.output, row.lineage.method) == ("Add the numbers.", "5", "answer")


def spec(name: str, chat: bool) -> ModelSpec:
    return ModelSpec(
        name=name,
        endpoint="http://127.0.0.1:1/v1",
        served_name=name,
        roles=["teacher"],
        chat=chat,
        context=99,
        licence="x",
    )


def test_wrong_recipes_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"novelty.against: expected kept with method.answer"):
        recipe(novelty={})
    with pytest.raises(ValueError, match="takes the tasks of the seed file as they are"):
        recipe(coverage={"topics": [{"topic": "x", "seeds": ["y"]}]})
    both = {"teacher": spec("t", True), "answerer": spec("big", False), "judge": spec("t", True)}
    with pytest.raises(
        RecipeError, match=r"method.answer asks big as answerer in a chat, but it is a base model"
    ):
        require_chats(recipe(), both)
    alpaca = recipe(method={"alpaca": {}}, then={"judge": {}})
    require_chats(alpaca, both)
    with pytest.raises(RecipeError, match=r"then.judge asks"):
        require_chats(alpaca, {**both, "judge": spec("t", False)})
