"""Balancer of the endpoints of one model: each request goes to the one that has the fewest.

How many requests an endpoint has at once is found for each (`limit`). One that breaks a connection,
or says nothing for long, is taken out: its requests are asked elsewhere at once, and it is asked
for its model with growing pauses until it answers with the same one. When all are out they are
waited for; after PATIENCE without any, TeacherError. A single endpoint is never taken out and has
no limit: the client waits for it. Not covered: which endpoint has the beginning of a prompt in its
cache.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from localinstruct.errors import LocalInstructError, TeacherError
from localinstruct.records import JsonObject
from localinstruct.teacher.endpoint import Answer, Facts, ask, differing
from localinstruct.teacher.limit import START, Limit
from localinstruct.teacher.transport import openai_client

if TYPE_CHECKING:
    import openai

T = TypeVar("T")
Recover = Callable[[], Awaitable[None]]
"""Starter of a dead server; it raises TeacherError when that is no longer possible."""
Say = Callable[[str], None]
State = Literal["up", "out"]

PATIENCE = 90.0
"""Seconds without any endpoint: time for somebody to start one again."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two questions to an endpoint that is out; each pause doubles."""
BEAT, QUIET = 5.0, 30.0
"""Seconds between two looks, and without an answer after which an endpoint is suspected."""
DOUBTS = 2
"""Questions in a row that a suspected endpoint leaves unanswered before it is taken out."""
FAILURES = 4
"""Answers in a row with a fault of the server (HTTP 5xx) after which it is taken out."""
REFUSALS = (401, 403, 404)
"""HTTP status of a server that answers no prompt: it wants a key, or has not the model."""
OVERLOADED = (429, 503)


class Lost(Exception):
    """A request whose endpoint was taken out while it was there: it is asked elsewhere."""


@dataclass(frozen=True, slots=True)
class EndpointState:
    """An endpoint at one moment, for people."""

    url: str
    state: State
    in_flight: int
    limit: int | None
    """Requests that it may have at once; None for a single endpoint."""
    answered: int
    why: str
    """Reason why it is out."""


@dataclass(eq=False)
class Replica:
    """One endpoint, with the requests that are there."""

    url: str
    api: "openai.AsyncOpenAI"
    timeout: float
    limit: Limit
    recover: Recover | None = None
    state: State = "up"
    why: str = ""
    in_flight: int = 0
    answered: int = 0
    faults: int = 0
    """Faults of the server since its last answer."""
    doubts: int = 0
    """Questions since its last answer that it left unanswered."""
    heard: float = field(default_factory=time.monotonic)
    """Time of its last answer, or since which it has had requests."""
    pause: float = 0.0
    """Seconds before the next question while it is out; they double until a request is answered."""
    gone: LocalInstructError | None = None
    """Reason why it can never come back: a server of ours that died too often."""
    tasks: set["asyncio.Future[Any]"] = field(default_factory=set)

    async def send(self, request: Coroutine[object, object, T]) -> T:
        """The reply to a request; Lost where the endpoint is taken out before it comes."""
        task = asyncio.ensure_future(request)
        self.tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            here = asyncio.current_task()
            if self.state == "out" and not (here and here.cancelling()):
                raise Lost(f"{self.url} was taken out: {self.why}") from None
            raise
        finally:
            self.tasks.discard(task)

    def replied(self, asked_at: float, tokens: int) -> None:
        """Count an answer."""
        self.answered += 1
        self.faults = self.doubts = 0
        self.pause = 0.0
        self.heard = time.monotonic()
        self.limit.answered(asked_at, self.heard, tokens)


@dataclass(frozen=True, slots=True)
class Place:
    """An endpoint of a balancer, with what starts it again where it is ours."""

    url: str
    timeout: float
    recover: Recover | None = None


