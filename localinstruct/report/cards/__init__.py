"""Model card and dataset card of a run: README.md with YAML front matter, as hubs read it.

A card says what the run says: who made it of what, what the licences ask, digests, and numbers with
their conditions. A number that was not measured is not there. No text of a teacher and no path of
this machine gets into a card, and nothing is pushed anywhere. Not covered: legal advice, and the
licence of the seeds, which nobody has told us.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from localinstruct import __version__
from localinstruct.dataset.rows import OWN, RunRows
from localinstruct.errors import LocalInstructError
from localinstruct.evaluation import wording
from localinstruct.methods import asked_in_chats
from localinstruct.models.catalog import ModelSpec, load_catalog
from localinstruct.nano import is_nano
from localinstruct.progress import duration, loss, percent, similarity
from localinstruct.recipe import Recipe
from localinstruct.records import JsonObject
from localinstruct.report.facts import finished_results, run_facts
from localinstruct.report.provenance import Results
from localinstruct.states import UNDATED, edited_words, states_of
from localinstruct.store.durable import sha256, write_text
from localinstruct.store.folder import HELD_OUT, TRAIN
from localinstruct.store.run import Run
from localinstruct.training.student import ARTEFACTS

CARD = "README.md"
WRITERS = ("teacher", "answerer", "rival")
"""Roles whose words are in the rows, and whose licences therefore reach the student."""
PERMISSIVE = ("apache-2.0", "mit")
"""Licences that ask nothing of a student."""
HUB_LICENCES = {
    "apache-2.0": "apache-2.0",
    "mit": "mit",
    "gemma": "gemma",
    "unknown": "unknown",
    "": "unknown",
}
"""First word of a licence in models.yaml -> the Hub's identifier."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
REASONS = 12
"""Reasons for rejects that are listed."""


def write_cards(run: Run, recipe: Recipe, workspace: Path) -> None:
    """Write README.md beside the student and beside the dataset's files, where there are any."""
    for kind, (name, file) in ARTEFACTS.items():
        folder = run.path / name
        if (folder / file).is_file():
            form = "adapter" if kind == "adapter" else "merged"
            write_text(folder / CARD, model_card(run, recipe, workspace, form, folder))
    folder = run.path / "dataset"
    files = {"train": folder / TRAIN, "test": folder / HELD_OUT}
    if all(path.is_file() for path in files.values()):
        write_text(folder / CARD, dataset_card(run, recipe, workspace, "jsonl", files))


def model_card(run: Run, recipe: Recipe, workspace: Path, form: str, folder: Path) -> str:
    """The card of the student in `folder`, where it is written as `form` (a --format)."""
    results = finished_results(run, recipe)
    models = models_of(recipe, results, workspace)
    common = _common(run, recipe, results, models)
    methods = _method_tags(recipe) if common["written"] else []
    head = {
        **_student_licence(common["models"]),
        "base_model": models["student"]["source"] or models["student"]["name"],
        "base_model_relation": "adapter" if form == "adapter" else "finetune",
        "library_name": {"adapter": "peft", "gguf": "gguf"}.get(form, "transformers"),
        "pipeline_tag": "text-generation",
        "tags": ["localinstruct", *methods, "trl", *_training_tags(recipe)],
    }
    has_own_template = "/" in recipe.train.template
    values = {
        "form": form,
        "train": recipe.train,
        "trained": results["train"] or {},
        "how": _how(recipe),
        "weights": _weights(folder),
        "template": "a template file of the run's own"
        if has_own_template
        else recipe.train.template,
        "judge_rows": [_judge_row(judged) for judged in common["scores"]["judged"]],
    }
    return _fill("model_card.md.j2", head, common | values)


