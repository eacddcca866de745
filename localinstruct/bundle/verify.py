"""Check a bundle as VERIFY.py does, with a key, progress, and memory of parts read before.

Sound parts are remembered in the user's cache by size, time of change, inode and device, because
media may be read-only; `full` reads everything anew and also hashes each packed file. The rules
themselves stand in guard.py alone. Not covered: somebody who can write as this user and alter the
cache, against whom `full` or VERIFY.py is the answer.
"""

import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from localinstruct import signing
from localinstruct.bundle import guard, takeout
from localinstruct.bundle.journal import Journal, stamp
from localinstruct.errors import BundleError
from localinstruct.progress import Progress, counter
from localinstruct.records import JsonObject
from localinstruct.store.durable import SETTLED_NS, cache_file

UNPROVEN = (
    "INTEGRITY ONLY, ORIGIN UNPROVEN: no key was given, so whoever altered this bundle "
    "could have altered its manifest"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a check: what is wrong, and which parts were looked at."""

    manifest: JsonObject
    problems: tuple[tuple[str, str], ...]
    """(name, problem) in order; empty when all that was asked for is right."""
    parts: tuple[int, ...]
    """Numbers of the parts that were looked at."""
    remembered: tuple[int, ...]
    """Numbers of the parts among them that were sound earlier and are unchanged."""
    fingerprint: str
    """Fingerprint of the signer's key; '' when no key was given or the signature is wrong."""

    @property
    def missing(self) -> list[int]:
        """Numbers of parts that were not looked at."""
        return [part["n"] for part in self.manifest.get("parts", []) if part["n"] not in self.parts]

    @property
    def exit_code(self) -> int:
        """0: right; 1: damaged, altered, missing or refused; 2: nothing could be checked."""
        if self.problems:
            return 1
        return 0 if self.parts else 2

    @property
    def origin(self) -> str:
        """One sentence for the screen on who made the bundle."""
        if any(name == guard.SIGNATURE for name, _ in self.problems):
            return "ORIGIN UNPROVEN: the key that was given did not make the signature here."
        return f"Signed by the key {self.fingerprint}." if self.fingerprint else f"{UNPROVEN}."


def verify(
    folder: Path,
    progress: Progress,
    parts: Sequence[int] = (),
    here: bool = False,
    key: Path | None = None,
    full: bool = False,
) -> Verdict:
    """Check all parts, some (`parts`), or those that are `here`.

    BundleError when there is no manifest at all.
    """
    raw, public = read_raw(folder), signing.load_public(key) if key else b""
    manifest, problems = guard.read_manifest(raw)
    if problems:
        return Verdict(manifest, tuple((guard.MANIFEST, text) for text in problems), (), (), "")
    wrong = signing.signature_problem(folder / guard.SIGNATURE, public, raw) if public else ""
    if wrong:
        return Verdict(manifest, ((guard.SIGNATURE, wrong),), (), (), "")
    memory = Memory(folder, hashlib.sha256(raw).hexdigest(), forget=full)
    tick = counter(progress, "verifying", sum(part["size"] for part in manifest["parts"]))
    _, damage, looked_at = guard.check(folder, parts, here, raw, memory.knows, tick, memory.note)
    if full and not damage and len(looked_at) == len(manifest["parts"]):
        damage += content_problems(folder, manifest)
    signer = signing.fingerprint(public) if public else ""
    return Verdict(manifest, tuple(damage), tuple(looked_at), tuple(memory.used), signer)


def read_raw(folder: Path) -> bytes:
    """Bytes of the manifest, at most as many as one may have; BundleError when there is none."""
    try:
        return guard.read_raw(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "Name the folder that holds MANIFEST.json."
        raise BundleError(f"{folder}: not a bundle ({reason}).", hint) from None


def content_problems(folder: Path, manifest: JsonObject) -> Iterator[tuple[str, str]]:
    """(path, problem) for packed files with another SHA-256 than the manifest's.

    The parts must be sound.
    """
    for row in manifest["files"]:
        total = hashlib.sha256()
        for piece in row["ranges"]:
            path = folder / guard.part_name(piece["part"])
            for chunk in takeout.chunks(path, piece["offset"], piece["length"]):
                total.update(chunk)
        digest = total.hexdigest()
        if digest != row["sha256"]:
            yield row["path"], f"its SHA-256 is {digest}, but the manifest says {row['sha256']}"


class Memory:
    """Parts of one bundle in one folder that were sound before; `used` lists those that helped."""

    def __init__(self, folder: Path, digest: str, forget: bool) -> None:
        self.used: list[int] = []
        self._folder = folder
        place = cache_file().with_name(f"bundle-{digest[:32]}.jsonl")
        self._journal: Journal | None = None
        # A cache that cannot be written only costs time.
        with contextlib.suppress(OSError, RuntimeError):
            place.parent.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(place, digest)
        entries = self._journal.entries if self._journal and not forget else []
        self._stamps = [entry.get("stamp") for entry in entries]

    def knows(self, part: JsonObject) -> bool:
        """True when this very file was read before and was sound."""
        with contextlib.suppress(OSError):
            if [part["n"], *stamp(self._folder / part["name"])] in self._stamps:
                self.used.append(part["n"])
                return True
        return False

    def note(self, part: JsonObject, problem: str) -> None:
        """Remember a sound part, unless it may still change within the same tick of the clock."""
        if problem or not self._journal or part["n"] in self.used:
            return
        with contextlib.suppress(OSError):
            state = stamp(self._folder / part["name"])
            entry, age_ns = {"stamp": [part["n"], *state]}, time.time_ns() - state[1]
            if age_ns > SETTLED_NS and entry not in self._journal.entries:
                self._journal.add(entry)
