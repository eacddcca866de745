"""Stanford Alpaca's generating loop, rewritten from its description for timing.

Step by step, nothing overlaps: build 5 prompts, send them, wait for all five, parse, filter,
compare each candidate by ROUGE-L with every seed and every accepted row in a pool of processes
started for that candidate (texts are tokenised once), keep it at 0.7 or below with its ten nearest,
and write the whole of regen.json again. What is not Alpaca's is ours on both sides, so that only
the shape of the loop differs: prompts, sampling, parser, filters, the text that is compared
(novelty.text), and the client.

    python -m benchmarks.alpaca_loop JOB_JSON

runs in a process of its own, which never loads torch, so that forking is cheap.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benchmarks.rouge import Words, scores_in_pool
from benchmarks.setting import Setting, load
from localinstruct import machine
from localinstruct.curate.filters import first_reason
from localinstruct.curate.novelty import text_of
from localinstruct.curate.rouge import ascii_words as words
from localinstruct.methods import play
from localinstruct.records import Completion, Episode, Instance, JsonObject, PoolView, Reject
from localinstruct.store.durable import write_text
from localinstruct.teacher.client import Client

BATCH = 5
"""Prompts per request of Alpaca (request_batch_size)."""
THRESHOLD = 0.7
"""Highest ROUGE-L F at which a candidate is kept."""
MOST_PROCESSES = 16
"""Alpaca's num_cpus; not more than there are cores."""


@dataclass
class Loop:
    """Rows accepted so far, and their cost."""

    setting: Setting
    regen: Path
    texts: list[str] = field(default_factory=list)
    pool: list[Words] = field(default_factory=list)
    rows: list[JsonObject] = field(default_factory=list)
    candidates: int = 0
    tokens: int = 0
    waiting: float = 0.0
    """Seconds in which the loop waited for the teacher; in the others the teacher waited for it."""

    def judge(self, row: Instance) -> None:
        """Accept one candidate that passed the filters, or drop it."""
        text = text_of(row, self.setting.recipe.novelty)
        tokens = words(text)
        likeness = scores_in_pool(tokens, self.pool, min(MOST_PROCESSES, machine.cpu_count()))
        self.candidates += 1
        if max(likeness, default=0.0) > THRESHOLD:
            return
        nearest = sorted(range(len(likeness)), key=likeness.__getitem__, reverse=True)[:10]
        self.rows.append(
            {
                "instruction": row.instruction,
                "input": row.input,
                "output": row.output,
                "most_similar_instructions": {self.texts[i]: likeness[i] for i in nearest},
                "avg_similarity_score": sum(likeness) / max(len(likeness), 1),
            }
        )
        self.texts.append(text)
        self.pool.append(tokens)


async def generate(setting: Setting, client: Client, target: int, seconds: float) -> JsonObject:
    """Loop until `target` rows are kept or `seconds` have passed; figures as plain JSON values."""
    loop = Loop(setting, setting.home / "regen.json")
    loop.texts = [text_of(seed, setting.recipe.novelty) for seed in setting.seeds]
    loop.pool = [words(text) for text in loop.texts]
    began, step = time.monotonic(), 0
    while len(loop.rows) < target and time.monotonic() - began < seconds:
        await _step(loop, client, BATCH * step)
        step += 1
    return {
        "seconds": round(time.monotonic() - began, 3),
        "waiting_seconds": round(loop.waiting, 3),
        "kept": len(loop.rows),
        "candidates": loop.candidates,
        "tokens": loop.tokens,
    }


async def _step(loop: Loop, client: Client, first: int) -> None:
    """Send five prompts, judge their candidates, write the file.

    The prompts are those of the scheduler's episodes `first` and following.
    """
    setting, recipe = loop.setting, loop.setting.recipe
    draws = [Random(f"{recipe.seed}:{number}") for number in range(first, first + BATCH)]
    seeds = PoolView(setting.seeds)
    episodes = [play(recipe.method, recipe.then, seeds, rng) for rng in draws]
    prompts = [next(episode)[0] for episode in episodes]
    began = time.monotonic()
    answers = await asyncio.gather(*(client.complete(prompt) for prompt in prompts))
    loop.waiting += time.monotonic() - began
    loop.tokens += sum(completion.tokens for completions in answers for completion in completions)
    for episode, completions in zip(episodes, answers, strict=True):
        for row in _rows(episode, completions):
            if isinstance(row, Instance) and first_reason(row, recipe.filters) is None:
                loop.judge(row)
    write_text(loop.regen, json.dumps(loop.rows, indent=4))


def _rows(episode: Episode, completions: list[Completion]) -> list[Instance | Reject]:
    """Rows and rejects that the method reads in the completions of its one prompt."""
    try:
        episode.send([completions])
    except StopIteration as end:
        return list(end.value)
    raise RuntimeError("the numbered-list method asks once; it asked again")


async def _main(job: JsonObject) -> JsonObject:
    setting = load(job["recipe"], job["overrides"], Path(job["home"]))
    chat, sampling = setting.teacher.chat, setting.recipe.sampling
    timeout = setting.recipe.serve.request_timeout
    client = Client(job["url"], job["model"], chat=chat, sampling=sampling, timeout=timeout)
    try:
        return await generate(setting, client, job["target"], job["seconds"])
    finally:
        await client.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main(json.loads(sys.argv[1])))))
