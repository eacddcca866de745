"""Take the wheels or the program out of a localinstruct bundle before anything is installed. Python 3.8 or newer, no network.

    python3 -I UNPACK.py wheelhouse INTO [FOLDER]

The whole bundle is checked first, by the VERIFY.py that lies beside this file; only when all of it is right are the files
written, each checked again on its way. What is there and the same is left alone, what is there and different is refused.
Exit codes as of VERIFY.py. Not covered: models, recipes and results, which `localinstruct bundle import` puts in their place.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

ROOTS = ("wheelhouse", "program")
CHUNK = 2**20


def beside(name: str) -> Any:
    """The program of this name that lies beside this one."""
    path = Path(__file__).parent / name
    spec = importlib.util.spec_from_file_location(name[:-3].lower(), path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no {name} beside {Path(__file__).name}")
    sys.dont_write_bytecode = True  # the medium stays as it was
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def take(folder: Path, manifest: dict, row: dict, place: Path) -> str:
    """Write one file; why it could not be, or ''."""
    names = {part["n"]: part["name"] for part in manifest["parts"]}
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.part")
    total = hashlib.sha256()
    if part.is_symlink() or part.exists():  # left by a kill
        part.unlink()
    with part.open("xb") as target:
        for one in row["ranges"]:
            with (folder / names[one["part"]]).open("rb") as source:
                source.seek(one["offset"])
                left = one["length"]
                while left:
                    chunk = source.read(min(CHUNK, left))
                    if not chunk:
                        break
                    target.write(chunk)
                    total.update(chunk)
                    left -= len(chunk)
        target.flush()
        os.fsync(target.fileno())
    if total.hexdigest() != row["sha256"]:
        part.unlink()
        return f"damaged: SHA-256 {total.hexdigest()}, expected {row['sha256']}"
    part.replace(place)
    return ""


def say(line: str) -> None:
    """One line, in letters that every terminal has."""
    sys.stdout.write(line.encode("ascii", "backslashreplace").decode("ascii") + "\n")


def taken(guard: Any, folder: Path, manifest: dict, root: str, into: Path) -> list[str]:
    """Take every file below `root`; what went wrong."""
    wrong, new = [], 0
    rows = [row for row in manifest["files"] if row["path"].startswith(f"{root}/")]
    for row in rows:
        place = into / row["path"]
        if place.exists() or place.is_symlink():
            problem = guard.file_problem(place, row["size"], row["sha256"])
            wrong += [f"{place}: is there and different ({problem}); remove it"] if problem else []
            continue
        problem = take(folder, manifest, row, place)
        wrong += [f"{row['path']}: {problem}"] if problem else []
        new += not problem
    say(f"{new} files written, {len(rows) - new - len(wrong)} there already, below {into / root}")
    return wrong if rows else [f"{root}: nothing of this kind is in the bundle"]


def main(arguments: list) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Take wheels or the program out of a checked localinstruct bundle.")
    parser.add_argument("root", choices=ROOTS)
    parser.add_argument("into", type=Path, metavar="INTO")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent, help="default: beside this file")
    options = parser.parse_args(arguments)
    try:
        guard = beside("VERIFY.py")
        manifest, problems, _ = guard.check(options.folder)
        wrong = [f"{name}: {problem}" for name, problem in problems]
        wrong = wrong or taken(guard, options.folder, manifest, options.root, options.into)
    except OSError as error:
        say(f"Nothing more was done: {error}")
        return 2
    for line in wrong:
        say(f"BAD   {line}")
    if wrong:
        say("REFUSED.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
