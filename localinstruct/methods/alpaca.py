"""Stanford Alpaca (Taori et al. 2023): the teacher continues a numbered list of tasks.

One prompt asks for a list of twenty tasks, of which the first few are drawn from the seeds and the
rest are written by the teacher in one completion: many tasks for one reading of the prompt. The
list's layout is Alpaca's, the words of the preamble are ours (prompts/*.txt). Reading the list back
is `numbered_list.py`. Not covered: whether a task is any good (`curate/`), and the chat wrapping of
the prompt (`teacher/client.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from random import Random

from pydantic import Field, model_validator

from localinstruct.config import Section, did_you_mean
from localinstruct.methods.numbered_list import parse_list
from localinstruct.methods.verbalized import read_tasks, tasks_prompt
from localinstruct.records import Episode, EpisodeShape, Instance, Lineage, PoolView, Prompt, Reject

NO_INPUT = "<noinput>"
SPARE = 64
"""Extra draws, so that duplicates in a pool do not leave a prompt short of demonstrations."""


class AlpacaOptions(Section):
    """Options of the numbered-list method. The defaults are Alpaca's."""

    demonstrations: int = Field(3, ge=0, le=100)
    """Tasks shown at the head of each list."""
    kept_demonstrations: int = Field(0, ge=0, le=100)
    """Demonstrations taken from the rows kept so far, once there are that many.

    0 shows seeds only, as Alpaca did (Self-Instruct: 2 of 8).
    """
    tasks_per_prompt: int = Field(20, ge=1, le=999)
    """Length of the list including the demonstrations; items beyond it are rejected."""
    prompts_per_episode: int = Field(1, ge=1, le=64)
    """Lists asked for at the same time in one episode."""
    domain: str = Field("", max_length=500)
    """Subject of every task in the list, such as "railway maintenance"; empty leaves it open."""
    prompt: str = "alpaca"
    """Preamble that ships with the package, by name."""
    prompt_text: str = ""
    """Your own preamble instead; {count} and {domain} are filled in where they stand."""

    verbalized: int = Field(0, ge=0, le=50, exclude_if=lambda value: value == 0)
    """Verbalized sampling: ask for this many tasks with their probabilities, as JSON, in place of a
    list to go on with (arXiv 2510.01171); for teachers that follow instructions. 0 asks for the
    list."""
    tail: float = Field(0.1, gt=0, le=1, exclude_if=lambda value: value == 0.1)
    """Probability above which such a task is dropped; 1 keeps all, to compare with."""

    @model_validator(mode="after")
    def _fits_together(self) -> "AlpacaOptions":
        checks = (self._too_many(), self._too_many_kept(), self._bad_prompt())
        problems = [text for text in checks if text]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _too_many(self) -> str:
        if self.demonstrations < self.tasks_per_prompt:
            return ""
        return (
            "expected demonstrations below tasks_per_prompt, so that there is something left to "
            f"write; found {self.demonstrations} of {self.tasks_per_prompt}"
        )

    def _too_many_kept(self) -> str:
        if self.kept_demonstrations <= self.demonstrations:
            return ""
        return (
            f"expected kept_demonstrations to be a part of demonstrations; "
            f"found {self.kept_demonstrations} of {self.demonstrations}"
        )

    def _bad_prompt(self) -> str:
        if not self.prompt_text and self.prompt not in packaged_prompts():
            advice = did_you_mean(self.prompt, packaged_prompts())
            return f"prompt {self.prompt!r} is not in the package; {advice}"
        if self.domain.strip() and "{domain}" not in self.preamble:
            source = "prompt_text" if self.prompt_text else f"prompt {self.prompt!r}"
            return f"domain is set, but {source} has no {{domain}} where it could be said"
        return ""

    @property
    def says_topic(self) -> bool:
        """True when the prompt has a place for the topic of an episode."""
        return bool(self.verbalized) or "{domain}" in self.preamble

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode."""
        lists = self.prompts_per_episode
        rows = lists * (self.verbalized or self.tasks_per_prompt - self.demonstrations)
        return EpisodeShape(rows, lists, sees_kept=self.kept_demonstrations > 0)

    @property
    def preamble(self) -> str:
        """The words before the list, placeholders not yet filled in."""
        return self.prompt_text or packaged_prompts()[self.prompt]


def alpaca(pool: PoolView, options: AlpacaOptions, rng: Random) -> Episode:
    """One round: `prompts_per_episode` lists, each with its own demonstrations."""
    shown = [draw_demonstrations(pool, options, rng) for _ in range(options.prompts_per_episode)]
    build = _verbalized_prompt if options.verbalized else build_prompt
    answers = yield [build(demonstrations, options, pool.steer) for demonstrations in shown]
    results: list[Instance | Reject] = []
    for demonstrations, completions in zip(shown, answers, strict=True):
        lineage = Lineage(method="alpaca", parents=tuple(task.id for task in demonstrations))
        first = len(demonstrations) + 1
        for completion in completions:
            if options.verbalized:
                results += read_tasks(completion, options.tail, lineage)
                continue
            last, ending = options.tasks_per_prompt, completion.finish_reason
            results += [
                replace(row, lineage=lineage) if isinstance(row, Instance) else row
                for row in parse_list(completion.text, first, last, ending, faithful=pool.faithful)
            ]
    return results


def _verbalized_prompt(
    demonstrations: Sequence[Instance], options: AlpacaOptions, steer: str = ""
) -> Prompt:
    domain = " ".join(options.domain.split()).rstrip(".")
    steer = (f" Every task must belong to this domain: {domain}." if domain else "") + steer
    return tasks_prompt(demonstrations, options.verbalized, options.tail, steer)


def build_prompt(
    demonstrations: Sequence[Instance], options: AlpacaOptions, steer: str = ""
) -> Prompt:
    """Join preamble, demonstrations numbered from 1, and the open slot "k. Instruction:".

    The teacher continues the open slot.
    """
    domain = " ".join(options.domain.split()).rstrip(".")
    steer = (f" Every task must belong to this domain: {domain}." if domain else "") + steer
    preamble = options.preamble.replace("{count}", str(options.tasks_per_prompt))
    preamble = preamble.replace("{domain}", steer)
    blocks = [_block(number, task) for number, task in enumerate(demonstrations, start=1)]
    open_slot = f"###\n{len(blocks) + 1}. Instruction:"
    return Prompt(
        text=f"{preamble.rstrip()}\n{''.join(blocks)}{open_slot}",
        stop=stops(options.tasks_per_prompt),
    )


def stops(tasks_per_prompt: int) -> tuple[str, ...]:
    """Stop strings: the header of the first item beyond the list, at the start of a line.

    Alpaca stopped at "20.", which also cut "in 2020." and kept the stump. A whole header cannot
    occur in a sentence.
    """
    header = f"{tasks_per_prompt + 1}. Instruction:"
    return (f"\n{header}", f"\n### {header}", f"\n**{header}")


def draw_demonstrations(pool: PoolView, options: AlpacaOptions, rng: Random) -> list[Instance]:
    """Distinct tasks in random order.

    Seeds fill in while too few rows are kept, and a small pool gives fewer.
    """
    kept = options.kept_demonstrations if len(pool.kept) >= options.kept_demonstrations else 0
    drawn = _draw(pool.kept, kept, rng, [])
    drawn = _draw(pool.seeds, options.demonstrations, rng, drawn)
    rng.shuffle(drawn)
    return drawn


def _draw(
    pool: Sequence[Instance], upto: int, rng: Random, drawn: list[Instance]
) -> list[Instance]:
    """`drawn`, filled up to `upto` tasks from `pool`, no instruction twice."""
    seen = {task.instruction for task in drawn}
    drawn = list(drawn)
    for index in rng.sample(range(len(pool)), min(len(pool), upto + SPARE)):
        if len(drawn) >= upto:
            break
        if pool[index].instruction not in seen:
            seen.add(pool[index].instruction)
            drawn.append(pool[index])
    return drawn


def _block(number: int, task: Instance) -> str:
    instruction = " ".join(task.instruction.split()).rstrip(":").rstrip()
    fields = {
        "Instruction": f" {instruction}",
        "Input": f"\n{task.input.strip() or NO_INPUT}",
        "Output": f"\n{task.output.strip()}",
    }
    return "###\n" + "".join(f"{number}. {name}:{value}\n" for name, value in fields.items())


@cache
def packaged_prompts() -> dict[str, str]:
    """Name -> text of every preamble in prompts/, read once."""
    folder = resources.files("localinstruct.methods") / "prompts"
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".txt")]
    files.sort(key=lambda entry: entry.name)
    return {file.name.removesuffix(".txt"): file.read_text(encoding="utf-8") for file in files}
