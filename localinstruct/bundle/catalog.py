"""Enter the models of a bundle into the models.yaml of a workspace, keeping everything that stands
there.

An entry of the same name is kept when it means the same files; it is completed or replaced in place
when it lacks digests or names a place where there is nothing; anything else is a conflict that a
person decides. The edited text is parsed again and must differ in nothing else. Not covered:
comments inside a replaced entry, which go with it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from localinstruct.bundle.contents import yaml_of
from localinstruct.config import listing, load_yaml
from localinstruct.errors import BundleError, LocalInstructError
from localinstruct.models.catalog import Catalog, ModelSpec, file_digests, load_catalog

MAX_BYTES = 4 * 2**20
HEAD = "# Models of this workspace. Fields and further entries: localinstruct models --help\n"


@dataclass(frozen=True, slots=True)
class Merge:
    """What models.yaml will hold: its text, or None where nothing changes, and sentences about what
    was kept."""

    text: str | None
    notes: list[str]


def bundled_entries(content: bytes, staged: Path) -> dict[str, dict[str, Any]]:
    """Entries of a bundle's models.yaml, which stands in `staged`; BundleError for any that leads
    elsewhere.

    Each must be a directory models/NAME with the digests of its files; aliases of YAML are refused.
    """
    if len(content) > MAX_BYTES:
        raise BundleError(f"models.yaml of the bundle: refused: more than {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8")
        aliases = any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(
            f"models.yaml of the bundle: not readable as YAML ({str(error)[:80]})"
        ) from None
    if aliases:
        raise BundleError(
            "models.yaml of the bundle: refused: aliases, which can stand for any amount of text"
        )
    try:
        specs = load_catalog(staged).models
    except LocalInstructError as error:
        raise BundleError(f"models.yaml of the bundle: refused: {error.message}") from None
    wrong = [
        name
        for name, spec in specs.items()
        if spec.path != str(staged.absolute() / "models" / name) or not spec.sha256
    ]
    if wrong:
        raise BundleError(
            f"models.yaml of the bundle: refused: {', '.join(wrong)}: expected models/NAME with "
            "digests"
        )
    return dict(yaml.safe_load(text))


def merge(workspace: Path, bundled: Mapping[str, dict[str, Any]]) -> Merge:
    """Plan the new models.yaml of a workspace; BundleError with every entry that means something
    else there."""
    path = workspace / "models.yaml"
    if not path.is_file():
        return Merge(HEAD + "\n" + yaml_of(dict(bundled)), [])
    data, catalog, text = load_yaml(path), load_catalog(workspace), path.read_text(encoding="utf-8")
    wanted, notes, conflicts = dict(data), list[str](), list[str]()
    for name, entry in bundled.items():
        found = _decide(name, entry, data, catalog, workspace)
        if isinstance(found, str):
            (conflicts if found.startswith("!") else notes).append(f"{name}: {found.lstrip('!')}")
        elif found != data.get(name):
            wanted[name] = found
            text = _with_entry(text, name, found, name in data)
    if not conflicts and _loaded(text) != wanted:
        by_hand = yaml_of(
            {name: bundled[name] for name in bundled if wanted[name] != data.get(name)}
        )
        conflicts.append(
            f"cannot be edited without changing other entries (anchors?); enter by hand:\n{by_hand}"
        )
    if conflicts:
        raise BundleError(
            f"{path}: {listing(conflicts)}", "Rename or correct these entries, and import again."
        )
    return Merge(text if wanted != data else None, notes)


def _decide(
    name: str, entry: dict[str, Any], data: Mapping[str, Any], catalog: Catalog, workspace: Path
) -> dict[str, Any] | str:
    """The entry that shall stand there, or a sentence why the present one stays; one with '!' is a
    conflict."""
    if name not in data:
        return entry
    spec = catalog.models[name]
    if spec.endpoint:
        return "!the entry here is served at an endpoint"
    if spec.path and Path(spec.path) == (workspace / "models" / name).absolute():
        return _completed(spec, entry, data[name])
    if not spec.present:
        return entry
    if file_digests(spec.directory) == entry["sha256"]:
        return f"kept as it stands here; the same files lie in {spec.directory}"
    return f"!the entry here means other files, in {spec.directory}"


def _completed(
    spec: ModelSpec, entry: dict[str, Any], present: dict[str, Any]
) -> dict[str, Any] | str:
    if not spec.sha256:
        return present | {"sha256": entry["sha256"]}
    return present if dict(spec.sha256) == entry["sha256"] else "!the entry here has other digests"


def _loaded(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _with_entry(text: str, name: str, entry: dict[str, Any], present: bool) -> str:
    """The text with this entry, in the place of the present one or at the end."""
    block = yaml_of({name: entry})
    if not present:
        return f"{text.rstrip()}\n\n{block}"
    pattern = rf"^{re.escape(name)}:[^\n]*\n(?:[ \t]+[^\n]*\n|[ \t]*\n(?=[ \t]*[ \t][^\s]))*"
    return re.sub(
        pattern,
        lambda _: block,
        text + ("" if text.endswith("\n") else "\n"),
        count=1,
        flags=re.MULTILINE,
    )
