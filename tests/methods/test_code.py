"""Code: exercises, functions and asserts are asked apart and executed by whoever plays the episode;
what is kept passed, and what is not says why. Run: pytest tests/methods/test_code.py"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from localinstruct.errors import RecipeError, UsageError
from localinstruct.formats import read_instances
from localinstruct.generation.inputs import require_start
from localinstruct.generation.sandbox import WithSandbox, sandbox
from localinstruct.methods import MethodSection
from localinstruct.methods.code import SANDBOX, CodeOptions, code, code_in, signature_of
from localinstruct.offline import landlock
from localinstruct.offline.code_runner import CodeRunner
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe, find_recipe, load_recipe
from localinstruct.records import Completion, Instance, PoolView, Prompt, Reject
from tests.methods.test_alpaca import golden
from tests.support.episodes import Reply, play, reasons_of, rows_of, told
from tests.support.scripted import ScriptedTeacher

ROOT = Path(__file__).parents[2]
SEEDS = tuple(read_instances(ROOT / "seeds" / "code_tasks.jsonl"))
OPTIONS = CodeOptions(tasks_per_episode=1, answers=2)
EXERCISE = (
    "Function: double_all(numbers)\nTask: Returns a list with every number doubled. An empty list "
    "gives an empty list."
)
RIGHT = "```python\ndef double_all(numbers):\n    return [number * 2 for number in numbers]\n```"
WRONG = "```python\ndef double_all(numbers):\n    return [number + 2 for number in numbers]\n```"
TESTS = (
    "```python\nassert double_all([]) == []\nassert double_all([1, 3]) == [2, 6]\n"
    "assert double_all([-1]) == [-2]\n```"
)
MUTANTS = [{"change": "line 2: 2 to 3", "outcome": "assert failed"}]


def verdict(request: dict[str, Any], outcome: str, mutants: Sequence[Any] = MUTANTS) -> str:
    found = {"outcome": outcome, "detail": "", "code": request["function"]}
    return json.dumps({**found, "tests": request["tests"], "mutants": [*mutants], "asserts": 3})


def played(
    functions: Sequence[Reply],
    outcomes: Sequence[str],
    exercise: Reply = EXERCISE,
    tests: Reply = TESTS,
    mutants: Sequence[Any] = MUTANTS,
    options: CodeOptions = OPTIONS,
) -> tuple[list[list[Prompt]], list[Instance | Reject]]:
    coming = iter(outcomes)

    def reply(prompt: Prompt) -> Reply | list[Reply]:
        if prompt.role == SANDBOX:
            return verdict(json.loads(prompt.text), next(coming), mutants)
        if prompt.role == "answerer":
            return tests if "You do not see it" in prompt.text else [*functions]
        return exercise

    return play(code(PoolView(SEEDS), options, Random(1)), reply)


def test_episode_golden() -> None:
    calls, found = played([WRONG, RIGHT], ["assert failed", "passed"])
    ids = {seed.id: seed.name for seed in SEEDS}
    golden("code_episode.json", json.dumps(told(calls, found, ids), indent=1) + "\n")


def test_functions_and_tests_do_not_see_each_other() -> None:
    calls, found = played([RIGHT, WRONG], ["passed", "assert failed"])
    [[task], [functions, tests], runs] = calls
    assert "assert" not in functions.text
    assert "return [" not in tests.text
    assert (functions.n, tests.n, len(runs)) == (2, 1, 2)
    request = json.loads(runs[0].text)
    assert request["function"].startswith("def double_all")
    assert request["tests"].count("assert") == 3
    [row] = rows_of(found)
    assert row.output == RIGHT
    assert row.rejected == WRONG
    assert row.instruction.startswith("Write a Python function double_all(numbers). Returns")
    assert row.lineage.evidence[1] == "assert double_all([1, 3]) == [2, 6]"
    assert row.lineage.scores == {"passed": 0.5, "mutants_noticed": 1.0}
    assert task.text.count("Function: ") == 3


def test_no_pair_where_none_is_wanted_or_none_is_wrong() -> None:
    without = OPTIONS.model_copy(update={"pairs": False})
    _, found = played([RIGHT, WRONG], ["passed", "assert failed"], options=without)
    assert [row.rejected for row in rows_of(found)] == [""]
    _, found = played([RIGHT, WRONG], ["passed", "too slow"])
    assert [row.rejected for row in rows_of(found)] == [""]


@pytest.mark.parametrize(
    ("functions", "outcomes", "reason"),
    [
        ([WRONG, RIGHT], ["assert failed", "raised an error"], "assert failed"),
        ([WRONG, RIGHT], ["tried a file", "tried a file"], "tried a file"),
        ([Completion(RIGHT, "length")] * 2, [], "truncated"),
        (["", " "], [], "no function"),
    ],
)
def test_what_no_function_passes_is_a_reject(
    functions: list[Reply], outcomes: list[str], reason: str
) -> None:
    _, found = played(functions, outcomes)
    assert reasons_of(found) == [reason]
    assert not rows_of(found)


def test_mutants_decide_too() -> None:
    unnoticed = [{"change": "x", "outcome": "passed"}, {"change": "y", "outcome": "too slow"}]
    _, found = played([RIGHT, RIGHT], ["passed"], mutants=unnoticed)
    assert len(rows_of(found)) == 1  # half of them fail
    strict = OPTIONS.model_copy(update={"noticed": 0.6})
    _, found = played([RIGHT, RIGHT], ["passed"], mutants=unnoticed, options=strict)
    assert reasons_of(found) == ["mutants not noticed"]
    lax = OPTIONS.model_copy(update={"noticed": 0.0})
    _, found = played([RIGHT, RIGHT], ["passed"], mutants=unnoticed[:1], options=lax)
    assert reasons_of(found) == ["mutants not noticed"]
    _, found = played([RIGHT, RIGHT], ["passed"], mutants=[])
    assert reasons_of(found) == ["nothing to change in it"]


@pytest.mark.parametrize(
    ("exercise", "reason"),
    [
        ("", "empty completion"),
        (Completion(EXERCISE, "length"), "truncated"),
        ("Task: Double it.", "no function named"),
        ("Function: none\nTask: Double it.", "no function named"),
        ("Function: f(x)", "no task"),
    ],
)
def test_an_exercise_that_cannot_be_used_says_why(exercise: Reply, reason: str) -> None:
    _, found = played([], [], exercise=exercise)
    assert reasons_of(found) == [reason]


def test_tests_that_were_cut_are_no_tests() -> None:
    _, found = played([RIGHT, WRONG], [], tests=Completion(TESTS, "length"))
    assert reasons_of(found) == ["no tests"]


def test_code_is_found_in_fences_and_without() -> None:
    assert code_in(Completion("Here:\n```python\nx = 1\n```\nDone.")) == "x = 1"
    assert code_in(Completion("x = 1\n")) == "x = 1"
    assert code_in(Completion("```java\nx\n```")) == ""


def test_seeds_say_their_function_and_others_are_refused() -> None:
    assert len(SEEDS) == 16
    assert all(signature_of(seed) in seed.instruction for seed in SEEDS)
    recipe = load_recipe(find_recipe("code"), ("sealed=false",))
    with pytest.raises(RecipeError, match="defines a Python function"):
        require_start(recipe, [Instance("Name a river.", output="Nile")])
    with pytest.raises(UsageError, match="--sealed"):
        require_start(recipe, SEEDS)
    other = load_recipe(find_recipe("cot-self-instruct"))
    with pytest.raises(RecipeError, match="short final answer"):
        require_start(other, [Instance("Tell a story.", output="Once there was a fox. " * 9)])


needs_landlock = pytest.mark.skipif(
    landlock.abi() < landlock.FILES_ABI, reason="no Landlock for files here"
)


@needs_landlock
def test_every_seed_passes_asserts_of_its_own_and_is_changed_into_mutants() -> None:
    asserts = {
        "count_vowels": "assert count_vowels('Aeb') == 2\nassert count_vowels('') == 0",
        "clamp": "assert clamp(5, 1, 3) == 3\nassert clamp(0, 1, 3) == 1",
        "minutes_between": "assert minutes_between('23:50', '00:10') == 20",
        "median": "assert median([3, 1, 2]) == 2\nassert median([1, 2]) == 1.5",
        "digit_sum": "assert digit_sum(-123) == 6",
        "rotate": "assert rotate([1, 2, 3], 1) == [3, 1, 2]\nassert rotate([], 3) == []",
    }
    chosen = [seed for seed in SEEDS if seed.name in asserts]
    assert len(chosen) == len(asserts)
    with CodeRunner() as runner:
        for seed in chosen:
            request = {"function": seed.output, "tests": asserts[seed.name], "name": seed.name}
            said = runner.check({**request, "asserts": 1, "mutants": 6})
            assert said["outcome"] == "passed", (seed.name, said)
            assert said["mutants"]


@needs_landlock
def test_the_sandbox_executes_and_the_teacher_answers_the_rest() -> None:
    class Says(ScriptedTeacher):
        async def complete(self, prompt: Prompt) -> list[Completion]:
            return [Completion(prompt.text.upper())]

    calls, _ = played([RIGHT], ["passed"])
    with CodeRunner() as runner:
        both = WithSandbox(Says(), runner)
        [said] = asyncio.run(both.complete(calls[2][0]))
        [other] = asyncio.run(both.complete(Prompt("hello")))
    assert json.loads(said.text)["outcome"] == "passed"
    assert other.text == "HELLO"


@needs_landlock
def test_ctrl_c_waits_for_no_function() -> None:
    slow = "def double_all(numbers):\n    while True:\n        numbers = [*numbers]\n"
    calls, _ = played([slow], ["passed"])
    [prompt] = calls[2]

    async def stopped() -> None:
        both = WithSandbox(ScriptedTeacher(), runner)
        tasks = [asyncio.create_task(both.complete(prompt)) for _ in range(4)]
        await asyncio.sleep(0.2)
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in done)

    with CodeRunner(seconds=50) as runner:
        runner.run("x = 1")
        asyncio.run(asyncio.wait_for(stopped(), 20))
        assert runner.check(json.loads(prompt.text))["outcome"] == "was ended"


def test_methods_that_execute_nothing_start_nothing() -> None:
    with sandbox(MethodSection.model_validate({"alpaca": {}}), Silent()) as runner:
        assert runner is None
    executes = MethodSection.model_validate({"code": {}})
    with pytest.raises(UsageError, match=r"method\.code"), sandbox(executes, Silent()):
        pass
    assert isinstance(load_recipe(find_recipe("code")), Recipe)
