"""VERIFY.py: check a localinstruct bundle before anything in it is used.

    python3 -I VERIFY.py [FOLDER] [--part N]... [--here]

Python 3.8 or newer, nothing to install, no network. It reads and never writes, runs nothing,
unpacks nothing. Exit code 0: all that was asked for is
right. 1: something is damaged, altered, missing or refused; each line names it. 2: nothing could be
checked (no manifest, wrong usage).

In the order of this file: names (no path may leave the folder), the manifest (every byte of every
file has one place in the parts), the folder (nothing unknown, no links), the parts (SHA-256). Not
covered: who made the bundle (SIGNATURE.py), and whether a sound file is a good one. A copy of this
program that came with the bundle proves no more than the bundle does: a guard desk keeps its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import stat
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

SCHEMA = 1
MANIFEST, SIGNATURE = "MANIFEST.json", "MANIFEST.sig"
MAX_MANIFEST = 64 * 2**20
ROOTS = ("methods/", "models/", "program/", "recipes/", "runs/", "seeds/", "wheelhouse/")
"""Where files may lie in a workspace; the only file beside these folders is models.yaml."""
SIDE = re.compile(
    r"SBOM\.cdx\.json|(VERIFY|SIGNATURE|UNPACK)\.py|README\.txt|LICENCES/[A-Za-z0-9][A-Za-z0-9._-]{,99}"
)
CHUNK = 2**20
UNPROVEN = (
    "Integrity only, origin unproven: who made this is for SIGNATURE.py and a public key to say."
)

_DIGITS = "0123456789\u00b9\u00b2\u00b3"
DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"}
DEVICES |= {port + digit for port in ("COM", "LPT") for digit in _DIGITS}
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories: control, format, surrogate, private, unassigned, separators of lines."""


def name_problem(path: str) -> str:
    """Reason to refuse a file of this name, or ''; Linux, Windows, FAT and DVDs all count."""
    if not path or len(path) > 240:
        return "expected a name of 1 to 240 characters"
    if path[0] == "/":
        return "an absolute path"
    if "\\" in path or ":" in path:
        return "a backslash or colon (a drive or a stream on Windows)"
    if any(sign in '<>"|?*' or unicodedata.category(sign) in UNSEEN for sign in path):
        return "a character that is invisible or not allowed in file names"
    if unicodedata.normalize("NFC", path) != path:
        return "letters that are not in composed form (NFC)"
    return next(filter(None, map(_piece_problem, path.split("/"))), "")


def _piece_problem(piece: str) -> str:
    if piece in ("", ".", ".."):
        return "a path that climbs or has an empty part"
    if piece[0] in ". " or piece[-1] in ". ":
        return "a part that is hidden, or begins or ends with a dot or blank"
    if piece.split(".")[0].rstrip().upper() in DEVICES:
        return "a device name of Windows"
    if re.search(r"~\d", piece):
        return "a short name of FAT (~1), which may mean another file"
    return ""


