"""Client of the OpenAI protocol, for one endpoint or several of the same model, with retries.

It retries until the server is gone for good; which of several answers is the balancer's choice.
Every server (vLLM, llama.cpp, `transformers serve`, Ollama, SGLang) is asked in two ways:
/v1/completions for a base model, /v1/chat/completions for a chat model. base_url and transport are
always given, so neither OPENAI_* variables nor proxies are looked at. No sampling seed is sent:
repeatability comes from the completion log. JSON of a form is `structured.py`, thoughts of
reasoning models are `thinking.py`.
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING

from localinstruct.errors import DataError, TeacherError
from localinstruct.models.template_values import Value
from localinstruct.records import Completion, JsonObject, Prompt
from localinstruct.teacher import Sampling
from localinstruct.teacher.balancer import PATIENCE, Balancer, Lost, Place, Recover, Replica
from localinstruct.teacher.spelling import Spelling
from localinstruct.teacher.structured import structured
from localinstruct.teacher.thinking import split_thinking
from localinstruct.templates.special_tokens import Unreadable

if TYPE_CHECKING:
    from openai import RequestOptions

ATTEMPTS = 6
"""Failures of a request at a server that is there, after which the request is given up.

If the server answers nothing else either, it is given up. A server that is away is tried as often,
and for PATIENCE seconds.
"""


class Malformed(Exception):
    """A reply that is not of the protocol; the request is made again as after any other failure."""


class Client:
    """A `Teacher` behind a URL; it is closed inside the event loop that used it."""

    def __init__(
        self,
        where: str | Balancer,
        model: str,
        *,
        chat: bool,
        sampling: Sampling,
        timeout: float = 600,
        recover: Recover | None = None,
        stop: Sequence[str] = (),
        schema_timeout: float = 120,
        spelling: Spelling | None = None,
        llama_cpp: bool = False,
        chat_template_kwargs: Mapping[str, Value] = MappingProxyType({}),
    ) -> None:
        alone = [Place(where, timeout)] if isinstance(where, str) else []
        self.balancer = Balancer(alone, model) if isinstance(where, str) else where
        """The endpoints; an address alone, with its timeout, stands for one of this machine."""
        self._url = ", ".join(replica.url for replica in self.balancer.replicas)
        self._model = model
        self._chat = chat
        self._stop = tuple(stop)
        """Strings that end an answer in a chat, beside the prompt's own."""
        self._sampling = sampling
        self._schema_timeout = schema_timeout
        self._recover = recover
        self._spelling = spelling
        """Reader of prompts that spell a special token; None where the model is not ours."""
        self._values = dict(chat_template_kwargs)
        """What a server of others is told for its chat template with each request."""
        self._llama_cpp = llama_cpp
        """True for llama.cpp, whose completions of texts know a schema by another name."""
        self._answered = -math.inf
        """Time of the last answer to any prompt (seconds, monotonic)."""

    async def close(self) -> None:
        """Close the connections."""
        await self.balancer.close()

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
        settings: JsonObject = {"extra_body": self._settings(prompt), "stream": True}
        settings["model"] = self._model
        async with self.balancer.place() as replica:
            if text:
                texts = await replica.api.completions.create(prompt=text, **settings)
                async for chunk in texts:
                    for choice in chunk.choices:
                        if choice.finish_reason:
                            on_end(choice.finish_reason)
                    yield clean("".join(choice.text or "" for choice in chunk.choices))
            else:
                ask = replica.api.chat.completions.create
                async for part in await ask(messages=_messages(prompt), **settings):
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
            except (openai.APIConnectionError, openai.RateLimitError, Lost):
                await self._pause(attempt)
            except (openai.APIError, Malformed):
                return None
        return None

    async def _persist(self, prompt: Prompt) -> list[Completion]:
        """Ask until there is an answer, or the prompt or the server is given up."""
        import openai

        began, failures = time.monotonic(), 0
        for attempt in count():
            try:
                # a slow machine is given time before it costs an answer
                longer = 2 ** (failures // 2)
                answers = await self._ask(prompt, longer=longer, again=attempt > 0)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                return [Completion("", f"refused: {_first_line(error)}")] * prompt.n
            except (openai.APIError, Malformed, Lost) as error:
                away = _is_away(error)
                failures += not away
                self._require_hope(error, attempt + 1, failures, began)
                if failures >= ATTEMPTS:
                    reason = f"refused: failed {failures} times: {_first_line(error)}"
                    return [Completion("", reason)] * prompt.n
                if away and not self.balancer.is_single:
                    continue  # elsewhere, at once
            else:
                self._answered = time.monotonic()
                return answers
            await self._pause(attempt)
        raise AssertionError("count() does not end")

    def _require_hope(self, error: Exception, attempts: int, failures: int, began: float) -> None:
        """TeacherError when no further attempt would help."""
        import openai

        passing = (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError)
        passes = isinstance(error, (*passing, Malformed, Lost))
        if self.balancer.is_single:
            if not passes:
                problem = f"The teacher at {self._url} refuses: {_first_line(error)}."
                raise TeacherError(problem, _hint(error)) from None
            long_ago = time.monotonic() - self._answered >= PATIENCE
            if _is_away(error) and long_ago and attempts >= ATTEMPTS:
                raise self._gone(attempts, error) from None
        if failures >= ATTEMPTS and (self._answered < began or not passes):
            raise self._gone(failures, error) from None

    def _gone(self, attempts: int, error: Exception) -> TeacherError:
        return TeacherError(
            f"The teacher at {self._url} failed {attempts} times: {_first_line(error)}.",
            "See its log; when it answers again, run the same command: it goes on.",
        )

    async def _pause(self, attempt: int) -> None:
        if self._recover:
            await self._recover()
        await asyncio.sleep(min(0.25 * 2**attempt, 10))

    async def _ask(
        self, prompt: Prompt, timeout: float | None = None, longer: int = 1, again: bool = False
    ) -> list[Completion]:
        """The completions of one endpoint within `timeout` seconds, or `longer` times its own."""
        async with self.balancer.place(first=again) as replica:
            began, limit = time.monotonic(), timeout or longer * replica.timeout
            completions = await self._reply(replica, prompt, limit)
            spent = sum(answer.tokens for answer in completions)
            replica.replied(began, spent)
            return completions

    async def _reply(self, replica: Replica, prompt: Prompt, timeout: float) -> list[Completion]:
        """The completions of a reply; Malformed when it is not of the protocol.

        The fields are sent and read as they are: the library's classes for them would take as much
        time as everything else that is done for a reply.
        """
        import httpx2

        text = self._continued(prompt)
        asked = {"prompt": text} if text else {"messages": _messages(prompt)}
        path = "/completions" if text else "/chat/completions"
        options: RequestOptions = {"timeout": timeout}
        body = self._settings(prompt) | asked
        post = replica.api.post(path, body=body, options=options, cast_to=httpx2.Response)
        reply = await replica.send(post)
        try:
            fields = json.loads(reply.content)
            choices = [_choice(choice, bool(text)) for choice in fields["choices"]]
            tokens = (fields.get("usage") or {}).get("completion_tokens") or 0
            keep = self._sampling.thinking == "keep"
            return _completions(choices, int(tokens), prompt.n, keep=keep)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
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
        if self._values and not self._is_text(prompt):
            more["chat_template_kwargs"] = self._values
        spelt = self._spelling and not self._is_text(prompt) and self._token_ids(prompt)
        if self._spelling and spelt and self._spelling.shows_thoughts:
            more["skip_special_tokens"] = False  # no reasoning parser reads a continued text
        return settings | more


def _is_away(error: Exception) -> bool:
    """Tell whether no server failed on the prompt: no connection, or one that broke."""
    import httpx2
    import openai

    if isinstance(error, Lost):
        return True
    if isinstance(error, openai.APITimeoutError):
        return isinstance(error.__cause__, httpx2.ConnectTimeout | httpx2.PoolTimeout)
    return isinstance(error, openai.APIConnectionError)


def _completions(
    choices: list[tuple[str, str | None, str]],
    tokens: int,
    count: int,
    *,
    keep: bool,
) -> list[Completion]:
    """Completions of (text, finish_reason, reasoning); Malformed when there are not `count`.

    `tokens` of all are counted on the first. A missing finish_reason means cut off. Thoughts are
    separated from answers, and kept only with `keep`.
    """
    if len(choices) != count:
        raise Malformed(f"it sent {len(choices)} completions where {count} were asked for")
    completions = []
    for place, (text, reason, reasoning) in enumerate(choices):
        answer, thought = split_thinking(clean(text))
        thinking = (clean(reasoning).strip() or thought) if keep else ""
        completions.append(Completion(answer, reason or "length", 0 if place else tokens, thinking))
    return completions


def _choice(choice: JsonObject, is_text: bool) -> tuple[str, str | None, str]:
    """(text, finish_reason, thoughts) of a choice.

    A server with a reasoning parser sends thoughts beside the answer, in `reasoning` (vLLM) or
    `reasoning_content`.
    """
    reason = choice.get("finish_reason")
    if is_text:
        return choice["text"], reason, ""
    message = choice["message"]
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    return message.get("content") or "", reason, thoughts if isinstance(thoughts, str) else ""


def clean(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be stored as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _without_late_sockets(loop: asyncio.AbstractEventLoop, context: JsonObject) -> None:
    """Report an exception as asyncio does, but for a harmless one of anyio.

    It wakes up a request that was cancelled in the same turn of the loop.
    """
    if not isinstance(context.get("exception"), asyncio.InvalidStateError):
        loop.default_exception_handler(context)


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
