"""Egress report of a run: its seal, the attempts to leave, and the files it is about.

egress.json is signed (`signing`) and names every file of dataset, student and evaluation by its
SHA-256, so the statement "nothing left" is tied to exactly these bytes; the digest over the
dataset's files is the one that the store keeps as the product of the stage `dataset`. egress.txt
says it in words and can be made again from egress.json: `verify` compares the two, so the words of
`render` stay as they are for every report of this FORMAT. `verify` needs no network and nothing but
these files.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from localinstruct import signing
from localinstruct.errors import LocalInstructError
from localinstruct.offline import audit_hook, backends, proof, selftest, sessions
from localinstruct.records import JsonObject, canonical_json, digest
from localinstruct.store import durable

JSON, TEXT = "egress.json", "egress.txt"
NAMED = ("recipe.yaml", "report.html", "dataset", "adapter", "student", "evaluation")
"""Files and folders of a run that a report vouches for."""
DATASET = ("dataset/train.jsonl", "dataset/held_out.jsonl")
UNPROVEN = (
    "INTEGRITY ONLY, ORIGIN UNPROVEN: no key was given, so whoever altered this report "
    "could have signed it anew"
)
FORMAT = 3
OBSERVERS = {1: "tripwire", 2: "audit hook", 3: "audit hook"}
"""Format of a report -> the word its text has for the audit hook; all of them are verified.

