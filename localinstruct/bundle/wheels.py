"""The wheelhouse: wheels from which pip installs this program where there is no index.

On the connected side `download` has pip collect wheels for the target's Python; everywhere,
`requirements` names each with its SHA-256 and `install_command` is what the isolated side types.
Only wheels: a source archive would run code when it is installed. Not covered: markers such as
`platform_machine`, which pip decides by the machine it runs on, so collect on the same kind of
system; and pip behind a proxy, which must be named in `options` because our environment has none.
"""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Literal

from packaging.utils import canonicalize_name, canonicalize_version, parse_wheel_filename

from localinstruct.config import listing
from localinstruct.errors import BundleError
from localinstruct.teacher.flashinfer import missing_wheels

Accelerator = Literal["cuda", "cpu"]
EXTRAS: dict[Accelerator, str] = {"cuda": "gpu", "cpu": "cpu"}
"""Accelerator -> the extra of ours that brings vLLM for it; `gguf` comes along for exports."""
GLIBC = (17, 35)
"""Oldest and newest glibc 2.x of wheels to ask for when the target's Python is not ours."""
MAX_METADATA = 2**20
UNREADABLE = (OSError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError)
"""Errors of zipfile for archives that are damaged, encrypted, or packed in an unknown way."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel, as its METADATA describes it."""

    path: Path
    name: str
    version: str
    licence: str
    source: str


def read_wheels(folder: Path) -> list[Wheel]:
    """Every wheel of a folder, by file name; BundleError with all that is not a readable wheel."""
    wheels, problems = [], []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name == "requirements.txt" or path.name.startswith("."):
            continue
        try:
            wheels.append(read_wheel(path))
        except ValueError as error:
            problems.append(f"{path.name}: {error}")
    if problems or not wheels:
        problem = listing(problems) if problems else "no wheel there"
        hint = "Collect wheels only: pip download --only-binary :all:"
        raise BundleError(f"{folder}: {problem}", hint)
    return wheels


def read_wheel(path: Path) -> Wheel:
    """Read METADATA of a wheel without unpacking it; ValueError for anything that is not one."""
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
        if not path.is_file():
            raise ValueError
    except ValueError:
        raise ValueError("expected a wheel, named NAME-VERSION-PYTHON-ABI-PLATFORM.whl") from None
    folder = "-".join(path.name.split("-")[:2])
    fields = HeaderParser().parsestr(_metadata(path, f"{folder}.dist-info/METADATA"))
    stated = fields.get("Name", ""), fields.get("Version", "")
    number = canonicalize_version(stated[1], strip_trailing_zero=False)
    if (canonicalize_name(stated[0]), number) != (name, str(version)):
        words = f"{stated[0][:40]} {stated[1][:40]}"
        raise ValueError(f"its name and its METADATA ({words}) do not agree")
    return Wheel(path, name, number, _licence(fields), f"pkg:pypi/{name}@{number}")


def requirements(digests: Mapping[str, Sequence[str]]) -> str:
    """Text of requirements.txt from {'name==version': SHA-256s}; BundleError for two versions."""
    names = [pin.split("==")[0] for pin in digests]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        problem = f"Two versions of {', '.join(twice)} among the wheels."
        raise BundleError(problem, "Keep one of each in the folder.")
    lines = [
        " \\\n    ".join([pin, *(f"--hash=sha256:{digest}" for digest in sorted(of_pin))])
        for pin, of_pin in sorted(digests.items())
    ]
    return "\n".join(lines) + "\n"


def install_command(folder: Path) -> str:
    """The command for the isolated side, in the Python environment that shall have the program."""
    options = f"--no-index --find-links {folder} --only-binary :all: --require-hashes"
    return f"python -m pip install {options} -r {folder / 'requirements.txt'}"


def download_command(
    program: str, into: Path, python: str, accelerator: Accelerator, options: Sequence[str] = ()
) -> list[str]:
    """The pip command that collects `program` and all it needs for a target.

    `program` is a wheel of ours, or a requirement; `python` is the target's version, such as 3.12;
    `options` are pip's own, such as --index-url or --proxy. BundleError for another `python`.
    """
    if not re.fullmatch(r"3\.[0-9]{1,2}", python):
        problem = f"--python {python}: expected a version such as 3.12."
        raise BundleError(problem, "Ask the target: python --version")
    command = [sys.executable, "-m", "pip", "download", "--only-binary", ":all:"]
    command += ["--dest", str(into), *options]
    if python != f"{sys.version_info[0]}.{sys.version_info[1]}":
        tag = f"cp{python.replace('.', '')}"
        command += ["--implementation", "cp", "--python-version", python]
        command += [word for abi in (tag, "abi3", "none") for word in ("--abi", abi)]
        command += [word for platform in _platforms() for word in ("--platform", platform)]
    return [*command, f"{program}[{EXTRAS[accelerator]},gguf]"]


def kernel_commands(command: Sequence[str], wheels: Sequence[Wheel]) -> list[list[str]]:
    """Commands of pip for FlashInfer's compiled kernels, which none of the wheels asks for.

    `command` is the one that brought the wheels.
    """
    wanted = missing_wheels([(wheel.name, wheel.version) for wheel in wheels])
    return [[*command[:-1], "--no-deps", name] for name in wanted]


def download(
    program: str, into: Path, python: str, accelerator: Accelerator, options: Sequence[str] = ()
) -> list[Wheel]:
    """Have pip collect the wheels: the one thing of ours that uses the network.

    BundleError with pip's last words.
    """
    command = download_command(program, into, python, accelerator, options)
    into.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key != "PIP_NO_INDEX"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        words = "\n".join((result.stderr or result.stdout).strip().splitlines()[-6:])
        hint = f"Try it by hand: {' '.join(command)}"
        raise BundleError(f"pip could not collect the wheels:\n{words}", hint)
    for more in kernel_commands(command, read_wheels(into)):
        subprocess.run(more, env=environment, capture_output=True, check=False)  # or said later
    return read_wheels(into)


def _platforms() -> Iterator[str]:
    machine = os.uname().machine
    yield from (f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC[1], GLIBC[0] - 1, -1))
    yield from (f"manylinux2014_{machine}", f"linux_{machine}")


def _metadata(path: Path, member: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return file.read(MAX_METADATA).decode("utf-8", "replace")
    except UNREADABLE as error:
        raise ValueError(f"not a readable wheel ({str(error)[:80]})") from None


def _licence(fields: Message) -> str:
    text = (fields.get("License-Expression") or fields.get("License") or "").strip()
    return text.splitlines()[0][:100] if text else "not stated in its METADATA"
