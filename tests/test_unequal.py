"""Section g of the benchmarks: the simulated server, its trace, table and picture. No timing is
asserted."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest

from benchmarks import filled, results, unequal
from benchmarks.simulated_server import CAP, LENGTHS, reply
from localinstruct.records import JsonObject
from tests.test_benchmarks import stored

README = Path(results.__file__).with_name("README.md")
STORED = sorted((README.parent / "results" / "unequal").glob("*.json"))


def run(who: str, speed: float, repetition: int = 0) -> JsonObject:
    curve = [[n / 2, 64.0 - n % 5] for n in range(unequal.POINTS)]
    return {
        "who": who,
        "lengths": "log-normal, sigma 1.0",
        "repetition": repetition,
        "load": 0.5,
        "tokens_per_second": speed,
        "to_first_request": 1.5,
        "to_exit": 0.5,
        "filled": curve,
    }


def section() -> JsonObject:
    runs = [run(unequal.PLAIN, 1000, n) for n in range(3)]
    runs += [run(unequal.OURS, 990 + n, n) for n in range(3)] + [run(unequal.BEFORE, 420)]
    return unequal.section(1000, runs)


def test_lengths_are_those_of_their_names() -> None:
    drawn = {name: sorted(draw(Random(n)) for n in range(4_000)) for name, draw in LENGTHS.items()}
    narrow, wide = drawn["log-normal, sigma 0.5"], drawn["log-normal, sigma 1.0"]
    assert 190 < narrow[2_000] < 210
    assert 190 < wide[2_000] < 210
    assert 300 < sum(wide) / 4_000 < 360
    assert 215 < sum(narrow) / 4_000 < 240
    assert 20 < sum(length == CAP for length in drawn["1 % at the cap"]) < 60
    answer = reply("a task", 30)
    assert len(answer["choices"][0]["message"]["content"].split()) == 30
    assert answer == reply("a task", 30)
    assert reply("a task", CAP)["choices"][0]["finish_reason"] == "length"


def test_a_curve_is_the_mean_of_the_places_filled() -> None:
    changes = [(10.0, 1), (12.0, 2), (15.0, 0)]
    points = unequal.curve(changes, 10.0, 22.0)
    assert len(points) == unequal.POINTS
    assert [y for _, y in points[:20]] == [1.0] * 20
    assert [y for _, y in points[20:50]] == [2.0] * 30
    assert {y for _, y in points[50:]} == {0.0}
    assert points[0][0] == pytest.approx(0.05)


def test_ratios_are_taken_within_a_repetition() -> None:
    figures = section()["summary"]["log-normal, sigma 1.0"]
    assert figures[unequal.OURS]["ratio"] == [0.991, 0.99, 0.992]
    assert figures[unequal.BEFORE]["ratio"] == [0.42, 0.42, 0.42]


def test_the_table_and_the_picture() -> None:
    text = results.markdown(stored(unequal=section()))
    assert "64 places and 5 ms a token, 128 requests in flight, 3 repetitions" in text
    line = "| log-normal, sigma 1.0 | `generate` | 991 (990 to 992) | 0.99 (0.99 to 0.99) |"
    assert line in text
    picture = ElementTree.fromstring(filled.svg(section(), "caption"))
    paths = [node for node in picture.iter() if node.tag.endswith("path")]
    assert len(paths) == 3 + 3  # three clients, and three lines of the legend


def test_what_is_published_is_what_was_measured() -> None:
    text = README.read_text("utf-8")
    between = text.partition(results.UNEQUAL_START)[2].partition(results.UNEQUAL_END)[0].strip()
    for path in STORED:
        document = json.loads(path.read_text())
        assert between.startswith(f"{results.heading(document)}\n\n")
        assert results.TABLES["unequal"](document["unequal"]) in between
        assert f"results/unequal/{path.stem}.svg" in between
        ElementTree.parse(path.with_suffix(".svg"))
    assert bool(STORED) == (between != "Not measured yet.")


def test_the_server_and_the_plain_client(tmp_path: Path) -> None:
    unequal.workspace(tmp_path, 40)
    job = {"socket": str(tmp_path / "server.sock"), "places": 4, "step": 1e-6}
    server = [sys.executable, "-m", "benchmarks.simulated_server"]
    job["lengths"] = "log-normal, sigma 0.5"
    with subprocess.Popen([*server, json.dumps(job)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        try:
            client = [sys.executable, "-m", "benchmarks.unequal", str(tmp_path)]
            subprocess.run(client, check=True, timeout=120)
        finally:
            child.send_signal(signal.SIGTERM)
        trace = json.loads(child.stdout.read())
    assert len(trace["arrived"]) == len(trace["answered"]) == 40
    assert max(taken for _, taken in trace["filled"]) == 4
    assert trace["filled"][-1][1] == 0
    lengths = [LENGTHS["log-normal, sigma 0.5"](Random(task)) for task in unequal.instructions(40)]
    assert trace["tokens"] == sum(max(1, min(CAP, round(length))) for length in lengths)
