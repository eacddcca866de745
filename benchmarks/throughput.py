"""Section a: output tokens per second of `generate` beside vLLM alone on the same prompts.

Three ways, the same N prompts, repeated in alternating order; ratios are taken within a repetition,
then the median:

    at once        vllm.LLM.generate with all N prompts, no server, nothing written
    teacher only   our scheduler, client, server and store; in place of the encoder random
                   unit vectors, which cost nothing
    generate       the same with the real encoder: the whole of `generate`

The clock of the scheduler runs from its first prompt to the commit of episode N; seeds are embedded
and models loaded before. Exactly N episodes are played: prompts of later episodes, which the
scheduler launches ahead, are held back and never reach the server, so that all ways do the same
work, including the slow end when the batch is no longer full.
"""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.at_once import Arrivals, loaded
from benchmarks.setting import Setting, note
from localinstruct.curate.embeddings import Encoder, LocalEncoder
from localinstruct.generation.scheduler import Commit, Scheduler
from localinstruct.generation.stage import make_gate, make_job
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, JsonObject, Message, Prompt
from localinstruct.store.run import Run, open_run
from localinstruct.teacher import Teacher
from localinstruct.teacher.serving import Connect

if TYPE_CHECKING:
    import numpy as np

EPISODES, QUICK_EPISODES = 192, 64
REPETITIONS = 3
WARM_UP = 16
"""Episodes played before anything is measured."""
AT_ONCE, TEACHER_ONLY, GENERATE = "at once", "teacher only", "generate"
ENDLESS = 10**9
"""Rows that no run reaches."""


class Enough(Exception):
    """Raised when the last episode to be measured was committed."""


