"""A run that is watched: the numbers of the report while it is at work, from its store alone."""

import gc
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from localinstruct.records import JsonObject
from localinstruct.report import live_words as words
from localinstruct.report.data import SPEED_OVER, Bins
from localinstruct.report.facts import run_facts
from localinstruct.report.live import Watch, WatchFacts
from localinstruct.report.processes import Queue, parse_queue, queue_of
from localinstruct.store import worktime
from localinstruct.store.lock import owner
from localinstruct.store.run import Run, open_run, read_run
from localinstruct.store.worktime import ASKING, worked
from tests.support import sample_run
from tests.support.watched import generate, settings

ROOT = Path(__file__).parents[2]
MOVING = ("at", "taken", "quiet_seconds", "seconds_left")


def counted(facts: WatchFacts) -> JsonObject:
    """What two looks at one store must agree on."""
    plain = {key: value for key, value in facts.to_dict().items() if key not in MOVING}
    moving = ("seconds", "tokens_per_second", "tokens_per_second_lately")
    made = {key: value for key, value in plain["generation"].items() if key not in moving}
    return {**plain, "generation": made}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_looks_in_between_and_one_at_the_end_see_the_same(tmp_path: Path) -> None:
    path, looks = tmp_path / "run", list[WatchFacts]()
    with open_run(path) as run:
        run.put("recipe", settings(200).to_yaml())
        watch = Watch(path)
        for target in (40, 90, 91, 200):
            looks.append(watch.look())
            generate(run, target)
        last = watch.look()
        fresh = Watch(path).look()
        assert counted(last) == counted(fresh)
    kept = [facts.generation.kept for facts in [*looks, last]]
    assert kept == sorted(kept)
    assert kept[0] == 0
    assert kept[-1] >= 200
    assert last.generation.rows_over_time[-1][1] == last.generation.kept
    for reason in last.generation.reasons:
        assert reason.over_time[-1][1] == reason.count
    assert sum(one.kept for one in last.generation.topics) == last.generation.kept


