"""A generate run in a process of its own, to be killed: `python -m tests.support.killable RUN
TARGET`.

The scripted teacher stands in for vLLM; store, completion log, scheduler, filters and novelty are
the real ones. Each commit is announced on stdout after it happened, as the screen would announce
it.
"""

import asyncio
import sys
from pathlib import Path

from localinstruct.generation.scheduler import Commit, Scheduler
from localinstruct.generation.stage import make_gate, make_job
from localinstruct.progress import Silent
from localinstruct.store.run import open_run
from tests.generation.test_scheduler import SEEDS, recipe
from tests.support.scripted import HashEncoder, ScriptedTeacher


def announce(commit: Commit) -> None:
    print(commit.total, flush=True)


def main(path: Path, target: int) -> None:
    chosen = recipe(target=target, in_flight=8)
    job = make_job(chosen, SEEDS, "digest")
    encoder = HashEncoder()
    with open_run(path) as run:
        print("begin", flush=True)
        gate = make_gate(chosen.novelty, SEEDS, encoder, Silent())
        scheduler = Scheduler(job, run, ScriptedTeacher(delay=0.02), encoder, gate, announce)
        scheduler.restore()
        asyncio.run(scheduler.work())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
