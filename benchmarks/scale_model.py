"""A discrete-event model of `generate` on many servers, held against what was measured.

    python -m benchmarks.scale_model            # predictions, and the table of docs/scale.md
    python -m benchmarks.scale_model --measure  # `generate` at 128 and 512 places; minutes
    python -m benchmarks.scale_model --measure --write    # benchmarks/results/scale/

The model has what decides how full servers are: n servers with so many places and a queue each,
requests that go to the server with the fewest, at most `in_flight` of them and at most `ahead`
episodes before the commit, a client that works on one reply at a time, an encoder that works on one
row at a time, commits in order. Time is virtual, the lengths are those that the simulated server
(`simulated_server.py`) gives for the same tasks; nothing is random. What it leaves out: networks,
batches that grow slower as they fill, retries.

Measured is one server of n times as many places: the client's work is that of n servers of 64.
"""

import argparse
import heapq
import json
import os
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from benchmarks import unequal
from benchmarks.results import load_average
from benchmarks.setting import load, note
from benchmarks.simulated_server import CAP, LENGTHS
from localinstruct.curate.embeddings import LocalEncoder
from localinstruct.generation.scheduler import MOST_AHEAD
from localinstruct.records import JsonObject
from localinstruct.store.durable import write_text

RESULTS = Path(__file__).parent / "results" / "scale"
KIND = "log-normal, sigma 0.5"
"""Lengths that the comparison is made with."""
TASKS = {2: 300, 8: 700}
"""Servers -> tasks of the comparison."""
REPLIES_STEP = 0.01
"""Time of a token times the number of servers: about 28 replies a second from any number."""
CARDS = (1, 2, 4, 8, 16, 64)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Servers, and the client before them; times in seconds."""

    servers: int
    places: int = unequal.PLACES
    step: float = unequal.STEP
    """Time of a token in one place."""
    in_flight: int = 0
    """Requests at all servers, at most; 0: twice their places, as a recipe's default."""
    ahead: int = 0
    """Episodes ahead of the commit, at most; 0: as many as the scheduler has."""
    reply: float = 0.0
    """Work of the client on a reply: parsing, log, rules, commit."""
    row: float = 0.0
    """Work of the encoder on a reply's rows."""

    @property
    def at_once(self) -> int:
        """Requests at all servers, at most."""
        return self.in_flight or 2 * self.places * self.servers


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a run in virtual time."""

    seconds: float
    tokens: int
    replies: int
    steady: float
    """Replies a second until the last request was asked: without the end, when servers run dry."""
    busy: dict[str, float]
    """Part -> share of the time in which it was at work, servers by their places."""

    @property
    def pace(self) -> float:
        """Output tokens a second."""
        return self.tokens / self.seconds

    @property
    def bottleneck(self) -> str:
        """The part that was busiest."""
        return max(self.busy, key=lambda part: self.busy[part])


class Simulation:
    """One run: each request asked, answered, worked on, encoded, committed."""

    def __init__(self, fleet: Fleet, lengths: Sequence[int]) -> None:
        self.fleet, self.lengths = fleet, lengths
        self.now, self.next, self.committed = 0.0, 0, 0
        self.events: list[tuple[float, int, str]] = []
        self.free = [fleet.places] * fleet.servers
        self.queues = [deque[int]() for _ in range(fleet.servers)]
        self.at: dict[int, int] = {}
        """Request -> its server."""
        self.load = [0] * fleet.servers
        self.until = {"client": 0.0, "encoder": 0.0}
        self.work = {"client": 0.0, "encoder": 0.0}
        self.done = set[int]()
        self.read, self.steady = 0, 0.0

    def run(self) -> Outcome:
        """Play every event in the order of time."""
        self._launch()
        while self.events:
            self.now, request, kind = heapq.heappop(self.events)
            getattr(self, f"_{kind}")(request)
        places = self.fleet.servers * self.fleet.places
        seconds, tokens = self.now, sum(self.lengths)
        busy = {"servers": tokens * self.fleet.step / (places * seconds)}
        busy |= {part: work / seconds for part, work in self.work.items()}
        return Outcome(seconds, tokens, len(self.lengths), self.steady, busy)

    def _launch(self) -> None:
        """Ask as much as may be under way and ahead of the commit."""
        most = self.fleet.ahead or MOST_AHEAD * self.fleet.at_once
        while (
            self.next < len(self.lengths)
            and len(self.at) < self.fleet.at_once
            and self.next < self.committed + most
        ):
            server = min(range(self.fleet.servers), key=self.load.__getitem__)
            self.at[self.next] = server
            self.load[server] += 1
            self.queues[server].append(self.next)
            self.next += 1
            self._fill(server)
            if self.next == len(self.lengths) and self.now:
                self.steady = self.read / self.now

    def _fill(self, server: int) -> None:
        while self.free[server] and self.queues[server]:
            self.free[server] -= 1
            request = self.queues[server].popleft()
            self._later(self.lengths[request] * self.fleet.step, request, "answered")

    def _later(self, seconds: float, request: int, kind: str) -> None:
        heapq.heappush(self.events, (self.now + seconds, request, kind))

    def _works(self, part: str, seconds: float, request: int, kind: str) -> None:
        """Let a part work on a request when it has done what it has before."""
        self.until[part] = max(self.now, self.until[part]) + seconds
        self.work[part] += seconds
        self._later(self.until[part] - self.now, request, kind)

    def _answered(self, request: int) -> None:
        server = self.at[request]
        self.free[server] += 1
        self.load[server] -= 1
        self._fill(server)
        self._works("client", self.fleet.reply, request, "read")

    def _read(self, request: int) -> None:
        del self.at[request]
        self.read += 1
        self._works("encoder", self.fleet.row, request, "played")
        self._launch()

    def _played(self, request: int) -> None:
        self.done.add(request)
        while self.committed in self.done:
            self.done.remove(self.committed)
            self.committed += 1
        self._launch()


def lengths(count: int, kind: str = KIND) -> list[int]:
    """Tokens of the answers that the simulated server gives to the tasks of `unequal`."""
    tasks = unequal.instructions(count)
    return [max(1, min(CAP, round(LENGTHS[kind](Random(task))))) for task in tasks]


def predicted(fleet: Fleet, count: int, kind: str = KIND) -> Outcome:
    """Outcome of so many tasks."""
    return Simulation(fleet, lengths(count, kind)).run()


def measured() -> JsonObject:
    """`generate` at the places of several servers, with what the model says of it.

    One server is that of `unequal`, as its stored result has it. The tokens of larger fleets are
    slower, so that replies come as fast as from one: held against each other are the servers that
    are kept full, not this machine's cores. The client's work on a reply is the difference of two
    runs' CPU time, less the encoder's.
    """
    found, costs = [_of_one()], list[tuple[float, int]]()
    for servers, tasks in TASKS.items():
        step = REPLIES_STEP * servers
        seen = _run(servers, tasks, step)
        costs.append((seen["client_cpu"], tasks))
        found.append(_beside(servers, tasks, step, seen))
        note(f"{found[-1]}")
    (few, first), (many, last) = costs
    row = _encoding()
    reply = (many - few) / (last - first) - row
    return {"reply": round(max(reply, 0.0), 5), "row": round(row, 5), "runs": found}


def _of_one() -> JsonObject:
    """One server: the stored result of `unequal`."""
    [file] = (RESULTS.parent / "unequal").glob("*.json")
    of = json.loads(file.read_text())["unequal"]
    pace = of["summary"][KIND][unequal.OURS]["tokens_per_second"][0]
    return _beside(1, of["tasks"], of["step"], {"tokens_per_second": pace})


def _beside(servers: int, tasks: int, step: float, seen: JsonObject) -> JsonObject:
    """A measurement beside the model, which knows neither client nor encoder here."""
    pace = predicted(Fleet(servers, step=step), tasks).pace
    ratio = round(pace / seen["tokens_per_second"], 3)
    about = {"servers": servers, "tasks": tasks, "step": step}
    return {**about, "model": round(pace, 1), "ratio": ratio, "measured": seen}


def _run(servers: int, tasks: int, step: float) -> JsonObject:
    """Figures of `generate` at a server that has the places of so many."""
    places = servers * unequal.PLACES
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        unequal.workspace(Path(folder), tasks, places)
        before, used = load_average(), _children()
        seen = unequal.one(Path(folder), unequal.OURS, KIND, places, step)
    del seen["filled"]
    cpu = round(_children() - used - seen["server_cpu"], 2)
    return {**seen, "client_cpu": cpu, "load_before": before}


def _encoding() -> float:
    """Seconds of the encoder on a task, in lists as they come while a fleet is busy."""
    encoder = LocalEncoder(load("nano", [], Path(), quick=True).encoder)
    texts = unequal.instructions(640)
    encoder.encode(texts[:16])
    began = time.process_time()
    for start in range(0, len(texts), 16):
        encoder.encode(texts[start : start + 16])
    return (time.process_time() - began) / len(texts)


def _children() -> float:
    """CPU seconds of processes that have ended: client and server."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def table(fleet: Fleet) -> list[JsonObject]:
    """What each number of cards like those of `fleet` gives, and the part that holds it back."""
    rows = []
    for cards in CARDS:
        count = max(2000, 16 * cards * fleet.places)
        outcome = predicted(replace(fleet, servers=cards), count)
        mean = outcome.tokens / outcome.replies
        full = cards * fleet.places / (mean * fleet.step)  # replies a second of full servers
        shares = {
            "servers": outcome.steady / full,
            "client": outcome.steady * fleet.reply,
            "encoder": outcome.steady * fleet.row,
        }
        rows.append(
            {
                "cards": cards,
                "replies_per_second": round(outcome.steady, 1),
                "tokens_per_second": round(outcome.steady * mean),
                "bottleneck": max(shares, key=lambda part: shares[part]),
                "shares": {part: round(share, 2) for part, share in shares.items()},
            }
        )
    return rows


def main() -> int:
    """Print predictions; with --measure beside what `generate` does here."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true")
    parser.add_argument(
        "--reply", type=float, default=0.0, help="seconds of the client's work on a reply"
    )
    parser.add_argument("--row", type=float, default=0.0, help="seconds of the encoder on a row")
    parser.add_argument("--places", type=int, default=unequal.PLACES)
    parser.add_argument("--step", type=float, default=unequal.STEP)
    parser.add_argument("--write", action="store_true", help="benchmarks/results/scale/")
    options = parser.parse_args()
    if options.measure:
        result = {"measured": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "kind": KIND}
        runs = measured()
        if options.write:
            RESULTS.mkdir(parents=True, exist_ok=True)
            write_text(RESULTS / "measured.json", json.dumps(result | runs, indent=1) + "\n")
        options.reply = options.reply or runs["reply"]
        options.row = options.row or runs["row"]
    fleet = Fleet(1, options.places, options.step, reply=options.reply, row=options.row)
    for one in table(fleet):
        note(f"{one}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
