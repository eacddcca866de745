"""Self-Instruct (Wang et al. 2022): new instructions, then their kind, then examples of each.

The paper is arXiv 2212.10560. Step 1 shows tasks written by people and by the teacher and asks for
more, one per number. Step 2 asks whether a task chooses among labels. Step 3 asks for examples:
input before output, or for labels the output first, because a teacher that writes inputs first
writes them all for one label. Step 4, the clean-up, is in `examples.py` (about a whole task) and
`curate/filters.py` (about one row). Not covered: novelty among instructions (`curate/novelty.py`).
"""

import re
from collections.abc import Sequence
from random import Random
from typing import Literal

from pydantic import Field

from localinstruct.config import Section
from localinstruct.curate.invisible import clean
from localinstruct.methods.alpaca import AlpacaOptions, draw_demonstrations
from localinstruct.methods.examples import read_examples
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


class SelfInstructOptions(Section):
    """Options of Self-Instruct. The defaults are the paper's."""

    demonstrations: int = Field(8, ge=1, le=100)
    """Tasks shown in step 1."""
    kept_demonstrations: int = Field(2, ge=0, le=100)
    """Tasks among them that the teacher wrote; people's fill in while too few are kept."""
    instructions_per_prompt: int = Field(7, ge=1, le=100)
    """New instructions asked for at once."""
    examples: int = Field(5, ge=1, le=50)
    """Rows per instruction at most."""
    example_temperature: float = Field(0.0, ge=0, le=5)
    """Sampling of step 3; 0 is greedy, as in the paper."""
    prompts: Literal["self_instruct", "self_instruct_nano"] = "self_instruct"
    """Wording: for any model, or in the only form the nano teacher knows."""

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode; of examples, one an instruction."""
        each = self.instructions_per_prompt
        return EpisodeShape(each, each, sees_kept=self.kept_demonstrations > 0)

    @property
    def says_topic(self) -> bool:
        """True when the prompt of step 1 has a place for the topic of an episode."""
        return "{topic}" in prompt_file(self.prompts, "bootstrap")


def self_instruct(pool: PoolView, options: SelfInstructOptions, rng: Random) -> Episode:
    """One round of the three steps."""
    shown = draw_tasks(pool, options, rng)
    [[written]] = yield [bootstrap_prompt(shown, options, pool.steer)]
    instructions, results = read_instructions(
        written, len(shown) + 1, options.instructions_per_prompt
    )

    answers = yield [
        ask(instruction, "classify", options, temperature=0, stop=("\n", "Task:"))
        for instruction in instructions
    ]
    kinds, unclear = read_kinds(instructions, [answer for [answer] in answers])
    results += unclear

    tasks = list(kinds.items())
    prompts = [example_prompt(instruction, is_label, options) for instruction, is_label in tasks]
    replies = yield prompts
    lineage = Lineage(method="self-instruct", parents=tuple(task.id for task in shown))
    for (instruction, is_label), prompt, [reply] in zip(tasks, prompts, replies, strict=True):
        header = prompt.text.rsplit("\n", 1)[-1]  # the prompt has written it already
        text, ending = header + reply.text, reply.finish_reason
        examples, rejects = read_examples(text, ending, options.examples)
        results += [
            Instance(instruction, given, output, is_classification=is_label, lineage=lineage)
            for given, output in examples
        ]
        results += rejects
    return results


def draw_tasks(pool: PoolView, options: SelfInstructOptions, rng: Random) -> list[Instance]:
    """Tasks by people and by the teacher, drawn as Alpaca draws them."""
    count = options.demonstrations
    alpaca = AlpacaOptions(
        demonstrations=count,
        tasks_per_prompt=count + 1,
        kept_demonstrations=min(options.kept_demonstrations, count),
    )
    return draw_demonstrations(pool, alpaca, rng)


def bootstrap_prompt(
    shown: Sequence[Instance], options: SelfInstructOptions, steer: str = ""
) -> Prompt:
    """Step 1: the demonstrations as a numbered list, and the next number."""
    form = prompt_file(options.prompts, "demonstration")
    tasks = "".join(
        fill(
            form,
            number=number,
            instruction=" ".join(task.instruction.split()).rstrip(":"),
            input=task.input or "<noinput>",
            output=task.output,
        )
        for number, task in enumerate(shown, 1)
    )
    text = fill(
        prompt_file(options.prompts, "bootstrap"),
        demonstrations=tasks,
        next=len(shown) + 1,
        topic=steer,
    )
    beyond = f"\n{len(shown) + 1 + options.instructions_per_prompt}."
    return Prompt(
        text=text, stop=("\n",) if options.instructions_per_prompt == 1 else ("\n\n", beyond)
    )


def read_instructions(
    written: Completion, first: int, count: int
) -> tuple[list[str], list[Instance | Reject]]:
    """The instructions of a list that continues number `first`; its words keep their capitals."""
    parts = re.split(r"\n[ \t]*\d+[ \t]?[.)][ \t]+", clean(written.text))
    texts = [text for part in parts if (text := " ".join(part.split()))]
    rejects: list[Instance | Reject] = []
    ending = f"finish_reason {written.finish_reason!r}"
    if not texts:
        rejects.append(Reject("parse", "empty completion", "", ending))
    elif written.finish_reason != "stop":
        rejects.append(Reject("parse", "truncated", texts.pop(), ending))
    detail = f"{count} were asked for"
    rejects += [Reject("parse", "beyond the list", text, detail) for text in texts[count:]]
    return list(dict.fromkeys(texts[:count])), rejects


def read_kinds(
    instructions: Sequence[str], answers: Sequence[Completion]
) -> tuple[dict[str, bool], list[Instance | Reject]]:
    """Instruction -> true when it is a classification, as far as the answers tell.

    A failed request tells nothing; such an instruction is a reject.
    """
    kinds: dict[str, bool] = {}
    unclear: list[Instance | Reject] = []
    for instruction, answer in zip(instructions, answers, strict=True):
        if word := re.match(r"\W*(yes|no)\b", answer.text, re.IGNORECASE):
            kinds[instruction] = word[1].casefold() == "yes"
        else:
            detail = f"said {answer.text!r}; finish_reason {answer.finish_reason!r}"
            unclear.append(Reject("parse", "kind unclear", instruction, detail))
    return kinds, unclear


def example_prompt(
    instruction: str, is_classification: bool, options: SelfInstructOptions
) -> Prompt:
    """Step 3: output first for labels, input first for everything else."""
    name = "output_first" if is_classification else "input_first"
    stop = ("\n###",) if options.prompts == "self_instruct_nano" else ("\nTask:",)
    return ask(instruction, name, options, temperature=options.example_temperature, stop=stop)


def ask(
    instruction: str,
    name: str,
    options: SelfInstructOptions,
    *,
    temperature: float,
    stop: tuple[str, ...],
) -> Prompt:
    """One of the prompt files about this instruction."""
    form, words = prompt_file(options.prompts, name), len(instruction.split())
    text = fill(form, instruction=instruction, words=words)
    max_tokens = 5 if name == "classify" else None
    return Prompt(text=text, temperature=temperature, stop=stop, max_tokens=max_tokens)
