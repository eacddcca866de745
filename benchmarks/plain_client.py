"""Section g, second part: `generate` against a plain client on a real vLLM, on the same cores.

The same list prompts for both, in alternating order; the scheduler of `generate` runs in this
process with the real encoder, from its first prompt to the commit of its last episode.
"""

import asyncio
import statistics
import time

from benchmarks.setting import Setting, note
from benchmarks.throughput import GENERATE, WARM_UP, RandomEncoder, played
from benchmarks.unequal import IN_FLIGHT, OURS, PLAIN
from localinstruct.curate.embeddings import LocalEncoder
from localinstruct.records import JsonObject, Prompt
from localinstruct.teacher.serving import Connect

PROMPTS, REPETITIONS = 161, 3


def measure(
    setting: Setting, connect: Connect, prompts: int = PROMPTS, repetitions: int = REPETITIONS
) -> JsonObject:
    """Tokens per second of both clients, and the ratios of each repetition."""
    encoder = LocalEncoder(setting.encoder)
    encoder.encode([seed.instruction for seed in setting.seeds])
    played(setting, connect, RandomEncoder(), WARM_UP, "warm-up")
    _, asked = played(setting, connect, RandomEncoder(), prompts, "prompts")
    speeds: dict[str, list[float]] = {PLAIN: [], OURS: []}
    for repetition in range(repetitions):
        for who in (OURS, PLAIN) if repetition % 2 else (PLAIN, OURS):
            if who == PLAIN:
                speed = asyncio.run(_plain(setting, connect, asked))
            else:
                speed = played(setting, connect, encoder, prompts, GENERATE)[0]["tokens_per_second"]
            speeds[who].append(round(speed, 1))
            note(f"g: real vLLM: {who}: {speed:,.0f} tokens/s")
    ratios = [ours / plain for ours, plain in zip(speeds[OURS], speeds[PLAIN], strict=True)]
    spread = [round(pick(ratios), 3) for pick in (statistics.median, min, max)]
    return {"prompts": len(asked), "speeds": speeds, "ratio": spread}


async def _plain(setting: Setting, connect: Connect, prompts: list[Prompt]) -> float:
    """Tokens per second of a loop that asks all prompts, so many at once."""
    client = connect(setting.teacher.name, setting.recipe.sampling)
    places = asyncio.Semaphore(IN_FLIGHT)

    async def ask(prompt: Prompt) -> int:
        async with places:
            return sum(answer.tokens for answer in await client.complete(prompt))

    began = time.monotonic()
    tokens = await asyncio.gather(*(ask(prompt) for prompt in prompts))
    seconds = time.monotonic() - began
    await client.close()
    return sum(tokens) / seconds
