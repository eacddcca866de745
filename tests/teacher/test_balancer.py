"""Several endpoints of one model: who gets a request, who is taken out, who comes back, and that no
request is lost or answered twice."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import TeacherError
from localinstruct.models.catalog import ModelSpec
from localinstruct.records import Completion, Prompt
from localinstruct.teacher import Sampling, balancer, endpoint
from localinstruct.teacher.balancer import Balancer, Place
from localinstruct.teacher.client import Client
from localinstruct.teacher.endpoint import require_answers
from localinstruct.teacher.limit import START
from tests.support.openai_server import Reply, completion, failure, models, serving_script

Answer = Callable[[str, dict[str, Any], int], Reply]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        yield Path(place)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(balancer, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(balancer, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(balancer, "BEAT", 0.1)
    monkeypatch.setattr(endpoint, "SLOW", 0.3)


def echo(_: str, request: dict[str, Any], __: int) -> Reply:
    return 200, completion(f"of {request['prompt']}")


def slow(seconds: float) -> Answer:
    def reply(_: str, request: dict[str, Any], __: int) -> Reply:
        time.sleep(seconds)
        return 200, completion(f"of {request['prompt']}")

    return reply


def places(folder: Path, count: int, timeout: float = 30) -> list[Place]:
    return [Place(f"unix://{folder}/{number}", timeout) for number in range(count)]


def told(
    where: list[Place], work: Callable[[Client, Balancer], Awaitable[Any]], **more: Any
) -> tuple[Any, list[str]]:
    """(what `work` gives, what was said)."""
    said: list[str] = []

    async def go() -> Any:
        several = Balancer(where, "m", say=said.append, **more)
        client = Client(several, "m", chat=False, sampling=Sampling(max_tokens=50))
        try:
            return await work(client, several)
        finally:
            await client.close()

    return asyncio.run(go()), said


async def ask_all(client: Client, count: int) -> list[str]:
    answers = await asyncio.gather(*(client.complete(Prompt(text=f"{n}")) for n in range(count)))
    return [answer.text for [answer] in answers]


def expected(count: int) -> list[str]:
    return [f"of {number}" for number in range(count)]


def test_each_request_goes_to_the_endpoint_with_the_fewest(folder: Path) -> None:
    """The first answers nothing before all that it was not given has reached the others."""
    seen = list[list[Any]]()

    def late(path: str, request: dict[str, Any], number: int) -> Reply:
        deadline = time.monotonic() + 60
        while len(seen[1]) + len(seen[2]) < 60 - START and time.monotonic() < deadline:
            time.sleep(0.01)
        return echo(path, request, number)

    with ExitStack() as stack:
        for number in range(3):
            reply = slow(0.02) if number else late
            seen.append(stack.enter_context(serving_script(folder / f"{number}", reply)))
        answers, said = told(places(folder, 3, 90), lambda client, _: ask_all(client, 60))
    assert answers == expected(60)
    counts = [len(one) for one in seen]
    assert sum(counts) == 60
    assert counts[0] == START
    assert min(counts[1:]) > START  # how much more one has is a matter of the machine's load
    assert said == []


def test_requests_of_an_endpoint_that_dies_are_asked_elsewhere_at_once(folder: Path) -> None:
    """One hangs up on whatever it has; its requests are answered by the other, each once."""
    with (
        serving_script(folder / "0", lambda *_: None, lambda: None),
        serving_script(folder / "1", echo) as seen,
    ):
        (answers, states), said = told(places(folder, 2), _answers_and_states)
    assert answers == expected(40)
    assert sorted(request["prompt"] for _, request in seen) == sorted(f"{n}" for n in range(40))
    assert [state["state"] for state in states] == ["out", "up"]
    assert said[0].startswith(f"unix://{folder}/0 is out: no connection")
    assert said[0].endswith("1 of 2 endpoints go on")


async def _answers_and_states(client: Client, several: Balancer) -> Any:
    return await ask_all(client, 40), several.states()


def test_an_endpoint_that_comes_back_is_asked_again(folder: Path) -> None:
    async def work(client: Client, several: Balancer) -> list[int]:
        assert await ask_all(client, 10) == expected(10)
        with serving_script(folder / "0", echo) as seen:
            await until(lambda: several.states()[0]["state"] == "up")
            assert await ask_all(client, 10) == expected(10)
            return [len(seen)]

    with serving_script(folder / "1", echo):
        [count], said = told(places(folder, 2), work)
    assert count >= 4
    assert said[-1] == f"unix://{folder}/0 is back"


async def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        (models("other"), "m is not in its list of models"),
        (models({"id": "m", "max_model_len": 512}), "context 512 tokens in place of context 4,096"),
        (models({"id": "m", "root": "/x/Qwen3-14B"}), "folder Qwen3-14B in place of folder Qwen3"),
        (models("m", "m@abc"), "digest abc in place of digest abd"),
    ],
)
def test_one_that_comes_back_with_another_model_stays_out(
    folder: Path, listed: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "SLOW", 10)
    facts = {"context": "4,096 tokens", "folder": "Qwen3-8B", "digest": "abd"}

    async def work(client: Client, several: Balancer) -> str:
        assert await ask_all(client, 10) == expected(10)
        with serving_script(folder / "0", echo, lambda: (200, listed)) as seen:
            await until(lambda: "model" in several.states()[0]["why"])
            assert await ask_all(client, 10) == expected(10)
            assert seen == []
            return str(several.states()[0]["why"])

    with serving_script(folder / "1", echo):
        found, said = told(places(folder, 2), work, facts=facts)
    assert why in found
    assert [line for line in said if "stays out" in line] == [
        f"unix://{folder}/0 stays out: {found}"
    ]


def test_a_hung_endpoint_loses_its_requests_long_before_their_time_is_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes requests and the question for its model, and says nothing."""
    monkeypatch.setattr(balancer, "QUIET", 0.3)
    release = threading.Event()

    def hang(*_: Any) -> Reply:
        release.wait(30)
        return None

    def work(client: Client, several: Balancer) -> Awaitable[Any]:
        return _answers_and_states(client, several)

    began = time.monotonic()
    with (
        serving_script(folder / "0", hang, lambda: hang()),
        serving_script(folder / "1", echo),
    ):
        (answers, states), _ = told(places(folder, 2, timeout=600), work)
        spent = time.monotonic() - began
        release.set()
    assert answers == expected(40)
    assert states[0]["state"] == "out"
    assert "said nothing" in states[0]["why"]
    assert spent < 10


