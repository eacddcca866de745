"""Code: small Python functions whose tests were written apart, kept when they pass.

The teacher writes an exercise about one function; then, in completions that do not see each other,
several functions and one set of asserts. They are executed by whoever plays the episode, behind
walls (`offline.code_runner`): a function is kept when all asserts hold, and when enough mutants,
copies of it with one change, fail them (AutoIF, Dong et al. 2024, arXiv 2406.13542, holds functions
against test cases of the model's own too). A function that fails stands beside it as the rejected
answer. A method is without I/O: it yields the request to execute as a prompt of the role
"sandbox", whose completion is the outcome as JSON and stands in the completion log like any other.
Not covered: whether the asserts say what the exercise means, other languages, code of several
files.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from pydantic import Field

from localinstruct.config import Section
from localinstruct.curate.invisible import clean
from localinstruct.methods.prompt_files import prompt_file
from localinstruct.records import (
    Completion,
    Episode,
    EpisodeShape,
    Instance,
    JsonObject,
    Lineage,
    PoolView,
    Prompt,
    Reject,
    fill,
)

SANDBOX = "sandbox"
"""Role of the prompts that are executed, not asked."""
STAGE = "code"
PASSED = "passed"
"""Outcome of a function whose asserts hold."""
_FENCE = re.compile(r"^[ \t]*```[ \t]*(?:python|py|python3)?[ \t]*\n(.*?)^[ \t]*```", re.M | re.S)
_SIGNATURE = re.compile(r"(?:def\s+)?([A-Za-z_]\w{0,60})\s*\(([^()\n]{0,200})\)")
_FUNCTION = re.compile(r"^[ \t>*_#]*Function[ \t*_]*:[ \t*_`]*(.+)$", re.MULTILINE | re.IGNORECASE)
_TASK = re.compile(r"^[ \t>*_#]*Task[ \t*_]*:[ \t*_]*", re.MULTILINE | re.IGNORECASE)


class CodeOptions(Section):
    """Options of code."""

    tasks_per_episode: int = Field(4, ge=1, le=64)
    """Exercises that are written at the same time."""
    seeds_per_task: int = Field(2, ge=1, le=20)
    """Seeds that the teacher sees for each."""
    answers: int = Field(4, ge=1, le=64)
    """Functions asked for each exercise, by the teacher or by models.answerer."""
    asserts: int = Field(3, ge=1, le=50)
    """Asserts that call the function, at least."""
    mutants: int = Field(6, ge=1, le=40)
    """Copies of a function with one change each, at most."""
    noticed: float = Field(0.5, ge=0, le=1)
    """Share of the mutants that must fail; one must in any case."""
    seconds: float = Field(2.0, gt=0, le=60)
    """Time that a function with its asserts may take, and each mutant."""
    memory_mib: int = Field(256, ge=32, le=4096)
    """Memory that they may take."""
    pairs: bool = True
    """Keep a function that fails as the rejected answer (train.objective: dpo)."""
    executes: ClassVar[bool] = True
    """True: what the teacher wrote is executed, so that walls are needed."""
    says_topic: ClassVar[bool] = True

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode."""
        return EpisodeShape(self.tasks_per_episode, self.tasks_per_episode, sees_kept=False)


@dataclass(frozen=True, slots=True)
class Exercise:
    """An exercise about one function, with the seeds it was written after."""

    name: str
    signature: str
    task: str
    parents: tuple[str, ...]

    @property
    def instruction(self) -> str:
        """The exercise as a request to a student."""
        return f"Write a Python function {self.signature}. {self.task}"


