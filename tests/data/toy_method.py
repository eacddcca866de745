"""Toy: another task of the kind of one seed, and its answer. Not covered: anything else."""

from random import Random

from pydantic import Field

from localinstruct.config import Section
from localinstruct.methods.prompt_files import prompt_file
from localinstruct.records import Episode, Instance, Lineage, PoolView, Prompt, Reject, fill


class ToyOptions(Section):
    """Options of toy."""

    longest: int = Field(80, ge=1)
    """Characters of a new task, at most."""


def toy(pool: PoolView, options: ToyOptions, rng: Random) -> Episode:
    """One seed, one new task, one answer."""
    seed = rng.choice(pool.seeds)
    [[written]] = yield [
        Prompt(text=fill(prompt_file("toy", "another"), task=seed.instruction), stop=("\n",))
    ]
    task = written.text.strip()
    if not task or len(task) > options.longest:
        return [Reject("parse", "too long" if task else "empty completion", task)]
    [[answer]] = yield [Prompt(text=f"Task: {task}\nAnswer:", stop=("\n",))]
    return [
        Instance(
            task, output=answer.text.strip(), lineage=Lineage(method="toy", parents=(seed.id,))
        )
    ]