def test_a_time_out_is_of_the_endpoint_and_the_request_goes_elsewhere(folder: Path) -> None:
    """Each endpoint has its own time; one that is slow and alive stays in, with a lower limit."""
    where = [Place(f"unix://{folder}/0", 0.3), Place(f"unix://{folder}/1", 30)]
    with serving_script(folder / "0", slow(1.0)), serving_script(folder / "1", echo):
        (answers, states), _ = told(where, _answers_and_states)
    assert answers == expected(40)
    assert [state["state"] for state in states] == ["up", "up"]
    assert states[0]["limit"] < 8
    assert states[0]["answered"] == 0


@pytest.mark.parametrize("status", [429, 503])
def test_one_that_is_overloaded_gets_fewer_and_no_request_is_lost(
    folder: Path, status: int
) -> None:
    busy = threading.Semaphore(2)

    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        if not busy.acquire(blocking=False):
            return status, failure("later")
        try:
            time.sleep(0.01)
            return echo(path, request, count)
        finally:
            busy.release()

    with serving_script(folder / "0", reply) as seen, serving_script(folder / "1", slow(0.01)):
        (answers, states), said = told(places(folder, 2), _answers_and_states)
    assert answers == expected(40)
    assert len(seen) > 0
    assert states[0]["state"] == "up"
    assert said == []


@pytest.mark.parametrize("reply", [(500, b"{}"), (200, b"no json"), (404, b"{}"), (401, b"{}")])
def test_one_that_only_fails_is_no_black_hole(folder: Path, reply: Reply) -> None:
    """It would always have the fewest requests."""
    with serving_script(folder / "0", lambda *_: reply) as seen, serving_script(folder / "1", echo):
        answers, said = told(places(folder, 2), lambda client, _: ask_all(client, 40))
    assert answers == expected(40)
    assert len(seen) <= 40
    assert f"unix://{folder}/0 is out" in said[0]


def test_when_all_are_gone_it_is_said_what_each_of_them_did(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balancer, "PATIENCE", 0.5)
    with pytest.raises(TeacherError, match="None of the 2 endpoints answers") as caught:
        told(places(folder, 2), lambda client, _: ask_all(client, 5))
    assert f"unix://{folder}/0: does not answer: no socket is there" in caught.value.message
    assert f"unix://{folder}/1: " in caught.value.message


def test_all_may_be_away_for_a_while(folder: Path) -> None:
    async def work(client: Client, several: Balancer) -> list[str]:
        asked = asyncio.create_task(ask_all(client, 20))
        await until(lambda: all(state["state"] == "out" for state in several.states()))
        with serving_script(folder / "1", echo):
            return await asked

    answers, _ = told(places(folder, 2), work)
    assert answers == expected(20)