Format 3 says its checks, interfaces and switches in other words than those before it.
"""
Stages = Mapping[str, tuple[float, float]]
"""Finished stage -> first start and finish (unix seconds), as the store has them."""


@contextmanager
def watched(
    run: Path, stages: Callable[[], Stages], remarks: Callable[[], list[str]] = list
) -> Iterator[None]:
    """Note a session on the run and write the report at its end, however it ends.

    `stages` and `remarks` are called then.
    """
    try:
        with sessions.session(run):
            yield
    except BaseException:
        # A full disk, say: the first trouble is the one to be reported.
        with contextlib.suppress(LocalInstructError, OSError):
            write(run, stages(), remarks())
        raise
    write(run, stages(), remarks())


def write(run: Path, stages: Stages, remarks: Sequence[str] = ()) -> list[str]:
    """Write egress.json and egress.txt into the run directory; returns the lines of the text.

    To be called after the session.
    """
    # keys in order, as readers have it
    body = json.loads(canonical_json(build(run, stages, remarks), strict=True))
    lines = render(body, signing.sign_file(run / JSON, body))
    durable.write_text(run / TEXT, "\n".join(lines) + "\n")
    return lines


def build(run: Path, stages: Stages, remarks: Sequence[str] = ()) -> JsonObject:
    """The report as JSON values; `remarks` are on results that do not fit these files."""
    noted_sessions, entries = sessions.sessions(run), sessions.attempts(run)
    previous, files, pages = run / JSON, _file_rows(run), sessions.pages(run)
    endpoints = sessions.endpoints(run)
    return {
        "format": FORMAT,
        "run": run.resolve().name,
        "written": time.time(),
        "previous_sha256": durable.sha256(previous) if previous.is_file() else None,
        "stages": {
            name: {
                "began": began,
                "finished": finished,
                "sealed": sessions.is_covered(began, finished, noted_sessions),
            }
            for name, (began, finished) in stages.items()
        },
        "sessions": noted_sessions,
        "attempts": [entry for entry in entries if entry.get("kind") == "attempt"],
        "processes": [entry for entry in entries if entry.get("kind") in ("process", "child")],
        "unseen": list(audit_hook.UNSEEN),
        "always_open": list(backends.ALWAYS_OPEN),
        "files": files,
        "dataset_product": dataset_product(files),
        **({"pages": pages} if pages else {}),
        **({"endpoints": endpoints} if endpoints else {}),
        **({"remarks": list(remarks)} if remarks else {}),
    }


def dataset_product(files: list[JsonObject]) -> str | None:
    """Digest over the dataset's files, as the stage `dataset` has it as its product.

    `files` are the report's entries of that name; None when the dataset is not among them.
    """
    digests = {entry["path"]: entry["sha256"] for entry in files}
    if not all(path in digests for path in DATASET):
        return None
    return digest({path.removeprefix("dataset/"): digests[path] for path in DATASET})


def verify(path: Path, key: str = "") -> list[str]:
    """Everything that is wrong with a report and the files it names; empty when nothing is.

    `path` is egress.json, with the files of the run beside it. `key`, 64 hex digits, is the only
    signer accepted.
    """
    body, problems = signing.read_signed(path, key)
    if not body:
        return problems or [f"{path}: holds no report"]
    try:
        return problems + _content_problems(path, body)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as problem:
        reason = f"not a report of format {FORMAT} ({type(problem).__name__}: {problem})"
        return [*problems, f"{path}: {reason}"]


def conclusion(path: Path, key: str, problems: list[str]) -> list[str]:
    """Verdict and signer of a report in which `verify` found `problems`; [] where none is."""
    body, _ = signing.read_signed(path, key)
    if not body:
        return []
    if problems:
        reason = f"Nothing that {path.name} says counts, because of what is said above."
        return [f"Verdict: none. {reason}"]
    signer = signing.signer_of(path)
    proven, unproven = "Signed by the key you named", f"{UNPROVEN}. It was signed by"
    origin = f"{proven}, {signer}." if key else f"{unproven} {signer}."
    remarks = body.get("remarks", [])
    state = "the files are those it was written about, but not all fit each other:"
    unchanged = [f"{path}: {state}", *(f"  {_plain(words)}" for words in remarks)]
    if not remarks:
        unchanged = [f"{path}: unchanged"]
    return [*unchanged, f"Verdict: {verdict(body)}", *_open_sessions(body), origin]


def render(body: JsonObject, public_key: str) -> list[str]:
    """Lines of egress.txt: the report in words. Older reports must render as they were written."""
    lines = [f"Egress report of the run {body['run']}, written {_when(body['written'])}", ""]
    stages = [_stage_line(name, stage) for name, stage in _in_order(body["stages"])]
    lines += [f"Verdict: {verdict(body)}", "", "Stages", *(stages or ["  none has finished"])]
    for number, session in enumerate(body["sessions"], 1):
        lines += ["", f"Session {number}", *_session_lines(session, body["format"])]
    if pages := body.get("pages"):
        lines += ["", "Pages of the run that were open", *map(_page_line, pages)]
    if endpoints := body.get("endpoints"):
        lines += ["", "Endpoints that prompts were sent to", *map(_endpoint_line, endpoints)]
    lines += ["", *_attempt_lines(body), "", "Not covered by any seal"]
    lines += [f"  {text}" for text in body["always_open"]]
    lines += ["", "Files this report vouches for (SHA-256)"]
    lines += [f"  {entry['sha256']}  {entry['path']}" for entry in body["files"]] or ["  none"]
    if body["dataset_product"]:
        lines.append(f"  {body['dataset_product']}  product of the stage dataset")
    if remarks := body.get("remarks"):
        lines += ["", "What does not fit these files", *(f"  {_plain(text)}" for text in remarks)]
    origin = "Unsigned: whoever may write it may have changed it"
    if public_key:
        origin = f"Signed with the Ed25519 key {public_key}"
    return [*lines, "", origin, f"Check it: localinstruct verify-report {JSON}"]


def verdict(body: JsonObject) -> str:
    """Sealed throughout (with the packets refused), sealed in part, or not sealed and why."""
    if contradictions := proof.contradictions(body):
        return f"not sealed: the report contradicts itself: {'. '.join(contradictions)}."
    open_stages = [name for name, stage in body["stages"].items() if not stage["sealed"]]
    sealed = [session for session in body["sessions"] if session["seal"]["sealed"]]
    if not sealed:
        return "not sealed: nothing is proven by the kernel."
    if open_stages or not body["stages"]:
        names = ", ".join(open_stages) or "every stage"
        return f"sealed in part; without the seal, or not finished: {names}."
    refused = f"{sum(sum(_refused(session)) for session in sealed)} packets were refused"
    return f"sealed throughout: no road to a network existed; {refused} by the kernel."


def _open_sessions(body: JsonObject) -> list[str]:
    """A line per session that was open, whether a stage fell into it or not."""
    if not body["sessions"]:
        return ["No session is noted."]
    lines = []
    for number, session in enumerate(body["sessions"], 1):
        reach = ", ".join(sorted(session["before"]["interfaces"]))
        if not session["seal"]["sealed"]:
            words = "was not in the seal (--sealed); within its reach"
            lines.append(f"Session {number} {words}: {reach}.")
    return lines


def _stage_line(name: str, stage: JsonObject) -> str:
    state = "sealed" if stage["sealed"] else "NOT sealed, or not all of it"
    return f"  {name:10} {state}; finished {_when(stage['finished'])}"


def _page_line(page: JsonObject) -> str:
    """A page with its place, whether its process was sealed, and its times."""
    state = "sealed" if page["sealed"] else "NOT sealed"
    end = f"to {_when(page['ended'])}" if page["ended"] else "its end is not noted"
    return f"  {page['page']} at {page['address']}, {state}; from {_when(page['began'])}, {end}"


def _endpoint_line(one: JsonObject) -> str:
    """An endpoint with its road, whether its asker was sealed, and its times."""
    state = "sealed" if one["sealed"] else "NOT sealed"
    road = f"{_plain(one['road'])}, {state}; from {_when(one['first'])} on"
    return f"  {_plain(one['model'])} at {_plain(one['url'])}: {road}"


def _in_order(stages: JsonObject) -> list[tuple[str, JsonObject]]:
    return sorted(stages.items(), key=lambda item: (item[1]["began"], item[1]["finished"]))


def _session_lines(session: JsonObject, format: int) -> list[str]:
    """A session in the words of a report's format; `proof` has looked whether it is consistent."""
    seal, environment, old = session["seal"], session["environment"], format < 3
    end = f"ended {_when(session['ended'])}" if session["ended"] else "ended by a kill"
    deviations = ", ".join(environment["deviations"])
    looked = len(environment["switches"])
    names = "namespaces" if old else "namespaces of the kernel"
    if old:
        switches = f"switches: {deviations or 'all as they must be'}"
    else:
        switches = "variables that keep libraries from the network: "
        switches += f"not as they must be: {deviations}" if deviations else "all as they must be"
    return [
        f"  {seal['headline']}",
        f"  began {_when(session['began'])}, {end}",
        *_machine_lines(session["machine"]),
        *(f"  covers: {text}" for text in seal["covers"]),
        *(f"  does not cover: {text}" for text in seal["lacks"]),
        *(_check_line(check, old) for check in seal["checks"]),
        *(f"  {'closed' if old else 'closed at its begin'}: {_plain(t)}" for t in seal["closed"]),
        *(f"  still within reach: {_plain(text)}" for text in seal["reachable"]),
        f"  {names}: {', '.join(session['before']['namespaces'].values())}",
        *(_old_interface_lines(session) if old else _interface_lines(session)),
        f"  {switches} ({looked} looked at)",
    ]


