"""The seal: this process and its children without a network, tested before it is believed.

`enter` goes into new user, network and mount namespaces in which only loopback exists, gives up all
capabilities, has the kernel refuse what gets round namespaces, covers the doors to services
outside, and then tries to get out. Only when every attempt failed, and the same attempts over
loopback worked, is the process called sealed; otherwise it stops with the reason. It needs no root.
Call it before anything heavy is imported, because a process with threads cannot be moved.

    backends                    ways in, best first
    selftest, outside_process   attempts that must fail, and a process outside to try them on
    audit_hook                  notes what tried to leave, with stack and package
    evidence                    facts from the kernel: interfaces, counters, versions
    kernel, seccomp, landlock   the system calls
    egress_report               the egress report, signed by `localinstruct.signing`
    proof                       contradictions between what a report claims and what it notes

Not covered: see `backends.ALWAYS_OPEN`; and GPUs inside the seal were not tested, because no GPU
was at hand.
"""

import json
import os
from dataclasses import asdict, dataclass, replace

from localinstruct.errors import LocalInstructError
from localinstruct.offline import audit_hook, backends, kernel, outside_process, selftest
from localinstruct.offline.selftest import Check
from localinstruct.records import JsonObject

MARK = "LOCALINSTRUCT_SEAL"
"""Environment variable: the seal our children were born in, believed if the kernel confirms it."""


class SealError(LocalInstructError):
    """The seal was asked for and cannot be had here, or does not hold."""

    exit_code = 6


@dataclass(frozen=True, slots=True)
class Seal:
    """A process held back: the name of the backend, what it covers and lacks, and its self-test.

    `sealed` is True only when no road is left and every check was as it must be. `closed` names the
    sockets that were handed to us and closed; `namespaces` holds the kernel's inodes.
    """

    sealed: bool
    backend: str
    covers: tuple[str, ...]
    lacks: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    namespaces: dict[str, str] | None = None
    closed: tuple[str, ...] = ()
    reachable: tuple[str, ...] = ()
    """Unix sockets of others that stay within reach, for the reader to judge."""
    refused: tuple[str, ...] = ()
    """Backends before this one, each with the reason why it did not work."""

    @property
    def headline(self) -> str:
        """One line for the screen; it begins with "sealed" only when it is true."""
        forbidden = sum(check.must == "fail" for check in self.checks)
        if self.sealed and not self.checks:
            return f"sealed: {self.backend}; inherited from the process that tested it"
        if self.sealed:
            return f"sealed: {self.backend}; {forbidden} ways out tried, {forbidden} held back"
        return f"not sealed: {self.backend}"

    def as_json(self) -> JsonObject:
        """The seal as sessions and egress reports store it, with `backend` under the key "rung"."""
        fields = asdict(self) | {"headline": self.headline}
        return {"rung" if name == "backend" else name: value for name, value in fields.items()}


OPEN = Seal(
    False,
    "environment switches only",
    ("what the libraries do of their own accord",),
    ("a library that ignores its own switch, and every other program",),
)
"""The seal of a process that did not ask for one."""

_current: list[Seal] = []


def enter(*, loopback: bool = True) -> Seal:
    """Seal this process and all its later children for good; its seal when it has one already.

    `loopback=False` is for commands that serve no model: where no better backend works, they may
    run without any internet socket, which is not called sealed. SealError when no backend works or
    the self-test finds a way out; the process must end then, because some of it cannot be taken
    back.
    """
    if _current:
        return _current[0]
    seal = _inherited() or _make(loopback)
    audit_hook.arm()
    _current.append(seal)
    os.environ[MARK] = json.dumps({"net": kernel.namespaces()["net"], "rung": seal.backend})
    return seal


def begin(sealed: bool, *, loopback: bool = True) -> Seal:
    """Enter the seal if asked to, or if our parent has; else OPEN. Every command begins with it."""
    return enter(loopback=loopback) if sealed or MARK in os.environ else OPEN


def status() -> Seal:
    """The seal of this process, or OPEN."""
    return _current[0] if _current else OPEN


def describe(seal: Seal) -> list[str]:
    """The seal in words, a line each: headline, what is covered, what is not, and each check."""
    facts = {
        "covers": seal.covers,
        "does not cover": (*seal.lacks, *backends.ALWAYS_OPEN),
        "not possible here": seal.refused,
        "closed": seal.closed,
        "still within reach": seal.reachable,
    }
    lines = [seal.headline]
    lines += [f"  {heading}: {text}" for heading, texts in facts.items() for text in texts]
    lines += [f"  {'ok ' if check.ok else 'BAD'} {check.words}" for check in seal.checks]
    return lines


def _make(loopback: bool) -> Seal:
    _require_single_thread()
    with outside_process.outside() as pid:
        return _make_beside(pid, loopback)


def _make_beside(pid: int, loopback: bool) -> Seal:
    """Enter a backend and test it; `pid` is a process that stays outside, for the self-test."""
    remedies = "\n".join(backends.remedies())
    try:
        closed, reachable = tuple(kernel.close_foreign_sockets()), tuple(kernel.other_sockets())
        backend, refusals = backends.enter(loopback=loopback)
    except OSError as problem:
        raise SealError(f"The seal cannot be made: {problem}.", remedies) from None
    except KeyError as problem:
        message = f"The seal knows no system calls of {problem}."
        raise SealError(message, "Use x86-64 or AArch64.") from None
    if backend is None:
        reasons = "\n".join(f"  {line}" for line in refusals)
        raise SealError(f"The seal cannot be made here:\n{reasons}", remedies)
    checks = selftest.run(loopback=backend.sealed, outside=pid)
    _require_all_well(checks)
    untested, refused = _seal_of(backend), tuple(refusals)
    return replace(untested, checks=checks, closed=closed, reachable=reachable, refused=refused)


def _seal_of(backend: backends.Backend) -> Seal:
    """A seal by this backend in the namespaces of this process, without checks."""
    namespaces = kernel.namespaces()
    return Seal(backend.sealed, backend.name, backend.covers, backend.lacks, namespaces=namespaces)


def _inherited() -> Seal | None:
    """The seal we were born in and our parent tested, if it says so and the kernel agrees."""
    by_name = {backend.name: backend for backend in backends.BACKENDS}
    try:
        mark = json.loads(os.environ.get(MARK, ""))
        net, backend = mark["net"], by_name[mark["rung"]]
    except (ValueError, TypeError, KeyError):
        return None
    state = kernel.state()
    filtered = (state["NoNewPrivs"], state["Seccomp"]) == ("1", "2")
    if kernel.namespaces()["net"] != net or not filtered:
        return None
    if backend.sealed and kernel.interfaces() != ["lo"]:
        return None
    return _seal_of(backend)


def _require_single_thread() -> None:
    threads = kernel.state()["Threads"]
    if threads != "1":
        raise SealError(
            f"The seal must be entered by a process with one thread; this one has {threads}.",
            "Call it first, before torch, numpy or a progress display is imported. "
            "Please report this.",
        )


def _require_all_well(checks: tuple[Check, ...]) -> None:
    wrong = [f"  {check.words}" for check in checks if not check.ok]
    if wrong:
        message = "\n".join(["The seal was made, but its self-test does not agree:", *wrong])
        raise SealError(message, "\n".join(backends.GENERAL))
