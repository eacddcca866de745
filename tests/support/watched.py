"""A generate stage with a scripted teacher as a process, to be watched and killed:
`python -m tests.support.watched RUN TARGET`. Store, times at work, scheduler and lock are real."""

import asyncio
import sys
from pathlib import Path

from localinstruct.generation.stage import converse, make_job
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.store.run import Run, open_run
from localinstruct.store.worktime import ASKING, at_work
from tests.generation.test_scheduler import SEEDS, recipe
from tests.support.scripted import HashEncoder, ScriptedTeacher


def settings(target: int) -> Recipe:
    chosen = recipe(target=target, in_flight=4)
    topics = {"topics": ["rivers", {"topic": "bread", "quota": 400}]}
    return Recipe.model_validate({**chosen.model_dump(mode="json"), "coverage": topics})


def generate(run: Run, target: int, delay: float = 0.0) -> None:
    """Generate up to the target, as the stage would leave it."""
    chosen = settings(target)
    run.put("recipe", chosen.to_yaml())
    run.start_stage("generate", "inputs")
    with at_work(run, "generate"), at_work(run, ASKING):
        job = make_job(chosen, SEEDS, "digest")
        asyncio.run(converse(job, run, ScriptedTeacher(delay=delay), HashEncoder(), Silent()))


if __name__ == "__main__":
    with open_run(Path(sys.argv[1])) as opened:
        generate(opened, int(sys.argv[2]), delay=0.05)
        opened.finish_stage("generate", {"kept": opened.count_kept()})
