"""Section g: places filled at a server whose answers differ in length.

`localinstruct generate`, as a person starts it, against a plain asyncio client on the same tasks,
with as many requests in flight, at a simulated server (`simulated_server.py`). Seen from the
server: output tokens per second between the first request and the last reply, the seconds from the
start of the client's process to its first request, and from the last reply to the process's end.
"""

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.setting import note
from benchmarks.simulated_server import LENGTHS
from localinstruct.errors import TeacherError
from localinstruct.records import JsonObject
from localinstruct.supervisor import die_with_parent

TASKS, QUICK_TASKS = 1_000, 200
PLACES, IN_FLIGHT, STEP = 64, 128, 0.005
"""Sequences of the server, requests of a client at once, seconds for a token."""
REPETITIONS = 3
PLAIN, OURS, BEFORE = "plain asyncio client", "`generate`", "`generate` before"
BEFORE_TREE = "LOCALINSTRUCT_BENCH_BEFORE"
"""Environment variable: a checkout of an earlier localinstruct, to be drawn beside this one."""
FIGURES = ("tokens_per_second", "to_first_request", "to_exit")
POINTS = 120
"""Points of a curve of places filled."""
RECIPE = """
name: unequal
seeds: tasks.jsonl
models: {teacher: simulated, student: nano-student}
method: {answer: {}}
generate: {target: 1000000}
serve: {max_num_seqs: %d}
filters: {set: none}
novelty: {against: kept, threshold: 1}
"""


def measure(quick: bool = False) -> JsonObject:
    """All repetitions of every kind of lengths, both clients in alternating order."""
    tasks, repetitions = (QUICK_TASKS, 1) if quick else (TASKS, REPETITIONS)
    runs: list[JsonObject] = []
    with tempfile.TemporaryDirectory(prefix="unequal-") as folder:
        workspace(Path(folder), tasks)
        for lengths in LENGTHS:
            for repetition in range(repetitions):
                for who in _turns(repetition):
                    load = round(os.getloadavg()[0], 2)
                    seen = one(Path(folder), who, lengths)
                    run = {"who": who, "lengths": lengths, "repetition": repetition, "load": load}
                    runs.append({**run, **seen})
                    speed = f"{seen['tokens_per_second']:,.0f} tokens/s"
                    note(f"g: {lengths}: {who}: {speed}, load before {load}")
    return section(tasks, runs)


def section(tasks: int, runs: Sequence[JsonObject]) -> JsonObject:
    """The runs with their setting and their summary, as plain JSON values."""
    setting = {"tasks": tasks, "places": PLACES, "in_flight": IN_FLIGHT, "step": STEP}
    return {**setting, "runs": list(runs), "summary": summary(runs)}


def _turns(repetition: int) -> tuple[str, ...]:
    """Clients in the order of their turns, which alternates."""
    if repetition % 2:
        return OURS, PLAIN
    return (PLAIN, OURS, BEFORE) if BEFORE_TREE in os.environ and not repetition else (PLAIN, OURS)


def workspace(folder: Path, tasks: int, places: int = PLACES) -> None:
    """Put a workspace there: models.yaml with the simulated teacher, the tasks, the recipe."""
    packaged = (Path(__file__).parents[1] / "models.yaml").read_text("utf-8")
    entry = (
        f"\nsimulated:\n  endpoint: unix://{folder}/server.sock\n  served_name: simulated\n"
        "  roles: [teacher, judge]\n  chat: true\n  context: 100000\n  licence: none\n"
    )
    (folder / "models.yaml").write_text(packaged + entry, "utf-8")
    (folder / "recipe.yaml").write_text(RECIPE % places, "utf-8")
    rows = ({"instruction": task, "input": "", "output": ""} for task in instructions(tasks))
    (folder / "tasks.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")


def instructions(count: int) -> list[str]:
    """The tasks, all different."""
    return [f"Tell what happened on day {number} of the voyage." for number in range(count)]


