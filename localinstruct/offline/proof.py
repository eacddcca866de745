"""Contradictions in a report: sessions that call themselves sealed and note something else.

A signature says who wrote a report, not that it is true; so a claim is compared with the checks,
interfaces and namespaces that the report notes beside it. A session without the checks that
`selftest` makes, or with a way out among its interfaces, is not believed. Not covered: a forger who
invents all of that as well, against whom only the known key of the signer helps.
"""

from localinstruct.offline import selftest
from localinstruct.records import JsonObject


def contradictions(body: JsonObject) -> list[str]:
    """A sentence per session of a report that says it was sealed and shows otherwise, in order.

    After them one per endpoint on another machine that is said to have been asked in the seal.
    """
    sessions = [
        f"session {number} says it was sealed, but {'; '.join(doubts)}"
        for number, session in enumerate(body["sessions"], 1)
        if _claims(session) and (doubts := _doubts(session))
    ]
    return sessions + [
        f"{one['url']} is on another machine, and is said to have been asked in the seal"
        for one in body.get("endpoints", ())
        if one["sealed"] and one["road"].startswith("network")
    ]


def _claims(session: JsonObject) -> bool:
    seal = session["seal"]
    return bool(seal["sealed"]) or str(seal["headline"]).startswith("sealed")


def _doubts(session: JsonObject) -> list[str]:
    """Reasons why the claim of a session does not follow from what it noted."""
    seal = session["seal"]
    ends = [session["before"], *([session["after"]] if session["after"] else [])]
    doubts = [] if seal["sealed"] is True else [f"its seal is {seal['sealed']!r}"]
    doubts += _check_doubts(seal["checks"])
    doubts += _interface_doubts([end["interfaces"] for end in ends])
    if any(end["namespaces"] != seal["namespaces"] for end in ends):
        doubts.append("it did not stay in the namespaces that were tested")
    return doubts


def _check_doubts(checks: list[JsonObject]) -> list[str]:
    if not checks:
        return ["it has no checks at all"]
    failed = [check["name"] for check in checks if check["ok"] is not True]
    present = {(check["name"], check["must"]) for check in checks}
    required = selftest.REQUIRED.items()
    missing = [f"{name} (must {must})" for name, must in required if (name, must) not in present]
    doubts = (("a check failed", failed), ("a check is missing", missing))
    return [f"{words}: {', '.join(names)}" for words, names in doubts if names]


def _interface_doubts(ends: list[dict[str, dict[str, int]]]) -> list[str]:
    """Every interface but loopback is a way out, the more so when it counted packets."""
    sent: dict[str, int] = {}
    for interfaces in ends:
        sent |= {
            name: counts["sent_packets"] for name, counts in interfaces.items() if name != "lo"
        }
    doubts = []
    if not all("lo" in interfaces for interfaces in ends):
        doubts.append("it shows no loopback interface")
    if sent:
        others = ", ".join(f"{name} ({packets:,} packets sent)" for name, packets in sent.items())
        doubts.append(f"it had interfaces other than lo: {others}")
    return doubts
