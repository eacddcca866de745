"""Files written whole or not at all (beside their place, synced, renamed over it), and digests of
files.

Digests of large files are remembered by size, time and inode, because hashing a 16 GB model takes
half a minute. Not covered: two writers at once (the last one wins), and somebody who can write as
this user and alter the cache, against whom `models verify` hashes everything anew.
"""

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from localinstruct.errors import NO_ROOM, StoreError, UsageError

REMEMBERED_BYTES = 16 * 2**20
"""Smaller files are hashed every time: it takes no longer than looking them up."""
SETTLED_NS = 2 * 10**9
"""A file changed this recently may change again within the same tick of the clock, so its digest is
not remembered."""


@contextlib.contextmanager
def atomic_write(path: Path, mark: str = "") -> Iterator[BinaryIO]:
    """Give a binary file that becomes `path` when the block ends well, and leaves no trace when it
    does not.

    A symbolic link is followed, the mode of a file that is replaced is kept. What a killed writer
    left is taken over by the next one with the same `mark`, of which there may be only one at a
    time. UsageError for a directory, a device, a missing folder, a place that may not be written;
    StoreError for a disk that is full or fails.
    """
    target = Path(os.path.realpath(path))
    _refuse_place(path, target)
    temporary = target.with_name(f".{target.name[:200]}.{mark or secrets.token_hex(4)}.part")
    try:
        if mark:
            temporary.unlink(missing_ok=True)
        with _create(temporary, target) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_directory(target.parent)
    except OSError as error:
        if error.filename not in (
            None,
            str(temporary),
        ):  # the block's own trouble with another file
            raise
        kind = StoreError if error.errno in NO_ROOM else UsageError
        raise kind(
            f"{path}: cannot be written: {error.strerror or error}.", _space_hint(target)
        ) from None
    finally:
        with contextlib.suppress(OSError):  # a read-only disk refuses even what is not there
            temporary.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """UsageError, before work that takes long, where `atomic_write` could not put a file
    afterwards."""
    target = Path(os.path.realpath(path))
    _refuse_place(path, target)
    if not os.access(target.parent, os.W_OK):
        raise UsageError(
            f"{path}: cannot be written: no right to write there.", _space_hint(target)
        )


def step_into(folder: Path) -> str:
    """The beginning of a command line that is typed in `folder`: 'cd FOLDER && ', or '' for the one
    that one stands in."""
    return "" if folder.resolve() == Path.cwd() else f"cd {folder} && "


def sync_tree(folder: Path) -> None:
    """Put everything below `folder`, and its name, on the disk."""
    for path in (*sorted(folder.rglob("*"), reverse=True), folder, folder.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str, mark: str = "") -> None:
    """Replace `path` by `text` in UTF-8, as `atomic_write` does."""
    with atomic_write(path, mark) as file:
        file.write(text.encode("utf-8"))


def sha256(path: Path, remembered: bool = True) -> str:
    """Hash one file (hex); `remembered` may answer from the cache when size, time and inode are the
    same."""
    status = path.stat()
    key, stamp = str(path.resolve()), [status.st_size, status.st_mtime_ns, status.st_ino]
    large = status.st_size >= REMEMBERED_BYTES
    if large and remembered:
        known = _load_cache().get(key)
        if isinstance(known, list) and len(known) == 4 and known[:3] == stamp:
            return str(known[3])
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if large and time.time_ns() - status.st_mtime_ns > SETTLED_NS:
        _remember(key, [*stamp, found])
    return found


def cache_file() -> Path:
    """Where digests are remembered: $XDG_CACHE_HOME/localinstruct/digests.json, or below
    ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(root) if root.startswith("/") else Path("~/.cache").expanduser()
    return base / "localinstruct" / "digests.json"


def _refuse_place(path: Path, target: Path) -> None:
    if target.is_dir():
        raise UsageError(
            f"{path}: expected a file name, found a directory.",
            f"For example: {path / 'rows.jsonl'}",
        )
    if target.exists() and not target.is_file():
        raise UsageError(
            f"{path}: not a regular file, so it cannot be replaced.", "Give the name of a file."
        )
    if target.parent.exists() and not target.parent.is_dir():
        raise UsageError(
            f"{path}: expected a folder at {target.parent}, found a file.", "Choose another place."
        )
    if not target.parent.is_dir():
        raise UsageError(
            f"{path}: the folder {target.parent} does not exist.", f"mkdir -p {target.parent}"
        )


def _create(temporary: Path, target: Path) -> BinaryIO:
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666
    )  # less the umask
    if target.exists():
        os.fchmod(descriptor, target.stat().st_mode & 0o777)
    return os.fdopen(descriptor, "wb")


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(
            OSError
        ):  # some network file systems cannot; the rename itself is done
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _space_hint(target: Path) -> str:
    return f"Check the free space and your rights: df -h {target.parent}; ls -ld {target.parent}"


def _load_cache() -> dict[str, object]:
    try:
        data = json.loads(cache_file().read_text(encoding="utf-8"))
    except (
        OSError,
        ValueError,
        RecursionError,
        RuntimeError,
    ):  # RuntimeError: a user without a home directory
        return {}
    return data if isinstance(data, dict) else {}


def _remember(key: str, entry: list[object]) -> None:
    """Add to the cache, whole or not at all; one that cannot be written only costs time."""
    with contextlib.suppress(OSError, RuntimeError):
        place = cache_file()
        place.parent.mkdir(parents=True, exist_ok=True)
        known = {path: value for path, value in _load_cache().items() if Path(path).exists()}
        temporary = place.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(known | {key: entry}, indent=1), encoding="utf-8")
        temporary.replace(place)
