"""Methods that end, steps after a method, and prompts for several models: the seams every method
file relies on."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from localinstruct import methods
from localinstruct.config import Section
from localinstruct.errors import RecipeError
from localinstruct.generation.scheduler import Scheduler
from localinstruct.generation.stage import make_gate, make_job
from localinstruct.methods import MethodSection, Then, play
from localinstruct.progress import Silent
from localinstruct.recipe.models import Models
from localinstruct.records import Completion, Episode, Instance, PoolView, Prompt, Reject
from localinstruct.store.run import Run, open_run
from localinstruct.teacher.serving import ModelRouter
from tests.generation.test_scheduler import SEEDS, recipe
from tests.support.scripted import HashEncoder, ScriptedTeacher


class Shout(Section):
    """Options of the step below."""

    role: str = "answerer"


def echo(pool: PoolView, options: object, rng: Random) -> Episode:
    """A method that asks once about its own seed, and ends with the last."""
    seed = pool.seeds[pool.number]
    [[answer]] = yield [Prompt(text=seed.instruction)]
    return [
        Instance(instruction=f"{seed.instruction} again", output=answer.text),
        Reject("parse", "example", "x"),
    ]


def shout(rows: Sequence[Instance], options: Shout, rng: Random) -> Episode:
    """A step that has every row answered by somebody else."""
    answers = yield [Prompt(text=row.instruction, role=options.role) for row in rows]
    return [
        replace(row, output=completion.text.upper())
        for row, [completion] in zip(rows, answers, strict=True)
    ]


class Roles:
    """Answers with the role it was asked in."""

    async def complete(self, prompt: Prompt) -> list[Completion]:
        return [Completion(f"by the {prompt.role}", "stop", 3)]


@pytest.fixture
def finite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods.METHODS, "alpaca", echo)
    monkeypatch.setitem(methods.FINITE, "alpaca", lambda seeds, options: len(seeds))


def scheduler(run: Run, **generate: object) -> Scheduler:
    chosen = recipe(**generate)
    job, encoder = make_job(chosen, SEEDS, "digest"), HashEncoder()
    gate = make_gate(chosen.novelty, SEEDS, encoder, Silent())
    return Scheduler(job, run, Roles(), encoder, gate, lambda commit: None)


@pytest.mark.usefixtures("finite")
def test_a_finite_method_ends_before_its_target(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        work = scheduler(run, target=60, in_flight=3)
        asyncio.run(work.work())
        assert work.exhausted
        assert [row.instruction for row in run.kept()] == [
            f"{seed.instruction} again" for seed in SEEDS
        ]
        again = scheduler(run, target=60, in_flight=3)
        again.restore()
        asyncio.run(again.work())
        assert run.count_kept() == len(SEEDS)


def test_a_step_works_on_the_rows_and_leaves_the_rejects(monkeypatch: pytest.MonkeyPatch) -> None:
    class Steps(Then):
        shout: Shout | None = None

    monkeypatch.setitem(methods.METHODS, "alpaca", echo)
    monkeypatch.setitem(methods.STEPS, "shout", shout)
    section = MethodSection.model_validate({"alpaca": {}})
    episode = play(section, Steps(shout=Shout()), PoolView(SEEDS), Random(1))
    assert [prompt.role for prompt in next(episode)] == ["teacher"]
    asked = episode.send([[Completion("four")]])
    assert [prompt.role for prompt in asked] == ["answerer"]
    with pytest.raises(StopIteration) as end:
        episode.send([[Completion("five")]])
    assert [
        getattr(row, "output", None) or getattr(row, "reason", None) for row in end.value.value
    ] == [
        "example",
        "FIVE",
    ]


def test_each_role_goes_to_its_model() -> None:
    class Named(ScriptedTeacher):
        def __init__(self, name: str) -> None:
            self.name = name

        async def complete(self, prompt: Prompt) -> list[Completion]:
            return [Completion(self.name)]

    models = Models(teacher="small", student="s", answerer="large", rivals=["third"])
    panel = ModelRouter({name: Named(name) for name in ("small", "large", "third")}, models.asked)  # type: ignore[misc]
    said = {role: asyncio.run(panel.complete(Prompt(role=role)))[0].text for role in models.asked}
    assert said == {"teacher": "small", "answerer": "large", "judge": "small", "rival-1": "third"}
    with pytest.raises(RecipeError, match="rival-2"):
        asyncio.run(panel.complete(Prompt(role="rival-2")))
