"""The client against a scripted server: both endpoints, retries, refusals, and nothing but what was
asked for."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from localinstruct.errors import RecipeError, TeacherError
from localinstruct.records import Completion, Message, Prompt
from localinstruct.teacher import Sampling
from localinstruct.teacher import client as client_module
from localinstruct.teacher.balancer import Replica
from localinstruct.teacher.client import Client
from tests.support.openai_server import Reply, chat, completion, failure, serving_script


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(self: Client, attempt: int) -> None:
        if self._recover:
            await self._recover()

    monkeypatch.setattr(client_module.Client, "_pause", at_once)


def ask(
    socket: Path, prompt: Prompt, *, chat_model: bool = False, timeout: float = 60, **more: Any
) -> list[Completion]:
    async def go() -> list[Completion]:
        settings: dict[str, Any] = {
            "sampling": Sampling(max_tokens=50),
            "chat": chat_model,
            "timeout": timeout,
        } | more
        client = Client(f"unix://{socket}", "m", **settings)
        try:
            return await client.complete(prompt)
        finally:
            await client.close()

    return asyncio.run(go())


def test_a_base_model_is_continued_as_text(tmp_path: Path) -> None:
    with serving_script(tmp_path / "s", lambda *_: (200, completion("one", "two"))) as seen:
        answers = ask(tmp_path / "s", Prompt(text="Hi", n=2, stop=("\n",), temperature=0.0))
    assert [a.text for a in answers] == ["one", "two"]
    assert sum(a.tokens for a in answers) == 7
    [(path, request)] = seen
    assert path == "/v1/completions"
    assert request == {
        "model": "m",
        "prompt": "Hi",
        "n": 2,
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 50,
        "stop": ["\n"],
    }


def test_a_chat_model_is_asked_through_its_template(tmp_path: Path) -> None:
    with serving_script(tmp_path / "s", lambda *_: (200, chat("yes"))) as seen:
        ask(tmp_path / "s", Prompt(text="Hi"), chat_model=True)
        ask(
            tmp_path / "s",
            Prompt(messages=(Message("system", "Be brief."), Message("user", "Hi"))),
            chat_model=True,
        )
    assert [path for path, _ in seen] == ["/v1/chat/completions"] * 2
    assert seen[0][1]["messages"] == [{"role": "user", "content": "Hi"}]
    assert seen[1][1]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_biases_travel_as_the_protocol_has_them(tmp_path: Path) -> None:
    sampling = Sampling(logit_bias={50256: -100})
    with serving_script(tmp_path / "s", lambda *_: (200, completion("x"))) as seen:
        ask(tmp_path / "s", Prompt(text="Hi"), sampling=sampling)
    assert seen[0][1]["logit_bias"] == {"50256": -100}


def test_never_sends_a_seed(tmp_path: Path) -> None:
    with serving_script(tmp_path / "s", lambda *_: (200, completion("x"))) as seen:
        ask(tmp_path / "s", Prompt(text="Hi"))
    assert "seed" not in seen[0][1]


@pytest.mark.parametrize(
    "trouble",
    [
        (500, b"{}"),
        (503, b"no"),
        (429, b"{}"),
        None,
        (200, b"not json"),
        (200, b'{"choices": null}'),
        (200, b"\xff\xfe"),
    ],
    ids=["500", "503", "429", "hangs up", "not json", "no choices", "not utf-8"],
)
def test_trouble_is_retried(tmp_path: Path, trouble: Reply) -> None:
    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        return trouble if count < 3 else (200, completion("fine"))

    with serving_script(tmp_path / "s", reply) as seen:
        assert ask(tmp_path / "s", Prompt(text="Hi"))[0].text == "fine"
    assert len(seen) == 3


def test_a_hanging_server_is_asked_again(tmp_path: Path) -> None:
    import threading

    release = threading.Event()

    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        if count == 1:
            release.wait(10)
            return None
        return 200, completion("fine")

    with serving_script(tmp_path / "s", reply):
        assert ask(tmp_path / "s", Prompt(text="Hi"), timeout=0.3)[0].text == "fine"
        release.set()


def test_a_server_that_stays_away_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with (
        serving_script(tmp_path / "s", lambda *_: (500, failure("out of cheese"))),
        pytest.raises(TeacherError) as caught,
    ):
        ask(tmp_path / "s", Prompt(text="Hi"))
    assert "out of cheese" in caught.value.message


def test_recovery_is_asked_for_before_each_retry(tmp_path: Path) -> None:
    recovered = []

    async def recover() -> None:
        recovered.append(1)

    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        return None if count < 3 else (200, completion("back"))

    with serving_script(tmp_path / "s", reply):
        assert ask(tmp_path / "s", Prompt(text="Hi"), recover=recover)[0].text == "back"
    assert len(recovered) == 2


def test_a_refused_prompt_is_this_prompts_fault(tmp_path: Path) -> None:
    with serving_script(
        tmp_path / "s", lambda *_: (400, failure("longer than the context"))
    ) as seen:
        answers = ask(tmp_path / "s", Prompt(text="Hi", n=2))
    assert [a.text for a in answers] == ["", ""]
    assert "longer than the context" in answers[0].finish_reason
    assert len(seen) == 1


def test_an_unknown_model_says_where_to_look(tmp_path: Path) -> None:
    with (
        serving_script(tmp_path / "s", lambda *_: (404, failure("no such model"))),
        pytest.raises(TeacherError) as caught,
    ):
        ask(tmp_path / "s", Prompt(text="Hi"))
    assert "served_name" in caught.value.hint


def test_lone_surrogates_become_text_that_can_be_stored(tmp_path: Path) -> None:
    body = completion("bad \\ud800 half").replace(b"\\\\ud800", b"\\ud800")
    with serving_script(tmp_path / "s", lambda *_: (200, body)):
        [answer] = ask(tmp_path / "s", Prompt(text="Hi"))
    assert answer.text == "bad ? half"


def test_a_missing_finish_reason_counts_as_cut_off(tmp_path: Path) -> None:
    body = completion("x").replace(b'"finish_reason": "stop"', b'"finish_reason": null')
    with serving_script(tmp_path / "s", lambda *_: (200, body)):
        [answer] = ask(tmp_path / "s", Prompt(text="Hi"))
    assert answer.finish_reason == "length"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "http://10.0.0.1:8000/v1",
        "http://example.org/v1",
        "ftp://localhost",
        "unix://host/s",
    ],
)
def test_other_machines_are_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(RecipeError, match="not on this machine"):
        Client(url, "m", chat=False, sampling=Sampling(), timeout=1)


def test_a_prompt_that_always_fails_is_given_up_while_others_are_answered(tmp_path: Path) -> None:
    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        return (
            (500, failure("cannot")) if request["prompt"] == "poison" else (200, completion("fine"))
        )

    async def go() -> list[list[Completion]]:
        client = Client(
            f"unix://{tmp_path / 's'}", "m", chat=False, sampling=Sampling(), timeout=60
        )
        poisoned = asyncio.create_task(client.complete(Prompt(text="poison")))
        answers = [await client.complete(Prompt(text=f"good {number}")) for number in range(30)]
        answers.append(await poisoned)
        await client.close()
        return answers

    with serving_script(tmp_path / "s", reply):
        *good, given_up = asyncio.run(go())
    assert {a.text for [a] in good} == {"fine"}
    assert given_up[0].text == ""
    assert given_up[0].finish_reason.startswith("refused: failed 6 times: ")


def test_a_server_that_answered_before_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs up far more often than an error is tried; it is given up once its patience is
    over."""

    async def go() -> str:
        client = Client(
            f"unix://{tmp_path / 's'}", "m", chat=False, sampling=Sampling(), timeout=60
        )
        try:
            await client.complete(Prompt(text="first"))
            [answer] = await client.complete(Prompt(text="second"))
            return answer.text
        finally:
            await client.close()

    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        return None if 1 < count < 25 else (200, completion("back"))

    with serving_script(tmp_path / "s", reply):
        assert asyncio.run(go()) == "back"
    monkeypatch.setattr(client_module, "PATIENCE", 0)
    (tmp_path / "s").unlink()
    with serving_script(tmp_path / "s", reply), pytest.raises(TeacherError, match="failed 6 times"):
        asyncio.run(go())


