"""Follows docs/air-gap.md word by word: sections 1 and 5 with the network, 2 to 4 in one shell
where none exists.

    python -m tests.support.air_gap FOLDER [--wheels DIR]      # 10 GB of disk, a quarter of an hour

The transcript (every command and all it said) is FOLDER/transcript.txt. `--wheels` takes a folder
of wheels instead of having pip fetch them; that is the one change it makes to the guide's words.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "air-gap.md"
SECTION = re.compile(r"^## (\d)\. .*$", re.MULTILINE)


def blocks(number: int) -> str:
    """All shell blocks of a section, one after another."""
    pieces = SECTION.split(GUIDE.read_text(encoding="utf-8"))
    sections = dict(zip(map(int, pieces[1::2]), pieces[2::2], strict=True))
    return "\n".join(re.findall(r"```sh\n(.*?)```", sections[number], re.DOTALL))


def commands() -> list[str]:
    """Every command line of the guide."""
    return [line for number in range(1, 6) for line in blocks(number).splitlines() if line.strip()]


def follow(
    script: str, folder: Path, transcript: Path, environment: dict[str, str], *before: str
) -> int:
    """Run a script as a person would type it, in one shell that stops at the first failure."""
    with transcript.open("a") as log:
        log.write(f"--- in {folder.name}{', no network' if before else ''}\n")
        log.flush()
        return subprocess.run(
            [*before, "bash", "-e", "-v"],
            input=script,
            text=True,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        ).returncode


def environment_of(stick: Path, path: str) -> dict[str, str]:
    """What a person has: no variables of pip's or ours, and the medium at $STICK."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "LOCALINSTRUCT_", "VIRTUAL"))
    }
    return kept | {"STICK": str(stick), "PATH": path}


def main() -> int:
    """The exit code of the first section that failed, or 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "folder", type=Path, help="a new folder for medium, both machines and transcript"
    )
    parser.add_argument("--wheels", type=Path, help="wheels that were fetched before")
    given = parser.parse_args()
    folder = given.folder.resolve()
    stick, here, there = folder / "stick", folder / "connected", folder / "isolated"
    for place in (stick, here, there):
        place.mkdir(parents=True)
    subprocess.run(
        ["git", "-C", ROOT, "archive", "--output", folder / "checkout.tar", "HEAD"], check=True
    )
    subprocess.run(["tar", "-xf", folder / "checkout.tar", "-C", here], check=True)
    transcript, ours = folder / "transcript.txt", str(Path(sys.executable).parent)
    connected = environment_of(stick, f"{ours}:{os.environ['PATH']}") | {
        name: value for name, value in os.environ.items() if name.startswith("PIP_")
    }
    isolated = environment_of(stick, os.environ["PATH"]) | {
        "PIP_CONFIG_FILE": "/dev/null",
        "HOME": str(there),
    }
    first = blocks(1)
    if given.wheels:
        first = first.replace("--python 3.11", f"--python 3.11 --wheels {given.wheels.resolve()}")
    code = follow(first, here, transcript, connected)
    if not code:
        shutil.copy(here / "lab.key.pub", there)  # by another way than the medium
        shutil.copytree(here / "desk", there / "desk")
        code = follow(
            "\n".join(blocks(number) for number in (2, 3, 4)),
            there,
            transcript,
            isolated,
            "unshare",
            "-rn",
        )
    if not code:
        for key in ("desk.key.pub", "report.key"):
            shutil.copy(there / key, here)
        code = follow(blocks(5), here, transcript, connected)
    return code


if __name__ == "__main__":
    sys.exit(main())