def dataset_card(
    run: Run, recipe: Recipe, workspace: Path, format: str, files: Mapping[str, Path]
) -> str:
    """The card of rows written as `format`; `files` has the file of each split (train, test)."""
    results = finished_results(run, recipe)
    models = models_of(recipe, results, workspace)
    del models["student"]
    common = _common(run, recipe, results, models)
    dataset = common["dataset"] if "test" in files else {}
    written = common["written"]
    common["nano"] = bool(written and is_nano(recipe.models.teacher))
    rows = dataset["train"] + dataset["held_out"] if dataset else common["data"]["rows"] or 0
    splits = [{"split": split, "path": path.name} for split, path in files.items()]
    head = {
        "license": "unknown",
        "task_categories": ["text-generation"],
        "size_categories": [next((name for most, name in SIZES if rows < most), "1M<n<10M")],
        "pretty_name": run.path.name,
        "tags": ["localinstruct", *(["synthetic", *_method_tags(recipe)] if written else [])],
        "configs": [{"config_name": "default", "data_files": splits}],
    }
    values = {
        "format": format,
        "files": files,
        "rows": rows,
        "own": "test" in files,  # the files of the run itself, not an export
        "similar": recipe.dataset.similar,
        "digests": {path.name: sha256(path) for path in files.values()},
        "rejects": RunRows(run).reject_counts()[:REASONS],
        "novelty": recipe.novelty,
        "coverage": (results["generate"] or {}).get("coverage") or [],
    }
    return _fill("dataset_card.md.j2", head, common | values)


def models_of(recipe: Recipe, results: Results, workspace: Path) -> dict[str, dict[str, str]]:
    """Role -> name, digest, licence, obligations and source (the publisher's name) of its model.

    As the run's result has them, else from models.yaml. A role that the teacher fills is left out.
    """
    stored = (results["generate"] or {}).get("models") or {}
    teacher = recipe.models.asked["teacher"]
    names = {
        role: name
        for role, name in recipe.models.asked.items()
        if role == "teacher" or name != teacher
    }
    names |= {"student": recipe.models.student, "encoder": recipe.models.encoder}
    try:
        catalog: Mapping[str, ModelSpec] = load_catalog(workspace).models
    except LocalInstructError:
        catalog = {}
    return {
        role: _model(name, stored.get(role) or {}, catalog.get(name))
        for role, name in names.items()
    }


def _model(name: str, stored: Mapping[str, str], spec: ModelSpec | None) -> dict[str, str]:
    """Facts about a model; those that the run stored of another model in this role do not count."""
    facts = stored if stored.get("name") == name else {}
    return {
        "name": name,
        "digest": facts.get("digest") or "",
        "licence": facts.get("licence") or (spec.licence if spec else ""),
        "obligations": facts.get("obligations") or (spec.obligations if spec else ""),
        "source": spec.source if spec else "",
    }


def hub_licence(licence: str) -> str:
    """The Hub's identifier of a licence in models.yaml; "other" where the Hub has none."""
    if llama := re.match(r"Llama (\d\.\d)\b", licence):
        return f"llama{llama[1]}"
    return HUB_LICENCES.get(licence.split(" ")[0].lower(), "other")


