"""The seal: this process and all its children without any road to a network, tested before it is
believed.

`enter` goes into new user, network and mount namespaces in which only loopback exists, gives up all
capabilities, has the kernel refuse what gets round namespaces, covers the doors to services
outside, and then tries to get out. Only when every attempt failed, and the same attempts over
loopback worked, is the process called sealed; otherwise it stops with the reason. It needs no root.
Call it before anything heavy is imported, because a process with threads cannot be moved.

    ladder     the ways in, best first          audit hook   what tried to leave, with stack and package
    selftest   attempts that must fail          evidence   what the kernel says: interfaces, counters, versions
    kernel, filters, landlock   the calls       report, signing   the egress report and its signature
    proof      whether a claim follows from what was noted
    bystander  a process outside, to try on

Not covered: see `ladder.ALWAYS_OPEN`; and GPUs inside the seal were not tested, because no GPU was
at hand.
"""

import json
import os
from dataclasses import dataclass

from localinstruct.errors import LocalInstructError
from localinstruct.offline import audit_hook, backends, kernel, outside_process, selftest
from localinstruct.offline.selftest import Check

MARK = "LOCALINSTRUCT_SEAL"
"""Tells our own children which seal they were born in; believed only as far as the kernel confirms
it."""


class SealError(LocalInstructError):
    """The seal was asked for and cannot be had here, or does not hold."""

    exit_code = 6


@dataclass(frozen=True, slots=True)
class Seal:
    """What holds this process: which rung, what it covers and lacks, and how its self-test went.

    `sealed` is True only when no road is left and every check was as it must be. `closed` names the
    sockets that were handed to us and closed; `namespaces` holds the kernel's inodes.
    """

    sealed: bool
    rung: str
    covers: tuple[str, ...]
    lacks: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    namespaces: dict[str, str] | None = None
    closed: tuple[str, ...] = ()
    reachable: tuple[str, ...] = ()
    """Unix sockets of others that stay within reach, for the reader to judge."""
    refused: tuple[str, ...] = ()
    """Why the rungs above this one did not work."""

    @property
    def headline(self) -> str:
        """One line for the screen; it begins with "sealed" only when it is true."""
        held = sum(check.must == "fail" for check in self.checks)
        if self.sealed and not self.checks:
            return f"sealed: {self.rung}; inherited from the process that tested it"
        if self.sealed:
            return f"sealed: {self.rung}; {held} ways out tried, {held} held back"
        return f"not sealed: {self.rung}"


OPEN = Seal(
    False,
    "environment switches only",
    ("what the libraries do of their own accord",),
    ("a library that ignores its own switch, and every other program",),
)
"""How a process stands that did not ask for the seal."""

_current: list[Seal] = []


def enter(*, loopback: bool = True) -> Seal:
    """Seal this process and all its later children for good; the same seal when it is sealed
    already.

    `loopback=False` is for commands that serve no model: where no better rung works, they may run
    without any internet socket, which is not called sealed. SealError when no rung works or the
    self-test finds a way out; the process must end then, because some of it cannot be taken back.
    """
    if _current:
        return _current[0]
    seal = _inherited() or _climb(loopback)
    audit_hook.arm()
    _current.append(seal)
    os.environ[MARK] = json.dumps({"net": kernel.namespaces()["net"], "rung": seal.rung})
    return seal


def begin(sealed: bool, *, loopback: bool = True) -> Seal:
    """`enter` when it was asked for or when our parent is sealed, else OPEN: the first call of
    every command."""
    return enter(loopback=loopback) if sealed or MARK in os.environ else OPEN


def status() -> Seal:
    """How this process stands: its seal, or OPEN."""
    return _current[0] if _current else OPEN


def describe(seal: Seal) -> list[str]:
    """The seal in words, a line each: headline, what is covered, what is not, and each check."""
    lines = [seal.headline]
    lines += [f"  covers: {text}" for text in seal.covers]
    lines += [f"  does not cover: {text}" for text in (*seal.lacks, *backends.ALWAYS_OPEN)]
    lines += [f"  not possible here: {text}" for text in seal.refused]
    lines += [f"  closed: {text}" for text in seal.closed]
    lines += [f"  still within reach: {text}" for text in seal.reachable]
    return lines + [
        f"  {_mark(check)} {check.name} (must {check.must}): {check.found}" for check in seal.checks
    ]


def _climb(loopback: bool) -> Seal:
    _require_single_thread()
    with outside_process.outside() as pid:
        return _climb_beside(pid, loopback)


def _climb_beside(pid: int, loopback: bool) -> Seal:
    """`pid` is a process that stays outside, on which the self-test tries what must fail."""
    try:
        closed, reachable = tuple(kernel.close_foreign_sockets()), tuple(kernel.other_sockets())
        rung, refusals = backends.climb(loopback=loopback)
    except OSError as problem:
        raise SealError(
            f"The seal cannot be made: {problem}.", "\n".join(backends.remedies())
        ) from None
    except KeyError as problem:
        raise SealError(
            f"The seal knows no system calls of {problem}.", "Use x86-64 or AArch64."
        ) from None
    if rung is None:
        reasons = "\n".join(f"  {line}" for line in refusals)
        raise SealError(f"The seal cannot be made here:\n{reasons}", "\n".join(backends.remedies()))
    checks = selftest.run(loopback=rung.sealed, outside=pid)
    _require_all_well(checks)
    return Seal(
        rung.sealed,
        rung.name,
        rung.covers,
        rung.lacks,
        checks,
        kernel.namespaces(),
        closed,
        reachable,
        tuple(refusals),
    )


def _inherited() -> Seal | None:
    """The seal we were born in, if our parent says so and the kernel agrees; its self-test was done
    there."""
    try:
        said = json.loads(os.environ.get(MARK, ""))
        rung = next(rung for rung in backends.BACKENDS if rung.name == said["rung"])
    except (ValueError, TypeError, KeyError, StopIteration):
        return None
    state = kernel.state()
    same = kernel.namespaces()["net"] == said["net"] and (
        state["NoNewPrivs"],
        state["Seccomp"],
    ) == ("1", "2")
    if not same or (rung.sealed and kernel.interfaces() != ["lo"]):
        return None
    return Seal(rung.sealed, rung.name, rung.covers, rung.lacks, (), kernel.namespaces())


def _require_single_thread() -> None:
    threads = kernel.state()["Threads"]
    if threads != "1":
        raise SealError(
            f"The seal must be entered by a process with one thread; this one has {threads}.",
            "Call it first, before torch, numpy or a progress display is imported. Please report "
            "this.",
        )


def _require_all_well(checks: tuple[Check, ...]) -> None:
    wrong = [
        f"  {check.name}: must {check.must}, {check.found}" for check in checks if not check.ok
    ]
    if wrong:
        lines = "\n".join(wrong)
        raise SealError(
            f"The seal was made, but its self-test does not agree:\n{lines}",
            "\n".join(backends.GENERAL),
        )


def _mark(check: Check) -> str:
    return "ok " if check.ok else "BAD"