class Balancer:
    """The endpoints of a model; it is made and closed inside the event loop that uses it."""

    def __init__(
        self,
        places: Sequence[Place],
        name: str,
        *,
        allowed: frozenset[str] = frozenset(),
        start: int = START,
        facts: Facts | None = None,
        say: Say = lambda _: None,
    ) -> None:
        self.replicas = [
            Replica(
                place.url,
                openai_client(place.url, place.timeout, allowed),
                place.timeout,
                Limit(start),
                place.recover,
            )
            for place in places
        ]
        self._name, self._allowed, self._say = name, allowed, say
        self._facts: Facts = dict(facts or {})
        self._waiting: deque[asyncio.Future[Replica]] = deque()
        self._chores = set[asyncio.Task[None]]()
        self._beat: asyncio.Task[None] | None = None
        self._all_out_since = 0.0
        self._gone: LocalInstructError | None = None

    @property
    def is_single(self) -> bool:
        """True for one endpoint, which the client waits for by itself."""
        return len(self.replicas) == 1

    def states(self) -> list[JsonObject]:
        """Every endpoint at this moment, as plain JSON values."""
        return [
            asdict(
                EndpointState(
                    one.url,
                    one.state,
                    one.in_flight,
                    None if self.is_single else one.limit.value,
                    one.answered,
                    one.why,
                )
            )
            for one in self.replicas
        ]

    async def close(self) -> None:
        """Close the connections, and ask nobody any more."""
        chores = [*self._chores, *([self._beat] if self._beat else [])]
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        await asyncio.gather(*(replica.api.close() for replica in self.replicas))

    @asynccontextmanager
    async def place(self, *, first: bool = False) -> AsyncIterator[Replica]:
        """An endpoint for one request, before all others that wait with `first`.

        What the request raises is noted there. TeacherError when all have been away for long.
        """
        replica, asked_at = await self._lease(first), time.monotonic()
        try:
            yield replica
        except Exception as error:
            if not self.is_single:
                self._note(replica, error, asked_at)
            raise
        finally:
            self._release(replica)

    async def _lease(self, first: bool) -> Replica:
        if self._beat is None and not self.is_single:
            self._beat = asyncio.create_task(self._watch())
        if self._gone:
            raise self._gone
        replica = self._free() if first or not self._waiting else None
        if replica:
            self._take(replica)
            return replica
        turn = asyncio.get_running_loop().create_future()
        self._waiting.insert(0 if first else len(self._waiting), turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # given and cancelled in one turn of the loop
                self._release(turn.result())
            raise

    def _free(self) -> Replica | None:
        """The endpoint with the fewest requests that may have one more; the faster of two."""
        free = [
            one
            for one in self.replicas
            if one.state == "up" and (self.is_single or one.in_flight < one.limit.value)
        ]
        return min(free, key=lambda one: (one.in_flight, -one.limit.speed), default=None)

    def _take(self, replica: Replica) -> None:
        if not replica.in_flight:
            replica.heard = time.monotonic()
        replica.in_flight += 1
        if replica.in_flight >= replica.limit.value:
            replica.limit.reached()

    def _release(self, replica: Replica) -> None:
        replica.in_flight -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        """Give free endpoints to those that wait, in their order."""
        while self._waiting and (replica := self._free()):
            turn = self._waiting.popleft()
            if not turn.done():
                self._take(replica)
                turn.set_result(replica)

    def _note(self, replica: Replica, error: Exception, asked_at: float) -> None:
        """Draw the conclusion of a failure: a lower limit, a question, or out."""
        import openai

        now, status = time.monotonic(), getattr(error, "status_code", None)
        if isinstance(error, Lost):
            return
        if isinstance(error, openai.APITimeoutError):
            replica.limit.failed(asked_at, now)
            self._chore(self._question(replica))
        elif isinstance(error, openai.APIConnectionError):
            self._take_out(replica, f"no connection ({_cause(error)})")
        elif status in OVERLOADED:
            replica.limit.failed(asked_at, now)
        elif status in REFUSALS:
            self._take_out(replica, f"refuses with HTTP {status}")
        elif not isinstance(error, openai.APIStatusError) or error.status_code >= 500:
            replica.faults += 1
            if replica.faults >= FAILURES:
                self._take_out(replica, f"failed {FAILURES} times in a row ({_cause(error)})")

    def _chore(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    def _take_out(self, replica: Replica, why: str) -> None:
        """Give an endpoint nothing more, and have its requests asked elsewhere."""
        if replica.state == "out":
            return
        replica.state, replica.why = "out", why
        for task in list(replica.tasks):
            task.cancel()
        up = sum(one.state == "up" for one in self.replicas)
        self._say(f"{replica.url} is out: {why}; {up} of {len(self.replicas)} endpoints go on")
        if not up:
            self._all_out_since = time.monotonic()
        self._chore(self._return(replica))

    async def _return(self, replica: Replica) -> None:
        """Ask an endpoint that is out again and again, until it answers with the same model."""
        while replica.state == "out":
            replica.pause = min(max(FIRST_PAUSE, 2 * replica.pause), LONGEST_PAUSE)
            await asyncio.sleep(replica.pause)
            try:
                if replica.recover:
                    await replica.recover()
                answer = await asyncio.to_thread(ask, replica.url, self._name, self._allowed)
            except LocalInstructError as error:
                replica.gone, replica.why = error, error.message
                self._say(f"{replica.url} will not come back: {error.message}")
                self._give_up_if_all_are_out()
                return
            if self._is_same(replica, answer):
                self._take_in(replica)
            else:
                self._give_up_if_all_are_out()

    def _is_same(self, replica: Replica, answer: Answer) -> bool:
        """Tell whether an endpoint is back with the model that the others have."""
        differences = differing(self._facts, answer.facts)
        if differences:
            known = ", ".join(f"{name} {self._facts[name]}" for name in differences)
            own = ", ".join(f"{name} {answer.facts[name]}" for name in differences)
            why = f"it is back with another model: {own} in place of {known}"
        elif answer.is_ready:
            self._facts = answer.facts | self._facts
            return True
        else:
            why = answer.found
        if (differences or answer.lacks_model) and why != replica.why:
            self._say(f"{replica.url} stays out: {why}")
        replica.why = why
        return False

    def _take_in(self, replica: Replica) -> None:
        replica.state, replica.why = "up", ""
        replica.faults = replica.doubts = 0
        replica.heard = time.monotonic()
        self._say(f"{replica.url} is back")
        self._hand_out()

    def _give_up_if_all_are_out(self) -> None:
        """Raise for everybody who waits, when no endpoint has been there for long.

        Servers of ours are waited for as long as one may still be started again.
        """
        hopeful = [one for one in self.replicas if not one.gone]
        if any(one.state == "up" or one.recover for one in hopeful):
            return
        if hopeful and time.monotonic() - self._all_out_since < PATIENCE:
            return
        each = "\n".join(f"  - {one.url}: {one.why}" for one in self.replicas)
        self._gone = TeacherError(
            f"None of the {len(self.replicas)} endpoints answers:\n{each}",
            "See their logs; when one answers again, run the same command: it goes on.",
        )
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(self._gone)

    async def _watch(self) -> None:
        """Suspect endpoints that have requests and say nothing."""
        while True:
            await asyncio.sleep(BEAT)
            now = time.monotonic()
            for replica in self.replicas:
                is_quiet = replica.in_flight and now - replica.heard > QUIET
                if replica.state == "up" and is_quiet:
                    self._chore(self._question(replica))

    async def _question(self, replica: Replica) -> None:
        """Take an endpoint out that leaves two questions for its model unanswered."""
        answer = await asyncio.to_thread(ask, replica.url, self._name, self._allowed)
        if answer.is_away:
            self._take_out(replica, answer.found)
        elif answer.is_ready:
            replica.doubts = 0
        else:
            replica.doubts += 1
            if replica.doubts >= DOUBTS:
                self._take_out(replica, answer.found)


def _cause(error: Exception) -> str:
    said = str(error.__cause__ or error).strip().splitlines()
    return said[0][:120].rstrip(".") if said else type(error.__cause__ or error).__name__
