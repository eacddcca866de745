"""Two endpoints of one teacher, of which one is killed at random moments and comes back.

The two answer the same prompt with other words, so that who answered would show. What must hold:
nothing that was shown as kept is lost, nothing is doubled, and the export equals to the byte that
of a replay of the run's own completion log, in which nobody is asked.
"""

import os
import select
import shutil
import sqlite3
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from random import Random

from localinstruct.records import Completion, Prompt
from localinstruct.store.run import read_run
from localinstruct.teacher import balancer
from tests.support.openai_server import completion
from tests.support.scripted import numbered_list
from tests.torture import program
from tests.torture.kills import GENERATE, Tick, judge
from tests.torture.program import MODELS, exported, run, workspace
from tests.torture.teachers import _end, _send, _serve

TARGET = 500
"""Rows of a run: enough for some seconds at two servers."""


class Pair:
    """Two servers at two sockets; each can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.sockets = [folder / "s0", folder / "s1"]
        self.pids = [self._started(number) for number in range(2)]

    def _started(self, number: int) -> int:
        socket = self.sockets[number]
        socket.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            _serve(socket, lambda handler, prompt, asked: _answer(number, handler, prompt, asked))
        while not socket.exists():
            time.sleep(0.002)
        return pid

    def kill(self, number: int, away: float) -> None:
        """Kill a server, and start it again after a while."""
        _end(self.pids[number])
        time.sleep(away)
        self.pids[number] = self._started(number)

    def end(self) -> None:
        """End both."""
        for pid in self.pids:
            _end(pid)


def _answer(number: int, handler: BaseHTTPRequestHandler, prompt: str, asked: int) -> None:
    """Words that depend on who is asked, and how often it was, after a moment."""
    lot = Random(f"{number} {asked} {prompt}")
    time.sleep(0.01 + 0.03 * lot.random())
    _send(handler, 200, completion(numbered_list(lot)))


def killed_endpoints(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Kill one of the two, again and again, until the run is finished; then the next run."""
    wrong, done, runs = list[str](), 0, 0
    while done < count:
        here = folder / f"run-{runs}"
        _workspace(here, folder)
        pair = Pair(folder)
        try:
            killed, outcome = _run_with_kills(here, pair, rng)
        finally:
            pair.end()
        done, runs = done + killed, runs + 1
        wrong += judge(here.name, here, outcome, outcome.shown)
        if outcome.code != 0 or not outcome.clean:
            wrong.append(f"{here.name}: exit {outcome.code}: {outcome.said[-300:]}")
        else:
            wrong += _replay_problems(here)
        shutil.rmtree(here)
        tick(done)
        if runs > 3 * count + 3:
            return [*wrong, f"only {done} kills in {runs} runs"]
    return wrong


def _workspace(here: Path, folder: Path) -> None:
    workspace(here, TARGET)
    sockets = f'endpoints: ["unix://{folder}/s0", "unix://{folder}/s1"]'
    entry = MODELS.replace('endpoint: "unix://%s"', sockets)
    (here / "models.yaml").write_text(entry)


def _run_with_kills(here: Path, pair: Pair, rng: Random) -> tuple[int, program.Outcome]:
    """(kills while it was at work, the outcome) of one run."""
    killed = 0

    def harm(pid: int) -> None:
        nonlocal killed
        ended = os.pidfd_open(pid)
        _wait_for_rows(here, ended)
        while not select.select([ended], [], [], rng.uniform(0.05, 0.8))[0]:
            pair.kill(rng.randrange(2), rng.uniform(0.0, 0.4))
            killed += 1
        os.close(ended)

    outcome = run(here, GENERATE, harm, before=_soon, served=True)
    return killed, outcome


def _wait_for_rows(here: Path, ended: int) -> None:
    """Wait until the first answers are in the log, or the program has ended."""
    store = here / "runs/tortured/run.sqlite"
    while not select.select([ended], [], [], 0.05)[0]:
        if store.exists():
            try:
                with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
                    if connection.execute("SELECT count(*) FROM tape").fetchone()[0]:
                        return
            except sqlite3.Error:
                continue


def _soon() -> None:
    """In the program: an endpoint that is out is asked again before the run is over."""
    balancer.FIRST_PAUSE, balancer.LONGEST_PAUSE = 0.1, 0.2


def _replay_problems(here: Path) -> list[str]:
    """Differences between a run and what its completion log makes of a new one, nobody asked."""
    expected, ids = exported(here)
    again = here / "again"
    workspace(again, TARGET)
    shutil.copy(here / "models.yaml", again / "models.yaml")
    shutil.copytree(here / "runs", again / "runs")
    _forget_all_but_the_log(again / "runs/tortured/run.sqlite")
    outcome = run(again, GENERATE, before=_nobody_is_asked)
    if outcome.code != 0:
        return [f"{here.name}: replay: exit {outcome.code}: {outcome.said[-300:]}"]
    replayed, _ = exported(again)
    wrong = [] if replayed == expected else [f"{here.name}: the export differs from the replay's"]
    with read_run(here / "runs/tortured") as found:
        places = [entry[:3] for entry in found.completion_log()]
    if len(set(places)) < len(places) or len(set(ids)) < len(ids):
        wrong.append(f"{here.name}: doubled completions or rows")
    return wrong


def _forget_all_but_the_log(store: Path) -> None:
    with sqlite3.connect(store) as connection:
        for table in ("kept", "rejects", "episodes", "stages"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()


def _nobody_is_asked() -> None:
    """In the program: a question to the teacher is an error."""

    async def refuse(self: program.PlayedTeacher, prompt: Prompt) -> list[Completion]:
        raise AssertionError(f"asked again: {prompt.text[:80]}")

    program.PlayedTeacher.complete = refuse  # type: ignore[method-assign]
