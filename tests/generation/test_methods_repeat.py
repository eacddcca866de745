"""Every method in one scheduler: the same completion log gives the same rows, and a run that died
asks only what is missing."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from localinstruct.formats import read_instances
from localinstruct.generation.stage import converse, make_job
from localinstruct.methods import OVER_DOCUMENTS, OVER_SEEDS
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Instance, Lineage, Prompt
from localinstruct.store.run import Run, open_run
from tests.support.scripted import PLACES, THINGS, VERBS, HashEncoder, ScriptedTeacher

SEEDS = read_instances(
    Path(__file__).parents[2] / "seeds/nano_seed_tasks.jsonl", first_instance_only=True
)


def task(rng: Random) -> str:
    return f"{rng.choice(VERBS)} {rng.randint(2, 99)} {rng.choice(THINGS)} {rng.choice(PLACES)}"


OPTIONS: dict[str, dict[str, Any]] = {
    "self_instruct": {},
    "evol_instruct": {},
    "rewrite": {},
    "magpie": {"turns": 2, "frame": ["U:", "\nA:", "\nU:", "\nA:"]},
    "answer": {"best_of": 2},
    "grounded": {"questions": 2, "per_source": 12},
    "preference": {"answers": 3, "margin": 0.5},
    "constraints": {"answers": 2, "rounds": 2},
    "cot_self_instruct": {"answers": 3},
    "code": {"answers": 2},
}
PASSAGES = [
    Instance(
        "",
        input=f"{' '.join(task(Random(n * k)) for k in range(1, 9))}.",
        lineage=Lineage("document", source=f"{n % 5}.txt"),
    )
    for n in range(1, 41)
]
THEN: dict[str, dict[str, Any]] = {
    "evol_instruct": {"answer": {}, "preference": {"own_answer": True}, "judge": {"at_least": 2}},
    "rewrite": {"constraints": {"answers": 2}},
}
"""Steps after a method."""
COVERAGE: dict[str, dict[str, Any]] = {
    "self_instruct": {
        "demonstrations": "sparse",
        "topics": ["ships", {"topic": "tea", "quota": 12, "weight": 2}],
        "personas": ["a cook", "a sailor"],
    },
    "rewrite": {
        "topics": [
            {"topic": "early", "quota": 18, "seeds": ["[a-m]*"]},
            {"topic": "late", "quota": 22, "seeds": ["[n-z]*"]},
        ]
    },
}
"""Topics, quotas and personas that a method is steered by."""


ENDINGS: dict[str, Callable[[Random], str]] = {
    "(its final answer alone, without an explanation)": lambda rng: (
        f"Reasoning: It is short.\nTask: {task(rng)}\nAnswer: 7"
    ),
    "Answer: (the final answer)": lambda rng: f"{task(rng)}\nAnswer: {rng.choice((7, 7, 8))}",
    "(what it returns, in two to four sentences)": lambda rng: f"Function: f(x)\nTask: {task(rng)}",
    "Answer:": lambda rng: rng.choice(("Yes", "No", "No")),
}
"""Last words of a prompt -> a reply in the form that it asks for."""


class Anybody(ScriptedTeacher):
    """Says something a method can use for each of its prompts, by the prompt alone; dies after
    `lives` answers."""

    def __init__(self, lives: int = 10**9, delay: float = 0.002) -> None:
        super().__init__(delay=delay)
        self.lives = lives

    async def complete(self, prompt: Prompt) -> list[Completion]:
        if self.asked >= self.lives:
            raise RuntimeError("gone")
        self.asked += 1
        # Magpie sends the same prompt for ever
        rng = Random(prompt.digest + str(self.asked) * prompt.raw)
        await asyncio.sleep(self._delay * rng.random())
        return [Completion(self.words(prompt, rng), "stop", 7) for _ in range(prompt.n)]

    def words(self, prompt: Prompt, rng: Random) -> str:
        if prompt.role == "sandbox":
            return self.outcome(json.loads(prompt.text), rng)
        if prompt.schema and "quotes" in prompt.schema["properties"]:
            return self.quotation(prompt.text, rng)
        if prompt.schema:
            grades = [name for name in prompt.schema["properties"] if name != "why"]
            return json.dumps({"why": "So.", **{name: rng.randint(1, 5) for name in grades}})
        if prompt.text.endswith("\n9."):
            return f"{task(rng)}\n10. {task(rng)}\n11) {task(rng)}"
        for ending, reply in ENDINGS.items():
            if prompt.text.endswith(ending):
                return reply(rng)
        if "Task: " in prompt.text and "Example 1" in prompt.text:
            return f"Input: {task(rng)}\nOutput: {task(rng)}\nExample 2\nOutput: {task(rng)}"
        if "Class label" in prompt.text:
            return f"Class label: old\nInput: {task(rng)}\nClass label: new\nInput: {task(rng)}"
        return task(rng)

    def outcome(self, request: dict[str, Any], rng: Random) -> str:
        """That of a function which was executed; now and then it fails."""
        said = "passed" if rng.random() < 0.7 else "assert failed"
        mutants = [{"change": "0 to 1", "outcome": "assert failed"}]
        found = {"outcome": said, "detail": "", "code": request["function"], "asserts": 3}
        return json.dumps({**found, "tests": request["tests"], "mutants": mutants})

    def quotation(self, prompt: str, rng: Random) -> str:
        """Words of the passage; now and then others."""
        words = prompt.partition("<<<")[2].partition(">>>")[0].split()[1:-1]
        first = rng.randrange(len(words) - 5)
        quote = " ".join(words[first : first + 5]) if rng.random() < 0.9 else task(rng)
        return json.dumps({"quotes": [quote], "answer": quote})


def play(run: Run, method: str, teacher: Anybody, target: int = 40) -> list[str]:
    recipe = Recipe.model_validate(
        {
            "name": "t",
            "models": {"teacher": "t", "student": "s"},
            "method": {method: OPTIONS[method]},
            "then": THEN.get(method, {}),
            "coverage": COVERAGE.get(method, {}),
            "generate": {"target": target, "in_flight": 6},
            "filters": {"set": "none"},
            "novelty": {
                "threshold": 0.99,
                "against": "kept" if method in OVER_SEEDS + OVER_DOCUMENTS else "all",
            },
        }
    )
    seeds = PASSAGES if method in OVER_DOCUMENTS else SEEDS
    asyncio.run(converse(make_job(recipe, seeds, "digest"), run, teacher, HashEncoder(), Silent()))
    return [row.id for row in run.kept()]


@pytest.mark.parametrize("method", [name for name in OPTIONS if name != "magpie"])
def test_rows_do_not_depend_on_timing(method: str, tmp_path: Path) -> None:
    results = []
    for name, delay in (("fast", 0.0), ("slow", 0.01)):
        with open_run(tmp_path / name) as run:
            results.append(play(run, method, Anybody(delay=delay)))
    assert results[0] == results[1]
    assert len(results[0]) >= 40


@pytest.mark.parametrize("method", COVERAGE)
def test_quotas_hold_to_the_row_in_every_method(method: str, tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        play(run, method, Anybody())
        rows = Counter(row.lineage.topic for row in run.kept())
        full = "quota full" in {reason for _, reason, _ in run.reject_counts()}
    if method == "rewrite":
        assert rows == {"early": 18, "late": 22}
    else:
        assert rows["tea"] == 12
        assert rows["ships"] >= 28
    assert full


def test_no_document_has_more_rows_than_its_cap(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        play(run, "grounded", Anybody(), target=1000)
        rows = Counter(row.lineage.source for row in run.kept())
        assert "document full" in {reason for _, reason, _ in run.reject_counts()}
    assert len(rows) == 5
    assert 8 <= max(rows.values()) <= 12


@pytest.mark.parametrize("method", OPTIONS)
def test_a_run_that_died_keeps_its_rows_and_asks_only_what_is_missing(
    method: str, tmp_path: Path
) -> None:
    asked, rows = 0, list[str]()
    with open_run(tmp_path) as run:
        for lives in (9, 23, 10**9):
            teacher = Anybody(lives)
            try:
                play(run, method, teacher)
            except RuntimeError:
                assert teacher.asked == lives
            asked += teacher.asked
            now = [row.id for row in run.kept()]
            assert now[: len(rows)] == rows
            rows = now
        logged = len(run.completion_usage()[1])
    assert len(rows) >= 40
    assert len(set(rows)) == len(rows)
    assert logged <= asked <= logged + 2 * 6 * 7  # in flight when it died, per death
