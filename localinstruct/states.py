"""States of the stages of a run: whether each result still holds, and what has changed if not.

A result holds while everything that it was made from is as it was: the recipe's keys, the kept
rows, files, models, other results (`store.freshness`). One that does not is stale, and so is every
result that was made from a stale one, and the command that makes it again is known. Files that a
person has changed after a stage wrote them are that person's: what reads them is held against what
they are now. Not covered: folders of documents, which would be hashed at every look.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from localinstruct.curate.filters import VERSION
from localinstruct.dataset import edits
from localinstruct.dataset.mixing import asks_rules, state_of
from localinstruct.dataset.reviewed import state_of_reviews
from localinstruct.errors import LocalInstructError
from localinstruct.models.catalog import is_altered, load_catalog
from localinstruct.recipe import Recipe
from localinstruct.records import Json, JsonObject, StageResult, digest
from localinstruct.stages import NAMES, STAGES, Stage
from localinstruct.store import freshness
from localinstruct.store.folder import COMPARISONS
from localinstruct.store.freshness import READ, UNDATED, WROTE, Read
from localinstruct.store.run import Run, StageEntry


@dataclass(frozen=True, slots=True)
class State:
    """How a stage of a run stands; `why` says what has changed since a stale result was made."""

    stage: Stage
    entry: StageEntry | None
    state: Literal["not started", "begun", "finished", "stale"]
    why: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    """What else must be said beside the result."""
    edited: Mapping[str, str] = field(default_factory=dict)
    """File that was changed by hand after the stage wrote it -> what is otherwise."""

    @property
    def result(self) -> StageResult:
        """The stored numbers, whether they still hold or not."""
        return self.entry.result if self.entry else {}


States = Mapping[str, State]


def inputs_of(stage: Stage, recipe: Recipe, run: Run) -> str:
    """Digest of the keys that a stage reads and the results it uses.

    Results made before digests were kept are known by it alone.
    """
    data = _as_stored(recipe)
    used = [run.stage(name) for name in stage.uses]
    products = [entry.result.get("product", entry.finished) if entry else None for entry in used]
    mixed: list[Json] = []
    if stage.name == "dataset":
        mixed += state_of(recipe.dataset, _workspace(run))
        mixed += filter(None, [state_of_reviews(run.path)])
        if asks_rules(recipe.dataset, recipe.filters, _workspace(run)):
            mixed.append(_at(data, "filters"))
    if stage.name == "dataset" and recipe.train.template == "chat":
        mixed.append(recipe.models.student)  # its chat template decides which rows it can hold
    keys = _keys(stage, data)
    return digest([{key: _at(data, key) for key in keys}, products, *mixed])


def _keys(stage: Stage, data: JsonObject) -> list[str]:
    """Keys that the stage reads, without sections that stand nowhere: new ones, as by default."""
    return [key for key in stage.keys if key.partition(".")[0] in data]


def _as_stored(recipe: Recipe) -> JsonObject:
    """The recipe as a new run would store it: with the version of its rules."""
    if recipe.filters.rules is None:
        filters = recipe.filters.model_copy(update={"rules": VERSION})
        recipe = recipe.model_copy(update={"filters": filters})
    return recipe.model_dump(mode="json")


def read_now(
    stage: Stage, recipe: Recipe, run: Run, models: Mapping[str, Json] | None = None
) -> Read:
    """Everything that the stage reads, as it is now; `models` are those of `all_models`."""
    data, workspace = _as_stored(recipe), _workspace(run)
    models = all_models(recipe, run) if models is None else models
    names = [_model(recipe, role) for role in stage.models]
    read: dict[str, Mapping[str, Json]] = {
        "recipe": {
            name: value
            for key in _keys(stage, data)
            for name, value in _leaves(_at(data, key), key)
        },
        "run": {name: freshness.digest_of(run.path / name) for name in stage.reads},
        "workspace": {
            name: freshness.digest_of(workspace / name)
            for name in _outside(stage.name, recipe, workspace)
        },
        "models": {name: models[name] for name in names if name in models},
    }
    if stage.name == "dataset":
        if asks_rules(recipe.dataset, recipe.filters, workspace):
            rules = dict(_leaves(_at(data, "filters"), "filters"))
            read["recipe"] = {**read["recipe"], **rules}
        read["sources"] = _sources_now(recipe, workspace)
        ids = run.kept_ids()
        read["rows"] = {"kept": [len(ids), digest(ids)]}
        read["reviews"] = {"all": state_of_reviews(run.path)}
    if stage.name == "report":
        states = _states(recipe, run, STAGES[:-1], models)
        read["stages"] = {name: [_product(state), state.state] for name, state in states.items()}
        read["comparisons"] = {"all": digest(read_comparisons(run))}
    return read


def _sources_now(recipe: Recipe, workspace: Path) -> dict[str, Json]:
    """Run or file that is mixed in -> digest of its rows; what cannot be read is left out."""
    try:
        mixed = state_of(recipe.dataset, workspace)
    except (OSError, LocalInstructError):
        return {}
    sources = zip(recipe.dataset.sources, mixed, strict=True)
    return {source.path: found for source, found in sources if found != "missing"}


def all_models(recipe: Recipe, run: Run) -> dict[str, Json]:
    """Name -> digest of every model that a stage reads."""
    roles = {role: None for stage in STAGES for role in stage.models}
    return models_now([_model(recipe, role) for role in roles], _workspace(run))


def models_now(names: Iterable[str], workspace: Path) -> dict[str, Json]:
    """Name in models.yaml -> digest of its files; those that are not there are left out."""
    found, names = dict[str, Json](), list(names)
    if not names:
        return found
    try:
        models = load_catalog(workspace).models
    except LocalInstructError:
        return found
    for name in dict.fromkeys(names):
        try:
            found[name] = models[name].digest
            if not models[name].servers and is_altered(models[name]):
                found[name] = "not the files that models.yaml has digests of"
        except (KeyError, OSError, LocalInstructError):
            continue
    return found


def is_finished(stage: Stage, recipe: Recipe, run: Run) -> bool:
    """True while what the stage itself read and wrote is as it was: it is not run again."""
    entry = run.stage(stage.name)
    if entry is None or not entry.finished:
        return False
    if READ not in entry.result:
        return entry.inputs == inputs_of(stage, recipe, run)
    return not own_changes(stage, entry, recipe, run, read_now(stage, recipe, run))


def own_changes(stage: Stage, entry: StageEntry, recipe: Recipe, run: Run, now: Read) -> list[str]:
    """What has changed of that which a finished stage read, and what it wrote and is gone."""
    if READ not in entry.result:
        after = [name for name in stage.uses if (used := run.stage(name)) and READ in used.result]
        changed = after and entry.inputs != inputs_of(stage, recipe, run)
        reviews = {"reviews": {"all": None}} if "reviews" in now else {}
        said = freshness.changes(reviews, now)
        return said + ([f"{name} has been run since" for name in after] if changed else [])
    gone = [name for name in entry.result.get(WROTE, {}) if not (run.path / name).exists()]
    read = {key: part for key, part in _read(entry).items() if _makes_stale(stage, key)}
    return [*freshness.changes(read, now), *(f"{name} is gone" for name in gone)]


def _makes_stale(stage: Stage, group: str) -> bool:
    """False for teacher and seeds: rows are kept, whoever writes the next ones."""
    return not (stage.name == "generate" and group in ("models", "workspace"))


def states_of(recipe: Recipe, run: Run) -> States:
    """How every stage stands, in order."""
    return _states(recipe, run, STAGES, all_models(recipe, run))


def _states(
    recipe: Recipe, run: Run, stages: Iterable[Stage], models: Mapping[str, Json]
) -> dict[str, State]:
    states: dict[str, State] = {}
    for stage in stages:
        states[stage.name] = _state(stage, recipe, run, states, models)
    return states


def _state(
    stage: Stage, recipe: Recipe, run: Run, earlier: States, models: Mapping[str, Json]
) -> State:
    entry = run.stage(stage.name)
    if entry is None:
        return State(stage, None, "not started")
    if not entry.finished:
        return State(stage, entry, "begun")
    now = read_now(stage, recipe, run, models)
    why = own_changes(stage, entry, recipe, run, now)
    if stage.name != "report":  # it says itself how the others stand
        why += [words for name in stage.uses if (words := _because_of(earlier[name]))]
    remarks = [] if READ in entry.result else [UNDATED]
    beside = {key: part for key, part in _read(entry).items() if not _makes_stale(stage, key)}
    remarks += [
        f"{words} since; the rows are of before" for words in freshness.changes(beside, now)
    ]
    state: Literal["stale", "finished"] = "stale" if why else "finished"
    edited = edited_files(stage, entry, run)
    return State(stage, entry, state, tuple(dict.fromkeys(why)), tuple(remarks), edited)


def _read(entry: StageEntry) -> Read:
    read: Read = entry.result.get(READ, {})
    if entry.name == "dataset" and read and "reviews" not in read:  # made before there were any
        return {**read, "reviews": {"all": None}}
    return read


def _because_of(used: State) -> str:
    """Why a result made from this one is stale; "" when it is not, or a person's files are."""
    if used.state in ("finished", "not started") or used.edited:
        return ""
    state = "is stale" if used.state == "stale" else "has not finished"
    return f"{used.stage.name} {state}"