def _check_line(check: JsonObject, old: bool) -> str:
    if old:
        words = f"{check['name']} (must {check['must']}): {check['found']}"
    else:
        name, must, found = (str(check[key]) for key in ("name", "must", "found"))
        words = _plain(selftest.Check(name, must, found, bool(check["ok"])).words)
    return f"  {'ok ' if check['ok'] else 'BAD'} {words}"


def _interface_lines(session: JsonObject) -> list[str]:
    lines = []
    for name, at_begin, at_end in _sent(session):
        kind = " (loopback: what this machine sends to itself)" if name == "lo" else ""
        sent = "not known, as it was killed" if at_end is None else f"{at_end - at_begin:,} packets"
        lines.append(f"  sent over {name}{kind} in this session: {sent}")
    refused = _refused(session)
    total = f"{sum(refused):,}" if refused else "not known, as it was killed"
    return [*lines, f"  packets that the kernel refused, as no road led out: {total}"]


def _old_interface_lines(session: JsonObject) -> list[str]:
    lines = [
        f"  interface {name}: {at_begin} packets sent before, "
        f"{'unknown' if at_end is None else at_end} after"
        for name, at_begin, at_end in _sent(session)
    ]
    refused = _refused(session)
    total = sum(refused) if refused else "unknown"
    return [*lines, f"  packets refused for want of a road: {total}"]