class RandomEncoder:
    """An encoder that does nothing: unit vectors that resemble no other."""

    def __init__(self, dimensions: int = 384) -> None:
        import numpy as np

        self._rng = np.random.default_rng(0)
        self._dimensions = dimensions

    def encode(self, texts: Sequence[str]) -> "np.ndarray":
        """(n, d) float32, rows of unit length."""
        import numpy as np

        rows = self._rng.standard_normal((len(texts), self._dimensions), dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Finite:
    """A teacher that passes on the first `limit` prompts and never answers a later one."""

    def __init__(self, teacher: Teacher, limit: int) -> None:
        self._teacher = teacher
        self._left = limit

    async def complete(self, prompt: Prompt) -> list[Completion]:
        """Ask the teacher, or wait to be cancelled."""
        if self._left == 0:
            await asyncio.Event().wait()
        self._left -= 1
        return await self._teacher.complete(prompt)


def measure(setting: Setting, connect: Connect) -> JsonObject:
    """All repetitions and their summary, as plain JSON values."""
    episodes, repetitions = (QUICK_EPISODES, 1) if setting.quick else (EPISODES, REPETITIONS)
    note("a: loading the encoder, and vLLM a second time, without a server")
    encoder = LocalEncoder(setting.encoder)
    encoder.encode([seed.instruction for seed in setting.seeds])
    with loaded(setting) as engine:
        _, prompts = played(setting, connect, RandomEncoder(), WARM_UP, "warm-up")
        engine.generate(prompts, setting.recipe.sampling)
        runs: list[JsonObject] = []
        for repetition in range(repetitions):
            for way in _turns(repetition):
                # `at once` is never first: it gets the prompts that the first way sent.
                if way == AT_ONCE:
                    speed = figures(*engine.generate(prompts, setting.recipe.sampling))
                else:
                    embedder = encoder if way == GENERATE else RandomEncoder()
                    speed, prompts = played(setting, connect, embedder, episodes, way)
                runs.append({"who": way, "repetition": repetition, **speed})
                _note_speed(way, speed)
    settings = {
        "prompts": len(prompts),
        "max_num_seqs": setting.recipe.serve.max_num_seqs,
        "in_flight": setting.in_flight,
    }
    return {**settings, "runs": runs, "summary": summary(runs)}


def _turns(repetition: int) -> tuple[str, str, str]:
    """Ways in the order of their turns, which alternates."""
    if repetition % 2:
        return TEACHER_ONLY, AT_ONCE, GENERATE
    return GENERATE, AT_ONCE, TEACHER_ONLY


def _note_speed(way: str, speed: JsonObject) -> None:
    total = f"{speed['tokens']:,} tokens in {speed['seconds']:.1f} s"
    note(f"a: {way}: {total}, {speed['tokens_per_second']:,.0f} tokens/s")


def played(
    setting: Setting, connect: Connect, encoder: Encoder, episodes: int, name: str
) -> tuple[JsonObject, list[Prompt]]:
    """Play `episodes` episodes in a new run; its figures, and the prompts that were sent."""
    prefix = f"{name.replace(' ', '-')}-"
    with (
        TemporaryDirectory(dir=setting.home, prefix=prefix) as folder,
        open_run(Path(folder)) as run,
    ):
        seconds = asyncio.run(_play(setting, run, connect, encoder, episodes))
        prompts = [_prompt(data) for _, _, _, data, _ in run.completion_log()]
        _, usage = run.completion_usage()
        return {**figures(seconds, usage), "kept": run.count_kept()}, prompts


def _prompt(data: JsonObject) -> Prompt:
    """A prompt as it was before the completion log made JSON of it."""
    messages = tuple(Message(**message) for message in data["messages"])
    lists = {key: tuple(data[key]) for key in ("stop", "plain")}
    return Prompt(**{**data, **lists, "messages": messages})


async def _play(
    setting: Setting, run: Run, connect: Connect, encoder: Encoder, episodes: int
) -> float:
    recipe = endless(setting.recipe)
    job = make_job(recipe, setting.seeds, "")
    client = connect(setting.teacher.name, recipe.sampling)
    teacher = Finite(client, episodes * setting.prompts_per_episode)
    gate = make_gate(job.novelty, job.seeds, encoder, Silent())
    scheduler = Scheduler(job, run, teacher, encoder, gate, _stop_after(episodes))
    began = time.monotonic()
    with contextlib.suppress(Enough):
        await scheduler.work()
    seconds = time.monotonic() - began
    await client.close()
    return seconds


def endless(recipe: Recipe) -> Recipe:
    """The recipe with a target that is never reached."""
    generate = recipe.generate.model_copy(update={"target": ENDLESS})
    return recipe.model_copy(update={"generate": generate})


def _stop_after(episodes: int) -> Callable[[Commit], None]:
    left = iter(range(episodes - 1, -1, -1))

    def on_commit(_: Commit) -> None:
        if next(left) == 0:
            raise Enough

    return on_commit


def figures(seconds: float, arrivals: Arrivals) -> JsonObject:
    """Tokens per second of the whole and of its middle half.

    The middle lies between the arrivals of a quarter and of three quarters of the prompts.
    """
    tokens = sum(count for _, count in arrivals)
    first, last = len(arrivals) // 4, 3 * len(arrivals) // 4
    span = arrivals[last][0] - arrivals[first][0]
    middle = sum(count for _, count in arrivals[first + 1 : last + 1]) / max(span, 1e-9)
    return {
        "seconds": round(seconds, 3),
        "tokens": tokens,
        "tokens_per_second": round(tokens / seconds, 1),
        "middle_tokens_per_second": round(middle, 1),
    }


def summary(runs: Sequence[JsonObject]) -> dict[str, dict[str, list[float]]]:
    """Way -> median, lowest and highest speed and ratios to `at once` in the same repetition."""
    speed, middle = "tokens_per_second", "middle_tokens_per_second"
    base = {run["repetition"]: run for run in runs if run["who"] == AT_ONCE}
    result: dict[str, dict[str, list[float]]] = {}
    for way in (AT_ONCE, TEACHER_ONLY, GENERATE):
        pairs = [(run, base[run["repetition"]]) for run in runs if run["who"] == way]
        result[way] = {
            "tokens_per_second": spread([run[speed] for run, _ in pairs]),
            "ratio": spread([run[speed] / peer[speed] for run, peer in pairs]),
            "middle_ratio": spread([run[middle] / peer[middle] for run, peer in pairs]),
        }
    return result


def spread(values: Sequence[float]) -> list[float]:
    """[median, lowest, highest], rounded to four digits after the point."""
    return [round(value, 4) for value in (statistics.median(values), min(values), max(values))]