def _student_licence(models: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The student's licence as the Hub's front matter names it.

    The base's; "other", with all names, where a writer of the rows has a licence that asks more of
    a student; "unknown" as soon as one of them is.
    """
    own = models["student"]["licence"]
    writers = [model["licence"] for role, model in models.items() if role.startswith(WRITERS)]
    base = hub_licence(own)
    others = dict.fromkeys(map(hub_licence, writers))
    more = [licence for licence in others if licence not in (*PERMISSIVE, base)]
    if "unknown" in more:
        return {"license": "unknown"}
    if base != "other" and not more:
        return {"license": base}
    words = "-and-".join(dict.fromkeys([own, *writers])).lower()
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", words).strip("-")}


def _method_tags(recipe: Recipe) -> list[str]:
    method = recipe.method.name
    return ["self-instruct"] if method == "self_instruct" else ["self-instruct", method]


def _training_tags(recipe: Recipe) -> list[str]:
    return [recipe.train.objective, *([recipe.train.mode] if recipe.train.mode != "full" else [])]


def _how(recipe: Recipe) -> str:
    """'LoRA (r 16, alpha 32, dropout 0.05) on answers (SFT)'."""
    train, lora = recipe.train, recipe.train.lora
    kinds = {"lora": "LoRA", "qlora": "QLoRA on a base in 4 bits", "full": "all weights"}
    variant = " with DoRA" if lora.use_dora else " with rsLoRA" if lora.use_rslora else ""
    size = f"{variant} (r {lora.r}, alpha {lora.alpha}, dropout {lora.dropout:g})"
    objective = "on answers (SFT)"
    if train.objective != "sft":
        objective = f"on preference pairs (DPO, beta {train.beta:g})"
    return f"{kinds[train.mode]}{'' if train.mode == 'full' else size}, {objective}"


def _judge_row(judged: JsonObject) -> str:
    against = (
        f"against {Path(str(judged['against'])).name}, {judged['pairs']:,} pairs read by "
        f"{judged['judge']} in both orders"
    )
    if judged["rate"] is None:
        return f"the judge cannot tell them apart ({against})"
    return f"wins {wording.wins(judged)}, its 95 % interval, {against}"


def _weights(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of weights in the folder, by name."""
    return {
        path.name: sha256(path)
        for path in sorted(folder.iterdir())
        if path.suffix in (".safetensors", ".gguf")
    }


def _common(
    run: Run, recipe: Recipe, results: Results, models: Mapping[str, Mapping[str, str]]
) -> JsonObject:
    """The values that both cards take."""
    facts, states = run_facts(run, recipe), states_of(recipe, run)
    written, mixed = facts["data"]["kept"] or 0, facts["data"]["mixed"] or 0
    if not written:  # nobody was asked: the models that the recipe names for it have no part in it
        models = {role: own for role, own in models.items() if not role.startswith(WRITERS)}
    generated, dataset = results["generate"] or {}, results["dataset"] or {}
    is_judged = "judge" in asked_in_chats(recipe.method, recipe.then)
    sources = dataset.get("sources") or []
    return {
        "name": run.path.name,
        "nano": is_nano(recipe.models.student) or (written and is_nano(recipe.models.teacher)),
        "written": written,
        "mixed": bool(mixed or sources),
        "models": models,
        "obligations": [(role, model) for role, model in models.items() if role != "encoder"],
        "method": recipe.method.name,
        "then": [name for name, options in recipe.then if options],
        "seeds": Path(recipe.seeds).name,
        "seeds_digest": run.get("seeds") or "",
        "documents": generated.get("documents"),
        "judge": recipe.models.asked["judge"] if is_judged else "",
        "sources": [
            source | {"source": Path(source["source"]).name}
            for source in sources
            if written or source["source"] != OWN
        ],
        "recipe_digest": recipe.digest,
        "seed": recipe.seed,
        "version": run.get("version") or __version__,
        "versions": generated.get("versions") or {},
        "dataset": dataset,
        "reviewed": RunRows(run).reviewed_words,
        "stale": {name: "; ".join(state.why) for name, state in states.items()},
        "edits": edited_words(states),
        "undated": [name for name, state in states.items() if UNDATED in state.remarks],
        **{part: facts[part] for part in ("data", "cost", "scores")},
    }


def _fill(name: str, head: JsonObject, values: JsonObject) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("localinstruct.report", "cards"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"percent": percent, "duration": duration, "cell": _cell}
    environment.filters |= {"gain": wording.gain, "perplexity": wording.perplexity}
    environment.filters |= {"loss": loss, "similarity": similarity}
    front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=110)
    return environment.get_template(name).render(front=front, **values)


def _cell(value: object) -> str:
    """A value inside a Markdown table: on one line, bars escaped."""
    return " ".join(str(value).split()).replace("|", "\\|")
