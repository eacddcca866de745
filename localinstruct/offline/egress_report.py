"""The egress report of a run: what held it, what tried to leave, and which files that statement is
about.

egress.json is signed (`signing`) and names every file of dataset, student and evaluation by its
SHA-256, so the statement "nothing left" is tied to exactly these bytes; the digest over the
dataset's files is the same that the store keeps as the product of the stage `dataset`. egress.txt
is the same in words and can be made again from it. `verify` needs no network and nothing but these
files.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localinstruct.errors import LocalInstructError
from localinstruct.offline import audit_hook, backends, proof, sessions, signing
from localinstruct.records import canonical_json, digest
from localinstruct.store import durable

JSON, TEXT = "egress.json", "egress.txt"
NAMED = ("recipe.yaml", "report.html", "dataset", "adapter", "student", "evaluation")
"""Files and folders of a run that a report vouches for."""
DATASET = ("dataset/train.jsonl", "dataset/held_out.jsonl")
UNPROVEN = (
    "INTEGRITY ONLY, ORIGIN UNPROVEN: no key was given, so whoever altered this report "
    "could have signed it anew"
)
FORMAT = 1
Stages = Mapping[str, tuple[float, float]]
"""Finished stage -> when it was first started and when it finished (unix seconds), as the store has
it."""


@contextmanager
def watched(run: Path, stages: Callable[[], Stages]) -> Iterator[None]:
    """A session on the run, and the report at its end however it ends; `stages` is asked then."""
    try:
        with sessions.session(run):
            yield
    except BaseException:
        with contextlib.suppress(
            LocalInstructError, OSError
        ):  # a full disk, say: the first trouble is what is told
            write(run, stages())
        raise
    write(run, stages())


def write(run: Path, stages: Stages) -> list[str]:
    """Write egress.json and egress.txt into the run directory and return the text's lines; call it
    after the session."""
    body = json.loads(
        canonical_json(build(run, stages), strict=True)
    )  # as a reader will have it, keys in order
    signing.sign_file(run / JSON, body)
    lines = render(body, signing.public_key(run / JSON))
    durable.write_text(run / TEXT, "\n".join(lines) + "\n")
    return lines


def build(run: Path, stages: Stages) -> dict[str, Any]:
    """The report as JSON values."""
    held, noted = sessions.sessions(run), sessions.attempts(run)
    previous = run / JSON
    return {
        "format": FORMAT,
        "run": run.resolve().name,
        "written": time.time(),
        "previous_sha256": durable.sha256(previous) if previous.is_file() else None,
        "stages": {
            name: {
                "began": began,
                "finished": finished,
                "sealed": sessions.is_covered(began, finished, held),
            }
            for name, (began, finished) in stages.items()
        },
        "sessions": held,
        "attempts": [entry for entry in noted if entry.get("kind") == "attempt"],
        "processes": [entry for entry in noted if entry.get("kind") in ("process", "child")],
        "unseen": list(audit_hook.UNSEEN),
        "always_open": list(backends.ALWAYS_OPEN),
        "files": (named := _name_files(run)),
        "dataset_product": dataset_product(named),
    }


def dataset_product(named: list[dict[str, Any]]) -> str | None:
    """The digest over the dataset's files that the stage `dataset` has as its product; None when
    they are not there."""
    known = {entry["path"]: entry["sha256"] for entry in named}
    if not all(path in known for path in DATASET):
        return None
    return digest({path.removeprefix("dataset/"): known[path] for path in DATASET})


def verify(path: Path, key: str = "") -> list[str]:
    """Everything that is wrong with a report and the files it names; empty when every byte is as it
    was signed.

    `path` is egress.json, with the files of the run beside it. `key`, 64 hex digits, is the only
    signer accepted.
    """
    body, problems = signing.read_signed(path, key)
    if not body:
        return problems or [f"{path}: holds no report"]
    try:
        return problems + _content_problems(path, body)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as problem:
        return [
            *problems,
            f"{path}: not a report of format {FORMAT} ({type(problem).__name__}: {problem})",
        ]


def conclusion(path: Path, key: str, problems: list[str]) -> list[str]:
    """What a report comes to, after `verify` found `problems`: its verdict, and who signed it; []
    when it is not one."""
    body, _ = signing.read_signed(path, key)
    if not body:
        return []
    if problems:
        return [
            f"Verdict: none. Nothing that {path.name} says counts, because of what is said above."
        ]
    signer = signing.public_key(path)
    origin = (
        f"Signed by the key you named, {signer}."
        if key
        else f"{UNPROVEN}. It was signed by {signer}."
    )
    return [f"{path}: unchanged", f"Verdict: {verdict(body)}", *_open_sessions(body), origin]


def render(body: dict[str, Any], public_key: str) -> list[str]:
    """The report in words, a line each."""
    lines = [f"Egress report of the run {body['run']}, written {_when(body['written'])}", ""]
    lines += [f"Verdict: {verdict(body)}", "", "Stages"]
    lines += [_stage_line(name, stage) for name, stage in _in_order(body["stages"])] or [
        "  none has finished"
    ]
    for number, session in enumerate(body["sessions"], 1):
        lines += ["", f"Session {number}", *_session_lines(session)]
    lines += ["", *_attempt_lines(body), "", "Not covered by any seal"]
    lines += [f"  {text}" for text in body["always_open"]]
    lines += ["", "Files this report vouches for (SHA-256)"]
    lines += [f"  {entry['sha256']}  {entry['path']}" for entry in body["files"]] or ["  none"]
    lines += (
        [f"  {body['dataset_product']}  product of the stage dataset"]
        if body["dataset_product"]
        else []
    )
    signed = (
        f"Signed with the Ed25519 key {public_key}"
        if public_key
        else "Unsigned: whoever may write it may have changed it"
    )
    return [*lines, "", signed, f"Check it: localinstruct verify-report {JSON}"]


def verdict(body: dict[str, Any]) -> str:
    """One sentence: sealed throughout, sealed in part, or not sealed and why; and how much was held
    back."""
    if lies := proof.contradictions(body):
        return f"not sealed: the report contradicts itself: {'. '.join(lies)}."
    open_stages = [name for name, stage in body["stages"].items() if not stage["sealed"]]
    sealed = [session for session in body["sessions"] if session["seal"]["sealed"]]
    held = sum(sum(counts) for session in sealed if (counts := _refused(session)))
    if not sealed:
        return "not sealed: nothing is proven by the kernel."
    if open_stages or not body["stages"]:
        return (
            "sealed in part; without the seal, or not finished: "
            f"{', '.join(open_stages) or 'every stage'}."
        )
    return (
        f"sealed throughout: no road to a network existed; {held} packets were refused by the "
        "kernel."
    )


def _open_sessions(body: dict[str, Any]) -> list[str]:
    """A line per session that was open, whether a stage fell into it or not."""
    if not body["sessions"]:
        return ["No session is noted."]
    names = [", ".join(sorted(session["before"]["interfaces"])) for session in body["sessions"]]
    return [
        f"Session {number} was not in the seal (--sealed); within its reach: {there}."
        for number, (session, there) in enumerate(zip(body["sessions"], names, strict=True), 1)
        if not session["seal"]["sealed"]
    ]


def _stage_line(name: str, stage: dict[str, Any]) -> str:
    held = "sealed" if stage["sealed"] else "NOT sealed, or not all of it"
    return f"  {name:10} {held}; finished {_when(stage['finished'])}"


def _in_order(stages: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(stages.items(), key=lambda item: (item[1]["began"], item[1]["finished"]))


def _session_lines(session: dict[str, Any]) -> list[str]:
    seal, machine = session["seal"], session["machine"]
    ended = _when(session["ended"]) if session["ended"] else "by a kill"
    lines = [
        f"  {seal['headline']}",
        f"  began {_when(session['began'])}, ended {ended}",
        f"  kernel {machine['kernel']} {machine['architecture']}, Python {machine['python']}, "
        "localinstruct "
        f"{machine['localinstruct']}",
        "  packages: "
        f"{', '.join(f'{name} {number}' for name, number in machine['packages'].items())}",
    ]
    lines += [f"  covers: {text}" for text in seal["covers"]] + [
        f"  does not cover: {text}" for text in seal["lacks"]
    ]
    lines += [
        f"  {'ok ' if c['ok'] else 'BAD'} {c['name']} (must {c['must']}): {c['found']}"
        for c in seal["checks"]
    ]
    lines += [f"  closed: {_plain(text)}" for text in seal["closed"]]
    lines += [f"  still within reach: {_plain(text)}" for text in seal["reachable"]]
    lines += [f"  namespaces: {', '.join(session['before']['namespaces'].values())}"]
    lines += _interface_lines(session)
    wrong = session["environment"]["deviations"]
    return [
        *lines,
        f"  switches: {', '.join(wrong) or 'all as they must be'} "
        f"({len(session['environment']['switches'])} looked at)",
    ]


def _interface_lines(session: dict[str, Any]) -> list[str]:
    before, after = session["before"]["interfaces"], (session["after"] or {}).get("interfaces", {})
    lines = []
    for name in sorted(before | after):
        old, new = before.get(name, {}), after.get(name, {})
        sent = (
            f"{old.get('sent_packets', 0)} packets sent before, "
            f"{new.get('sent_packets', 'unknown')} after"
        )
        lines.append(f"  interface {name}: {sent}")
    refused = _refused(session)
    return [
        *lines,
        f"  packets refused for want of a road: {sum(refused) if refused else 'unknown'}",
    ]


def _refused(session: dict[str, Any]) -> list[int]:
    """Packets without a road in this session, IPv4 and IPv6; [] when its end is not known."""
    if not session["after"]:
        return []
    before, after = session["before"]["no_route"], session["after"]["no_route"]
    return [after[name] - before[name] for name in ("IPv4", "IPv6")]


def _attempt_lines(body: dict[str, Any]) -> list[str]:
    lines = [
        "Attempts to leave that the audit hook saw (Python of ours only; it is not the wall): "
        f"{len(body['attempts'])}"
    ]
    for entry in body["attempts"]:
        packages = " for ".join(entry.get("packages") or ["the standard library"])
        lines.append(f"  {entry['event']} {_plain(entry['target'])}, by {_plain(packages)}")
        lines += [f"      {_plain(line)}" for line in entry["stack"][:6]]
    lines += [f"  {text}" for text in body.get("unseen", ())]  # reports written before it was said
    children = [entry for entry in body["processes"] if entry["kind"] == "child"]
    ours = [entry for entry in body["processes"] if entry["kind"] == "process"]
    lines += ["", f"Processes of ours: {len(ours)}; programs they started: {len(children)}"]
    return lines + [f"  {_plain(entry['target'][:150])}" for entry in children]


def _name_files(run: Path) -> list[dict[str, Any]]:
    found = [
        path
        for name in NAMED
        for path in sorted([run / name, *(run / name).rglob("*")])
        if path.is_file()
    ]
    return [
        {
            "path": str(path.relative_to(run)),
            "bytes": path.stat().st_size,
            "sha256": durable.sha256(path),
        }
        for path in found
    ]


def _content_problems(path: Path, body: dict[str, Any]) -> list[str]:
    if body["format"] != FORMAT:
        return [f"{path}: format {body['format']}, this version reads {FORMAT}"]
    problems = [
        problem for entry in body["files"] if (problem := _file_problem(path.parent, entry))
    ]
    if body["dataset_product"] != dataset_product(body["files"]):
        problems.append(f"{path}: its dataset product does not follow from the files it names")
    problems += [f"{path}: {lie}" for lie in proof.contradictions(body)]
    for name, stage in body["stages"].items():
        if stage["sealed"] != sessions.is_covered(
            stage["began"], stage["finished"], body["sessions"]
        ):
            problems.append(f"{path}: the stage {name} does not follow from the sessions")
    text = path.parent / TEXT
    expected = "\n".join(render(body, signing.public_key(path))) + "\n"
    if text.exists() and text.read_bytes() != expected.encode("utf-8"):
        problems.append(f"{text}: does not say what {path.name} says")
    return problems


def _file_problem(folder: Path, entry: dict[str, Any]) -> str:
    path = folder / entry["path"]
    if not path.resolve().is_relative_to(folder.resolve()):
        return f"{path}: leads out of the run"
    if not path.is_file():
        return f"{path}: missing"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if (path.stat().st_size, found) != (entry["bytes"], entry["sha256"]):
        return f"{path}: not the file the report was written about (its SHA-256 is {found})"
    return ""


def _plain(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey or a file could not
    hold."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )


def _when(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
