"""Serving and chatting on a real vLLM: base and student asked at once, a pipe, a port, and nothing
left behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from localinstruct.evaluation.answers import question_in
from localinstruct.records import Instance
from localinstruct.teacher import Sampling
from localinstruct.teacher.client import Client
from tests.support.trained_runs import ROOT, train_nano

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
COMMAND = [sys.executable, "-m", "localinstruct"]
QUESTIONS = (
    "What is the opposite of hot?",
    "What is the plural of apple?",
    "Name a colour.",
    "Sort: pear, apple",
)


@contextmanager
def started(place: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """`localinstruct serve`, when it answers, with what it says: base, student, try."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (
        (place / "serve.err").open("w") as log,
        subprocess.Popen(
            [*COMMAND, *words],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline().partition(" ") for _ in range(3)]
            assert lines[2][0] == "try", (place / "serve.err").read_text()
            yield process, {name: said.strip() for name, _, said in lines}
        finally:
            process.kill()


def asked(url: str, names: Sequence[str], question: str) -> list[str]:
    """Greedy answers of these models to one question, asked at once, in Alpaca's template."""

    async def one(name: str) -> str:
        client = Client(
            url, name, chat=False, sampling=Sampling(temperature=0.0, max_tokens=24), timeout=60
        )
        try:
            [answer] = await client.complete(question_in(Instance(question), "alpaca", 24))
            return answer.text
        finally:
            await client.close()

    async def every() -> list[str]:
        return list(await asyncio.gather(*(one(name) for name in names)))

    return asyncio.run(every())


def processes_of(place: Path) -> list[str]:
    """Command lines of processes that work in this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cwd").readlink() == place:
                found.append((path / "cmdline").read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return found


@pytest.mark.exhaustive
def test_serve_answers_on_its_socket_and_ends_clean(tmp_path: Path) -> None:
    train_nano(tmp_path)
    with started(tmp_path, "serve", "first") as (process, said):
        url = said["student"].split(" at ")[1]
        assert url.startswith("unix://")
        assert Path(url.removeprefix("unix://")).parent.stat().st_mode & 0o077 == 0
        shown = subprocess.run(
            ["bash", "-c", said["try"]], capture_output=True, text=True, check=True
        ).stdout
        through_chat = json.loads(shown)["choices"][0]["message"]["content"]
        alone = {
            name: [asked(url, [name], q)[0] for q in QUESTIONS] for name in ("nano", "student")
        }
        assert through_chat.startswith(alone["student"][0])
        assert alone["nano"] != alone["student"]
        # one batch: the adapter stays with its own
        together = [asked(url, ["nano", "student"], q) for q in QUESTIONS]
        assert [pair[0] for pair in together] == alone["nano"]
        assert [pair[1] for pair in together] == alone["student"]
        second = subprocess.run(
            [*COMMAND, "serve", "first"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert second.returncode == 75
        assert "another process serves its student" in second.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 0
        assert "nothing of it runs any more" in (tmp_path / "serve.err").read_text()
    deadline = time.monotonic() + 60
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(tmp_path) == []
    assert not Path(url.removeprefix("unix://")).parent.exists()


@pytest.mark.exhaustive
def test_serve_on_a_port_of_loopback(tmp_path: Path) -> None:
    train_nano(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with started(tmp_path, "serve", "first", "--port", str(port)) as (process, said):
        assert said["base"] == f"nano at http://127.0.0.1:{port}/v1"
        shown = subprocess.run(
            ["bash", "-c", said["try"]], capture_output=True, text=True, check=True
        ).stdout
        assert json.loads(shown)["model"] == "student"
        listening = [
            line.split()[1]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if " 0A " in line
        ]
        assert f"0100007F:{port:04X}" in listening
        assert f"00000000:{port:04X}" not in listening
        process.terminate()
        assert process.wait(timeout=120) == 0


@pytest.mark.exhaustive
def test_chat_through_a_pipe_keeps_its_turns_and_compares(tmp_path: Path) -> None:
    train_nano(tmp_path, template="chat")
    lines = [
        "Sort: stone, apple",
        "And now: red, blue",
        "/new",
        "Sort: stone, apple",
        "/compare",
        "Name a colour.",
    ]
    done = subprocess.run(
        [*COMMAND, "chat", "first", "--json"],
        input="\n".join(lines) + "\n",
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["asked"] for answer in answers] == [
        line for line in lines if not line.startswith("/")
    ]
    assert answers[0]["student"] == answers[2]["student"]  # forgotten in between
    assert set(answers[3]) - {"cut"} == {"asked", "base", "student"}
    assert "single turns" not in done.stderr
