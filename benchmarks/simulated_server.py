"""Server of the OpenAI protocol that only waits: `python -m benchmarks.simulated_server JOB`.

It has so many places, and a token of each takes one step of constant time, as in an engine whose
batch is not full. A request that finds no place waits its turn. The length of an answer depends on
the prompt alone, so that every client gets the same answers. JOB is JSON: socket, places, step
(seconds), lengths (a key of LENGTHS); or sockets, one for each of several servers, and steps, one
for each. At SIGTERM it prints its trace, or the list of traces, as JSON.
"""

import asyncio
import json
import math
import signal
import sys
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from random import Random

from localinstruct.records import JsonObject

MEDIAN, CAP = 200, 2048
"""Tokens of an answer: the median, and the most that any has."""
LENGTHS: dict[str, Callable[[Random], float]] = {
    "log-normal, sigma 0.5": lambda rng: MEDIAN * math.exp(rng.gauss(0, 0.5)),
    "log-normal, sigma 1.0": lambda rng: MEDIAN * math.exp(rng.gauss(0, 1.0)),
    "1 % at the cap": lambda rng: CAP if rng.random() < 0.01 else MEDIAN * rng.uniform(0.8, 1.2),
}
"""Name -> the length of an answer, in tokens."""


class Engine:
    """Places that are filled in the order of arrival."""

    def __init__(self, places: int, step: float, lengths: str) -> None:
        self._free = places
        self._step = step
        self._lengths = LENGTHS[lengths]
        self._queue: deque[asyncio.Future[None]] = deque()
        self._taken = 0
        self.filled: list[tuple[float, int]] = []
        """(unix time, places filled) after each change."""
        self.arrived: list[float] = []
        self.answered: list[float] = []
        self.tokens = 0

    async def answer(self, request: JsonObject) -> JsonObject:
        """A reply to a chat, after the time that it takes."""
        self.arrived.append(time.time())
        content = request["messages"][-1]["content"]
        length = max(1, min(CAP, round(self._lengths(Random(content)))))
        if not self._free:
            turn = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            await turn
        else:
            self._free -= 1
        self._note(1)
        await asyncio.sleep(length * self._step)
        self._note(-1)
        if self._queue:
            self._queue.popleft().set_result(None)
        else:
            self._free += 1
        self.tokens += length
        self.answered.append(time.time())
        return reply(content, length)

    def _note(self, change: int) -> None:
        self._taken += change
        self.filled.append((time.time(), self._taken))

    def trace(self) -> JsonObject:
        """All that was seen, as JSON values."""
        return {
            "arrived": self.arrived,
            "answered": self.answered,
            "filled": self.filled,
            "tokens": self.tokens,
            "cpu": round(time.process_time(), 2),
        }


def reply(content: str, length: int) -> JsonObject:
    """The chat completion that says `length` words about `content`."""
    begin = zlib.crc32(content.encode()) % (len(_words()) - CAP)
    words = " ".join(_words()[begin : begin + length])
    message = {"role": "assistant", "content": words}
    reason = "length" if length == CAP else "stop"
    return {
        "id": "simulated",
        "object": "chat.completion",
        "created": 0,
        "model": "simulated",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 1, "completion_tokens": length, "total_tokens": length + 1},
    }


@cache
def _words() -> list[str]:
    """Words that answers are cut from, so that a server costs next to nothing."""
    rng = Random("words")
    return [f"word{rng.randrange(10_000)}" for _ in range(50_000)]


async def _serve(
    engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One connection, request after request."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode("latin-1").lower().splitlines()
            size = next((line for line in lines if line.startswith("content-length:")), ":0")
            body = await reader.readexactly(int(size.partition(":")[2]))
            answer = json.dumps(await engine.answer(json.loads(body)) if body else {}).encode()
            kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
            writer.write(kind + str(len(answer)).encode() + b"\r\n\r\n" + answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def servers(job: JsonObject) -> AsyncIterator[list[Engine]]:
    """The servers of a job in this event loop, while the block lasts."""
    sockets = job.get("sockets", [job.get("socket")])
    steps = job.get("steps", [job.get("step")])
    engines = [Engine(job["places"], step, job["lengths"]) for step in steps]
    listening = [
        await asyncio.start_unix_server(partial(_serve, engine), socket, backlog=1024)
        for engine, socket in zip(engines, sockets, strict=True)
    ]
    try:
        yield engines
    finally:
        for server in listening:
            server.close()


async def _main(job: JsonObject) -> JsonObject | list[JsonObject]:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with servers(job) as engines:
        print("ready", flush=True)
        await stop.wait()
    traces = [engine.trace() for engine in engines]
    return traces if "sockets" in job else traces[0]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main(json.loads(sys.argv[1])))))
