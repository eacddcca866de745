"""SBOM.cdx.json: what is in the bundle, as CycloneDX 1.6 JSON, for the scanners of the other side.

Models are machine-learning-model components with one file component and SHA-256 per file, wheels
are libraries with a purl, the rest is data, files or an application. Only what can be checked
against bytes is stated; training data of models is not known to us, and vulnerabilities are for
scanners.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from localinstruct.bundle.guard import canonical
from localinstruct.records import digest

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


def sbom(rows: Sequence[Mapping[str, Any]], tool: str, created: str) -> bytes:
    """The document for the `files` of a manifest; the same files give the same serial number."""
    parts = [{"path": row["path"], "sha256": row["sha256"]} for row in rows]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, digest(parts))}",
        "version": 1,
        "metadata": {
            "timestamp": created,
            "tools": {
                "components": [{"type": "application", "name": "localinstruct", "version": tool}]
            },
            "component": {"type": "data", "bom-ref": "bundle", "name": "localinstruct-bundle"},
        },
        "components": [*_models(rows), *(_single(row) for row in rows if row["kind"] != "model")],
    }
    return canonical(document)


def _models(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    models = [row for row in rows if row["kind"] == "model"]
    return [
        _model(name, list(files))
        for name, files in groupby(models, key=lambda row: row["path"].split("/")[1])
    ]


def _model(name: str, files: list[Mapping[str, Any]]) -> dict[str, Any]:
    purl = (
        {"purl": f"pkg:huggingface/{files[0]['source']}"}
        if re.fullmatch(r"[\w.-]+/[\w.-]+", files[0]["source"])
        else {}
    )
    return {
        "type": "machine-learning-model",
        "bom-ref": f"models/{name}",
        "name": files[0]["source"] or name,
        **purl,
        "licenses": _licences(files[0]["licence"]),
        "components": [
            {"type": "file", "bom-ref": row["path"], "name": row["path"], "hashes": _hashes(row)}
            for row in files
        ],
    }


def _single(row: Mapping[str, Any]) -> dict[str, Any]:
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


def _hashes(row: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": row["sha256"]}]


def _licences(stated: str) -> list[dict[str, Any]]:
    return [{"license": {"id" if stated in SPDX else "name": stated}}]
