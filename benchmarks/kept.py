"""Section b: kept rows per second, ours against Alpaca's synchronous loop, on the same server.

The loop goes first, up to a number of rows or seconds; then `generate` runs to as many rows, to its
natural end, where requests still on their way are given up. Both keep what their own measure
calls new (ROUGE-L at 0.7, cosine at the recipe's threshold), so the share that each keeps
stands beside the speed, and so do the candidates judged per second, which do not depend on it.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.setting import Setting, note
from localinstruct.curate.embeddings import Encoder, LocalEncoder
from localinstruct.errors import TeacherError
from localinstruct.generation.scheduler import Scheduler
from localinstruct.generation.stage import make_gate, make_job
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, JsonObject, Prompt
from localinstruct.store.run import Run, open_run
from localinstruct.supervisor import die_with_parent
from localinstruct.teacher import Teacher
from localinstruct.teacher.serving import Connect

TARGET, QUICK_TARGET = 600, 150
"""Rows at which the loop ends."""
MOST_SECONDS, QUICK_SECONDS = 90.0, 20.0
"""Seconds after which the loop ends, with however few rows."""
SPEEDS = ("kept", "candidates", "tokens")
"""Figures that are given per second too."""


class Counting:
    """A teacher that counts its prompts."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self.asked = 0

    async def complete(self, prompt: Prompt) -> list[Completion]:
        """Count the prompt and pass it on."""
        self.asked += 1
        return await self._teacher.complete(prompt)


def measure(setting: Setting, connect: Connect, job: JsonObject) -> JsonObject:
    """Both ways and their ratios, as plain JSON values.

    `job` names the recipe, its overrides and the server's url for the loop's own process.
    TeacherError when the loop keeps no row.
    """
    target, seconds = (QUICK_TARGET, QUICK_SECONDS) if setting.quick else (TARGET, MOST_SECONDS)
    limits = {"model": setting.teacher.name, "target": target, "seconds": seconds}
    loop = _derived(_alpaca(setting, {**job, **limits}))
    note(f"b: Alpaca's loop kept {loop['kept']} rows in {loop['seconds']:.1f} s")
    if not loop["kept"]:
        raise TeacherError(
            f"The loop kept no row in {loop['seconds']:.0f} s: "
            "this teacher does not write the numbered list.",
            "Name another recipe, or leave this section out: --only a,c",
        )
    ours = _derived(_generate(setting, connect, LocalEncoder(setting.encoder), loop["kept"]))
    note(f"b: generate kept {ours['kept']} rows in {ours['seconds']:.1f} s")
    per_second = [f"{key}_per_second" for key in SPEEDS]
    ratio = {key: round(ours[key] / loop[key], 3) for key in per_second}
    return {"alpaca_loop": loop, "generate": ours, "ratio": ratio}


def _alpaca(setting: Setting, job: JsonObject) -> JsonObject:
    """Run the loop in a process of its own."""
    job_json = json.dumps({**job, "home": str(setting.home)})
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.alpaca_loop", job_json],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        preexec_fn=die_with_parent,
    )
    if child.returncode:
        raise TeacherError(
            f"Alpaca's loop ended with {child.returncode}:\n{child.stderr[-2000:]}", ""
        )
    return dict(json.loads(child.stdout))


def _generate(setting: Setting, connect: Connect, encoder: Encoder, target: int) -> JsonObject:
    """Run the scheduler until `target` rows are kept; its figures."""
    recipe = _up_to(setting.recipe, target)
    with (
        tempfile.TemporaryDirectory(dir=setting.home, prefix="kept-") as folder,
        open_run(Path(folder)) as run,
    ):
        seconds, sent = asyncio.run(_work(setting, recipe, run, connect, encoder))
        too_similar = sum(count for stage, _, count in run.reject_counts() if stage == "novelty")
        prompts, usage = run.completion_usage()
        return {
            "seconds": round(seconds, 3),
            "kept": run.count_kept(),
            "candidates": run.count_kept() + too_similar,
            "tokens": sum(tokens for _, tokens in usage),
            "given_up": sent - prompts,
        }


async def _work(
    setting: Setting, recipe: Recipe, run: Run, connect: Connect, encoder: Encoder
) -> tuple[float, int]:
    """Seconds from the first prompt to the last row, and the number of prompts sent."""
    job = make_job(recipe, setting.seeds, "")
    client = connect(setting.teacher.name, recipe.sampling)
    teacher = Counting(client)
    gate = make_gate(job.novelty, job.seeds, encoder, Silent())
    began = time.monotonic()
    try:
        await Scheduler(job, run, teacher, encoder, gate, lambda _: None).work()
        return time.monotonic() - began, teacher.asked
    finally:
        await client.close()


def _up_to(recipe: Recipe, target: int) -> Recipe:
    generate = recipe.generate.model_copy(update={"target": target})
    return recipe.model_copy(update={"generate": generate})


def _derived(figures: JsonObject) -> JsonObject:
    """The figures with their speeds per second and the share of candidates that was kept."""
    seconds = figures["seconds"]
    speeds = {f"{key}_per_second": round(figures[key] / seconds, 2) for key in SPEEDS}
    share = round(figures["kept"] / max(figures["candidates"], 1), 3)
    return {**figures, **speeds, "share_kept": share}
