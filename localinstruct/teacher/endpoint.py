"""An endpoint asked whether anything answers there, before a recipe needs it.

The question is GET /v1/models: no token is made. Where an entry lists several endpoints, what they
say of the model is compared: its name, its context, the folder it was loaded from, and its digest
where the server has that as a further name (NAME@DIGEST). A server that dies later is another
matter, for which `client.py` and `balancer.py` have their patience. Not covered: whether the server
can do what a method will ask.
"""

import socket
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from localinstruct.config import did_you_mean, listing
from localinstruct.errors import TeacherError
from localinstruct.models.catalog import ModelSpec
from localinstruct.offline.addresses import resolve
from localinstruct.records import JsonObject
from localinstruct.teacher.transport import http_transport

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
AT_ONCE = 32
"""Endpoints that are asked at the same time."""
LLAMA_CPP = ("n_params", "n_vocab", "n_embd", "size")
"""Facts of llama.cpp about the file that it serves."""

Facts = dict[str, str]
"""Facts that servers of the same model have alike, by name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of an endpoint: `found` in words, `fix` where it is no server to be used."""

    found: str
    fix: str = ""
    doubt: str = ""
    """What may still go wrong with a server that answers."""
    is_away: bool = False
    """Nobody answers there, so that it may still come."""
    lacks_model: bool = False
    """It has a list of models, without the one that is asked."""
    facts: Facts = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Tell whether it answers with the model."""
        return not (self.fix or self.doubt or self.is_away)


def ask(url: str, name: str, allowed: Collection[str] = (), patience: float = 0.0) -> Answer:
    """Ask an endpoint for the model that has this name there.

    Again for `patience` seconds while nothing listens. RecipeError where it may not be asked.
    """
    import httpx2

    until = time.monotonic() + patience
    base, transport = http_transport(url, asynchronous=False, allowed=allowed)
    with httpx2.Client(transport=transport, trust_env=False, timeout=SLOW) as http:
        while True:
            try:
                try_socket(url)
                return _heard(http.get(f"{base}/models"), name)
            except (httpx2.ReadTimeout, TimeoutError, BlockingIOError):  # or its queue is full
                busy = f"listens, and said nothing for {SLOW:g} s (busy, or still starting)"
                return Answer(busy, doubt="it is waited for")
            except (httpx2.HTTPError, OSError) as error:
                if time.monotonic() >= until:
                    return _silent(url, error)
            time.sleep(0.2)


def answers_of(spec: ModelSpec, patience: float = 0.0) -> list[tuple[str, Answer]]:
    """(address, answer) of every endpoint of a model, asked at the same time."""
    urls = [server.url for server in spec.servers]
    for url in urls:
        resolve(url, spec.allowed)  # before any of them is asked
    with ThreadPoolExecutor(AT_ONCE) as pool:
        each = pool.map(lambda url: ask(url, spec.served_name, spec.allowed, patience), urls)
        return list(zip(urls, each, strict=True))


def require_answers(spec: ModelSpec, say: Callable[[str], None]) -> Facts:
    """TeacherError when nothing of use answers at the endpoints of a model; doubts are said.

    One of several that is away is waited for while the others work; one with another model is an
    error. The facts of the model are those on which the ones that answer agree.
    """
    answers = answers_of(spec, PATIENCE)
    several = len(answers) > 1
    broken = [(url, one) for url, one in answers if one.fix and not (several and one.is_away)]
    if several and all(one.is_away for _, one in answers):
        broken = answers
    wrong = [(url, one) for url, one in answers if several and one.lacks_model]
    if broken or wrong:
        problems = [f"{url} {one.found}" for url, one in [*broken, *wrong]]
        fix = broken[0][1].fix if broken else wrong[0][1].doubt
        raise TeacherError(f"{spec.name}: {listing(problems)}.", fix)
    for url, one in answers:
        if one.is_away:
            say(f"{spec.name}: {url} {one.found}; it is asked again while the others work")
        elif one.doubt:
            say(f"{spec.name}: {url} {one.found}; {one.doubt}")
    facts, differences = agreed([(url, one.facts) for url, one in answers])
    if differences:
        raise TeacherError(
            f"{spec.name}: its endpoints do not serve the same model: {listing(differences)}.",
            "Start them with the same model, the same context and the same name; or make two "
            "entries in models.yaml of them.",
        )
    return facts


def agreed(facts: Sequence[tuple[str, Facts]]) -> tuple[Facts, list[str]]:
    """(facts of all endpoints together, a sentence for each in which one differs from another)."""
    known, first, differences = Facts(), dict[str, str](), list[str]()
    for url, own in facts:
        differences += [
            f"{name}: {first[name]} has {known[name]}, {url} has {own[name]}"
            for name in differing(known, own)
        ]
        for name, value in own.items():
            first.setdefault(name, url)
            known.setdefault(name, value)
    return known, differences


def differing(known: Facts, own: Facts) -> list[str]:
    """Names of the facts that two servers have and in which they differ.

    Equal digests outweigh folders of another name.
    """
    names = [name for name in own if known.get(name, own[name]) != own[name]]
    has_digest = "digest" in own and known.get("digest") == own["digest"]
    return [name for name in names if not (name == "folder" and has_digest)]


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
        "Start that server and wait until it has loaded its model, or correct its address in "
        "models.yaml. A look at all of them: localinstruct doctor",
        is_away=True,
    )


def _heard(reply: "httpx2.Response", name: str) -> Answer:
    """The answer of whoever listens there."""
    if reply.status_code in KEYS_WANTED:
        return Answer(
            f"refuses with HTTP {reply.status_code}: it wants a key, and none is sent",
            "Start that server without a key; it listens to this machine alone.",
        )
    if reply.status_code >= 500 and reply.status_code != NOT_IMPLEMENTED:
        doubt = "it is asked again and again as it is"
        return Answer(f"answers with HTTP {reply.status_code} (still starting?)", doubt=doubt)
    models = _models(reply) if reply.is_success else None
    if models is None:
        return Answer("answers, without a list of its models")
    if name and models and name not in models:
        near = did_you_mean(name, models)
        return Answer(
            f"answers; {name} is not in its list of models",
            doubt=f"served_name in models.yaml: {near}",
            lacks_model=True,
        )
    found = f"answers with {name}" if models else "answers"
    return Answer(found, facts=_facts(name, models))


def _models(reply: "httpx2.Response") -> dict[str, JsonObject] | None:
    """The entries of a list of models by name, None where the reply is none."""
    try:
        return {str(model["id"]): dict(model) for model in reply.json()["data"]}
    except (ValueError, TypeError, KeyError):
        return None


def _facts(name: str, models: dict[str, JsonObject]) -> Facts:
    """Facts in a server's entry of the model: context, folder, digest, what llama.cpp says."""
    entry = models.get(name, {})
    facts = Facts()
    if isinstance(context := entry.get("max_model_len"), int):
        facts["context"] = f"{context:,} tokens"
    if isinstance(root := entry.get("root"), str) and root:
        facts["folder"] = PurePosixPath(root).name
    meta = entry.get("meta")
    if isinstance(meta, dict):
        facts |= {key: str(meta[key]) for key in LLAMA_CPP if key in meta}
    digests = sorted(other.partition("@")[2] for other in models if other.startswith(f"{name}@"))
    return facts | ({"digest": ", ".join(digests)} if digests else {})
