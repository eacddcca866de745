"""Rewrite: a terse or badly worded seed becomes a clear, fuller instruction and is answered.

"Explain human's behavior." leaves open whose, when and how much; the teacher says it in full, the
seed's input stays as it is, and the seed is the row's parent. A wording that comes back unchanged
is a reject. Not covered: whether the meaning is still the same (a person or a judge), rewriting
rows that a run has made, and the nano teacher, which writes another task instead.
"""

import re
from random import Random

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

_HEADING = re.compile(r"^\W*(?:new wording|rewritten task|new task|task)\W*:\W*", re.IGNORECASE)


class RewriteOptions(Section):
    """Options of rewrite."""

    seeds_per_episode: int = Field(4, ge=1, le=64)
    """Seeds rewritten at the same time, each drawn once; fewer where there are fewer seeds."""

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode."""
        return EpisodeShape(self.seeds_per_episode, self.seeds_per_episode, sees_kept=False)


def rewrite(pool: PoolView, options: RewriteOptions, rng: Random) -> Episode:
    """Some seeds in better words; every row's parent is its seed."""
    seeds = rng.sample(pool.seeds, min(options.seeds_per_episode, len(pool.seeds)))
    written = yield [
        rewrite_prompt("rewrite", seed.instruction, seed.input or "(none)") for seed in seeds
    ]
    rejects: list[Instance | Reject] = []
    better: list[tuple[Instance, str]] = []
    for seed, [reply] in zip(seeds, written, strict=True):
        new = wording(reply)
        if (problem := wording_problem(seed.instruction, new, reply)) is not None:
            detail = f"finish_reason {reply.finish_reason!r}; of: {seed.instruction}"
            rejects.append(Reject("rewrite", problem, new, detail))
        else:
            better.append((seed, new))
    if not better:
        return rejects
    answers = yield [rewrite_prompt("answer", new, seed.input) for seed, new in better]
    return rejects + [
        row(seed, new, reply) for (seed, new), [reply] in zip(better, answers, strict=True)
    ]


def wording(reply: Completion) -> str:
    """The new wording in a reply."""
    return _HEADING.sub("", clean(reply.text).strip(), count=1)


def wording_problem(old: str, new: str, reply: Completion) -> str | None:
    """The reason why a new wording cannot be used; None when it can."""
    if not new:
        return "empty completion"
    if reply.finish_reason != "stop":
        return "truncated"
    return "unchanged" if words(new) == words(old) else None


def row(seed: Instance, new: str, reply: Completion) -> Instance | Reject:
    """The seed in its new words with the answer to them, or a reject without one."""
    answer = clean(reply.text).strip()
    if reply.finish_reason != "stop" or not answer:
        reason = "answer truncated" if answer else "no answer"
        return Reject("parse", reason, new, f"finish_reason {reply.finish_reason!r}")
    lineage = Lineage(method="rewrite", parents=(seed.id,))
    return Instance(new, input=seed.input, output=answer, thinking=reply.thinking, lineage=lineage)


def words(text: str) -> list[str]:
    """Words that must differ for a wording to be a new one."""
    return re.findall(r"\w+", text.casefold())


def rewrite_prompt(name: str, instruction: str, given: str) -> Prompt:
    """One of the two prompts ("rewrite", "answer"), filled in."""
    text = fill(prompt_file("rewrite", name), instruction=instruction, input=given)
    return Prompt(text=text.rstrip())
