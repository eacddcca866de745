"""The verdict on a log of network calls: did any of them reach for something outside this machine and succeed?

    strace -f -qq -e trace=%network -o LOG localinstruct demo --sealed
    python -m tests.strace_log LOG

A log in which no call over loopback or a unix socket succeeded is no evidence: strace may have seen nothing.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ADDRESS = re.compile(r'(?:inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")')
HELD_BACK = ("ENETUNREACH", "EAFNOSUPPORT", "EPERM", "EACCES", "EADDRNOTAVAIL")


def calls(log: Path) -> Iterator[tuple[str, str, str]]:
    """(system call, address outside this machine or "", result) of each line; split lines are put together."""
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
            outside = [host for host in hosts if not host.startswith("127.") and host not in ("0.0.0.0", "::", "::1")]
            yield name[1], outside[0] if outside else "", text.rpartition(" = ")[2].strip()


def verdict(log: Path) -> tuple[bool, list[str]]:
    """Whether nothing got out and the log can see, and the lines to print."""
    seen = list(calls(log))
    outside = [(name, host, result) for name, host, result in seen if host]
    out = [entry for entry in outside if not (entry[2].startswith("-1") and any(e in entry[2] for e in HELD_BACK))]
    local = sum(name == "connect" and not host and result == "0" for name, host, result in seen)
    families = Counter(re.findall(r"socket\((AF_\w+), \w+[^)]*\) = \d+", log.read_text(errors="replace")))
    strange = set(families) - {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}
    lines = [
        f"{len(seen)} network calls; sockets: {dict(sorted(families.items()))}",
        f"{local} connections on this machine (the positive control)",
        f"{len(outside)} calls for something outside, {len(outside) - len(out)} held back by the kernel on the spot",
        *(f"OUT: {name} {host} = {result}" for name, host, result in out),
        *(f"OUT: socket of {family}" for family in sorted(strange)),
    ]
    return local > 0 and not out and not strange, lines


if __name__ == "__main__":
    well, said = verdict(Path(sys.argv[1]))
    print("\n".join(said))
    sys.exit(0 if well else 1)