def one(
    folder: Path, who: str, lengths: str, places: int = PLACES, step: float = STEP
) -> JsonObject:
    """One client against a fresh server; what the server saw of it."""
    socket = folder / "server.sock"
    socket.unlink(missing_ok=True)
    job = {"socket": str(socket), "places": places, "step": step, "lengths": lengths}
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.simulated_server", json.dumps(job)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    ) as server:
        assert server.stdout is not None
        try:
            server.stdout.readline()
            began = time.time()
            _client(folder, who)
            ended = time.time()
        finally:
            server.send_signal(signal.SIGTERM)
        trace = json.loads(server.stdout.read())
    return _seen(trace, began, ended)


def _client(folder: Path, who: str) -> None:
    plain = [sys.executable, "-m", "benchmarks.unequal", str(folder)]
    ours = [sys.executable, "-m", "localinstruct", "generate", "recipe.yaml", "--fresh"]
    tree = os.environ[BEFORE_TREE] if who == BEFORE else str(Path(__file__).parents[1])
    path = os.pathsep.join([tree, os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        plain if who == PLAIN else ours,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        preexec_fn=die_with_parent,
    )
    if ended.returncode:
        raise TeacherError(f"{who} ended with {ended.returncode}:\n{ended.stderr[-2000:]}", "")


def _seen(trace: JsonObject, began: float, ended: float) -> JsonObject:
    first, last = min(trace["arrived"]), max(trace["answered"])
    return {
        "requests": len(trace["answered"]),
        "tokens": trace["tokens"],
        "tokens_per_second": round(trace["tokens"] / (last - first), 1),
        "to_first_request": round(first - began, 2),
        "to_exit": round(ended - last, 2),
        "server_cpu": trace["cpu"],
        "filled": curve(trace["filled"], first, last),
    }


def curve(changes: Sequence[Sequence[float]], first: float, last: float) -> list[list[float]]:
    """(seconds since the first request, mean of the places filled) in equal spans."""
    span = (last - first) / POINTS
    area, now, taken, points = 0.0, first, 0.0, list[list[float]]()
    edges = [first + span * (point + 1) for point in range(POINTS)]
    for moment, after in [*changes, (last, 0)]:
        while edges and moment >= edges[0]:
            area += taken * (edges[0] - now)
            now = edges.pop(0)
            points.append([round(now - first - span / 2, 2), round(area / span, 2)])
            area = 0.0
        area += taken * max(0.0, moment - now)
        now, taken = max(now, moment), after
    return points


def summary(runs: Sequence[JsonObject]) -> JsonObject:
    """By lengths and client: median, lowest and highest of each figure.

    A ratio is to the plain client of the same repetition.
    """
    kinds = {}
    for lengths in dict.fromkeys(run["lengths"] for run in runs):
        by_client = {
            who: [run for run in runs if run["who"] == who and run["lengths"] == lengths]
            for who in (PLAIN, OURS, BEFORE)
        }
        plain = {run["repetition"]: run["tokens_per_second"] for run in by_client[PLAIN]}
        kinds[lengths] = {
            who: {
                "ratio": _spread([r["tokens_per_second"] / plain[r["repetition"]] for r in of]),
                **{key: _spread([run[key] for run in of]) for key in FIGURES},
            }
            for who, of in by_client.items()
            if of
        }
    return kinds


def _spread(values: Sequence[float]) -> list[float]:
    """Median, lowest and highest."""
    return [round(pick(values), 3) for pick in (statistics.median, min, max)]


async def _plain(folder: Path) -> None:
    """The plain client: all tasks, so many at once, nothing but the answers wanted."""
    from localinstruct.records import Message, Prompt
    from localinstruct.teacher import Sampling
    from localinstruct.teacher.client import Client

    rows = [json.loads(line) for line in (folder / "tasks.jsonl").read_text().splitlines()]
    client = Client(
        f"unix://{folder}/server.sock", "simulated", chat=True, sampling=Sampling(), timeout=600
    )
    places = asyncio.Semaphore(IN_FLIGHT)

    async def ask(task: str) -> None:
        async with places:
            await client.complete(Prompt(messages=(Message("user", task),)))

    await asyncio.gather(*(ask(row["instruction"]) for row in rows))
    await client.close()


if __name__ == "__main__":
    asyncio.run(_plain(Path(sys.argv[1])))
