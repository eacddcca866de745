"""Evol-Instruct (WizardLM, Xu et al. 2023, arXiv 2304.12244): a task is rewritten into harder and
rarer ones, again and again.

Each generation draws one of six operations: five in depth (more constraints, deeper, more concrete,
more reasoning, a complicated input) and one in breadth (a new task of the same field). The evolved
task is answered, and the paper's four rules decide whether it failed; what failed is a reject, and
its parent evolves again in the next generation. Not covered: whether an answer is right (a judge),
and novelty (`curate/novelty.py`).
"""

import re
from random import Random
from typing import Literal

from pydantic import Field

from localinstruct.config import Section
from localinstruct.curate.invisible import clean
from localinstruct.methods.prompt_files import fill, prompt_file
from localinstruct.records import (
    Completion,
    Episode,
    Instance,
    Lineage,
    PoolView,
    Prompt,
    Reject,
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
_HEADING = re.compile(r"\W*(?:new|rewritten) task\W*:\W*", re.IGNORECASE)
_STOP_WORDS = (
    "a an and are as at be but by for from has have he her his i in is it its me my of on or our "
    "she so that the their "
    "them then there they this to was we were what which who will with you your"
)


class EvolInstructOptions(Section):
    """Options of Evol-Instruct. The defaults are the paper's."""

    generations: int = Field(4, ge=1, le=20)
    """How often a task is evolved in one episode."""
    operations: list[Operation] = Field(default=list(OPERATIONS), min_length=1)
    """What a generation draws from, each as likely; name one twice to draw it twice as often."""
    prompts: Literal["evol_instruct", "evol_instruct_nano"] = "evol_instruct"
    """Wording: for any model, or in the only form the nano teacher knows."""


def evol_instruct(pool: PoolView, options: EvolInstructOptions, rng: Random) -> Episode:
    """One seed task through all generations; every child that does not fail is a row whose parent
    is what it came from."""
    parent = rng.choice(pool.seeds)
    found: list[Instance | Reject] = []
    for _ in range(options.generations):
        operation = rng.choice(options.operations)
        [[written]] = yield [evolve(parent, operation, options)]
        task = _HEADING.sub("", clean(written.text).strip(), count=1)
        if written.finish_reason != "stop" or not task:
            found.append(
                Reject(
                    "parse",
                    "truncated" if task else "empty completion",
                    task,
                    f"{operation}; finish_reason {written.finish_reason!r}",
                )
            )
            continue
        [[answer], [verdict]] = yield [answered(task, options), compared(parent, task, options)]
        if (failure := eliminated(task, answer, verdict)) is not None:
            found.append(
                Reject("evolution", failure, task, f"{operation} of: {parent.instruction}")
            )
            continue
        lineage = Lineage(method=f"evol-instruct/{operation}", parents=(parent.id,))
        parent = Instance(
            task, output=clean(answer.text).strip(), thinking=answer.thinking, lineage=lineage
        )
        found.append(parent)
    return found


def eliminated(task: str, answer: Completion, verdict: Completion) -> str | None:
    """Which of the four rules the evolved task breaks, or what is missing to tell; None when it may
    stay."""
    words = re.findall(r"\w+", answer.text.casefold())
    said = re.match(r"\W*(yes|no)\b", verdict.text, re.IGNORECASE)
    if answer.finish_reason != "stop":
        return "answer truncated" if words else "no answer"
    if said is None:
        return "gain unclear"
    if said[1].casefold() == "yes":
        return "no information gain"
    if "sorry" in words and len(words) < 80:
        return "hard to answer"
    if all(word in _STOP_WORDS.split() for word in words):
        return "answer without content"
    return "copies the prompt" if _COPIED.search(task) else None


def evolve(parent: Instance, operation: Operation, options: EvolInstructOptions) -> Prompt:
    """Ask for the next generation; an input counts as part of the task."""
    text = fill(
        prompt_file(options.prompts, operation), instruction=whole(parent), output=parent.output
    )
    return Prompt(text=text, stop=("\n",) if options.prompts == "evol_instruct_nano" else ())


def answered(task: str, options: EvolInstructOptions) -> Prompt:
    """Ask for the answer."""
    stop = ("\n###",) if options.prompts == "evol_instruct_nano" else ()
    return Prompt(text=fill(prompt_file(options.prompts, "answer"), instruction=task), stop=stop)


def compared(parent: Instance, task: str, options: EvolInstructOptions) -> Prompt:
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
