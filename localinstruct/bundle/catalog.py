"""Enter the models of a bundle into the models.yaml of a workspace, keeping all its entries.

An entry of the same name is kept when it means the same files; it is completed or replaced in place
when it lacks digests or names a place where there is nothing; anything else is a conflict that a
person decides. The edited text is parsed again and must differ in nothing else. ruamel.yaml is not
used: it keeps a comment with the value before it, so the heading of the next entry would go with a
replaced one. Not covered: comments inside a replaced entry, which go with it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from localinstruct.bundle.contents import yaml_of
from localinstruct.config import NOT_YAML, listing, load_yaml
from localinstruct.errors import BundleError, LocalInstructError
from localinstruct.models.catalog import Catalog, ModelSpec, file_digests, load_catalog
from localinstruct.records import JsonObject

MAX_BYTES = 4 * 2**20
HEAD = "# Models of this workspace. Fields and further entries: localinstruct models --help\n"


@dataclass(frozen=True, slots=True)
class Merge:
    """Plan for models.yaml: its new text, None where nothing changes; `notes` on entries kept."""

    text: str | None
    notes: list[str]


@dataclass(frozen=True, slots=True)
class _Decision:
    """Decision on one entry: the one to `write`, or why the present one stays or is a conflict."""

    write: JsonObject | None = None
    note: str = ""
    conflict: str = ""


def bundled_entries(content: bytes, staged: Path) -> dict[str, JsonObject]:
    """Entries of a bundle's models.yaml, which stands in `staged`.

    Each must be a directory models/NAME with the digests of its files; BundleError for any that
    leads elsewhere. Aliases of YAML are refused.
    """
    if len(content) > MAX_BYTES:
        raise _refusal(f"refused: more than {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8")
        aliases = any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))
    except NOT_YAML as error:
        raise _refusal(f"not readable as YAML ({str(error)[:80]})") from None
    if aliases:
        raise _refusal("refused: aliases, which can stand for any amount of text")
    try:
        specs = load_catalog(staged).models
    except LocalInstructError as error:
        raise _refusal(f"refused: {error.message}") from None
    models = staged.absolute() / "models"
    wrong = [n for n, spec in specs.items() if spec.path != str(models / n) or not spec.sha256]
    if wrong:
        raise _refusal(f"refused: {', '.join(wrong)}: expected models/NAME with digests")
    return dict(yaml.safe_load(text))


def _refusal(reason: str) -> BundleError:
    return BundleError(f"models.yaml of the bundle: {reason}")


def merge(workspace: Path, bundled: Mapping[str, JsonObject]) -> Merge:
    """Plan the new models.yaml of a workspace.

    BundleError with every entry that means something else there.
    """
    path = workspace / "models.yaml"
    if not path.is_file():
        return Merge(HEAD + "\n" + yaml_of(dict(bundled)), [])
    data, catalog, text = load_yaml(path), load_catalog(workspace), path.read_text(encoding="utf-8")
    merged, notes, conflicts = dict(data), list[str](), list[str]()
    for name, entry in bundled.items():
        decision = _decide(name, entry, data, catalog, workspace)
        notes += [f"{name}: {decision.note}"] if decision.note else []
        conflicts += [f"{name}: {decision.conflict}"] if decision.conflict else []
        if decision.write is not None and decision.write != data.get(name):
            merged[name] = decision.write
            text = _with_entry(text, name, decision.write, name in data)
    if not conflicts and _parsed(text) != merged:
        changes = {name: bundled[name] for name in bundled if merged[name] != data.get(name)}
        reason = "cannot be edited without changing other entries (anchors?)"
        conflicts.append(f"{reason}; enter by hand:\n{yaml_of(changes)}")
    if conflicts:
        hint = "Rename or correct these entries, and import again."
        raise BundleError(f"{path}: {listing(conflicts)}", hint)
    return Merge(text if merged != data else None, notes)


def _decide(
    name: str, entry: JsonObject, data: JsonObject, catalog: Catalog, workspace: Path
) -> _Decision:
    if name not in data:
        return _Decision(write=entry)
    spec = catalog.models[name]
    if spec.served:
        how = "at an endpoint" if spec.servers else "by llama.cpp"
        return _Decision(conflict=f"the entry here is served {how}")
    if spec.path and Path(spec.path) == (workspace / "models" / name).absolute():
        return _complete(spec, entry, data[name])
    if not spec.present:
        return _Decision(write=entry)
    if file_digests(spec.directory) == entry["sha256"]:
        place = spec.directory
        return _Decision(note=f"kept as it stands here; the same files lie in {place}")
    return _Decision(conflict=f"the entry here means other files, in {spec.directory}")


def _complete(spec: ModelSpec, entry: JsonObject, present: JsonObject) -> _Decision:
    """Add the digests that an entry lacks; a conflict where it has others."""
    if not spec.sha256:
        return _Decision(write=present | {"sha256": entry["sha256"]})
    if dict(spec.sha256) != entry["sha256"]:
        return _Decision(conflict="the entry here has other digests")
    return _Decision()


def _parsed(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except NOT_YAML:
        return None


def _with_entry(text: str, name: str, entry: JsonObject, present: bool) -> str:
    """The text with this entry, in the place of the present one or at the end."""
    block = yaml_of({name: entry})
    if not present:
        return f"{text.rstrip()}\n\n{block}"
    pattern = rf"^{re.escape(name)}:[^\n]*\n(?:[ \t]+[^\n]*\n|[ \t]*\n(?=[ \t]*[ \t][^\s]))*"
    whole_lines = text if text.endswith("\n") else f"{text}\n"
    return re.sub(pattern, lambda _: block, whole_lines, count=1, flags=re.MULTILINE)
