"""An endpoint asked whether anything answers there, before a recipe needs it.

The question is GET /v1/models: no token is made. A server that dies later is another matter, for
which `client.py` has its patience. Not covered: whether the server can do what a method will ask.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.config import did_you_mean
from localinstruct.errors import TeacherError
from localinstruct.models.catalog import ModelSpec
from localinstruct.teacher.client import http_transport

if TYPE_CHECKING:
    import httpx2

PATIENCE = 3.0
"""Seconds in which a server that is just being started may begin to listen."""
SLOW = 5.0
"""Seconds after which a server that listens and says nothing is taken for a busy one."""
KEYS_WANTED = (401, 403)
"""HTTP status of a server that wants a key; none is sent."""

NOT_IMPLEMENTED = 501
"""HTTP status of a server that has no such list."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of an endpoint: `found` in words, `fix` where it is no server to be used."""

    found: str
    fix: str = ""
    doubt: str = ""
    """What may still go wrong with a server that answers."""


def ask(spec: ModelSpec, patience: float = 0.0) -> Answer:
    """Ask the endpoint of a model; again for `patience` seconds while nothing listens there."""
    import httpx2

    address = spec.endpoint or ""
    until = time.monotonic() + patience
    base, transport = http_transport(address, asynchronous=False)
    with httpx2.Client(transport=transport, trust_env=False, timeout=SLOW) as http:
        while True:
            try:
                try_socket(address)
                return _heard(http.get(f"{base}/models"), spec)
            except httpx2.TimeoutException:
                busy = f"listens, and said nothing for {SLOW:g} s (busy, or still starting)"
                return Answer(busy, doubt="it is waited for")
            except (httpx2.HTTPError, OSError) as error:
                if time.monotonic() >= until:
                    return _silent(address, error)
            time.sleep(0.2)


def require_answers(spec: ModelSpec, say: Callable[[str], None]) -> None:
    """TeacherError when nothing of use answers at the endpoint of a model; doubts are said."""
    answer = ask(spec, PATIENCE)
    if answer.fix:
        raise TeacherError(f"{spec.name}: {spec.endpoint} {answer.found}.", answer.fix)
    if answer.doubt:
        say(f"{spec.name}: {spec.endpoint} {answer.found}; {answer.doubt}")


def try_socket(address: str) -> None:
    """OSError where nobody listens at a unix socket; httpx2 would leave its own one open then."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as trial:
            trial.settimeout(SLOW)
            trial.connect(address.removeprefix("unix://"))


def _silent(address: str, error: Exception) -> Answer:
    """The answer for an address where nobody is."""
    why = str(error) or type(error).__name__
    found = f"does not answer ({why})"
    if address.startswith("unix://"):
        path = Path(address.removeprefix("unix://"))
        if not path.exists():
            found = "does not answer: no socket is there"
        elif not path.is_socket():
            found = "does not answer: what is there is no socket"
    return Answer(
        found,
        "Start that server and wait until it has loaded its model, or correct `endpoint` in "
        "models.yaml. A look at all of them: localinstruct doctor",
    )


def _heard(reply: "httpx2.Response", spec: ModelSpec) -> Answer:
    """The answer of whoever listens there."""
    if reply.status_code in KEYS_WANTED:
        return Answer(
            f"refuses with HTTP {reply.status_code}: it wants a key, and none is sent",
            "Start that server without a key; it listens to this machine alone.",
        )
    if reply.status_code >= 500 and reply.status_code != NOT_IMPLEMENTED:
        doubt = "it is asked again and again as it is"
        return Answer(f"answers with HTTP {reply.status_code} (still starting?)", doubt=doubt)
    names = _names(reply) if reply.is_success else None
    if names is None:
        return Answer("answers, without a list of its models")
    if spec.served_name and names and spec.served_name not in names:
        near = did_you_mean(spec.served_name, names)
        return Answer(
            f"answers; {spec.served_name} is not in its list of models",
            doubt=f"served_name in models.yaml: {near}",
        )
    return Answer(f"answers with {spec.served_name}" if names else "answers")


def _names(reply: "httpx2.Response") -> list[str] | None:
    """Names of a list of models, None where the reply is none."""
    try:
        return [str(model["id"]) for model in reply.json()["data"]]
    except (ValueError, TypeError, KeyError):
        return None
