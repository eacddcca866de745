"""Several endpoints of one model: the client's share of what they could do together.

    python -m benchmarks.endpoints [--clock cpu | --encoder] [--quick] [--output FILE]

Simulated servers (`simulated_server.py`) of PLACES each, log-normal lengths, and the scheduler of
`generate` with its store and client, vectors given, so that neither a model nor an encoder takes
part. The speed of a server's token is chosen so that REPLIES arrive a second whatever the number of
endpoints: what one core can take as a client. Measured is the share of the places that was filled,
weighted by the speed of each server's tokens: output tokens per second over the sum of what each
could do alone, from when the limits are found until nothing more is launched. One endpoint is the
reference. With `--clock cpu` servers and client share one process, and the clock goes with its CPU
time and with what it sleeps (`virtual_clock.py`): what they would do on a core of their own, on a
machine that is busy with other things. With `--encoder` the sentence encoder takes part, with rows
of WORDS words; it is timed alone, then eight endpoints answer at FRACTIONS of its rows a second.
Places stay filled while episodes may wait for the encoder; the knee is where the last commit falls
behind the last answer (`behind`, seconds). Not covered: real servers, and the slow end of a run;
with the clock of CPU time, the disk's time.
"""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benchmarks import virtual_clock
from benchmarks.results import load_average
from benchmarks.setting import load, note
from benchmarks.simulated_server import servers
from benchmarks.throughput import RandomEncoder
from localinstruct.curate.embeddings import Encoder, LocalEncoder
from localinstruct.curate.languages import common_words
from localinstruct.generation.scheduler import Commit, Scheduler
from localinstruct.generation.stage import make_gate, make_job
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, JsonObject
from localinstruct.store.run import open_run
from localinstruct.supervisor import die_with_parent
from localinstruct.teacher import Sampling
from localinstruct.teacher.balancer import Balancer, Place
from localinstruct.teacher.client import Client

PLACES, REPLIES, LENGTHS, MEAN = 16, 70, "log-normal, sigma 0.5", 226
"""Places of a server, replies a second of all of them, lengths of answers and their mean."""
FOUND = 4.0
"""Mean times of an answer after which the limits have been found."""
SECONDS, QUICK_SECONDS = 60.0, 10.0
"""Length of what is measured, about."""
SLOWER = 10
"""Times that one of eight endpoints is slower."""
WORDS, FRACTIONS = 120, (0.8, 1.0, 1.2, 1.5)
"""Words of a row, and parts of the encoder's rows a second, with --encoder."""

COMMON = sorted(common_words())


@dataclass(frozen=True)
class Load:
    """Replies a second of all servers together, and what embeds their rows of so many words."""

    replies: float = REPLIES
    encoder: Encoder = field(default_factory=lambda: RandomEncoder(8))
    words: int = 9


def measure(
    count: int, seconds: float, slow: int = 0, clock: str = "real", asked: Load | None = None
) -> JsonObject:
    """One run at `count` endpoints, of which the first `slow` are SLOWER times slower.

    `clock` is "real" or "cpu".
    """
    asked = asked or Load()
    speed = count - slow + slow / SLOWER
    step = PLACES * speed / asked.replies / MEAN
    steps = [step * SLOWER if number < slow else step for number in range(count)]
    answer = MEAN * step
    tasks = round(asked.replies * (FOUND * answer + seconds) * 1.1)
    with tempfile.TemporaryDirectory(prefix="ends-", dir="/tmp") as folder:
        sockets = [f"{folder}/{number}" for number in range(count)]
        job = {"sockets": sockets, "steps": steps, "places": PLACES, "lengths": LENGTHS}
        before, began = load_average(), time.process_time()
        if clock == "cpu":
            both = _in_one_process(job, Path(folder), tasks)
            traces, ahead, states = virtual_clock.run(both, cpu=True)
        else:
            with _servers(job) as traces:
                ahead, states = asyncio.run(_generated(Path(folder), sockets, tasks, asked))
        cpu = time.process_time() - began
    seen = shares(traces, steps, FOUND * answer, PLACES)
    last = max(max(trace["answered"]) for trace in traces)
    ahead["behind"] = round(ahead.pop("ended") - last, 1)
    facts = {"endpoints": count, "slow": slow, "tasks": tasks, "step": round(step, 5)}
    costs = {"clock": clock, "load": before, "cpu_ms_per_reply": round(1000 * cpu / tasks, 2)}
    limits = [state["limit"] for state in states]
    return {**facts, **costs, **seen, **ahead, "limits": limits}


async def _in_one_process(
    job: JsonObject, folder: Path, tasks: int
) -> tuple[list[JsonObject], JsonObject, list[JsonObject]]:
    """(traces of the servers, what was ahead, states of the endpoints), all in this event loop."""
    async with servers(job) as engines:
        ahead, states = await _generated(
            folder, job["sockets"], tasks, Load(), virtual_clock.Inline()
        )
        return [engine.trace() for engine in engines], ahead, states


@contextmanager
def _servers(job: JsonObject) -> Iterator[list[JsonObject]]:
    """The servers; their traces are in the list once they are gone."""
    command = [sys.executable, "-m", "benchmarks.simulated_server", json.dumps(job)]
    traces = list[JsonObject]()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
    ) as server:
        assert server.stdout is not None
        try:
            server.stdout.readline()
            yield traces
        finally:
            server.send_signal(signal.SIGTERM)
            traces += json.loads(server.stdout.read())