def test_our_own_servers_are_started_again_and_given_up_when_all_are_dead(folder: Path) -> None:
    started: list[int] = []

    def recover(number: int) -> Callable[[], Awaitable[None]]:
        async def start() -> None:
            started.append(number)
            if started.count(number) > 2:
                raise TeacherError(f"vLLM {number} died 3 times.", "")

        return start

    where = [Place(f"unix://{folder}/{n}", 30, recover(n)) for n in range(2)]
    with pytest.raises(TeacherError, match="None of the 2 endpoints") as caught:
        told(where, lambda client, _: ask_all(client, 5))
    assert "vLLM 0 died 3 times." in caught.value.message
    assert sorted(started) == [0, 0, 0, 1, 1, 1]


def test_one_endpoint_has_no_limit_and_is_never_out(folder: Path) -> None:
    with serving_script(folder / "0", lambda *_: (200, completion("x"))):
        states, _ = told(places(folder, 1), _states_alone)
    assert states == [
        {
            "url": f"unix://{folder}/0",
            "state": "up",
            "in_flight": 0,
            "limit": None,
            "answered": 30,
            "why": "",
        }
    ]


async def _states_alone(client: Client, several: Balancer) -> Any:
    await ask_all(client, 30)
    return several.states()


def test_cancelled_requests_free_their_places(folder: Path) -> None:
    async def work(client: Client, several: Balancer) -> list[str]:
        asked = [asyncio.create_task(client.complete(Prompt(text=f"{n}"))) for n in range(60)]
        await asyncio.sleep(0.1)
        for task in asked:
            task.cancel()
        gathered = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError | list) for one in gathered)
        assert [state["in_flight"] for state in several.states()] == [0, 0]
        return await ask_all(client, 10)

    with serving_script(folder / "0", slow(0.3)), serving_script(folder / "1", slow(0.3)):
        answers, _ = told(places(folder, 2), work)
    assert answers == expected(10)


def spec(folder: Path, count: int) -> ModelSpec:
    urls = [f"unix://{folder}/{number}" for number in range(count)]
    return ModelSpec(
        name="m", endpoints=urls, served_name="m", roles=["teacher"], context=64, licence="x"
    )


def test_at_the_start_one_of_several_may_be_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "PATIENCE", 0.1)
    said: list[str] = []
    listed = models({"id": "m", "max_model_len": 4096, "root": "/models/Qwen3-8B"}, "m@abc")
    with serving_script(folder / "1", echo, lambda: (200, listed)):
        facts = require_answers(spec(folder, 2), said.append)
    assert facts == {"context": "4,096 tokens", "folder": "Qwen3-8B", "digest": "abc"}
    assert "no socket is there; it is asked again while the others work" in said[0]
    with pytest.raises(TeacherError, match="2 problems"):
        require_answers(spec(folder, 2), said.append)


def test_endpoints_with_different_models_are_refused_at_the_start(folder: Path) -> None:
    def served(**facts: Any) -> bytes:
        return models({"id": "m", **facts}, *(["m@abc"] if facts.get("root") else []))

    for first, second, found in [
        (served(max_model_len=4096), served(max_model_len=8192), "context: "),
        (models({"id": "m", "root": "/a/x"}), models({"id": "m", "root": "/a/y"}), "folder: "),
        (models("m", "m@abc"), models("m", "m@abd"), "digest: "),
        (
            models({"id": "m", "meta": {"n_params": 7}}),
            models({"id": "m", "meta": {"n_params": 8}}),
            "n_params: ",
        ),
        (models("m"), models("other"), "m is not in its list"),
    ]:
        with (
            serving_script(folder / "0", echo, lambda reply=first: (200, reply)),
            serving_script(folder / "1", echo, lambda reply=second: (200, reply)),
            pytest.raises(TeacherError) as caught,
        ):
            require_answers(spec(folder, 2), print)
        (folder / "0").unlink()
        (folder / "1").unlink()
        assert found in caught.value.message
        assert f"unix://{folder}/1" in caught.value.message


def test_equal_digests_outweigh_folders_of_another_name(folder: Path) -> None:
    first = models({"id": "m", "root": "/models/Qwen3-8B"}, "m@abc")
    second = models({"id": "m", "root": "/cache/0a1b2c"}, "m@abc")
    with (
        serving_script(folder / "0", echo, lambda: (200, first)),
        serving_script(folder / "1", echo, lambda: (200, second)),
    ):
        assert require_answers(spec(folder, 2), print)["digest"] == "abc"


def test_answers_do_not_say_who_gave_them() -> None:
    """A completion, as the log has it, has no place for an endpoint."""
    assert set(Completion("x").__slots__ if hasattr(Completion, "__slots__") else ()) == {
        "text",
        "finish_reason",
        "tokens",
        "thinking",
        "decoding",
    }
