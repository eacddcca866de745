"""Client of the OpenAI protocol over a unix socket or loopback, with retries.

It retries until the server is gone for good. Every server (vLLM, llama.cpp, `transformers serve`,
Ollama, SGLang) is asked in two ways: /v1/completions for a base model, /v1/chat/completions for a
chat model. base_url and transport are always given, so neither OPENAI_* variables nor proxies are
looked at. No sampling seed is sent: repeatability comes from the completion log. JSON of a form is
`structured.py`, thoughts of reasoning models are `thinking.py`.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localinstruct.errors import DataError, TeacherError
from localinstruct.offline import switches
from localinstruct.records import Completion, JsonObject, Prompt
from localinstruct.teacher import Sampling
from localinstruct.teacher.spelling import Spelling
from localinstruct.teacher.structured import structured
from localinstruct.teacher.thinking import split_thinking
from localinstruct.templates.special_tokens import Unreadable

if TYPE_CHECKING:
    import httpx2
    import openai
    from openai.types import Completion as TextReply
    from openai.types.chat import ChatCompletion, ChatCompletionMessage

ATTEMPTS = 6
"""Failures of a request at a server that is there, after which the request is given up.

If the server answers nothing else either, it is given up. A server that is away is tried as often,
and for PATIENCE seconds.
"""
PATIENCE = 90.0
"""Seconds a server that has answered before may be away: time for somebody to start it again."""
Recover = Callable[[], Awaitable[None]]
"""Starter of a dead server; it raises TeacherError when that is no longer possible."""


class Malformed(Exception):
    """A reply that is not of the protocol; the request is made again as after any other failure."""


class Client:
    """A `Teacher` behind a URL; it is closed inside the event loop that used it."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        chat: bool,
        sampling: Sampling,
        timeout: float,
        recover: Recover | None = None,
        stop: Sequence[str] = (),
        schema_timeout: float = 120,
        spelling: Spelling | None = None,
        llama_cpp: bool = False,
    ) -> None:
        self._api = _openai(url, timeout)
        self._url = url
        self._timeout = timeout
        self._model = model
        self._chat = chat
        self._stop = tuple(stop)
        """Strings that end an answer in a chat, beside the prompt's own."""
        self._sampling = sampling
        self._schema_timeout = schema_timeout
        self._recover = recover
        self._spelling = spelling
        """Reader of prompts that spell a special token; None where the model is not ours."""
        self._llama_cpp = llama_cpp
        """True for llama.cpp, whose completions of texts know a schema by another name."""
        self._answered = -math.inf
        """Time of the last answer to any prompt (seconds, monotonic)."""

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def complete(self, prompt: Prompt) -> list[Completion]:
        """`prompt.n` completions, in the form that `prompt.schema` asks for.

        Where they are not in form, the finish_reason says so. A prompt the server refuses (longer
        than its context), or fails on again and again while it answers others, comes back as an
        empty completion with the refusal as its finish_reason: that is this prompt's fault, not the
        teacher's. TeacherError when the server stays away, or fails on everything.
        """
        asyncio.get_running_loop().set_exception_handler(_without_late_sockets)
        try:
            self._token_ids(prompt)
        except Unreadable as error:
            return [Completion("", f"refused: {error.message}")] * prompt.n
        if prompt.schema is None:
            return await self._persist(prompt)
        return await structured(prompt, self._constrained, self._persist)

    async def stream(
        self, prompt: Prompt, on_end: Callable[[str], None] = lambda _: None
    ) -> AsyncIterator[str]:
        """The first completion of a prompt in pieces, as it is written.

        `on_end` is told why it ended: "stop", or "length" where it was cut at its limit of tokens.
        Thoughts are not separated from answers. A server that cannot be reached is waited for, or
        started again, as long as no piece has come. DataError for a prompt that it refuses,
        TeacherError when it fails otherwise or breaks off.
        """
        import openai

        began = False
        for attempt in count():
            try:
                async for piece in self._pieces(prompt, on_end):
                    began = True
                    yield piece
                return
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                problem = f"The model refuses this: {_first_line(error)}."
                raise DataError(problem, "Say less at once.") from None
            except openai.APIConnectionError as error:
                if began or attempt + 1 >= ATTEMPTS:
                    problem = f"{self._url} broke off: {_first_line(error)}."
                    raise TeacherError(problem, "See its log.") from None
            except openai.APIError as error:
                problem = f"{self._url} refuses: {_first_line(error)}."
                raise TeacherError(problem, _hint(error)) from None
            await self._pause(attempt)

    async def _pieces(self, prompt: Prompt, on_end: Callable[[str], None]) -> AsyncIterator[str]:
        text = self._continued(prompt)
        settings = self._settings(prompt) | {"stream": True}
        if text:
            texts = await self._api.completions.create(prompt=text, **settings)
            async for chunk in texts:
                for choice in chunk.choices:
                    if choice.finish_reason:
                        on_end(choice.finish_reason)
                yield clean("".join(choice.text or "" for choice in chunk.choices))
        else:
            turns = await self._api.chat.completions.create(messages=_messages(prompt), **settings)
            async for part in turns:
                for turn in part.choices:
                    if turn.finish_reason:
                        on_end(turn.finish_reason)
                yield clean("".join(turn.delta.content or "" for turn in part.choices))

    def _continued(self, prompt: Prompt) -> str | list[int]:
        """Prompt that the server goes on with: text or token ids; "" where it renders the chat."""
        ids = self._token_ids(prompt)
        return ids or (prompt.text if self._is_text(prompt) else "")

    def _is_text(self, prompt: Prompt) -> bool:
        """Tell whether the prompt is a text to go on with, rather than a turn of a chat."""
        return bool(prompt.text) and (prompt.raw or not self._chat)

    def _token_ids(self, prompt: Prompt) -> list[int] | None:
        return self._spelling.token_ids(prompt) if self._spelling else None

    async def _constrained(self, prompt: Prompt) -> list[Completion] | None:
        """The completions under the prompt's schema, or None.

        They are asked for once more where the connection broke.
        """
        import openai

        for attempt in range(2):
            try:
                return await self._ask(prompt, self._schema_timeout)
            except openai.APITimeoutError:
                return None
            except (openai.APIConnectionError, openai.RateLimitError):
                await self._pause(attempt)
            except (openai.APIError, Malformed):
                return None
        return None

    async def _persist(self, prompt: Prompt) -> list[Completion]:
        """Ask until there is an answer, or the prompt or the server is given up."""
        import openai

        passing = (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError)
        began, failures = time.monotonic(), 0
        for attempt in count():
            # a slow machine is given time before it costs an answer
            patience = self._timeout * 2 ** (failures // 2)
            try:
                answers = await self._ask(prompt, patience)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                return [Completion("", f"refused: {_first_line(error)}")] * prompt.n
            except (*passing, Malformed) as error:
                away = _is_away(error)
                long_ago = time.monotonic() - self._answered >= PATIENCE
                if away and long_ago and attempt + 1 >= ATTEMPTS:
                    raise self._gone(attempt + 1, error) from None
                failures += not away
                if failures >= ATTEMPTS:
                    if self._answered < began:
                        raise self._gone(failures, error) from None
                    reason = f"refused: failed {failures} times: {_first_line(error)}"
                    return [Completion("", reason)] * prompt.n
            except openai.APIError as error:
                problem = f"The teacher at {self._url} refuses: {_first_line(error)}."
                raise TeacherError(problem, _hint(error)) from None
            else:
                self._answered = time.monotonic()
                return answers
            await self._pause(attempt)
        raise AssertionError("count() does not end")

    def _gone(self, attempts: int, error: Exception) -> TeacherError:
        return TeacherError(
            f"The teacher at {self._url} failed {attempts} times: {_first_line(error)}.",
            "See its log; when it answers again, run the same command: it goes on.",
        )

    async def _pause(self, attempt: int) -> None:
        if self._recover:
            await self._recover()
        await asyncio.sleep(min(0.25 * 2**attempt, 10))

    async def _ask(self, prompt: Prompt, timeout: float) -> list[Completion]:
        text = self._continued(prompt)
        settings = self._settings(prompt) | {"timeout": timeout}
        try:
            if text:
                reply = await self._api.completions.create(prompt=text, **settings)
                choices = [(choice.text, choice.finish_reason, "") for choice in reply.choices]
            else:
                turns = _messages(prompt)
                reply = await self._api.chat.completions.create(messages=turns, **settings)
                choices = [
                    (c.message.content or "", c.finish_reason, _reasoning(c.message))
                    for c in reply.choices
                ]
            return _completions(choices, reply, prompt.n, keep=self._sampling.thinking == "keep")
        except (ValueError, TypeError, AttributeError) as error:
            problem = f"its reply is not of the OpenAI protocol ({_first_line(error)})"
            raise Malformed(problem) from None

    def _settings(self, prompt: Prompt) -> JsonObject:
        """Request fields; those that the prompt leaves open are the recipe's."""
        pick = self._sampling
        settings: JsonObject = {
            "model": self._model,
            "n": prompt.n,
            "temperature": pick.temperature if prompt.temperature is None else prompt.temperature,
            "top_p": pick.top_p if prompt.top_p is None else prompt.top_p,
            "max_tokens": prompt.max_tokens or pick.max_tokens,
        }
        if pick.logit_bias:
            settings["logit_bias"] = {str(token): bias for token, bias in pick.logit_bias.items()}
        stop = () if self._is_text(prompt) else self._stop
        if prompt.stop or stop:
            settings["stop"] = [*prompt.stop, *stop]
        more: JsonObject = {}
        if prompt.schema:  # asked for alike in both protocols
            form = {"name": "answer", "schema": prompt.schema, "strict": True}
            more["response_format"] = {"type": "json_schema", "json_schema": form}
            if self._llama_cpp and self._is_text(prompt):
                more["json_schema"] = prompt.schema
        spelt = self._spelling and not self._is_text(prompt) and self._token_ids(prompt)
        if self._spelling and spelt and self._spelling.shows_thoughts:
            more["skip_special_tokens"] = False  # no reasoning parser reads a continued text
        return settings | ({"extra_body": more} if more else {})


def _is_away(error: Exception) -> bool:
    """Tell whether no server failed on the prompt: no connection, or one that broke."""
    import httpx2
    import openai

    if isinstance(error, openai.APITimeoutError):
        return isinstance(error.__cause__, httpx2.ConnectTimeout | httpx2.PoolTimeout)
    return isinstance(error, openai.APIConnectionError)


def _completions(
    choices: list[tuple[str, str | None, str]],
    reply: "TextReply | ChatCompletion",
    count: int,
    *,
    keep: bool,
) -> list[Completion]:
    """Completions of (text, finish_reason, reasoning); Malformed when there are not `count`.

    The tokens of all are counted on the first. A missing finish_reason means cut off. Thoughts are
    separated from answers, and kept only with `keep`.
    """
    if len(choices) != count:
        raise Malformed(f"it sent {len(choices)} completions where {count} were asked for")
    tokens = reply.usage.completion_tokens if reply.usage else 0
    completions = []
    for place, (text, reason, reasoning) in enumerate(choices):
        answer, thought = split_thinking(clean(text))
        thinking = (clean(reasoning).strip() or thought) if keep else ""
        completions.append(Completion(answer, reason or "length", 0 if place else tokens, thinking))
    return completions


def _reasoning(message: "ChatCompletionMessage") -> str:
    """The thoughts that a server with a reasoning parser sends beside the answer.

    They are in `reasoning` (vLLM) or `reasoning_content`.
    """
    text = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    return text if isinstance(text, str) else ""


def http_transport(
    url: str, *, asynchronous: bool
) -> "tuple[str, httpx2.AsyncHTTPTransport | httpx2.HTTPTransport]":
    """(base URL, httpx2 transport) for a unix:// or loopback URL; refuses any other address."""
    import httpx2

    switches.require_local(url)
    transport = httpx2.AsyncHTTPTransport if asynchronous else httpx2.HTTPTransport
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return "http://localhost/v1", transport(uds=parts.path, limits=_limits())
    return url.rstrip("/"), transport(limits=_limits())


def clean(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be stored as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _without_late_sockets(loop: asyncio.AbstractEventLoop, context: JsonObject) -> None:
    """Report an exception as asyncio does, but for a harmless one of anyio.

    It wakes up a request that was cancelled in the same turn of the loop.
    """
    if not isinstance(context.get("exception"), asyncio.InvalidStateError):
        loop.default_exception_handler(context)


def _limits() -> "httpx2.Limits":
    import httpx2

    return httpx2.Limits(max_connections=None, max_keepalive_connections=None)


def _openai(url: str, timeout: float) -> "openai.AsyncOpenAI":
    import httpx2
    import openai

    base, transport = http_transport(url, asynchronous=True)
    http = httpx2.AsyncClient(transport=transport, trust_env=False, timeout=timeout)
    return openai.AsyncOpenAI(
        base_url=base, api_key="local", max_retries=0, timeout=timeout, http_client=http
    )


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    if prompt.messages:
        return [{"role": turn.role, "content": turn.content} for turn in prompt.messages]
    return [{"role": "user", "content": prompt.text}]


def _hint(error: Exception) -> str:
    if "404" in str(error):
        return (
            "The server does not know this model: compare served_name in models.yaml with the "
            "server's list (/v1/models)."
        )
    return "See the server's log."


def _first_line(error: Exception) -> str:
    """The first line of an error without its full stop, with what lies behind a lost connection."""
    lines = str(error).strip().splitlines()
    said = lines[0][:300].rstrip(".") if lines else type(error).__name__
    cause = str(error.__cause__ or "").strip() if _is_away(error) else ""
    return f"{said}: {cause.splitlines()[0][:200].rstrip('.')}" if cause else said
