"""Durable files: written whole or not at all, appended, synced, locked, and hashed.

The one place of the program that calls fsync and flock, and that reads lines whose last may be
torn by a kill. Digests of large files are remembered by size, time and inode, because hashing a
16 GB model takes half a minute. Not covered: two writers of one file at once (the last one wins),
which callers exclude with a lock; and somebody who can write as this user and alter the cache,
against whom `models verify` hashes everything anew. The programs that travel in a bundle
(`bundle/guard.py` and its neighbours) stand alone and do not use this module.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

from localinstruct.errors import NO_ROOM, StoreError, UsageError
from localinstruct.records import JsonObject

REMEMBERED_BYTES = 16 * 2**20
"""Smaller files are hashed every time: it takes no longer than looking them up."""
SETTLED_NS = 2 * 10**9
"""A file changed this recently may change again in one tick of the clock: it is not remembered."""


@contextlib.contextmanager
def atomic_write(path: Path, mark: str = "") -> Iterator[BinaryIO]:
    """Give a binary file that becomes `path` when the block ends well, else leaves no trace.

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
            sync(file)
        rename_synced(temporary, target)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise  # the block's own trouble with another file
        kind = StoreError if error.errno in NO_ROOM else UsageError
        raise kind(
            f"{path}: cannot be written: {error.strerror or error}.", _space_hint(target)
        ) from None
    finally:
        with contextlib.suppress(OSError):  # a read-only disk refuses even what is not there
            temporary.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """UsageError, before work that takes long, where `atomic_write` could put no file then."""
    target = Path(os.path.realpath(path))
    _refuse_place(path, target)
    if not os.access(target.parent, os.W_OK):
        raise UsageError(
            f"{path}: cannot be written: no right to write there.", _space_hint(target)
        )


def step_into(folder: Path) -> str:
    """'cd FOLDER && ', the beginning of a command line for `folder`; '' for the current one."""
    return "" if folder.resolve() == Path.cwd() else f"cd {folder} && "


def sync(file: int | IO[bytes] | IO[str]) -> None:
    """Put what was written to an open file, or to a descriptor, on the disk."""
    if not isinstance(file, int):
        file.flush()
        file = file.fileno()
    os.fsync(file)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk.

    Some file systems of networks and media cannot; there they come when the system likes.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Put everything below `folder`, and its name, on the disk."""
    for path in (*sorted(folder.rglob("*"), reverse=True), folder, folder.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def rename_synced(temporary: Path, path: Path) -> None:
    """Give a synced file or folder its name, in place of what has it, and sync the name."""
    temporary.replace(path)
    sync_folder(path.parent)


def create_file(path: Path, content: bytes, mode: int) -> None:
    """Make a new file, synced, with this mode from its first moment.

    FileExistsError when there is one of that name.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        sync(file)


def append_lines(path: Path, lines: Iterable[str], mode: int = 0o666) -> None:
    """Add lines to a file, made if missing; when this returns, they are on the disk.

    A last line that a kill has torn is ended first, so that it stands alone.
    """
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "ab") as file:
        size = os.fstat(file.fileno()).st_size
        is_torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        file.write(b"\n" + text if is_torn else text)
        sync(file)


def read_json_lines(path: Path) -> list[JsonObject]:
    """The JSON objects of a file with one in each line, in order; none when there is no file.

    A line torn by a kill, and any other that is no object, is left out.
    """
    try:
        lines = path.read_bytes().split(b"\n")  # not splitlines: U+2028 may stand inside a text
    except FileNotFoundError:
        return []
    return [value for line in lines if isinstance(value := _parsed(line), dict)]


def lock(descriptor: int, *, wait: bool = False) -> bool:
    """Take the lock of an open file or folder; False when another process has it.

    It is flock's: held until every copy of the descriptor is closed, so the kernel frees it when
    its holders end, however they end. OSError where the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_text(path: Path, text: str, mark: str = "") -> None:
    """Replace `path` by `text` in UTF-8, as `atomic_write` does."""
    with atomic_write(path, mark) as file:
        file.write(text.encode("utf-8"))


def sha256(path: Path, remembered: bool = True) -> str:
    """SHA-256 of a file (hex).

    `remembered` may answer from the cache when size, time and inode have not changed.
    """
    status = path.stat()
    key, stamp = str(path.resolve()), [status.st_size, status.st_mtime_ns, status.st_ino]
    large = status.st_size >= REMEMBERED_BYTES
    if large and remembered:
        known = _load_cache().get(key)
        if isinstance(known, list) and len(known) == 4 and known[:3] == stamp:
            return str(known[3])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if large and time.time_ns() - status.st_mtime_ns > SETTLED_NS:
        _remember(key, [*stamp, digest])
    return digest


def cache_file() -> Path:
    """The file of remembered digests: localinstruct/digests.json in $XDG_CACHE_HOME or ~/.cache."""
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
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o666)  # less the umask
    if target.exists():
        os.fchmod(descriptor, target.stat().st_mode & 0o777)
    return os.fdopen(descriptor, "wb")


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _space_hint(target: Path) -> str:
    return f"Check the free space and your rights: df -h {target.parent}; ls -ld {target.parent}"


def _load_cache() -> dict[str, object]:
    try:
        data = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, RuntimeError):  # the last: a user without a home
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