async def _generated(
    folder: Path,
    sockets: Sequence[str],
    tasks: int,
    asked: Load,
    embedding: Executor | None = None,
) -> tuple[JsonObject, list[JsonObject]]:
    """(what was ahead of the commit at most and when all was committed, states of the endpoints).

    Texts are embedded in `embedding`; None is a thread of its own.
    """
    rows = [Instance(_text(number, asked.words), "", "") for number in range(tasks)]
    recipe = Recipe.model_validate(
        {
            "name": "endpoints",
            "models": {"teacher": "simulated", "student": "none"},
            "method": {"answer": {}},
            "generate": {"target": 10**6, "stop_below": 0},
            "serve": {"max_num_seqs": PLACES},
            "filters": {"set": "none"},
            "novelty": {"against": "kept", "threshold": 1},
        }
    )
    job = make_job(recipe, rows, "simulated", servers=len(sockets))
    most = {"in_flight": job.in_flight, "most_waiting": 0, "most_held_mb": 0.0}
    places, encoder = [Place(f"unix://{one}", 600) for one in sockets], asked.encoder
    balancer = Balancer(places, "simulated", start=PLACES // 2, say=note)
    client = Client(balancer, "simulated", chat=True, sampling=Sampling())

    def on_commit(commit: Commit) -> None:
        most["most_waiting"] = max(most["most_waiting"], commit.waiting)
        most["most_held_mb"] = max(most["most_held_mb"], round(commit.held / 1e6, 1))

    with open_run(folder / "run") as run:
        gate = make_gate(recipe.novelty, rows[:1], encoder, Silent())
        scheduler = Scheduler(job, run, client, encoder, gate, on_commit)
        if embedding:
            scheduler._embedding = embedding
        scheduler.restore()
        try:
            await scheduler.work()
            return {**most, "ended": time.time()}, balancer.states()
        finally:
            await client.close()


def _text(number: int, words: int) -> str:
    """A request of so many words that no other has."""
    more = Random(number).choices(COMMON, k=max(0, words - 9))
    return " ".join([f"Tell what happened on day {number} of the voyage.", *more])


def knee(seconds: float) -> Iterator[JsonObject]:
    """Eight endpoints at parts of what the encoder embeds a second when it is alone."""
    encoder = LocalEncoder(load("nano", [], Path(), quick=True).encoder)
    texts = [_text(number, WORDS) for number in range(256)]
    encoder.encode(texts[:16])
    began = time.perf_counter()
    for start in range(0, len(texts), 16):
        encoder.encode(texts[start : start + 16])
    alone = len(texts) / (time.perf_counter() - began)
    for part in FRACTIONS:
        found = measure(8, seconds, asked=Load(part * alone, encoder, WORDS))
        yield {"of_encoder": part, "rows_per_second_alone": round(alone, 1), **found}


def shares(
    traces: Sequence[JsonObject], steps: Sequence[float], begin: float, places: int
) -> JsonObject:
    """Output tokens per second from `begin` seconds after the first request to the last launch.

    "share" is over what the servers could do, all places filled; "whole" is of the whole run, its
    slow end included.
    """
    first = min(min(trace["arrived"]) for trace in traces)
    last = max(max(trace["arrived"]) for trace in traces)
    end = max(max(trace["answered"]) for trace in traces)
    able = sum(places / step for step in steps)
    done = sum(
        _area(trace["filled"], first + begin, last) / step
        for trace, step in zip(traces, steps, strict=True)
    )
    tokens = sum(trace["tokens"] for trace in traces)
    return {
        "seconds": round(last - first - begin, 1),
        "tokens_per_second": round(done / (last - first - begin), 1),
        "share": round(done / (last - first - begin) / able, 4),
        "whole": round(tokens / (end - first) / able, 4),
    }


def _area(changes: Sequence[Sequence[float]], begin: float, end: float) -> float:
    """Place-seconds that were filled between two times."""
    area, now, taken = 0.0, begin, 0.0
    for moment, after in [*changes, (end, 0)]:
        inside = min(max(moment, begin), end)
        area += taken * (inside - now)
        now, taken = inside, after
    return area


def main() -> None:
    """Measure all numbers of endpoints, and print them as JSON."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--quick", action="store_true", help="a short look; not for publishing")
    words.add_argument("--clock", choices=("real", "cpu"), default="real")
    words.add_argument("--encoder", action="store_true", help="where the encoder is the bound")
    words.add_argument("--only", default="1,8,64,slow", help="numbers of endpoints, and slow")
    words.add_argument("--output", type=Path, help="file for the results")
    given = words.parse_args()
    seconds, results = QUICK_SECONDS if given.quick else SECONDS, list[JsonObject]()
    counts = given.only.split(",")
    runs = (
        measure(8 if one == "slow" else int(one), seconds, int(one == "slow"), given.clock)
        for one in counts
    )
    for found in knee(seconds) if given.encoder else runs:
        results.append(found)
        note(f"{found}")
        if given.output:
            given.output.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
