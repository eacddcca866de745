"""Model card and dataset card, written from a run, in the form that model hubs read: README.md with
YAML front matter.

A card says what the run says: who made it of what, what the licences ask, digests, and numbers with
their conditions. A number that was not measured is not there. No text of a teacher and no path of
this machine gets into a card, and nothing is pushed anywhere. Not covered: legal advice, and the
licence of the seeds, which nobody has told us.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from localinstruct import __version__
from localinstruct.errors import LocalInstructError
from localinstruct.evaluation.verdict import signed
from localinstruct.methods import asked_in_chats
from localinstruct.models.catalog import ModelSpec, load_catalog
from localinstruct.nano import is_nano
from localinstruct.progress import duration, percent
from localinstruct.recipe import Recipe
from localinstruct.report.facts import finished_results, run_facts
from localinstruct.report.sections import Results
from localinstruct.store.durable import sha256, write_text
from localinstruct.store.folder import HELD_OUT, TRAIN
from localinstruct.store.run import Run
from localinstruct.training.student import ARTEFACTS

CARD = "README.md"
WRITERS = ("teacher", "answerer", "rival")
"""Roles whose words are in the rows; what their licences ask of a student reaches it through
them."""
PERMISSIVE = ("apache-2.0", "mit")
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
REASONS = 12
"""Reasons for rejects that are listed."""


def write_cards(run: Run, recipe: Recipe, workspace: Path) -> None:
    """README.md beside the student and beside the dataset's files, for what of them is there."""
    for kind, (name, file) in ARTEFACTS.items():
        if (run.path / name / file).is_file():
            form = "adapter" if kind == "adapter" else "merged"
            write_text(
                run.path / name / CARD, model_card(run, recipe, workspace, form, run.path / name)
            )
    files = {
        split: run.path / "dataset" / name for split, name in (("train", TRAIN), ("test", HELD_OUT))
    }
    if all(path.is_file() for path in files.values()):
        write_text(
            run.path / "dataset" / CARD, dataset_card(run, recipe, workspace, "jsonl", files)
        )


def model_card(run: Run, recipe: Recipe, workspace: Path, form: str, folder: Path) -> str:
    """README.md for the student as it lies in `folder`, written as `form` (adapter, merged, ollama,
    gguf)."""
    results = finished_results(run)
    models = models_of(recipe, results, workspace)
    common = _common(run, recipe, results, models)
    head = {
        **_student_licence(models),
        "base_model": models["student"]["source"] or models["student"]["name"],
        "base_model_relation": "adapter" if form == "adapter" else "finetune",
        "library_name": {"adapter": "peft", "gguf": "gguf"}.get(form, "transformers"),
        "pipeline_tag": "text-generation",
        "tags": ["localinstruct", *_method_tags(recipe), "trl", *_training_tags(recipe)],
    }
    return _fill(
        "model_card.md.j2",
        head,
        common
        | {
            "form": form,
            "train": recipe.train,
            "trained": results["train"] or {},
            "how": _how(recipe),
            "weights": _weights(folder),
            "template": "a template file of the run's own"
            if "/" in recipe.train.template
            else recipe.train.template,
            "judge_rows": [_judge_row(one) for one in common["scores"]["judged"]],
        },
    )


def dataset_card(
    run: Run, recipe: Recipe, workspace: Path, format: str, files: Mapping[str, Path]
) -> str:
    """The card of rows written as `format`, split -> file ("train" ->
    runs/NAME/dataset/train.jsonl)."""
    results = finished_results(run)
    models = {
        role: one
        for role, one in models_of(recipe, results, workspace).items()
        if role != "student"
    }
    common = _common(run, recipe, results, models)
    written = common["dataset"] if "test" in files else {}
    rows = written["train"] + written["held_out"] if written else run.count_kept()
    head = {
        "license": "unknown",
        "task_categories": ["text-generation"],
        "size_categories": [next((name for most, name in SIZES if rows < most), "1M<n<10M")],
        "pretty_name": run.path.name,
        "tags": ["localinstruct", "synthetic", *_method_tags(recipe)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": split, "path": path.name} for split, path in files.items()
                ],
            }
        ],
    }
    digests = {path.name: sha256(path) for path in files.values()}
    return _fill(
        "dataset_card.md.j2",
        head,
        common
        | {
            "format": format,
            "files": files,
            "rows": rows,
            "mixed": bool(written and common["sources"]),
            "digests": digests,
            "rejects": run.reject_counts()[:REASONS],
            "novelty": recipe.novelty,
            "coverage": (results["generate"] or {}).get("coverage") or [],
        },
    )


def models_of(recipe: Recipe, results: Results, workspace: Path) -> dict[str, dict[str, str]]:
    """Role -> name, digest, licence, obligations and the publisher's name: as the run noted them,
    else from models.yaml."""
    noted = (results["generate"] or {}).get("models") or {}
    names = {
        **recipe.models.asked,
        "student": recipe.models.student,
        "encoder": recipe.models.encoder,
    }
    names = {
        r: n
        for r, n in names.items()
        if r in ("teacher", "student", "encoder") or n != names["teacher"]
    }
    try:
        catalog: Mapping[str, ModelSpec] = load_catalog(workspace).models
    except LocalInstructError:
        catalog = {}
    return {
        role: _model(name, noted.get(role) or {}, catalog.get(name)) for role, name in names.items()
    }


