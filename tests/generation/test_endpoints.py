"""A generation at several endpoints: rows depend on the completion log alone, and who watches sees
each endpoint."""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from localinstruct.formats import write
from localinstruct.generation.endpoints import endpoints_at_work, noted, servers_of
from localinstruct.generation.flight import in_flight_of
from localinstruct.generation.stage import converse, make_job
from localinstruct.models.catalog import ModelSpec
from localinstruct.progress import Silent
from localinstruct.records import Completion, JsonObject, Prompt
from localinstruct.report.live import Watch
from localinstruct.report.live_words import pace
from localinstruct.store.lock import only_writer
from localinstruct.store.run import Run, open_run
from localinstruct.teacher import Sampling, Serve
from localinstruct.teacher.balancer import Balancer, Place
from localinstruct.teacher.client import Client
from tests.generation.test_scheduler import SEEDS, recipe
from tests.support.openai_server import Reply, completion, serving_script
from tests.support.scripted import HashEncoder, numbered_list
from tests.support.watched import settings

CHOSEN = recipe(target=150, in_flight=12)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        yield Path(place)


def answering(who: str) -> Any:
    """A server whose words depend on who it is, and how often it was asked."""

    def reply(_: str, request: dict[str, Any], count: int) -> Reply:
        lot = Random(f"{who} {count} {request['prompt']}")
        time.sleep(0.02 * lot.random())
        return 200, completion(numbered_list(lot))

    return reply


class Nobody:
    """A teacher that must not be asked."""

    async def complete(self, prompt: Prompt) -> list[Completion]:
        raise AssertionError(f"asked: {prompt.text[:60]}")


def generated(run: Run, folder: Path) -> list[JsonObject]:
    """Generate at both endpoints; their states at the end."""

    async def go() -> list[JsonObject]:
        places = [Place(f"unix://{folder}/{number}", 30) for number in range(2)]
        balancer = Balancer(places, "m")
        client = Client(balancer, "m", chat=False, sampling=Sampling())
        try:
            job = make_job(CHOSEN, SEEDS, "digest")
            await converse(job, run, client, HashEncoder(), Silent())
            return balancer.states()
        finally:
            await client.close()

    return asyncio.run(go())


def exported(run: Run, file: Path) -> bytes:
    write(iter(list(run.kept())), "jsonl", file)
    return file.read_bytes()


def test_a_replay_of_the_log_exports_the_same_bytes_whoever_answered(
    tmp_path: Path, folder: Path
) -> None:
    with (
        serving_script(folder / "0", answering("0")) as first,
        serving_script(folder / "1", answering("1")) as second,
        open_run(tmp_path / "run") as run,
    ):
        states = generated(run, folder)
        expected, log = exported(run, tmp_path / "one.jsonl"), list(run.completion_log())
    assert min(len(first), len(second)) > 3
    assert sum(int(state["answered"]) for state in states) >= len(log)

    (tmp_path / "again").mkdir()
    for file in ("run.sqlite",):
        (tmp_path / "again" / file).write_bytes((tmp_path / "run" / file).read_bytes())
    with sqlite3.connect(tmp_path / "again" / "run.sqlite") as store:
        for table in ("kept", "rejects", "episodes"):
            store.execute(f"DELETE FROM {table}")
    store.close()
    with open_run(tmp_path / "again") as run:
        assert run.count_kept() == 0
        job = make_job(CHOSEN, SEEDS, "digest")
        asyncio.run(converse(job, run, Nobody(), HashEncoder(), Silent()))
        assert exported(run, tmp_path / "two.jsonl") == expected
        assert [entry[:3] for entry in run.completion_log()] == [entry[:3] for entry in log]


def model(name: str, *urls: str) -> ModelSpec:
    more: JsonObject = {"endpoints": list(urls), "served_name": name} if urls else {"path": "x"}
    return ModelSpec.model_validate(
        {"name": name, "roles": ["teacher"], "context": 64, "licence": "x", **more}
    )


def test_every_server_gets_its_requests() -> None:
    several = model("a", "unix:///1", "unix:///2", "unix:///3")
    assert servers_of([several, several], Serve()) == 3
    assert servers_of([several, model("b")], Serve(data_parallel_size=4)) == 7
    assert servers_of([model("b")], Serve(data_parallel_size=4, data_parallel="vllm")) == 1
    free = recipe(in_flight=None)
    assert in_flight_of(free, 7) == 7 * 2 * free.serve.max_num_seqs
    assert make_job(free, SEEDS, "", servers=7).in_flight == in_flight_of(free, 7)


def test_who_adds_an_endpoint_changes_no_row() -> None:
    """The digest of the teacher stands in every row's lineage."""
    one, two = model("a", "unix:///1"), model("a", "unix:///1", "unix:///2")
    assert one.digest == two.digest != model("b", "unix:///1").digest


def test_who_watches_sees_each_endpoint(tmp_path: Path) -> None:
    up = {"url": "unix:///a", "state": "up", "in_flight": 3, "limit": 8, "answered": 1200}
    out = {"url": "http://b:1/v1", "state": "out", "in_flight": 0, "limit": 4, "answered": 0}
    states = [{"model": "m", "why": "", **up}, {"model": "m", **out, "why": "no connection"}]

    async def at_work(run: Run) -> None:
        async with noted(run, lambda: states):
            await asyncio.sleep(0.01)
            facts = Watch(tmp_path).look()
            assert facts.endpoints == endpoints_at_work(run) == states
            lines = [value for name, value in pace(facts) if name == "endpoint"]
            assert lines == [
                "unix:///a: 3 in flight of up to 8, 1,200 answered",
                "http://b:1/v1: out: no connection",
            ]
            assert facts.to_dict()["endpoints"] == states

    with open_run(tmp_path) as run, only_writer(tmp_path):
        run.put("recipe", settings(10).to_yaml())
        run.start_stage("generate", "inputs")
        asyncio.run(at_work(run))
        assert endpoints_at_work(run) == []
        assert Watch(tmp_path).look().endpoints == []


def test_a_single_endpoint_is_not_noted(tmp_path: Path) -> None:
    async def at_work(run: Run) -> None:
        async with noted(run, lambda: [{"url": "unix:///a"}]):
            await asyncio.sleep(0)

    with open_run(tmp_path) as run:
        asyncio.run(at_work(run))
        assert run.get("endpoints") is None