def edited_files(stage: Stage, entry: StageEntry, run: Run) -> dict[str, str]:
    """Files that are there and not as the stage wrote them -> what is otherwise."""
    result = entry.result
    if stage.name == "report":  # it is written again whenever it is asked for
        return {}
    wrote = result.get(WROTE)
    if wrote is None and stage.name == "dataset":
        wrote = {f"dataset/{name}": known for name, known in (result.get("sha256") or {}).items()}
    changed = [
        name
        for name, before in (wrote or {}).items()
        if (now := freshness.digest_of(run.path / name)) and now != before
    ]
    if stage.name != "dataset":
        return {name: "not the student that was trained here" for name in changed}
    names = {name: name.removeprefix("dataset/") for name in changed}
    return {
        name: edits.described(run, file, result.get(edits.SIDES[file]))
        for name, file in names.items()
    }


def results_of(states: States, run: Run) -> dict[str, StageResult | None]:
    """Each stage's result, None unless it has finished and holds.

    The dataset's counts are those of its files as they are; a student that was changed by hand has
    no training.
    """
    results: dict[str, StageResult | None] = {}
    for name, state in states.items():
        holds = state.state == "finished" or (name == "dataset" and bool(state.edited))
        holds = holds and not (name == "train" and state.edited)
        result = state.result if holds else None
        if result is not None and name == "dataset" and state.edited:
            result = edits.counted(result, run)
        results[name] = result
    return results


