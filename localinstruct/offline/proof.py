"""Whether a session that calls itself sealed brings the proof along: its own checks, interfaces and
namespaces.

A signature says who wrote a report, not that it is true; so what a report claims is held against
what it notes beside the claim. A session without the checks that `selftest` makes, or with a way
out among its interfaces, is not believed. Not covered: a forger who invents all of that as well,
against whom only the known key of the signer helps.
"""

from typing import Any

from localinstruct.offline import selftest


def contradictions(body: dict[str, Any]) -> list[str]:
    """A sentence per session of a report that says it was sealed and shows otherwise, in order."""
    sessions = enumerate(body["sessions"], 1)
    return [
        f"session {number} says it was sealed, but {'; '.join(found)}"
        for number, session in sessions
        if _claims(session) and (found := _doubts(session))
    ]


def _claims(session: dict[str, Any]) -> bool:
    seal = session["seal"]
    return bool(seal["sealed"]) or str(seal["headline"]).startswith("sealed")


def _doubts(session: dict[str, Any]) -> list[str]:
    """Why the claim of a session does not follow from what it noted; empty when it does."""
    seal, ends = (
        session["seal"],
        [session["before"], *([session["after"]] if session["after"] else [])],
    )
    found = [] if seal["sealed"] is True else [f"its seal is {seal['sealed']!r}"]
    found += _check_doubts(seal["checks"])
    found += _interface_doubts([end["interfaces"] for end in ends])
    if any(end["namespaces"] != seal["namespaces"] for end in ends):
        found.append("it did not stay in the namespaces that were tested")
    return found


def _check_doubts(checks: list[dict[str, Any]]) -> list[str]:
    if not checks:
        return ["it has no checks at all"]
    failed = [check["name"] for check in checks if check["ok"] is not True]
    made = {(check["name"], check["must"]) for check in checks}
    missing = [
        f"{name} (must {must})"
        for name, must in selftest.REQUIRED.items()
        if (name, must) not in made
    ]
    return [
        f"{words}: {', '.join(names)}"
        for words, names in (("a check failed", failed), ("a check is missing", missing))
        if names
    ]


def _interface_doubts(ends: list[dict[str, dict[str, int]]]) -> list[str]:
    """Every interface but loopback is a way out, the more so when it counted packets."""
    sent: dict[str, int] = {}
    for interfaces in ends:
        sent |= {
            name: counted["sent_packets"] for name, counted in interfaces.items() if name != "lo"
        }
    found = [f"{name} ({packets:,} packets sent)" for name, packets in sent.items()]
    missing = (
        [] if all("lo" in interfaces for interfaces in ends) else ["it shows no loopback interface"]
    )
    return missing + ([f"it had interfaces other than lo: {', '.join(found)}"] if found else [])
