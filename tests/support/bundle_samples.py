"""A workspace to pack (models, one behind links as in a download cache; a recipe; seeds; a wheel; a
run), and its bundle."""

import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from localinstruct.bundle import guard
from localinstruct.bundle.contents import Contents, Selection, collect
from localinstruct.bundle.pack import PackResult, pack
from localinstruct.progress import Silent
from tests.support.sound_model import dump

ROOT = Path(__file__).parents[2]
PART = 64 * 1024
TEACHER_BYTES, STUDENT_BYTES = 300_000, 70_000


def model(folder: Path, size: int, seed: int) -> Path:
    """A model that passes the preflight, with `size` random bytes of weights."""
    folder.mkdir(parents=True)
    dump(
        folder / "config.json",
        {"model_type": "llama", "max_position_embeddings": 512, "architectures": ["X"]},
    )
    dump(folder / "tokenizer.json", {"model": {"vocab": {"a": 1}}})
    dump(folder / "tokenizer_config.json", {"chat_template": "{{ messages }}"})
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (folder / "LICENSE.txt").write_text(f"Terms of {folder.name}.\n")
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    content = random.Random(seed).randbytes(size)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + content)
    return folder


def behind_links(folder: Path, store: Path) -> None:
    """Move a model's files into `store` and leave a directory of links, as huggingface_hub's cache
    does."""
    store.mkdir(parents=True)
    folder.rename(store / "blobs")
    folder.symlink_to(store / "blobs", target_is_directory=True)


def wheel(
    folder: Path, name: str = "tiny", version: str = "1.0", member: str = "", metadata: str = ""
) -> Path:
    """A wheel with one module, small enough to install in a test."""
    folder.mkdir(parents=True, exist_ok=True)
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    told = (
        metadata
        or f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "VALUE = 42\n")
        archive.writestr(member or f"{info}/METADATA", told)
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(
            f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return path


def workspace(folder: Path) -> Path:
    """Two models (the student behind links), a recipe that names them, its seeds, and one run."""
    folder.mkdir(parents=True)
    model(folder / "models" / "big-teacher", TEACHER_BYTES, 1)
    behind_links(
        model(folder / "models" / "small-student", STUDENT_BYTES, 2),
        folder.parent / f"{folder.name}-cache",
    )
    entry = {
        "roles": ["teacher", "student", "encoder"],
        "context": 512,
        "licence": "MIT",
        "source": "Some/Teacher",
        "obligations": "Name it.",
    }
    models = {
        name: {"path": f"models/{name}", **entry} for name in ("big-teacher", "small-student")
    }
    (folder / "models.yaml").write_text(yaml.safe_dump(models))
    (folder / "recipes").mkdir()
    recipe = yaml.safe_load((ROOT / "recipes" / "nano.yaml").read_text())
    recipe |= {"name": "mine", "seeds": "seeds/mine.jsonl"}
    recipe["models"] = {
        "teacher": "big-teacher",
        "student": "small-student",
        "encoder": "small-student",
    }
    recipe["evaluate"] = {"tasks": "seeds/held_out.jsonl"}
    (folder / "recipes" / "mine.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "seeds").mkdir()
    (folder / "seeds" / "mine.jsonl").write_text('{"instruction": "x", "output": "y"}\n' * 50)
    (folder / "seeds" / "held_out.jsonl").write_text("")  # an empty file travels too
    _run(folder / "runs" / "mine")
    return folder


def _run(run: Path) -> None:
    for name in (
        "dataset/train.jsonl",
        "adapter/adapter_config.json",
        "evaluation/answers.jsonl",
        "evaluation/comparisons/other.json",
        "report.html",
        "recipe.yaml",
        "egress.json",
    ):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(f"{name}\n" * 40)
    for name in ("run.sqlite", "run.lock", "logs/vllm.log", "train/checkpoint-1/model.safetensors"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("stays at home")


def contents(folder: Path) -> Contents:
    """All that `workspace` made, and a wheelhouse."""
    wheels = folder.parent / f"{folder.name}-wheels"
    if not wheels.exists():
        wheel(wheels)
    return collect(
        Selection(
            recipes=[str(folder / "recipes" / "mine.yaml")],
            runs=[folder / "runs" / "mine"],
            wheels=wheels,
            python="3.11",
            accelerator="cpu",
        ),
        folder,
    )


def bundle(source: Path, out: Path, key: Path | None = None) -> PackResult:
    """Pack what `workspace` made in `source`."""
    return pack(contents(source), out, Silent(), PART, key)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def age(folder: Path, seconds: float = 10) -> None:
    """Make files look as if they had been written some time ago."""
    for path in folder.rglob("*"):
        found = path.stat()
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - int(seconds * 1e9)))


def forge(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Alter the manifest of a bundle and make its id right again, as an attacker without a key
    would."""
    manifest = json.loads((folder / guard.MANIFEST).read_bytes())
    edit(manifest)
    manifest["id"] = guard.manifest_id(manifest)
    (folder / guard.MANIFEST).write_bytes(guard.canonical(manifest))


def made_of(
    folder: Path, paths: Sequence[str], content: bytes = b"x" * 3000, part: int = PART
) -> None:
    """A bundle whose only fault is the names of its files, if any: right digests, right ranges,
    right id."""
    import hashlib

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    digest = hashlib.sha256(content).hexdigest()
    stream, rows = b"", []
    for path in sorted(paths):
        ranges, at, end = [], len(stream), len(stream) + len(content)
        while at < end:
            length = min(part - at % part, end - at)
            ranges.append({"part": at // part + 1, "offset": at % part, "length": length})
            at += length
        stream += content
        rows.append(
            {
                "path": path,
                "size": len(content),
                "sha256": digest,
                "licence": "",
                "source": "",
                "kind": "seeds",
                "ranges": ranges,
            }
        )
    pieces = [stream[at : at + part] for at in range(0, len(stream), part)]
    for number, piece in enumerate(pieces, start=1):
        (folder / guard.part_name(number)).write_bytes(piece)
    parts = [
        {
            "n": n,
            "name": guard.part_name(n),
            "size": len(piece),
            "sha256": hashlib.sha256(piece).hexdigest(),
        }
        for n, piece in enumerate(pieces, start=1)
    ]
    manifest = {
        "bundle": "localinstruct",
        "schema": 1,
        "tool": "0",
        "created": "",
        "files": rows,
        "parts": parts,
        "part_size": part,
        "platform": {},
        "side": [],
        "id": "",
    }
    (folder / guard.MANIFEST).write_bytes(guard.canonical(manifest))
    forge(folder, lambda manifest: None)


@dataclass
class Recorder:
    """A Progress that remembers."""

    said: list[str]
    totals: dict[str, float]

    def say(self, text: str) -> None:
        self.said.append(text)

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        self.totals[label] = total


def recorder() -> Recorder:
    return Recorder([], {})
