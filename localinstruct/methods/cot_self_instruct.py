"""CoT-Self-Instruct (Yu et al. 2025): new tasks with an answer, kept when fresh answers agree.

The teacher sees some seeds with their answers, reasons about them, and writes a new task of the
kind together with its final answer (arXiv 2507.23751). The task alone is then answered k times.
Where more than half of the k final answers agree with each other and with the written one, the
first that agrees becomes the row's output, its reasoning included; one that differs is its rejected
answer. No judge is asked. What is kept is right by agreement: a teacher that is wrong in the same
way every time passes too. Not covered: tasks without a short final answer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from pydantic import Field

from localinstruct.config import Section
from localinstruct.curate.invisible import clean
from localinstruct.methods.final_answers import agree, comparable, final_answer, majority
from localinstruct.methods.prompt_files import prompt_file
from localinstruct.records import (
    Completion,
    Episode,
    EpisodeShape,
    Instance,
    Lineage,
    PoolView,
    Prompt,
    Reject,
    fill,
)

STAGE = "cot_self_instruct"
"""Stage of the rejects that agreement makes."""
_NANO = "cot_self_instruct_nano"
_HEADER = re.compile(
    r"^[ \t>*_#]*(?:\d{1,2}[.)][ \t]*)?(?:"
    r"(?P<reasoning>reasoning|thoughts?)"
    r"|(?P<task>(?:the )?(?:new )?(?:task|question|problem|instruction))"
    r"|(?P<input>input)"
    r"|(?P<answer>(?:the )?(?:final )?(?:answer|output)))"
    r"(?:[ \t]*\d{1,2})?[ \t]*[*_]*[ \t]*:[*_]*[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_NO_INPUT = re.compile(r"<?\(?(?:no ?input|none|n/a)\)?>?\.?", re.IGNORECASE)


class CotSelfInstructOptions(Section):
    """Options of CoT-Self-Instruct."""

    tasks_per_episode: int = Field(4, ge=1, le=64)
    """New tasks that are written at the same time, each from seeds of its own."""
    seeds_per_task: int = Field(2, ge=1, le=20)
    """Seeds with their answers that the teacher reasons about."""
    answers: int = Field(8, ge=2, le=64)
    """Fresh answers to each new task, by the teacher or by models.answerer."""
    agreement: float = Field(0.5, ge=0.5, lt=1)
    """Share of the answers asked for that must be exceeded by those which agree; answers that are
    cut off or give no final answer count against it."""
    pairs: bool = True
    """Keep an answer that differs as the rejected one (train.objective: dpo)."""
    prompts: Literal["cot_self_instruct", "cot_self_instruct_nano"] = "cot_self_instruct"
    """Wording: for any model, or in the only form the nano teacher knows."""

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode."""
        return EpisodeShape(self.tasks_per_episode, self.tasks_per_episode, sees_kept=False)

    @property
    def says_topic(self) -> bool:
        """True where the wording has a place for the topic of an episode."""
        return "{steer}" in prompt_file(self.prompts, "task")


@dataclass(frozen=True, slots=True)
class Written:
    """A new task as the teacher wrote it, with the final answer it gave, and its seeds."""

    task: str
    input: str
    answer: str
    parents: tuple[str, ...]

    @property
    def whole(self) -> str:
        """Task and input as one text."""
        return f"{self.task}\n\n{self.input}" if self.input else self.task


def has_short_answer(seed: Instance) -> bool:
    """True for a seed whose answer can be compared, so that it shows what is wanted."""
    return comparable(final_answer(seed.output)) is not None


def cot_self_instruct(pool: PoolView, options: CotSelfInstructOptions, rng: Random) -> Episode:
    """Some new tasks, each with an answer that most fresh answers agree with."""
    usable = [seed for seed in pool.seeds if has_short_answer(seed)] or list(pool.seeds)
    count = min(options.seeds_per_task, len(usable))
    shown = [rng.sample(usable, count) for _ in range(options.tasks_per_episode)]
    replies = yield [task_prompt(seeds, options, pool.steer) for seeds in shown]
    results: list[Instance | Reject] = []
    written: list[Written] = []
    for seeds, [reply] in zip(shown, replies, strict=True):
        task = read_task(reply, seeds, options)
        if isinstance(task, Written):
            written.append(task)
        else:
            results.append(task)
    if not written:
        return results
    answered = yield [answer_prompt(task, options) for task in written]
    return results + [
        verified(task, completions, options)
        for task, completions in zip(written, answered, strict=True)
    ]