def code(pool: PoolView, options: CodeOptions, rng: Random) -> Episode:
    """Some exercises, each with functions and asserts that are executed against each other."""
    count = min(options.seeds_per_task, len(pool.seeds))
    shown = [rng.sample(pool.seeds, count) for _ in range(options.tasks_per_episode)]
    replies = yield [task_prompt(seeds, pool.steer) for seeds in shown]
    results: list[Instance | Reject] = []
    exercises: list[Exercise] = []
    for seeds, [reply] in zip(shown, replies, strict=True):
        exercise = read_exercise(reply, seeds)
        if isinstance(exercise, Exercise):
            exercises.append(exercise)
        else:
            results.append(exercise)
    if not exercises:
        return results
    asked = [prompt for one in exercises for prompt in writing_prompts(one, options)]
    written = yield asked
    entries = [Entry(one, *written[2 * n : 2 * n + 2]) for n, one in enumerate(exercises)]
    runs = [prompt for entry in entries for prompt in entry.runs(options)]
    outcomes = iter((yield runs) if runs else [])
    for entry in entries:
        verdicts = [_outcome(next(outcomes)) for _ in entry.runs(options)]
        results.append(entry.row(verdicts, options))
    return results


def task_prompt(seeds: Sequence[Instance], steer: str) -> Prompt:
    """Ask for a new exercise in the manner of these seeds."""
    demonstrations = "".join(
        fill(
            prompt_file("code", "demonstration") + "\n\n",
            signature=signature_of(seed),
            task=seed.instruction,
        )
        for seed in seeds
    )
    text = fill(
        prompt_file("code", "task"),
        demonstrations=demonstrations.removesuffix("\n"),
        steer=f"\n-{steer}" if steer else "",
    )
    return Prompt(text=text)


def signature_of(seed: Instance) -> str:
    """Name and arguments of the function in a seed's answer; "" without one."""
    found = re.search(rf"^def\s+{_SIGNATURE.pattern}", seed.output, re.MULTILINE)
    return f"{found[1]}({found[2].strip()})" if found else ""


def read_exercise(reply: Completion, seeds: Sequence[Instance]) -> Exercise | Reject:
    """The exercise in a reply; the reject that says what lacks."""
    text, ending = clean(reply.text).strip(), f"finish_reason {reply.finish_reason!r}"
    if not text:
        return Reject("parse", "empty completion", text, ending)
    if reply.finish_reason != "stop":
        return Reject("parse", "truncated", text, ending)
    named = _FUNCTION.search(text)
    signature = _SIGNATURE.search(named[1]) if named else None
    if named is None or signature is None:
        return Reject("parse", "no function named", text, "expected 'Function: name(arguments)'")
    begins = _TASK.search(text, named.end()) or _TASK.search(text)
    said = text[begins.end() :] if begins else ""
    task = " ".join(_FUNCTION.split(said)[0].split("\n\n")[0].split())
    if not task:
        return Reject("parse", "no task", text, f"no words behind 'Task:'; {ending}")
    whole = f"{signature[1]}({' '.join(signature[2].split())})"
    return Exercise(signature[1], whole, task, tuple(seed.id for seed in seeds))


def writing_prompts(exercise: Exercise, options: CodeOptions) -> list[Prompt]:
    """Ask for functions and, apart from them, for the asserts."""
    values: dict[str, str | int] = {
        "signature": exercise.signature,
        "name": exercise.name,
        "task": exercise.task,
        "asserts": max(options.asserts, 5),
    }
    functions = fill(prompt_file("code", "function"), **values)
    tests = fill(prompt_file("code", "tests"), **values)
    return [
        Prompt(text=functions, role="answerer", n=options.answers),
        Prompt(text=tests, role="answerer"),
    ]


def code_in(reply: Completion) -> str:
    """The first block of Python in a reply, or all of it where there is no fence."""
    text = clean(reply.text)
    fence = _FENCE.search(text)
    return (fence[1] if fence else "" if "```" in text else text).strip("\n").rstrip()


