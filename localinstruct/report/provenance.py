"""How a run was made, for its report: commands, recipe, models, digests, versions, machine, times.

Read like the rest of the report: a key that an older run lacks is a part that is left out.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from localinstruct import __version__
from localinstruct.evaluation.verdict import work_seconds
from localinstruct.progress import duration
from localinstruct.recipe import Recipe
from localinstruct.records import Json, JsonObject, StageResult
from localinstruct.store.run import Run

Results = Mapping[str, StageResult | None]


def provenance(recipe: Recipe, run: Run, results: Results, where: str) -> JsonObject:
    """Everything to repeat the run: commands, recipe, models, digests, versions, machine, times."""
    generate, dataset, train = (
        results.get(name) or {} for name in ("generate", "dataset", "train")
    )
    machine: Any = generate.get("machine") or {}
    noted: JsonObject = {}
    if isinstance(machine, Mapping):  # it has the versions too: they are said once
        noted = machine.get("versions") or {}
        machine = {name: value for name, value in machine.items() if name != "versions"}
    files = {f"dataset/{name}": digest for name, digest in (dataset.get("sha256") or {}).items()}
    if train.get("adapter_sha256"):
        files["adapter"] = train["adapter_sha256"]
    return {
        "again": f"localinstruct run {where}/recipe.yaml --name {run.path.name}-again",
        "use": [
            f"localinstruct show {where} --rejects",
            f"localinstruct export {where} --format alpaca --output {run.path.name}.json",
            f"localinstruct chat {where}",
        ],
        "recipe": recipe.to_yaml(),
        "recipe_digest": recipe.digest,
        "models": _models(recipe, generate),
        "files": files,
        "versions": {"localinstruct": __version__, **noted, **(generate.get("versions") or {})},
        "machine": _flat(machine),
        "times": _times(run, results),
    }


def _models(recipe: Recipe, generate: StageResult) -> list[dict[str, str]]:
    """Role, name, digest, licence and obligations of each model at work.

    The recipe has only names, of a teacher also where none is asked.
    """
    stored = dict(generate.get("models") or {})
    names = recipe.models.model_dump().items()
    recipe_models = {role: {"name": name} for role, name in names if isinstance(name, str)}
    merged = {
        role: recipe_models.get(role, {}) | _as_object(stored.get(role))
        for role in {**recipe_models, **stored}
    }
    if recipe.generate.target == 0:
        merged = {role: merged[role] for role in ("student", "encoder") if role in merged}
    keys = ("name", "digest", "licence", "obligations")
    return [
        {"role": role} | {key: _words(values.get(key)) for key in keys}
        for role, values in merged.items()
    ]


def _as_object(value: Json) -> JsonObject:
    """A model in a result: an object, or the name alone."""
    if isinstance(value, Mapping):
        return {key: part for key, part in value.items() if part}
    return {"name": value} if value else {}


def _words(value: Json) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value)) or "none"
    return "" if value is None else str(value)


def _flat(values: Json, prefix: str = "") -> dict[str, str]:
    """Nested values as 'memory.total' -> text, for a two-column table."""
    if not isinstance(values, Mapping):
        return {prefix.rstrip(".") or "machine": _words(values)}
    flat: dict[str, str] = {}
    for key, value in values.items():
        is_nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if is_nested else {f"{prefix}{key}": _words(value)}
    return flat


def _times(run: Run, results: Results) -> list[tuple[str, str, str]]:
    """(stage, begin, time at work) of every stage that was begun, and all of them together."""
    rows, total = [], 0.0
    for name, result in results.items():
        if entry := run.stage(name):
            began = datetime.fromtimestamp(entry.started, UTC).strftime("%Y-%m-%d %H:%M:%S")
            seconds = work_seconds(result or {})
            total += seconds or 0.0
            rows.append((name, began, "not finished" if seconds is None else duration(seconds)))
    return [*rows, ("together", "", duration(total))] if rows else []
