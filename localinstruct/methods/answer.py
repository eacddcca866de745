"""Answers one at a time through the chat template: a method, and the step `then.answer`.

They come from the teacher or from a stronger model (`models.answerer`): Self-Instruct's outputs
redone by one moved the rows rated best from 44 to 54 % (Wang et al. 2022, §6). As a method it
answers the tasks of the recipe's seed file, each once, and ends; as a step, the rows of any method.
With `best_of` the judge grades several answers and the best stays. Not covered: whether the task
itself is worth an answer.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from pydantic import Field

from localinstruct.config import Section
from localinstruct.curate.invisible import clean
from localinstruct.judge.grading import Grade, Grading, NoGrade, grades
from localinstruct.methods.judge import no_grade
from localinstruct.records import (
    Completion,
    Episode,
    EpisodeShape,
    Instance,
    Lineage,
    Message,
    PoolView,
    Prompt,
    Reject,
)
from localinstruct.templates import messages


class AnswerOptions(Section):
    """Options of `answer`, as a method and as a step."""

    best_of: int = Field(1, ge=1, le=64)
    """Answers asked for; of several the one that the judge grades best stays."""
    system: str = ""
    """System turn for the answering model ("Answer in one sentence."); not kept in the rows."""
    keep_original: bool = False
    """Keep the answer that the row had before in its lineage (`original`)."""
    grading: Grading = Field(default_factory=Grading)
    """Grading of several answers."""

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode."""
        return EpisodeShape(sees_kept=False)

    @property
    def chats(self) -> tuple[str, ...]:
        """Roles that are asked in a chat."""
        return ("answerer", "judge") if self.best_of > 1 else ("answerer",)


def answer(pool: PoolView, options: AnswerOptions, rng: Random) -> Episode:
    """The method: episode k answers task k of the seed file."""
    seed = pool.seeds[pool.number]
    row = replace(seed, lineage=Lineage(method="answer", parents=(seed.id,)))
    return (yield from answer_rows([row], options, rng))


def answer_rows(rows: Sequence[Instance], options: AnswerOptions, rng: Random) -> Episode:
    """The step: every row with a new answer, or a reject that says why there is none."""
    replies = yield [ask(row, "answerer", options.best_of, options.system) for row in rows]
    answers_by_row: list[list[Instance]] = []
    rejects: list[Instance | Reject] = []
    for row, completions in zip(rows, replies, strict=True):
        usable = [reply for reply in completions if not problem(reply)]
        if usable:
            answers = [
                with_answer(row, reply, "answerer", options.keep_original) for reply in usable
            ]
            answers_by_row.append(answers)
        else:
            rejects.append(no_answer(row, completions[0]))
    candidates = [answer for answers in answers_by_row for answer in answers]
    if options.best_of == 1:
        return rejects + candidates
    verdicts = iter((yield from grades(candidates, options.grading, rng)))
    contests = [[(answer, next(verdicts)) for answer in answers] for answers in answers_by_row]
    return rejects + [best(contest, options) for contest in contests]


def best(
    contest: Sequence[tuple[Instance, Grade | NoGrade]], options: AnswerOptions
) -> Instance | Reject:
    """The best graded answer, the first among equals.

    Answers without a grade take no part and are counted in its scores.
    """
    rated = [
        (verdict.score, -place, row.with_scores(**verdict.scores))
        for place, (row, verdict) in enumerate(contest)
        if isinstance(verdict, Grade)
    ]
    if rated:
        *_, row = max(rated, key=lambda entry: entry[:2])
        missing = len(contest) - len(rated)
        ungraded = {f"{options.grading.rubric.name}.ungraded": float(missing)}
        return row.with_scores(**ungraded) if missing else row
    row, verdict = contest[0]
    assert isinstance(verdict, NoGrade)
    return row if options.grading.on_failure == "keep" else no_grade(row, verdict)


def ask(row: Instance, role: str, count: int, system: str) -> Prompt:
    """Put the row's task to a model as a chat."""
    turns = messages(row)
    if system and turns[0].role != "system":
        turns = [Message("system", system), *turns]
    return Prompt(messages=tuple(turns), role=role, n=count)


def with_answer(
    row: Instance, reply: Completion, role: str, keep_original: bool = False
) -> Instance:
    """The row with this answer, by the model of this role."""
    lineage = replace(row.lineage, answered_by=role, original=row.output if keep_original else "")
    return replace(row, output=clean(reply.text).strip(), thinking=reply.thinking, lineage=lineage)


def problem(reply: Completion) -> str | None:
    """The reason why an answer cannot be used, or None."""
    if reply.finish_reason not in ("stop", "length"):
        return "not answered"
    if reply.finish_reason == "length" and reply.text.strip():
        return "answer truncated"
    return None if clean(reply.text).strip() and reply.finish_reason == "stop" else "no answer"


def no_answer(row: Instance, reply: Completion) -> Reject:
    """The reject of a task that nobody answered."""
    reason, detail = problem(reply) or "no answer", f"finish_reason {reply.finish_reason!r}"
    return Reject("parse", reason, row.instruction, detail)
