"""Section b: kept rows per second, ours against Alpaca's synchronous loop, on the same server.

The loop goes first, up to a number of rows or seconds; then `generate` runs to as many rows, to its
natural end, where requests that are still on their way are given up. Both keep what their own
measure calls new (ROUGE-L at 0.7, cosine at the recipe's threshold), so the share that each keeps
stands beside the speed, and so do the candidates judged per second, which do not depend on it.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.setting import Setting, note
from localinstruct.curate.embeddings import Encoder, LocalEncoder
from localinstruct.errors import TeacherError
from localinstruct.generation.scheduler import Scheduler
from localinstruct.generation.stage import make_gate, make_job
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Prompt
from localinstruct.store.run import Run, open_run
from localinstruct.supervisor import die_with_parent
from localinstruct.teacher import Teacher
from localinstruct.teacher.serving import Connect

TARGET, QUICK_TARGET = 600, 150
MOST_SECONDS, QUICK_SECONDS = 90.0, 20.0


class Counting:
    """A teacher that counts what it is asked."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self.asked = 0

    async def complete(self, prompt: Prompt) -> list[Completion]:
        """Count the prompt and pass it on."""
        self.asked += 1
        return await self._teacher.complete(prompt)


def measure(setting: Setting, connect: Connect, job: dict[str, Any]) -> dict[str, Any]:
    """Both ways and their ratios, as plain JSON values; `job` tells the child the recipe, its
    overrides and the server's url."""
    target, seconds = (QUICK_TARGET, QUICK_SECONDS) if setting.quick else (TARGET, MOST_SECONDS)
    loop = _derived(
        _alpaca(
            setting, {**job, "model": setting.teacher.name, "target": target, "seconds": seconds}
        )
    )
    note(f"b: Alpaca's loop kept {loop['kept']} rows in {loop['seconds']:.1f} s")
    if not loop["kept"]:
        raise TeacherError(
            f"The loop kept no row in {loop['seconds']:.0f} s: this teacher does not write the "
            "numbered list.",
            "Name another recipe, or leave this section out: --only a,c",
        )
    ours = _derived(_generate(setting, connect, LocalEncoder(setting.encoder), loop["kept"]))
    note(f"b: generate kept {ours['kept']} rows in {ours['seconds']:.1f} s")
    ratio = {
        key: round(ours[key] / loop[key], 3)
        for key in ("kept_per_second", "candidates_per_second", "tokens_per_second")
    }
    return {"alpaca_loop": loop, "generate": ours, "ratio": ratio}


def _alpaca(setting: Setting, job: dict[str, Any]) -> dict[str, Any]:
    """Run the loop in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.alpaca_loop",
        json.dumps({**job, "home": str(setting.home)}),
    ]
    child = subprocess.run(
        command,
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


def _generate(setting: Setting, connect: Connect, encoder: Encoder, target: int) -> dict[str, Any]:
    recipe = _up_to(setting.recipe, target)
    with (
        tempfile.TemporaryDirectory(dir=setting.home, prefix="kept-") as folder,
        open_run(Path(folder)) as run,
    ):
        seconds, asked = asyncio.run(_work(setting, recipe, run, connect, encoder))
        rejected = {stage: 0 for stage in ("parse", "filter", "novelty")}
        for stage, _, count in run.reject_counts():
            rejected[stage] += count
        prompts, usage = run.completion_usage()
        return {
            "seconds": round(seconds, 3),
            "kept": run.count_kept(),
            "candidates": run.count_kept() + rejected["novelty"],
            "tokens": sum(tokens for _, tokens in usage),
            "given_up": asked - prompts,
        }


async def _work(
    setting: Setting, recipe: Recipe, run: Run, connect: Connect, encoder: Encoder
) -> tuple[float, int]:
    """Seconds from the first prompt to the last row, and prompts that were asked."""
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
    return recipe.model_copy(
        update={"generate": recipe.generate.model_copy(update={"target": target})}
    )


def _derived(figures: dict[str, Any]) -> dict[str, Any]:
    speeds = {
        f"{key}_per_second": round(figures[key] / figures["seconds"], 2)
        for key in ("kept", "candidates", "tokens")
    }
    return {
        **figures,
        **speeds,
        "share_kept": round(figures["kept"] / max(figures["candidates"], 1), 3),
    }
