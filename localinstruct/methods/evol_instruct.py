"""Evol-Instruct (WizardLM, Xu et al. 2023): tasks rewritten into harder and rarer ones.

Each generation draws one of six operations: five in depth (more constraints, deeper, more concrete,
more reasoning, a complicated input) and one in breadth (a new task of the same field). The evolved
task is answered, and the paper's four rules (arXiv 2304.12244) decide whether it failed; a failed
one is a reject, and its parent evolves again in the next generation. Not covered: whether an answer
is right (a judge), and novelty (`curate/novelty.py`).
"""

import re
from random import Random
from typing import Literal

from pydantic import Field

from localinstruct.config import Section
from localinstruct.curate.invisible import clean
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

Operation = Literal[
    "constraints", "deepening", "concretizing", "reasoning", "complicated_input", "breadth"
]
OPERATIONS: tuple[Operation, ...] = (
    "constraints",
    "deepening",
    "concretizing",
    "reasoning",
    "complicated_input",
    "breadth",
)
_COPIED = re.compile(r"\b(?:given|original|rewritten|new|created) (?:prompt|task)\b", re.IGNORECASE)
_FAITHFUL_HEADING = re.compile(r"\W*(?:new|rewritten) task\W*:\W*", re.IGNORECASE)
_HEADING = re.compile(
    r"[\s*_#]*(?:here is |here's )?(?:the |a |my )?(?:new |rewritten |evolved |harder )?"
    r"(?:task|prompt|instruction)[\s*_#]*:[\s*_]*",
    re.IGNORECASE,
)
_SAID_AS_HEADING = re.compile(rf"#\s*{_COPIED.pattern}|{_COPIED.pattern}\s*[#:]", re.IGNORECASE)
COPIED_WORDS = 7
"""Words in a row that a task has from the prompt that asked for it: fewer meet by chance."""
_STOP_WORDS = (
    "a an and are as at be but by for from has have he her his i in is it its me my of on or our "
    "she so that the their them then there they this to was we were what which who will with "
    "you your"
)


class EvolInstructOptions(Section):
    """Options of Evol-Instruct. The defaults are the paper's."""

    generations: int = Field(4, ge=1, le=20)
    """Times that a task is evolved in one episode."""
    operations: list[Operation] = Field(default=list(OPERATIONS), min_length=1)
    """Operations that a generation draws from; one named twice is drawn twice as often."""
    prompts: Literal["evol_instruct", "evol_instruct_nano"] = "evol_instruct"
    """Wording: for any model, or in the only form the nano teacher knows."""

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode."""
        return EpisodeShape(self.generations, sees_kept=False)


def evol_instruct(pool: PoolView, options: EvolInstructOptions, rng: Random) -> Episode:
    """One seed task through all generations.

    Every child that does not fail is a row; its parent is the task it was evolved from.
    """
    parent = rng.choice(pool.seeds)
    results: list[Instance | Reject] = []
    for _ in range(options.generations):
        operation = rng.choice(options.operations)
        [[written]] = yield [evolution_prompt(parent, operation, options)]
        task = without_heading(written.text, pool.faithful)
        if written.finish_reason != "stop" or not task:
            reason = "truncated" if task else "empty completion"
            detail = f"{operation}; finish_reason {written.finish_reason!r}"
            results.append(Reject("parse", reason, task, detail))
            continue
        [[answer], [verdict]] = yield [
            answer_prompt(task, options),
            comparison_prompt(parent, task, options),
        ]
        wording = "" if pool.faithful else prompt_file(options.prompts, operation)
        if (failure := broken_rule(task, answer, verdict, wording)) is not None:
            detail = f"{operation} of: {parent.instruction}"
            results.append(Reject("evolution", failure, task, detail))
            continue
        lineage = Lineage(method=f"evol-instruct/{operation}", parents=(parent.id,))
        output = clean(answer.text).strip()
        parent = Instance(task, output=output, thinking=answer.thinking, lineage=lineage)
        results.append(parent)
    return results


def without_heading(text: str, faithful: bool = False) -> str:
    """An evolved task less the heading that the teacher put before it."""
    task = clean(text).strip()
    if faithful:
        return _FAITHFUL_HEADING.sub("", task, count=1)
    heading = _HEADING.match(task)
    return task[heading.end() :] if heading else task


def broken_rule(
    task: str, answer: Completion, verdict: Completion, wording: str = ""
) -> str | None:
    """The reason to drop an evolved task, by the paper's four rules; None when it may stay.

    `wording` is the prompt that asked for it. Without it any phrase such as "given task" is a copy,
    as in the paper's code; with it a phrase must stand as a heading, or come with more of it.
    """
    words = re.findall(r"\w+", answer.text.casefold())
    yes_or_no = re.match(r"\W*(yes|no)\b", verdict.text, re.IGNORECASE)
    if answer.finish_reason != "stop":
        return "answer truncated" if words else "no answer"
    if yes_or_no is None:
        return "gain unclear"
    if yes_or_no[1].casefold() == "yes":
        return "no information gain"
    if "sorry" in words and len(words) < 80:
        return "hard to answer"
    if all(word in _STOP_WORDS.split() for word in words):
        return "answer without content"
    copied = _copies(task, wording) if wording else bool(_COPIED.search(task))
    return "copies the prompt" if copied else None


def _copies(task: str, wording: str) -> bool:
    words, asked = (re.findall(r"\w+", text.casefold()) for text in (task, wording))
    runs = [
        {tuple(of[at : at + COPIED_WORDS]) for at in range(len(of) - COPIED_WORDS + 1)}
        for of in (words, asked)
    ]
    phrases = {match[0].casefold() for match in _COPIED.finditer(task)}
    return len(phrases) > 1 or bool(_SAID_AS_HEADING.search(task)) or bool(runs[0] & runs[1])


def evolution_prompt(
    parent: Instance, operation: Operation, options: EvolInstructOptions
) -> Prompt:
    """Ask for the next generation; an input counts as part of the task."""
    text = fill(
        prompt_file(options.prompts, operation), instruction=whole(parent), output=parent.output
    )
    return Prompt(text=text, stop=("\n",) if options.prompts == "evol_instruct_nano" else ())


def answer_prompt(task: str, options: EvolInstructOptions) -> Prompt:
    """Ask for the answer."""
    stop = ("\n###",) if options.prompts == "evol_instruct_nano" else ()
    return Prompt(text=fill(prompt_file(options.prompts, "answer"), instruction=task), stop=stop)


def comparison_prompt(parent: Instance, task: str, options: EvolInstructOptions) -> Prompt:
    """Ask whether anything was gained."""
    text = fill(
        prompt_file(options.prompts, "equal"),
        parent=whole(parent),
        instruction=task,
        before=len(whole(parent).split()),
        after=len(task.split()),
    )
    return Prompt(text=text, temperature=0, max_tokens=8, stop=("\n",))


def whole(task: Instance) -> str:
    """Instruction and input as one text."""
    return f"{task.instruction}\n\n{task.input}" if task.input else task.instruction