@dataclass(frozen=True, slots=True)
class Entry:
    """One exercise with the functions and the tests that were written for it."""

    exercise: Exercise
    functions: Sequence[Completion]
    tests: Sequence[Completion]

    def runs(self, options: CodeOptions) -> list[Prompt]:
        """Requests to execute: every whole function against the tests; [] without tests."""
        tests = code_in(self.tests[0]) if self.tests[0].finish_reason == "stop" else ""
        if not tests:
            return []
        return [
            Prompt(text=json.dumps(_request(self.exercise, text, tests, options)), role=SANDBOX)
            for text in self._whole()
        ]

    def _whole(self) -> list[str]:
        """Functions that were not cut off, no text twice."""
        texts = [code_in(one) for one in self.functions if one.finish_reason == "stop"]
        return list(dict.fromkeys(text for text in texts if text))

    def row(self, verdicts: Sequence[JsonObject], options: CodeOptions) -> Instance | Reject:
        """The row of the first function that passes and whose mutants are noticed."""
        if not verdicts:
            cut = [one for one in (*self.functions, *self.tests) if one.finish_reason != "stop"]
            which = "no tests" if self._whole() else "no function"
            reason = "truncated" if cut and not self._whole() else which
            return Reject("parse", reason, self.exercise.instruction, f"{len(cut)} were cut off")
        good = [one for one in verdicts if is_verified(one, options)]
        if not good:
            return self._reject(verdicts, options)
        best, wrong = good[0], [one for one in verdicts if _is_wrong(one)]
        worse = fenced(wrong[0]["code"]) if wrong and options.pairs else ""
        lineage = Lineage(
            method="code",
            parents=self.exercise.parents,
            answered_by="answerer",
            rejected_by="answerer" if worse else "",
            evidence=tuple(best["tests"].splitlines()),
        )
        output = fenced(best["code"])
        row = Instance(self.exercise.instruction, output=output, rejected=worse, lineage=lineage)
        passing = sum(one["outcome"] == PASSED for one in verdicts) / len(verdicts)
        return row.with_scores(passed=round(passing, 3), mutants_noticed=noticed(best))

    def _reject(self, verdicts: Sequence[JsonObject], options: CodeOptions) -> Reject:
        """The reject of an exercise none of whose functions is verified: the likeliest reason."""
        passing = [one for one in verdicts if one["outcome"] == PASSED]
        said = "; ".join(f"{one['outcome']} {one['detail']}".strip() for one in verdicts)
        if passing:
            shares = f"{noticed(passing[0]):.0%} of {len(passing[0]['mutants'])} mutants fail"
            reason = "mutants not noticed" if passing[0]["mutants"] else "nothing to change in it"
            return Reject(STAGE, reason, self.exercise.instruction, shares)
        reasons = [str(one["outcome"]) for one in verdicts]
        most = max(dict.fromkeys(reasons), key=reasons.count)
        return Reject(STAGE, most, self.exercise.instruction, said[:300])


def _request(exercise: Exercise, function: str, tests: str, options: CodeOptions) -> JsonObject:
    return {
        "function": function,
        "tests": tests,
        "name": exercise.name,
        "asserts": options.asserts,
        "mutants": options.mutants,
    }


def _outcome(completions: Sequence[Completion]) -> JsonObject:
    """Outcome of a request to execute, as the sandbox gave it."""
    found: JsonObject = json.loads(completions[0].text)
    return found


def noticed(verdict: JsonObject) -> float:
    """Share of a function's mutants that fail its tests; 0 without any."""
    tried = verdict.get("mutants") or []
    failing = sum(one["outcome"] != PASSED for one in tried)
    return round(failing / len(tried), 3) if tried else 0.0


def is_verified(verdict: JsonObject, options: CodeOptions) -> bool:
    """True for a function that passes, and whose mutants are noticed."""
    return verdict["outcome"] == PASSED and noticed(verdict) >= max(options.noticed, 1e-9)


def _is_wrong(verdict: JsonObject) -> bool:
    """True for a function that was executed and is not right."""
    return "code" in verdict and verdict["outcome"] in ("assert failed", "raised an error")


def fenced(text: str) -> str:
    """Code as an answer shows it."""
    return f"```python\n{text}\n```"
