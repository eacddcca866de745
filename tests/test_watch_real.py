"""A real nano run, watched by facts and page from outside through a kill, a resume and a stop."""

import html
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localinstruct.report import live_words
from localinstruct.report.live import Watch, WatchFacts
from localinstruct.store.run import read_run

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.exhaustive]
ROOT = Path(__file__).parents[1]
RUN = ["run", "nano", "--name", "seen", "--set", "generate.target=800", "--set", "train.epochs=40"]
RUN += ["--set", "generate.in_flight=4"]


BEGUN: list["subprocess.Popen[str]"] = []


def begin(folder: Path, *words: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    program = subprocess.Popen(
        [sys.executable, "-m", "localinstruct", *words],
        cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    BEGUN.append(program)
    return program


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    yield
    for program in BEGUN:
        if program.poll() is None:
            program.send_signal(signal.SIGINT)
        program.communicate(timeout=60)


def until(watch: Watch, seen: Callable[[WatchFacts], bool], looks: list[WatchFacts]) -> WatchFacts:
    """Look once a second until something is seen."""
    for _ in range(300):
        time.sleep(1)
        if (watch.path / "run.sqlite").is_file():
            try:
                looks.append(watch.look())
            except Exception:  # just being made
                continue
            if seen(looks[-1]):
                return looks[-1]
    raise AssertionError(f"never seen; the last look: {looks[-1:]}")


def test_through_a_kill_a_resume_and_a_stop(tmp_path: Path) -> None:
    folder, looks = tmp_path / "runs" / "seen", list[WatchFacts]()
    watch = Watch(folder)
    run = begin(tmp_path, *RUN)
    until(watch, lambda facts: facts.generation.kept >= 20, looks)
    page = begin(tmp_path, "watch", "seen")
    assert page.stdout is not None
    address = page.stdout.readline().strip()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def on_the_page() -> str:
        text = re.sub("<[^>]*>", " ", opener.open(address, timeout=30).read().decode())
        return " ".join(html.unescape(text).split())

    assert "generate: the teacher writes rows" in on_the_page()
    until(watch, lambda facts: bool(facts.seconds_left and facts.taken.queues), looks)
    run.send_signal(signal.SIGKILL)
    run.wait()
    time.sleep(6)  # its stage hears of it, and stops with a note or is gone without
    dead = until(watch, lambda facts: facts.state in ("dead", "stopped"), looks)
    assert live_words.headline(dead) in on_the_page()
    run = begin(tmp_path, *RUN)
    until(watch, lambda facts: facts.generation.kept > dead.generation.kept, looks)
    assert live_words.headline(dead) not in on_the_page()  # it may be at the next stage already
    until(watch, lambda facts: bool(facts.training and facts.training.step > 3), looks)
    run.send_signal(signal.SIGINT)
    run.wait()
    stopped = until(watch, lambda facts: facts.state == "stopped", looks)
    shown = on_the_page()
    for name, value in live_words.pace(stopped):
        assert f"{name} {value}" in shown
    page.send_signal(signal.SIGINT)
    assert page.wait(20) == 0
    doing = {facts.doing for facts in looks}
    assert {"the teacher is starting", "loading the student"} & doing
    kept = [facts.generation.kept for facts in looks]
    assert kept == sorted(kept)
    with read_run(folder) as store:
        assert stopped.generation.kept == store.count_kept() >= 800
        assert stopped.generation.output_tokens == sum(n for _, n in store.completion_usage()[1])
        result = store.stage("generate")
        assert result is not None
        speed = result.result["tokens_per_second"]
        assert stopped.generation.tokens_per_second == pytest.approx(speed, abs=0.06)
        assert stopped.generation.seconds == pytest.approx(result.result["seconds"], abs=0.002)
