"""SBOM.cdx.json: the contents of a bundle as CycloneDX 1.6, for scanners of the other side.

Models are machine-learning-model components with one file component and SHA-256 per file, wheels
are libraries with a purl, the rest is data, files or an application. Only what can be checked
against bytes is stated; training data of models is not known to us, and vulnerabilities are for
scanners.
"""

import re
import uuid
from collections.abc import Sequence
from itertools import groupby

from localinstruct.bundle.guard import canonical
from localinstruct.records import Json, JsonObject, digest

SPDX = {
    "Apache-2.0",
    "MIT",
    "BSD-3-Clause",
    "BSD-2-Clause",
    "ISC",
    "MPL-2.0",
    "PSF-2.0",
    "Unlicense",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC-BY-NC-4.0",
    "CC0-1.0",
    "LGPL-3.0-only",
    "GPL-3.0-only",
    "0BSD",
    "Zlib",
}
"""Names that are written as SPDX ids; every other licence is written as a name."""
TYPES = {
    "wheel": "library",
    "program": "application",
    "seeds": "data",
    "run": "data",
    "recipe": "file",
    "method": "file",
    "requirements": "file",
    "models.yaml": "file",
}
NAMESPACE = uuid.UUID("6f1f6a2e-6a3c-5f0e-9b57-0b8b2d1d6c11")


def sbom(rows: Sequence[JsonObject], tool: str, created: str) -> bytes:
    """The document for the `files` of a manifest; the same files give the same serial number."""
    files = [{"path": row["path"], "sha256": row["sha256"]} for row in rows]
    packer = {"type": "application", "name": "localinstruct", "version": tool}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, digest(files))}",
        "version": 1,
        "metadata": {
            "timestamp": created,
            "tools": {"components": [packer]},
            "component": {"type": "data", "bom-ref": "bundle", "name": "localinstruct-bundle"},
        },
        "components": [*_models(rows), *(_single(row) for row in rows if row["kind"] != "model")],
    }
    return canonical(document)


def _models(rows: Sequence[JsonObject]) -> list[dict[str, Json]]:
    files = [row for row in rows if row["kind"] == "model"]
    by_name = groupby(files, key=lambda row: row["path"].split("/")[1])
    return [_model(name, list(rows)) for name, rows in by_name]


def _model(name: str, files: list[JsonObject]) -> dict[str, Json]:
    source = files[0]["source"]
    on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", source)
    return {
        "type": "machine-learning-model",
        "bom-ref": f"models/{name}",
        "name": source or name,
        **({"purl": f"pkg:huggingface/{source}"} if on_hub else {}),
        "licenses": _licences(files[0]["licence"]),
        "components": [
            {"type": "file", "bom-ref": row["path"], "name": row["path"], "hashes": _hashes(row)}
            for row in files
        ],
    }


def _single(row: JsonObject) -> dict[str, Json]:
    name, version = row["path"].split("/")[-1], {}
    purl = row["source"] if row["source"].startswith("pkg:pypi/") else ""
    if purl:
        name, _, number = purl.removeprefix("pkg:pypi/").partition("@")
        version = {"version": number, "purl": purl.replace("+", "%2B")}
    return {
        "type": TYPES[row["kind"]],
        "bom-ref": row["path"],
        "name": name,
        **version,
        "hashes": _hashes(row),
        "licenses": _licences(row["licence"]),
    }


def _hashes(row: JsonObject) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": row["sha256"]}]


def _licences(licence: str) -> list[dict[str, Json]]:
    return [{"license": {"id" if licence in SPDX else "name": licence}}]