def collisions(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(path, problem) for names that are one on some file system, or file and folder at once."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        for end in range(1, len(parts)):
            folder = "/".join(parts[:end])
            other = folders.setdefault(_folded(folder), folder)
            if other != folder:
                yield path, f"its folder differs from {other} only in case or form"
        other = files.setdefault(_folded(path), path)
        if other is not path:
            problem = f"differs from {other} only in case or form"
            yield path, "listed twice" if other == path else problem
    for key in sorted(files.keys() & folders.keys()):
        yield files[key], "a file and a folder at once"


def _folded(path: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


TOP = {
    "bundle": str,
    "created": str,
    "files": list,
    "id": str,
    "part_size": int,
    "parts": list,
    "platform": dict,
    "schema": int,
    "side": list,
    "tool": str,
}
FILE = {
    "kind": str,
    "licence": str,
    "path": str,
    "ranges": list,
    "sha256": str,
    "size": int,
    "source": str,
}
PART = {"n": int, "name": str, "sha256": str, "size": int}
RANGE = {"length": int, "offset": int, "part": int}
SIDE_FILE = {"path": str, "sha256": str, "size": int}


def canonical(value: object) -> bytes:
    """The one way to write a manifest: sorted keys, indent of 1, ASCII, LF, no byte order mark."""
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("ascii")


def manifest_id(manifest: dict) -> str:
    """SHA-256 over the manifest without its id."""
    rest = {key: value for key, value in manifest.items() if key != "id"}
    return hashlib.sha256(canonical(rest)).hexdigest()


def read_raw(folder: Path) -> bytes:
    """Bytes of the manifest, at most MAX_MANIFEST + 1; OSError when there is none."""
    if (folder / MANIFEST).is_symlink() or not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"no {MANIFEST} in {folder}")
    with (folder / MANIFEST).open("rb") as file:
        return file.read(MAX_MANIFEST + 1)


def read_manifest(raw: bytes) -> tuple[dict, list[str]]:
    """(manifest, []), or ({}, problems)."""
    if len(raw) > MAX_MANIFEST:
        return {}, [f"larger than the {MAX_MANIFEST} bytes a manifest may have"]
    try:
        data = json.loads(raw.decode("utf-8"))
        rewritten = canonical(data)
    except (ValueError, RecursionError) as error:
        return {}, [f"not readable as JSON in UTF-8 ({str(error)[:80]})"]
    if rewritten != raw:
        reasons = "a byte order mark, other line ends, a key twice, keys or blanks moved"
        return {}, [f"not in canonical form ({reasons})"]
    problems = next(filter(None, _kinds_of_problems(data)), [])
    return ({} if problems else data), problems[:100]


def _kinds_of_problems(data: dict) -> Iterator[list[str]]:
    """Problems of one kind after another; each kind relies on there being none of those before."""
    yield list(_shape(data, TOP, "the manifest"))
    if (data["bundle"], data["schema"]) != ("localinstruct", SCHEMA):
        kind = f"a {data['bundle'][:40]!a} bundle of schema {data['schema']}"
        yield [f"{kind}; this program reads schema {SCHEMA}"]
    if manifest_id(data) != data["id"]:
        yield ["its id does not belong to its content: it was damaged or altered"]
    if any(type(value) is not str for value in data["platform"].values()):
        yield ["platform: expected texts"]
    yield list(_entry_problems(data))
    ranges = [entry for row in data["files"] for entry in row["ranges"]]
    yield [p for entry in ranges for p in _shape(entry, RANGE, "a range of a file")]
    yield [*_name_problems(data), *_part_problems(data), *_place_problems(data)]


def _entry_problems(data: dict) -> Iterator[str]:
    for key, shape in (("files", FILE), ("parts", PART), ("side", SIDE_FILE)):
        for row in data[key]:
            yield from _shape(row, shape, f"an entry of {key}")


def _shape(row: object, fields: dict, where: str) -> Iterator[str]:
    """Problems but for exactly these keys, of exactly these types, with possible values."""
    if type(row) is not dict or set(row) != set(fields):
        yield f"{where}: expected the keys {', '.join(fields)}"
        return
    for key, kind in fields.items():
        value = row[key]
        if type(value) is not kind or (kind is int and not 0 <= value < 2**53):
            yield f"{where}: expected {key} to be a {kind.__name__} of a possible size"
        elif key in ("sha256", "id") and not re.fullmatch("[0-9a-f]{64}", value):
            yield f"{where}: expected {key} to be 64 hexadecimal digits"


def _name_problems(manifest: dict) -> Iterator[str]:
    paths = [row["path"] for row in manifest["files"]]
    for path in paths:
        problem = name_problem(path)
        if problem:
            yield f"{path!a}: refused: {problem}"
        elif path != "models.yaml" and not path.startswith(ROOTS):
            yield f"{path!a}: refused: not in one of the folders {' '.join(ROOTS)}"
    yield from (f"{path!a}: refused: {problem}" for path, problem in collisions(paths))
    if paths != sorted(paths):
        yield "files: expected them sorted by path"
    sides = [row["path"] for row in manifest["side"]]
    for path in sides:
        if not SIDE.fullmatch(path) or name_problem(path):
            yield f"{path!a}: refused: not a name for a file beside the parts"
    yield from (f"{path!a}: refused: {problem}" for path, problem in collisions(sides))


def part_name(number: int) -> str:
    """File name of a part."""
    return f"part{number:04d}.bin"  # up to number 9,999 a name that DOS takes, too


def _part_problems(manifest: dict) -> Iterator[str]:
    if not manifest["parts"] or manifest["part_size"] < 1:
        yield "parts: expected at least one, of at least one byte"
    size, last = manifest["part_size"], len(manifest["parts"])
    for number, part in enumerate(manifest["parts"], start=1):
        name = part_name(number)
        if (part["n"], part["name"]) != (number, name):
            actual = f"{part['n']} {part['name']!a}"
            yield f"parts: expected number {number} named {name}, found {actual}"
        if not 0 < part["size"] <= size or (number < last and part["size"] != size):
            yield f"{name}: {part['size']} bytes do not fit parts of {size} bytes"


def _place_problems(manifest: dict) -> Iterator[str]:
    """The files, in order, must fill the parts without a gap or an overlap."""
    size, at = max(manifest["part_size"], 1), 0
    for row in manifest["files"]:
        expected, end = [], at + row["size"]
        if row["size"] // size > len(manifest["parts"]):
            yield f"{row['path']!a}: {row['size']} bytes are more than the parts hold"
            return
        while at < end:
            length = min(size - at % size, end - at)
            expected.append({"length": length, "offset": at % size, "part": at // size + 1})
            at += length
        if row["ranges"] != expected:
            yield f"{row['path']!a}: its ranges leave a gap, overlap or lie elsewhere"
            return
    total = sum(part["size"] for part in manifest["parts"])
    if at != total:
        yield f"the files have {at} bytes, the parts {total}"


def file_problem(
    path: Path, size: int, sha256: str, tick: Callable[[int], None] = lambda count: None
) -> str:
    """Reason why this file is not the one that was packed, or ''.

    Reads at most `size` bytes, a mebibyte at a time; `tick` is told of each.
    """
    try:
        problem = state_problem(path, size)
        digest = "" if problem else sha256_of(path, size, tick)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return problem or ("" if digest == sha256 else f"damaged: SHA-256 {digest}, expected {sha256}")


def state_problem(path: Path, size: int) -> str:
    """Reason why this cannot be a file of `size` bytes, or '', without reading it."""
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode):
        return "not a regular file (a link, folder or device)"
    if state.st_size == size:
        return ""
    word = "truncated" if state.st_size < size else "too long"
    return f"{word}: {state.st_size} bytes, expected {size}"


def sha256_of(path: Path, size: int, tick: Callable[[int], None]) -> str:
    """SHA-256 of the first `size` bytes of a file."""
    total, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as file:
        while size:
            count = file.readinto(buffer[: min(CHUNK, size)])
            if not count:
                break
            total.update(buffer[:count])
            size -= count
            tick(count)
    return total.hexdigest()


def folder_problems(folder: Path, manifest: dict, whole: bool) -> Iterator[tuple[str, str]]:
    """(name, problem) for all but the parts: unknown files, links, altered files beside the parts.

    With `whole`, a file beside the parts that is missing is a problem too.
    """
    sides = {row["path"]: row for row in manifest["side"]}
    known = {MANIFEST, SIGNATURE, *sides, *(part["name"] for part in manifest["parts"])}
    folders = {path.split("/")[0] for path in sides if "/" in path}
    entries = [*folder.iterdir(), *(path for name in folders for path in (folder / name).glob("*"))]
    for entry in sorted(entries):
        name = entry.relative_to(folder).as_posix()
        if name not in known | folders:
            yield ascii(name), "not in the manifest; a bundle lies in a folder of its own"
        elif entry.is_symlink() or (name in folders) != entry.is_dir():
            yield name, "not a regular file (a link, folder or device)"
    for name, row in sides.items():
        problem = file_problem(folder / name, row["size"], row["sha256"])
        if problem and (whole or problem != "missing"):
            yield name, problem


def affected(manifest: dict, number: int) -> str:
    """Files that lie in a part, as a short list."""
    rows = manifest["files"]
    paths = [row["path"] for row in rows if any(r["part"] == number for r in row["ranges"])]
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def check(
    folder: Path,
    numbers: Iterable[int] = (),
    here: bool = False,
    raw: bytes = b"",
    is_sound: Callable[[dict], bool] = lambda part: False,
    tick: Callable[[int], None] = lambda count: None,
    on_part: Callable[[dict, str], None] = lambda part, problem: None,
) -> tuple[dict, list[tuple[str, str]], list[int]]:
    """Check a bundle, or some of its parts: those with `numbers`, or those that are `here`.

    Gives the manifest, (name, problem) in order, and the numbers of the parts that were looked at.
    `raw` is the manifest where it was read before; `is_sound` may say that a part need not be read;
    `tick` is called with the bytes read, `on_part` with every part and its problem. OSError when
    there is no manifest.
    """
    manifest, refusals = read_manifest(raw or read_raw(folder))
    if refusals:
        return manifest, [(MANIFEST, problem) for problem in refusals], []
    chosen, known = set(numbers), {part["n"] for part in manifest["parts"]}
    problems = [(f"part {number}", "no such part") for number in sorted(chosen - known)]
    problems += folder_problems(folder, manifest, whole=not (chosen or here))
    looked_at = []
    for part in manifest["parts"]:
        path = folder / part["name"]
        if chosen and part["n"] not in chosen:
            continue
        if here and not path.exists() and not path.is_symlink():
            continue
        sound = is_sound(part)
        problem = "" if sound else file_problem(path, part["size"], part["sha256"], tick)
        looked_at.append(part["n"])
        on_part(part, problem)
        if problem:
            problems.append((part["name"], _advice(manifest, part["n"], problem)))
    return manifest, problems, looked_at


def _advice(manifest: dict, number: int, problem: str) -> str:
    """The problem of a part with the files in it; where two parts were exchanged, the other one."""
    names = [p["name"] for p in manifest["parts"] if f"SHA-256 {p['sha256']}," in problem]
    exchanged = f"; this is {names[0]}" if names else ""
    return f"{problem}{exchanged}; copy it again (in it: {affected(manifest, number)})"


def _say(line: str) -> None:
    """Print a line in ASCII, on which no terminal stumbles."""
    sys.stdout.write(line.encode("ascii", "backslashreplace").decode("ascii") + "\n")


def _parser() -> argparse.ArgumentParser:
    about = "Check a localinstruct bundle. Exit 0: right, 1: not, 2: not checked."
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("folder", nargs="?", type=Path, help="default: beside this file")
    parser.add_argument(
        "--part", type=int, action="append", metavar="N", help="only this part; repeatable"
    )
    parser.add_argument("--here", action="store_true", help="only the parts on this medium")
    parser.set_defaults(folder=Path(__file__).parent, part=[])
    return parser


def main(arguments: list[str]) -> int:
    """Check the bundle that the command line names, and print what is wrong; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        manifest, problems, parts = check(options.folder, options.part, options.here)
    except OSError as error:
        _say(f"Nothing was checked: {error}")
        return 2
    for name, problem in problems:
        _say(f"BAD   {name}: {problem}")
    _say(f"{len(parts)} of {len(manifest.get('parts', []))} parts were looked at.")
    _say(UNPROVEN)
    if problems:
        _say("REFUSED.")
        return 1
    if not parts:
        _say("Nothing was checked: none of the parts is here.")
        return 2
    _say("All that was asked for is right.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
