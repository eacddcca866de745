"""Output of `doctor` and `models`: values in, lines of `console` out."""

from collections.abc import Iterable
from pathlib import Path

from localinstruct import console
from localinstruct.fit.doctor import doctor_facts
from localinstruct.models.catalog import ModelSpec, load_catalog
from localinstruct.models.catalog import verify as verify_model
from localinstruct.models.chat_template import notes_on
from localinstruct.models.description import described
from localinstruct.nano import LABEL
from localinstruct.recipe import find_workspace


def doctor(json: bool) -> None:
    """Show every fact of this machine, the parts that would not work, and how to mend them."""
    facts = doctor_facts(find_workspace(Path.cwd()))
    if json:
        console.as_json(
            [{"name": f.name, "value": f.value, "ok": f.ok, "fix": f.fix} for f in facts]
        )
        return
    for fact in facts:
        console.line(f"{'ok  ' if fact.ok else 'FIX '} {fact.name}: {fact.value}")
        if not fact.ok and fact.fix:
            console.line(f"       → {fact.fix}")
    wrong = sum(not fact.ok for fact in facts)
    console.heading(f"{wrong} of {len(facts)} need mending" if wrong else f"all {len(facts)} well")


def models(json: bool) -> None:
    """Show the catalog as a table, and what its licences ask."""
    catalog = load_catalog(find_workspace(Path.cwd()))
    specs = [catalog.get(name) for name in catalog.names()]
    if json:
        console.as_json([{**spec.model_dump(mode="json"), "here": _here(spec)} for spec in specs])
        return
    rows = [
        (
            spec.name,
            _size(spec),
            _weights(spec),
            "chat" if spec.chat else "base",
            _here(spec),
            "/".join(spec.roles),
            spec.licence,
        )
        for spec in specs
    ]
    console.table(("name", "size", "bf16 GiB", "kind", "here", "roles", "licence"), rows)
    console.line()
    console.heading("What a licence asks of a model that was trained on such a model's output")
    licences = dict.fromkeys((spec.licence, spec.obligations) for spec in specs if spec.obligations)
    obligations = [(licence, " ".join(text.split())) for licence, text in licences]
    console.table(("licence", "asks"), obligations)
    console.note(f"nano-*: {LABEL}. Memory in other precisions: localinstruct models list --json")


def _here(spec: ModelSpec) -> str:
    return "endpoint" if spec.servers else "yes" if spec.present else "no"


def _size(spec: ModelSpec) -> str:
    count = spec.parameters or 0
    return f"{count / 1e9:.1f} B" if count >= 1e8 else f"{count / 1e6:.1f} M" if count else "?"


def _weights(spec: ModelSpec) -> str:
    needed = spec.memory_gib.get("bf16")
    return "?" if not needed else f"{needed:.1f}" if needed >= 0.1 else "<0.1"


def entered(spec: ModelSpec, facts: Iterable[tuple[str, str]], json: bool) -> None:
    """Show a model that was entered in models.yaml: what its files say, its licence, its notes."""
    facts = (*described(spec.directory), *facts)
    notes = notes_on(spec.name, spec.directory, spec.template)
    if json:
        said = [". ".join(filter(None, (note.words, note.fix))) for note in notes]
        terms = {"licence": spec.licence, "obligations": spec.obligations}
        name = {"name": spec.name, "digest": spec.digest, "path": str(spec.directory)}
        console.as_json(name | {"notes": said, "facts": dict(facts)} | terms)
        return
    console.line(f"{spec.name} entered; digest {spec.digest[:12]}")
    console.pairs(facts)
    console.line(f"licence {spec.licence}: {spec.obligations}")
    for note in notes:
        console.note(f"{spec.name} {note.words}" + (f"; {note.fix}" if note.fix else ""))


def verify_models(name: str | None, json: bool) -> bool:
    """Check one model, or every one that is on this disk; True when all are well."""
    catalog = load_catalog(find_workspace(Path.cwd()))
    specs = [catalog.get(n) for n in ([name] if name else catalog.names())]
    specs = specs if name else [spec for spec in specs if not spec.servers and spec.present]
    by_model = {spec.name: verify_model(spec) for spec in specs}
    if json:
        console.as_json(by_model)
    else:
        for model, problems in by_model.items():
            console.line(f"{model}: {f'{len(problems)} problems' if problems else 'well'}")
            for problem in problems:
                console.line(f"  - {problem}")
    return not any(by_model.values())