def test_a_prompt_does_not_pay_for_a_server_that_was_away(tmp_path: Path) -> None:
    """Broken connections are no failures of the prompt: after nine of them, five errors are still
    borne."""
    seen = {"poison": 0}

    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        if request["prompt"] != "poison":
            return 200, completion("fine")
        seen["poison"] += 1
        if seen["poison"] <= 9:
            return None
        return (500, failure("cannot")) if seen["poison"] <= 14 else (200, completion("at last"))

    async def go() -> Completion:
        client = Client(
            f"unix://{tmp_path / 's'}", "m", chat=False, sampling=Sampling(), timeout=60
        )
        await client.complete(Prompt(text="good"))
        poisoned = asyncio.create_task(client.complete(Prompt(text="poison")))
        while not poisoned.done():
            await client.complete(Prompt(text="good"))
            await asyncio.sleep(0.05)
        await client.close()
        return (await poisoned)[0]

    with serving_script(tmp_path / "s", reply):
        assert asyncio.run(go()).text == "at last"


def test_a_slow_answer_gets_more_time_each_second_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that needs half a minute, from a client that waits ten seconds at first."""
    given: list[float] = []
    really_reply = Client._reply

    async def slowly(
        self: Client, replica: Replica, prompt: Prompt, timeout: float
    ) -> list[Completion]:
        given.append(timeout)
        if timeout < 30:
            raise openai.APITimeoutError(httpx2.Request("POST", "http://localhost"))
        return await really_reply(self, replica, prompt, timeout)

    monkeypatch.setattr(Client, "_reply", slowly)
    with serving_script(tmp_path / "s", lambda *_: (200, completion("slow"))):
        [answer] = ask(tmp_path / "s", Prompt(text="x"), timeout=10)
    assert (answer.text, given) == ("slow", [10, 10, 20, 20, 40])