def task_prompt(seeds: Sequence[Instance], options: CotSelfInstructOptions, steer: str) -> Prompt:
    """Ask for a new task with its answer, in the manner of these seeds."""
    demonstrations = "".join(
        fill(
            prompt_file(options.prompts, "demonstration") + "\n",
            number=number,
            task=f"{seed.instruction}\n{seed.input}".strip(),
            instruction=seed.instruction,
            input=seed.input or "<noinput>",
            answer=final_answer(seed.output) or seed.output,
        )
        for number, seed in enumerate(seeds, 1)
    )
    text = fill(
        prompt_file(options.prompts, "task"),
        demonstrations=demonstrations,
        next=len(seeds) + 1,
        steer=f"\n-{steer}" if steer else "",
    )
    return Prompt(text=text, stop=("\n###",) if options.prompts == _NANO else ())


def answer_prompt(task: Written, options: CotSelfInstructOptions) -> Prompt:
    """Ask the task afresh, without the answer that was written with it."""
    text = fill(
        prompt_file(options.prompts, "answer"),
        task=task.whole,
        instruction=task.task,
        input=task.input or "<noinput>",
    )
    stop = ("\n###",) if options.prompts == _NANO else ()
    return Prompt(text=text, role="answerer", n=options.answers, stop=stop)


def read_task(
    reply: Completion, seeds: Sequence[Instance], options: CotSelfInstructOptions
) -> Written | Reject:
    """The task in a reply with its answer: the last task that has one; else the reject."""
    text, ending = clean(reply.text).strip(), f"finish_reason {reply.finish_reason!r}"
    if not text:
        return Reject("parse", "empty completion", text, ending)
    if reply.finish_reason != "stop":
        return Reject("parse", "truncated", text, ending)
    opened = f"Task: {text}" if options.prompts == _NANO else text
    fields = _fields(opened)
    tasks = _tasks(fields)
    if not tasks:
        return Reject("parse", "no task", text, f"no heading 'Task:' with words; {ending}")
    task, given, answer = next((one for one in reversed(tasks) if one[2]), tasks[-1])
    if not answer:
        return Reject("parse", "no answer written", task, f"no 'Answer:' to it; {ending}")
    if comparable(answer) is None:
        return Reject(STAGE, "answer cannot be compared", task, f"written answer: {answer}")
    return Written(task, given, answer, tuple(seed.id for seed in seeds))


def _tasks(fields: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """(task, input, first line of its answer) of every task in these fields; "" for what lacks."""
    tasks: list[tuple[str, str, str]] = []
    for name, value in fields:
        if name == "task" and value:
            tasks.append((value, "", ""))
        elif tasks:
            task, given, answer = tasks[-1]
            if name == "input" and not _NO_INPUT.fullmatch(value):
                tasks[-1] = (task, given or value, answer)
            elif name == "answer":
                tasks[-1] = (task, given, answer or value.partition("\n")[0].strip())
    return tasks


def _fields(text: str) -> list[tuple[str, str]]:
    """(name, words) of every heading in a text, in order."""
    marks = list(_HEADER.finditer(text))
    ends = [*(mark.start() for mark in marks), len(text)]
    return [
        (str(mark.lastgroup), text[mark.end() : ends[place + 1]].strip())
        for place, mark in enumerate(marks)
    ]


def verified(
    task: Written, completions: Sequence[Completion], options: CotSelfInstructOptions
) -> Instance | Reject:
    """The row whose answer most completions agree with, or the reject that says how they differ."""
    texts = [clean(reply.text).strip() for reply in completions]
    said = [
        comparable(final_answer(text)) if reply.finish_reason == "stop" else None
        for reply, text in zip(completions, texts, strict=True)
    ]
    most, asked = majority(said), options.answers
    readable = sum(answer is not None for answer in said)
    counted = f"{readable} of {asked} answers have a final answer"
    if most is None or readable <= options.agreement * asked:
        return Reject(STAGE, "answers unreadable", task.whole, counted)
    share = len(most.places) / asked
    found = final_answer(texts[most.places[0]])
    detail = f"{len(most.places)} of {asked} answers say {found!r}; written: {task.answer!r}"
    if share <= options.agreement:
        return Reject(STAGE, "no majority", task.whole, detail, share)
    expected = comparable(task.answer)
    if expected is None or not agree(most.answer, expected):
        return Reject(STAGE, "majority differs from the written answer", task.whole, detail, share)
    first = most.places[0]
    others = (n for n, answer in enumerate(said) if answer and n not in most.places)
    worse = next(others, None) if options.pairs else None
    lineage = Lineage(
        method="cot-self-instruct",
        parents=task.parents,
        answered_by="answerer",
        rejected_by="" if worse is None else "answerer",
    )
    row = Instance(
        task.task,
        input=task.input,
        output=texts[first],
        thinking=completions[first].thinking,
        rejected="" if worse is None else texts[worse],
        lineage=lineage,
    )
    return row.with_scores(agreement=round(share, 3))