def renewal(states: States, name: str, where: str) -> str:
    """The command that makes a stale result hold again, or an unfinished one."""
    others = [used for used in states[name].stage.uses if _because_of(states[used])]
    return f"localinstruct {'run' if others else name} {where}"


def renewal_of_all(states: States, where: str) -> str:
    """The command that makes every stale result hold again; "" where all hold."""
    stale = [name for name, state in states.items() if state.state == "stale"]
    if len(stale) == 1:
        return renewal(states, stale[0], where)
    return f"localinstruct run {where}" if stale else ""


def stale_words(states: States, name: str, where: str) -> str:
    """'train.epochs was 3.0, is 1.0. Renew it: localinstruct train RUN'; "" for one that holds."""
    state = states[name]
    if state.state != "stale":
        return ""
    return f"{'; '.join(state.why)}. Renew it: {renewal(states, name, where)}"


def edited_words(states: States) -> list[str]:
    """A sentence for every file that was changed by hand after a stage wrote it."""
    return [
        f"{file} was changed by hand since {name} wrote it: {words}"
        for name, state in states.items()
        for file, words in state.edited.items()
    ]


def remarks(recipe: Recipe, run: Run, names: Sequence[str] = NAMES) -> list[str]:
    """Sentences on what is stale of these stages, and on files that were changed by hand."""
    return remarks_on({n: state for n, state in states_of(recipe, run).items() if n in names})


def remarks_on(states: States) -> list[str]:
    """Sentences on what is stale, and on files that were changed by hand."""
    stale = [
        f"{name} is stale: {'; '.join(state.why)}"
        for name, state in states.items()
        if state.state == "stale"
    ]
    return [*edited_words(states), *stale]


def read_comparisons(run: Run) -> list[JsonObject]:
    """Every stored comparison, by name, with "stale": what has changed since it was made.

    A file that cannot be read is left out.
    """
    comparisons = []
    for path in sorted((run.path / "evaluation" / COMPARISONS).glob("*.json")):
        try:
            stored = {"name": path.stem, **json.loads(path.read_text(encoding="utf-8"))}
            read = stored.get(READ)
            stored["stale"] = freshness.changes(read, comparison_now(read, run)) if read else []
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        comparisons.append(stored)
    return comparisons


def comparison_now(read: Read, run: Run) -> Read:
    """Digests of all that a comparison read, as it is now."""
    workspace = _workspace(run)
    return {
        "run": {name: freshness.digest_of(run.path / name) for name in read["run"]},
        "workspace": {name: freshness.digest_of(workspace / name) for name in read["workspace"]},
        "models": models_now(read["models"], workspace),
    }


def _outside(stage: str, recipe: Recipe, workspace: Path) -> list[str]:
    """Files of the workspace that a stage reads, apart from models and what is mixed in.

    Not a folder of documents, which would be hashed at every look.
    """
    tasks, text = recipe.evaluate.tasks, recipe.evaluate.text
    if stage == "generate":
        return [recipe.seeds] if (workspace / recipe.seeds).is_file() else []
    if stage == "dataset":
        seeds = [recipe.seeds] if recipe.dataset.include_seeds else []
        return [*seeds, *([tasks] if tasks and recipe.dataset.decontaminate else [])]
    asked = recipe.seeds if recipe.evaluate.constraints else None
    return [name for name in (tasks, text, asked) if name] if stage == "evaluate" else []


def _model(recipe: Recipe, role: str) -> str:
    return recipe.models.student if role == "student" else recipe.models.asked[role]


def _product(state: State) -> Json:
    if state.entry is None:
        return None
    product: Json = state.result.get("product", state.entry.finished)
    return product


def _workspace(run: Run) -> Path:
    return Path(run.get("workspace") or ".")


def _at(data: JsonObject, key: str) -> Json:
    value: Json = data
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else None
    return value


def _leaves(value: Json, name: str) -> Iterable[tuple[str, Json]]:
    """Nested keys as ('train.lora.r', 16)."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, part in value.items():
        yield from _leaves(part, f"{name}.{key}")