def _sent(session: JsonObject) -> Iterator[tuple[str, int, int | None]]:
    """(interface, packets sent when the session began, when it ended) of every interface."""
    before, after = session["before"]["interfaces"], (session["after"] or {}).get("interfaces", {})
    for name in sorted(before | after):
        sent = before.get(name, {}).get("sent_packets", 0)
        yield name, sent, after.get(name, {}).get("sent_packets")


def _machine_lines(machine: JsonObject) -> list[str]:
    system = f"kernel {machine['kernel']} {machine['architecture']}"
    ours = f"Python {machine['python']}, localinstruct {machine['localinstruct']}"
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return [f"  {system}, {ours}", f"  packages: {packages}"]


def _refused(session: JsonObject) -> list[int]:
    """Packets without a road in this session, IPv4 and IPv6; [] when its end is not known."""
    if not session["after"]:
        return []
    before, after = session["before"]["no_route"], session["after"]["no_route"]
    return [after[name] - before[name] for name in ("IPv4", "IPv6")]


def _attempt_lines(body: JsonObject) -> list[str]:
    observer = OBSERVERS[body["format"]]
    heading = f"Attempts to leave that the {observer} saw (Python of ours only; it is not the wall)"
    lines = [f"{heading}: {len(body['attempts'])}"]
    for entry in body["attempts"]:
        packages = " for ".join(entry.get("packages") or ["the standard library"])
        lines.append(f"  {entry['event']} {_plain(entry['target'])}, by {_plain(packages)}")
        lines += [f"      {_plain(line)}" for line in entry["stack"][:6]]
    lines += [f"  {text}" for text in body.get("unseen", ())]  # older reports have none
    children = [entry for entry in body["processes"] if entry["kind"] == "child"]
    ours = [entry for entry in body["processes"] if entry["kind"] == "process"]
    lines += ["", f"Processes of ours: {len(ours)}; programs they started: {len(children)}"]
    return lines + [f"  {_plain(entry['target'][:150])}" for entry in children]


def _file_rows(run: Path) -> list[JsonObject]:
    """Path, size and SHA-256 of every file that the report vouches for."""
    paths = [path for name in NAMED for path in sorted([run / name, *(run / name).rglob("*")])]
    return [
        {
            "path": str(path.relative_to(run)),
            "bytes": path.stat().st_size,
            "sha256": durable.sha256(path),
        }
        for path in paths
        if path.is_file()
    ]


def _content_problems(path: Path, body: JsonObject) -> list[str]:
    if body["format"] not in OBSERVERS:
        return [f"{path}: format {body['format']}, this version reads 1 to {FORMAT}"]
    problems = list(filter(None, (_file_problem(path.parent, row) for row in body["files"])))
    if body["dataset_product"] != dataset_product(body["files"]):
        problems.append(f"{path}: its dataset product does not follow from the files it names")
    problems += [f"{path}: {sentence}" for sentence in proof.contradictions(body)]
    for name, stage in body["stages"].items():
        covered = sessions.is_covered(stage["began"], stage["finished"], body["sessions"])
        if stage["sealed"] != covered:
            problems.append(f"{path}: the stage {name} does not follow from the sessions")
    text = path.parent / TEXT
    expected = "\n".join(render(body, signing.signer_of(path))) + "\n"
    if text.exists() and text.read_bytes() != expected.encode("utf-8"):
        problems.append(f"{text}: does not say what {path.name} says")
    return problems


def _file_problem(folder: Path, entry: JsonObject) -> str:
    path = folder / entry["path"]
    if not path.resolve().is_relative_to(folder.resolve()):
        return f"{path}: leads out of the run"
    if not path.is_file():
        return f"{path}: missing"
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if (path.stat().st_size, sha256) != (entry["bytes"], entry["sha256"]):
        return f"{path}: not the file the report was written about (its SHA-256 is {sha256})"
    return ""


def _plain(text: str) -> str:
    """The text on one line, without what a terminal would obey or a file could not hold."""

    def escaped(letter: str) -> str:
        return letter.encode("unicode_escape", "surrogatepass").decode("ascii")

    return "".join(letter if letter.isprintable() else escaped(letter) for letter in text)


def _when(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
