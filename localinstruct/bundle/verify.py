"""Check a bundle as VERIFY.py does, with a key, with progress, and without reading again what was
read before.

Sound parts are remembered in the user's cache by size, time of change, inode and device, because
media may be read-only; `full` reads everything anew and also hashes each packed file. The rules
themselves stand in guard.py alone. Not covered: somebody who can write as this user and alter the
cache, against whom `full` or VERIFY.py is the answer.
"""

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localinstruct.bundle import ed25519, guard
from localinstruct.bundle.journal import Journal, stamp
from localinstruct.bundle.signing import load_public
from localinstruct.errors import BundleError
from localinstruct.progress import Progress
from localinstruct.store.durable import SETTLED_NS, cache_file

UNPROVEN = (
    "INTEGRITY ONLY, ORIGIN UNPROVEN: no key was given, so whoever altered this bundle "
    "could have altered its manifest"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found."""

    manifest: Mapping[str, Any]
    problems: tuple[tuple[str, str], ...]
    """(name, what is wrong with it), in order; empty when all that was asked for is right."""
    parts: tuple[int, ...]
    """Numbers of the parts that were looked at."""
    remembered: tuple[int, ...]
    """Those among them that were found sound earlier and are unchanged."""
    fingerprint: str
    """Of the key that signed the manifest; '' when no key was given or the signature is wrong."""

    @property
    def missing(self) -> list[int]:
        """Numbers of parts that were not looked at."""
        return [part["n"] for part in self.manifest.get("parts", []) if part["n"] not in self.parts]

    @property
    def exit_code(self) -> int:
        """0: right; 1: damaged, altered, missing or refused; 2: nothing could be checked. As
        VERIFY.py."""
        return 1 if self.problems else 0 if self.parts else 2

    @property
    def origin(self) -> str:
        """Who made it, as one sentence for the screen."""
        return f"Signed by the key {self.fingerprint}." if self.fingerprint else f"{UNPROVEN}."


def verify(
    folder: Path,
    progress: Progress,
    parts: Sequence[int] = (),
    here: bool = False,
    key: Path | None = None,
    full: bool = False,
) -> Verdict:
    """Check all parts, some (`parts`), or those that are `here`; BundleError when there is no
    manifest at all."""
    raw, public = read_raw(folder), load_public(key) if key else b""
    manifest, problems = guard.read_manifest(raw)
    if problems:
        return Verdict(manifest, tuple((guard.MANIFEST, one) for one in problems), (), (), "")
    wrong = ed25519.signature_problem(folder, public, raw) if public else ""
    if wrong:
        return Verdict(manifest, ((guard.SIGNATURE, wrong),), (), (), "")
    memory = Memory(folder, hashlib.sha256(raw).hexdigest(), forget=full)
    meter = _Meter(progress, sum(part["size"] for part in manifest["parts"]))
    _, found, looked_at = guard.check(
        folder, parts, here, raw, memory.knows, meter.tick, memory.note
    )
    if full and not found and len(looked_at) == len(manifest["parts"]):
        found += content_problems(folder, manifest)
    signer = ed25519.fingerprint(public) if public else ""
    return Verdict(manifest, tuple(found), tuple(looked_at), tuple(memory.used), signer)


def read_raw(folder: Path) -> bytes:
    """The bytes of the manifest, at most as many as one may have; BundleError when there is
    none."""
    try:
        return guard.read_raw(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BundleError(
            f"{folder}: not a bundle ({reason}).", "Name the folder that holds MANIFEST.json."
        ) from None


def content_problems(folder: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(path, problem) for packed files whose own SHA-256 is not the manifest's; the parts must be
    sound."""
    for row in manifest["files"]:
        total = hashlib.sha256()
        for one in row["ranges"]:
            for chunk in read_range(
                folder / guard.part_name(one["part"]), one["offset"], one["length"]
            ):
                total.update(chunk)
        if total.hexdigest() != row["sha256"]:
            yield (
                row["path"],
                f"its SHA-256 is {total.hexdigest()}, but the manifest says {row['sha256']}",
            )


def read_range(path: Path, offset: int, length: int) -> Iterator[bytes]:
    """The bytes of one range, a mebibyte at a time; fewer where the file ends."""
    with path.open("rb") as file:
        file.seek(offset)
        while length and (chunk := file.read(min(guard.CHUNK, length))):
            length -= len(chunk)
            yield chunk


class Memory:
    """Parts that were found sound, of one bundle in one folder; `used` are those that helped this
    time."""

    def __init__(self, folder: Path, digest: str, forget: bool) -> None:
        self.used: list[int] = []
        self._folder = folder
        place = cache_file().with_name(f"bundle-{digest[:32]}.jsonl")
        self._journal: Journal | None = None
        with contextlib.suppress(
            OSError, RuntimeError
        ):  # a cache that cannot be written only costs time
            place.parent.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(place, digest)
        self._stamps = (
            []
            if forget or not self._journal
            else [entry.get("stamp") for entry in self._journal.entries]
        )

    def knows(self, part: Mapping[str, Any]) -> bool:
        """Whether this very file was read before and found sound."""
        with contextlib.suppress(OSError):
            if [part["n"], *stamp(self._folder / part["name"])] in self._stamps:
                self.used.append(part["n"])
                return True
        return False

    def note(self, part: Mapping[str, Any], problem: str) -> None:
        """Remember a sound part, unless it may still change within the same tick of the clock."""
        if problem or not self._journal or part["n"] in self.used:
            return
        with contextlib.suppress(OSError):
            found = stamp(self._folder / part["name"])
            entry = {"stamp": [part["n"], *found]}
            if time.time_ns() - found[1] > SETTLED_NS and entry not in self._journal.entries:
                self._journal.add(entry)


class _Meter:
    """Bytes read so far, shown at most a few times a second by whoever draws it."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def tick(self, count: int) -> None:
        """Some more bytes were read."""
        self._done += count
        self._progress.update("verifying", self._done, self._total)
