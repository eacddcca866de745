"""The verdict on a log of network calls: did any of them reach for something outside this machine
and succeed?

    strace -f -qq -e trace=%network -o LOG localinstruct demo --sealed
    python -m tests.support.strace_log LOG

A log in which no call over loopback or a unix socket succeeded is no evidence: strace may have seen
nothing.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ADDRESS = re.compile(r'(?:inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")')
HELD_BACK = ("ENETUNREACH", "EAFNOSUPPORT", "EPERM", "EACCES", "EADDRNOTAVAIL")


MARK = "leak: "
"""Begins the name of an abstract unix socket on which nobody listens: tests.leaks calls it before
each leak."""
NAME_SERVICE = ("htons(53)", "/run/systemd/resolve", "/run/nscd", "/var/run/nscd")
"""Where a program that looks up a name turns to on this machine; in the seal nobody answers
there."""


class Call(NamedTuple):
    """One network call: its name, the address outside this machine or "", its result, and its whole
    line."""

    name: str
    host: str
    result: str
    text: str

    @property
    def held_back(self) -> bool:
        """Refused by the kernel on the spot."""
        return self.result.startswith("-1") and any(error in self.result for error in HELD_BACK)

    @property
    def attempt(self) -> bool:
        """Reached for something outside and was refused: an address, a kind of socket, or the way
        to a name server."""
        if self.host or self.name == "socket":
            return self.held_back
        return any(place in self.text for place in NAME_SERVICE)


def calls(log: Path) -> Iterator[Call]:
    """Every call, in the order of the log; split lines are put together."""
    begun: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        pid, _, text = line.partition(" ")
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"\s*<\.\.\. \w+ resumed>(.*)", text):
            text = begun.pop(pid, "") + resumed[1]
        if name := re.match(r"\s*(\w+)\(", text):
            hosts = [four or six for four, six in ADDRESS.findall(text)]
            outside = [
                host
                for host in hosts
                if not host.startswith("127.") and host not in ("0.0.0.0", "::", "::1")
            ]
            yield Call(
                name[1], outside[0] if outside else "", text.rpartition(" = ")[2].strip(), text
            )


def by_leak(log: Path) -> dict[str, list[Call]]:
    """What the log has after the mark of each leak of tests.leaks, up to the next one's."""
    found: dict[str, list[Call]] = {}
    now: list[Call] = []
    for call in calls(log):
        if marked := re.search(rf'sun_path=@"{MARK}([^"]+)"', call.text):
            now = found.setdefault(marked[1], [])
        else:
            now.append(call)
    return found


def verdict(log: Path) -> tuple[bool, list[str]]:
    """Whether nothing got out and the log can see, and the lines to print."""
    seen = list(calls(log))
    outside = [call for call in seen if call.host]
    out = [call for call in outside if not call.held_back]
    local = sum(call.name == "connect" and not call.host and call.result == "0" for call in seen)
    families = Counter(
        re.findall(r"socket\((AF_\w+), \w+[^)]*\) = \d+", log.read_text(errors="replace"))
    )
    strange = set(families) - {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}
    lines = [
        f"{len(seen)} network calls; sockets: {dict(sorted(families.items()))}",
        f"{local} connections on this machine (the positive control)",
        f"{len(outside)} calls for something outside, {len(outside) - len(out)} held back by the "
        "kernel on the spot",
        *(f"OUT: {call.name} {call.host} = {call.result}" for call in out),
        *(f"OUT: socket of {family}" for family in sorted(strange)),
    ]
    return local > 0 and not out and not strange, lines


if __name__ == "__main__":
    well, said = verdict(Path(sys.argv[1]))
    print("\n".join(said))
    sys.exit(0 if well else 1)