def _model(name: str, noted: Mapping[str, str], spec: ModelSpec | None) -> dict[str, str]:
    """What is known of a model; what the run noted of another one in this role does not count."""
    known = noted if noted.get("name") == name else {}
    said = {key: known.get(key) or getattr(spec, key, "") for key in ("licence", "obligations")}
    return {
        "name": name,
        "digest": known.get("digest") or "",
        **said,
        "source": spec.source if spec else "",
    }


def hub_licence(licence: str) -> str:
    """The Hub's identifier of a licence by the name it has in models.yaml; "other" for one the Hub
    has none for."""
    if llama := re.match(r"Llama (\d\.\d)\b", licence):
        return f"llama{llama[1]}"
    word = licence.split(" ")[0].lower()
    known = {
        "apache-2.0": "apache-2.0",
        "mit": "mit",
        "gemma": "gemma",
        "unknown": "unknown",
        "": "unknown",
    }
    return known.get(word, "other")


def _student_licence(models: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The base's licence; "other", with all names, where a writer of the rows has one that asks
    more of a student.

    "unknown" as soon as one of them is.
    """
    base = hub_licence(models["student"]["licence"])
    writers = [
        hub_licence(one["licence"]) for role, one in models.items() if role.startswith(WRITERS)
    ]
    more = [one for one in dict.fromkeys(writers) if one not in (*PERMISSIVE, base)]
    if "unknown" in more:
        return {"license": "unknown"}
    if base != "other" and not more:
        return {"license": base}
    named = [
        models["student"]["licence"],
        *(m["licence"] for r, m in models.items() if r.startswith(WRITERS)),
    ]
    words = "-and-".join(dict.fromkeys(named))
    return {
        "license": "other",
        "license_name": re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-"),
    }


def _method_tags(recipe: Recipe) -> list[str]:
    return (
        ["self-instruct"]
        if recipe.method.name == "self_instruct"
        else ["self-instruct", recipe.method.name]
    )


def _training_tags(recipe: Recipe) -> list[str]:
    return [recipe.train.objective, *([recipe.train.mode] if recipe.train.mode != "full" else [])]


def _how(recipe: Recipe) -> str:
    """'LoRA (r 16, alpha 32, dropout 0.05) on answers (SFT)'."""
    train, lora = recipe.train, recipe.train.lora
    kinds = {"lora": "LoRA", "qlora": "QLoRA on a base in 4 bits", "full": "all weights"}
    variant = " with DoRA" if lora.use_dora else " with rsLoRA" if lora.use_rslora else ""
    size = (
        ""
        if train.mode == "full"
        else f"{variant} (r {lora.r}, alpha {lora.alpha}, dropout {lora.dropout:g})"
    )
    objective = (
        "on answers (SFT)"
        if train.objective == "sft"
        else f"on preference pairs (DPO, beta {train.beta:g})"
    )
    return f"{kinds[train.mode]}{size}, {objective}"


def _judge_row(one: Mapping[str, Any]) -> str:
    against = (
        f"against {Path(str(one['against'])).name}, {one['pairs']:,} pairs read by "
        f"{one['judge']} in both orders"
    )
    if one["rate"] is None:
        return f"the judge cannot tell them apart ({against})"
    low, high = one["interval"]
    return f"wins {one['rate']:.0%} (95 % interval {low:.0%} to {high:.0%}; {against})"


def _weights(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of weights in the folder, by name."""
    return {
        path.name: sha256(path)
        for path in sorted(folder.iterdir())
        if path.suffix in (".safetensors", ".gguf")
    }


def _common(
    run: Run, recipe: Recipe, results: Results, models: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """What both cards say."""
    facts = run_facts(run, recipe)
    generated, dataset = results["generate"] or {}, results["dataset"] or {}
    return {
        "name": run.path.name,
        "nano": any(map(is_nano, (recipe.models.teacher, recipe.models.student))),
        "models": models,
        "obligations": [(role, one) for role, one in models.items() if role != "encoder"],
        "method": recipe.method.name,
        "then": [name for name, options in recipe.then if options],
        "seeds": Path(recipe.seeds).name,
        "seeds_digest": run.get("seeds") or "",
        "documents": generated.get("documents"),
        "judge": recipe.models.asked["judge"]
        if "judge" in asked_in_chats(recipe.method, recipe.then)
        else "",
        "sources": [
            one | {"source": Path(one["source"]).name} for one in dataset.get("sources") or []
        ],
        "recipe_digest": recipe.digest,
        "seed": recipe.seed,
        "version": run.get("version") or __version__,
        "versions": generated.get("versions") or {},
        "dataset": dataset,
        **{part: facts[part] for part in ("data", "cost", "scores")},
    }


def _fill(name: str, head: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("localinstruct.report", "cards"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {
        "percent": percent,
        "duration": duration,
        "cell": _cell,
        "points": _points,
    }
    front = yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True, width=110)
    return environment.get_template(name).render(front=front, **values)


def _cell(value: Any) -> str:
    """A value inside a Markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _points(tasks: Mapping[str, Any]) -> str:
    """'+38.9 points (95 % interval +31.2 to +45.9)'."""
    gain, low, high = map(signed, (tasks["gain"], *tasks["interval"]))
    return f"{gain} points (95 % interval {low} to {high})"