def test_the_numbers_are_those_of_the_report(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with open_run(path) as run:
        generate(run, 120)
        run.finish_stage("generate", {"kept": run.count_kept()})
    with read_run(path) as run:
        data, facts = run_facts(run, settings(120))["data"], Watch(path).look()
        made = facts.generation
        assert (made.kept, made.candidates) == (data["kept"], data["candidates"])
        assert made.share_new == data["share_kept"]
        assert sum(one.count for one in made.reasons) == data["rejected"]
        assert [(one.stage, one.reason, one.count) for one in made.reasons] == run.reject_counts()
        prompts, usage = run.completion_usage()
        assert (made.prompts, made.output_tokens) == (prompts, sum(n for _, n in usage))
        assert made.seconds == pytest.approx(worked(run, ASKING))
        assert made.tokens_per_second == pytest.approx(made.output_tokens / made.seconds)
        assert [row.id for row in facts.rows] == run.kept_ids()[::-1][:5]


def test_losses_are_those_of_the_report(tmp_path: Path) -> None:
    path = tmp_path / "run"
    sample_run.make(path)
    with open_run(path) as run:
        run.put("recipe", sample_run.recipe().to_yaml())
    training = Watch(path).look().training
    assert training is not None
    assert (training.step, training.epoch, training.epochs) == (120, 3.0, 3.0)
    assert len(training.losses) == 120
    assert [step for step, _ in training.held_out] == [20, 40, 60, 80, 100, 120]


def test_a_look_writes_nothing_and_needs_no_right_to(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with open_run(path) as run:
        generate(run, 40)
    before = digests(path)
    assert Watch(path).look().generation.kept >= 40
    assert digests(path) == before


@contextmanager
def at_work(path: Path, target: int) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "tests.support.watched", str(path), str(target)]
    child = subprocess.Popen(command, cwd=ROOT)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def until(watch: Watch, kept: int) -> WatchFacts:
    """Look until so many rows are kept."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (watch.path / "run.sqlite").is_file() and owner(watch.path):
            try:
                facts = watch.look()
            except Exception:  # the store is just being made
                facts = None
            if facts and facts.generation.kept >= kept:
                return facts
        time.sleep(0.1)
    raise AssertionError("no rows came")


def test_it_tells_dead_from_slow_and_plays_on_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "run"
    watch = Watch(path)
    with at_work(path, 100_000) as child:
        facts = until(watch, 40)
        assert (facts.state, facts.pid, facts.stage) == ("running", child.pid, "generate")
        assert facts.doing == "the teacher writes rows; the new ones are kept"
        assert facts.taken.processes == 1
        assert facts.taken.memory_gib > 0
        assert facts.generation.tokens_per_second_lately
        os.kill(child.pid, signal.SIGSTOP)  # slow, and not dead
        assert watch.look().state == "running"
        child.kill()
        child.wait()
        facts = watch.look()
    assert (facts.state, facts.pid, facts.seconds_left) == ("dead", None, None)
    assert words.headline(facts) == "killed in generate: no process works in it"
    assert words.next_step(facts) == f"localinstruct run {path}"
    seconds, kept = facts.generation.seconds, facts.generation.kept
    time.sleep(1)
    assert watch.look().generation.seconds == seconds  # what is dead does not work
    with at_work(path, 100_000):
        facts = until(watch, kept + 1)
        assert facts.state == "running"
        assert counted(facts)["generation"]["rows_over_time"][-1][1] == facts.generation.kept
    last = watch.look()
    assert counted(last) == counted(Watch(path).look())
    with read_run(path) as run:
        assert last.generation.kept == run.count_kept()


def test_a_run_begun_anew_is_watched_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "run"
    watch = Watch(path)
    for target in (60, 20):
        for file in path.glob("run.sqlite*"):
            file.unlink()
        with open_run(path) as run:
            generate(run, target)
        facts = watch.look()
        assert counted(facts) == counted(Watch(path).look())
        assert target <= facts.generation.kept < target + 20


def told(path: Path, change: Callable[[Run], None]) -> str:
    with open_run(path) as run:
        run.put("recipe", settings(10).to_yaml())
        change(run)
    facts = Watch(path).look()
    return f"{facts.state}: {words.headline(facts)}"


def test_states_in_words(tmp_path: Path) -> None:
    def stopped(run: Run) -> None:
        run.start_stage("train", "x")
        worktime._store(run, "train", "", [(1.0, 2.0)])

    def partly(run: Run) -> None:
        run.start_stage("generate", "x")
        run.finish_stage("generate", {})

    def wholly(run: Run) -> None:
        for name in ("generate", "dataset", "train", "evaluate", "report"):
            run.start_stage(name, "x")
            run.finish_stage(name, {})

    assert told(tmp_path / "a", lambda run: None) == "waiting: generate has not begun"
    assert told(tmp_path / "b", stopped) == "stopped: stopped in train"
    assert told(tmp_path / "c", partly) == "waiting: dataset has not begun"
    assert told(tmp_path / "d", wholly) == "finished: every stage has finished"


def test_the_bar_is_of_the_stage_at_work(tmp_path: Path) -> None:
    """Seen: a full bar, that of the rows, while the training had hardly begun."""
    sample_run.make(tmp_path / "run")
    with open_run(tmp_path / "run") as run:
        run.put("recipe", sample_run.recipe().to_yaml())
    facts = Watch(tmp_path / "run").look()
    made, training = replace(facts.generation, kept=30, target=40), facts.training
    assert training
    training = replace(training, epoch=1.5, epochs=6.0)
    at = replace(facts, state="running", generation=made, training=training)
    shares = [words.done(replace(at, stage=stage)) for stage in ("generate", "train", "evaluate")]
    assert shares == [0.75, 0.25, None]
    assert words.done(replace(at, stage="train", training=None)) == 0.0
    assert words.done(replace(at, state="stopped", stage="train")) == 0.75


def test_silence_is_said_of_a_stage_that_leaves_traces(tmp_path: Path) -> None:
    for stage, said in (
        ("generate", "generate: the teacher is starting; alive, with nothing new for 2 min "),
        ("evaluate", "evaluate: base against student, for 2 min "),
    ):
        with open_run(tmp_path / stage) as run:
            run.put("recipe", settings(10).to_yaml())
            run.start_stage(stage, "x")
            worktime._store(run, stage, "", [(time.time() - 120, None)])
            assert words.headline(Watch(tmp_path / stage).look()).startswith(said)


def test_bins_do_not_depend_on_how_events_are_divided() -> None:
    one, other = Bins(), Bins()
    events = [(n * 1.7, {"kept": n % 5, f"reason {n % 3}": 1}) for n in range(900)]
    for seconds, amounts in events:
        one.add(seconds, amounts)
    for seconds, amounts in [*events[::2], *events[1::2]]:
        other.add(seconds, amounts)
    assert len(one.counts) <= 120
    assert one == other
    assert one.sums("kept")[-1][1] == sum(n % 5 for n in range(900))
    rates = sum(value * one.width for _, value in one.rates("kept"))
    assert rates == one.sums("kept")[-2][1]


def test_answers_that_come_at_once_are_no_peak_of_speed() -> None:
    """Seen: 269 tokens a second, drawn as one second of 16,000 between zeros."""
    bins = Bins()
    bins.add(20.5, {"tokens": 16_000})
    bins.add(59.5, {"tokens": 0})
    rates = dict(bins.rates("tokens"))
    assert max(rates.values()) == 16_000 / SPEED_OVER
    assert sum(rates.values()) == 16_000
    assert rates[20.0] == rates[31.0] == 0.0 < rates[21.0] == rates[30.0]


METRICS = """
# HELP vllm:num_requests_running Number of requests in model execution batches.
vllm:num_requests_running{engine="0",model_name="nano"} 3.0
vllm:num_requests_running{engine="1",model_name="nano"} 4.0
vllm:num_requests_waiting{engine="0",model_name="nano"} 12.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="nano",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="nano"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="nano"} 0.75
"""


def test_the_queue_of_a_vllm_is_read_over_all_its_engines() -> None:
    assert parse_queue("nano", METRICS) == Queue("nano", 7, 12, 0.5)
    assert parse_queue("nano", "") is None
    assert parse_queue("nano", "<html>") is None


def test_a_server_that_is_gone_leaves_no_queue_and_no_socket_open(tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp(dir="/tmp"), "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
    command = ["python", "-m", "vllm.entrypoints.openai.api_server", "--uds", str(place)]
    with warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("always", ResourceWarning)
        assert queue_of(command) is None
        gc.collect()
    assert [str(one.message) for one in unclosed] == []
    shutil.rmtree(place.parent)
