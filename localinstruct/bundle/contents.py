"""Contents of a bundle: models, recipes with all they name, seeds, wheels, program, results.

Everything is named by where it will lie in the workspace on the other side. Models pass
`models.checked` and are taken without links; hidden files, caches, logs and a run's store (which
holds every prompt) stay at home. Not covered: models at an endpoint, and seeds outside the
workspace, which a recipe could not find again.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from localinstruct.bundle.guard import collisions, name_problem
from localinstruct.bundle.wheels import Wheel, read_wheel, read_wheels, requirements
from localinstruct.config import listing
from localinstruct.errors import BundleError
from localinstruct.models.catalog import ModelSpec, checked, file_digests, load_catalog
from localinstruct.models.preflight import walk
from localinstruct.recipe import find_recipe, find_workspace, load_recipe
from localinstruct.records import JsonObject
from localinstruct.store.durable import sha256

NOT_STATED = "not stated"
OURS = "Apache-2.0"
RUN_FOLDERS = ("dataset", "adapter", "student", "evaluation")
RUN_FILES = (".html", ".json", ".jsonl", ".yaml", ".md", ".txt")
LEFT_IN_CHECKOUT = {"runs", "models", "dist", "build", "shared"}
BUILD_WHEEL = "Build one: pip wheel --no-deps ."


@dataclass(frozen=True, slots=True)
class Item:
    """One file to pack: its place in the workspace over there, and a file here or its content."""

    path: str
    source: Path | bytes
    kind: str
    licence: str = NOT_STATED
    origin: str = ""
    sha256: str = ""
    """Expected digest, where one is known; what is packed must have it."""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


@dataclass(frozen=True, slots=True)
class Selection:
    """Models, recipes, runs and more to be packed; recipes bring seeds, tasks and models along."""

    models: Sequence[str] = ()
    recipes: Sequence[str] = ()
    seeds: Sequence[Path] = ()
    runs: Sequence[Path] = ()
    wheels: Path | None = None
    program: Path | None = None
    """A wheel or source archive of ours, or a checkout."""
    python: str = ""
    accelerator: str = ""


@dataclass(frozen=True, slots=True)
class Contents:
    """All items in order of path, licence texts by file name, and the platform of the wheels."""

    items: list[Item]
    licences: dict[str, bytes] = field(default_factory=dict)
    platform: dict[str, str] = field(default_factory=dict)


def collect(selection: Selection, workspace: Path) -> Contents:
    """Look everything up.

    BundleError with every name that cannot travel, ModelError for a model that is not sound.
    """
    recipes = [find_recipe(name) for name in selection.recipes]
    specs = _specs(selection.models, recipes, workspace)
    wheels, program = _wheels(selection), selection.program
    items = [item for spec in specs for item in model_items(spec)]
    items += [models_yaml(specs)] if specs else []
    items += [item for path in recipes for item in recipe_items(path)]
    items += [Item(f"seeds/{p.name}", p, "seeds", origin=p.name) for p in selection.seeds]
    items += [item for path in selection.runs for item in run_items(path)]
    items += wheel_items(wheels, _tag(selection)) if selection.wheels else []
    if program and not (wheels and program.suffix == ".whl"):
        items += program_items(program)
    platform = _platform(selection) if wheels else {}
    return Contents(require_packable(items), licence_texts(specs, wheels, program), platform)


def _tag(selection: Selection) -> str:
    """Folder name of the wheels: py3.12-cuda, or less where less is known."""
    python = f"py{selection.python}" if selection.python else ""
    return "-".join(filter(None, (python, selection.accelerator))) or "wheels"


def _platform(selection: Selection) -> dict[str, str]:
    machine = os.uname().machine
    return {
        "python": selection.python,
        "accelerator": selection.accelerator,
        "machine": machine,
    }


def require_packable(items: Sequence[Item]) -> list[Item]:
    """The items in order, each once; BundleError with every name or file that cannot travel."""
    by_path: dict[str, Item] = {}
    problems = []
    for item in items:
        if by_path.setdefault(item.path, item).source != item.source:
            problems.append(f"{item.path}: two different files would lie there")
        problem = name_problem(item.path)
        if not isinstance(item.source, bytes) and not item.source.is_file():
            problem = f"no file at {item.source}"
        problems += [f"{item.path!a}: {problem}"] if problem else []
    problems += [f"{path!a}: {problem}" for path, problem in collisions(by_path)]
    if problems:
        message = f"Cannot be packed: {listing(problems)}"
        raise BundleError(message, "Rename or leave out what is named.")
    if not by_path:
        hint = "Name something: --model, --recipe, --run or --wheels."
        raise BundleError("Cannot be packed: nothing was named", hint)
    return [by_path[path] for path in sorted(by_path)]


def model_items(spec: ModelSpec) -> Iterator[Item]:
    """Files of a model that passed the gate, links followed."""
    root = checked(spec)
    for path in walk(root):
        name = path.relative_to(root).as_posix()
        if _is_left_out(name) or path.suffix == ".py":  # a packaged model's __init__.py
            continue
        place, sha256 = f"models/{spec.name}/{name}", spec.sha256.get(name, "")
        yield Item(place, path.resolve(), "model", spec.licence, spec.source, sha256)


def models_yaml(specs: Sequence[ModelSpec]) -> Item:
    """models.yaml with these models at models/NAME and digests of all that shapes an answer."""
    text = yaml_of({spec.name: entry(spec) for spec in specs})
    return Item("models.yaml", text.encode(), "models.yaml", OURS)


def entry(spec: ModelSpec) -> JsonObject:
    """The entry of a model for a workspace where it lies at models/NAME."""
    elsewhere = {"name", "path", "package", "sha256"}
    data = spec.model_dump(mode="json", exclude_defaults=True, exclude=elsewhere)
    return {"path": f"models/{spec.name}", **data, "sha256": file_digests(spec.directory)}


def yaml_of(entries: JsonObject) -> str:
    """Text of entries as they stand in models.yaml, a blank line between them."""
    blocks = ({name: entry} for name, entry in entries.items())
    return "\n".join(yaml.safe_dump(block, sort_keys=False, width=110) for block in blocks)


def recipe_items(path: Path) -> Iterator[Item]:
    """A recipe, the seeds and tasks it names, which must lie in its workspace, its own method."""
    recipe, workspace = load_recipe(path), find_workspace(path.parent)
    yield Item(f"recipes/{path.name}", path, "recipe", origin=recipe.name)
    if (own := recipe.method.own) is not None:
        if not own.file:
            raise BundleError(
                f"{path}: its method {own.name} came from a Python program and is in no file.",
                f"Put it into {workspace / 'methods' / f'{own.name}.py'} and name it in the recipe "
                f"as method: {{{own.name}: {{}}}}.",
            )
        yield Item(own.file, workspace / own.file, "method", NOT_STATED, recipe.name, own.sha256)
    for named in filter(None, (recipe.seeds, recipe.evaluate.tasks, recipe.evaluate.text)):
        place = Path(os.path.normpath(named)).as_posix()
        if Path(named).is_absolute() or not place.startswith("seeds/"):
            raise BundleError(
                f"{path}: names {named}, which would not be found on the other side.",
                f"Put it into {workspace / 'seeds'} and name it seeds/… in the recipe.",
            )
        yield from seed_items(place, workspace / place, recipe.name)


def seed_items(place: str, path: Path, recipe: str) -> Iterator[Item]:
    """A seed file, or a folder of documents without its links, which are not read either."""
    if not path.is_dir():
        yield Item(place, path, "seeds", origin=recipe)
        return
    for file in walk(path, skip=set()):
        name = file.relative_to(path).as_posix()
        if file.is_file() and not file.is_symlink() and not _is_left_out(name):
            yield Item(f"{place}/{name}", file, "seeds", origin=recipe)


def run_items(run: Path) -> Iterator[Item]:
    """Results of a run: dataset, adapter or whole student, evaluation, report, recipe.

    Its store, logs and checkpoints are not among them.
    """
    if not (run / "run.sqlite").is_file():
        hint = "Runs lie in runs/: localinstruct show NAME"
        raise BundleError(f"{run}: not a run (no run.sqlite in it).", hint)
    paths = [path for name in RUN_FOLDERS if (run / name).is_dir() for path in walk(run / name)]
    paths += [path for path in sorted(run.iterdir()) if path.is_file() and path.suffix in RUN_FILES]
    origin = run.resolve().name
    for path in paths:
        name = path.relative_to(run).as_posix()
        if not _is_left_out(name) and not path.is_symlink():
            yield Item(f"runs/{origin}/{name}", path, "run", origin=origin)


def wheel_items(wheels: Sequence[Wheel], tag: str) -> Iterator[Item]:
    """Wheels, and requirements.txt with their digests."""
    folder = f"wheelhouse/{tag}"
    digests: dict[str, list[str]] = {}
    for wheel in wheels:
        digest = sha256(wheel.path)
        digests.setdefault(f"{wheel.name}=={wheel.version}", []).append(digest)
        place = f"{folder}/{wheel.path.name}"
        yield Item(place, wheel.path, "wheel", wheel.licence, wheel.source, digest)
    text = requirements(digests)
    yield Item(f"{folder}/requirements.txt", text.encode(), "requirements", OURS)


def program_items(path: Path) -> Iterator[Item]:
    """Our own program as a wheel, a source archive, or the files of a checkout."""
    if path.is_file():
        yield Item(f"program/{path.name}", path, "program", OURS, "localinstruct")
        return
    if not (path / "pyproject.toml").is_file():
        problem = f"{path}: expected a wheel, a source archive or a checkout."
        raise BundleError(problem, BUILD_WHEEL)
    for file in walk(path, skip={".git", ".venv", "__pycache__", *LEFT_IN_CHECKOUT}):
        name = file.relative_to(path).as_posix()
        if not _is_left_out(name) and not file.is_symlink():
            yield Item(f"program/localinstruct/{name}", file, "program", OURS, "localinstruct")


def licence_texts(
    specs: Sequence[ModelSpec], wheels: Sequence[Wheel], program: Path | None
) -> dict[str, bytes]:
    """{file name: text} for LICENCES/: each model's terms and licence files, a table of wheels."""
    texts = {f"model-{spec.name}.txt": _terms(spec) for spec in specs}
    if wheels:
        head = ["As stated in each wheel, which carries its licence files.", ""]
        lines = [f"{wheel.name} {wheel.version}: {wheel.licence}" for wheel in wheels]
        texts["wheels.txt"] = "\n".join([*head, *lines, ""])
    if program:
        texts["localinstruct.txt"] = f"localinstruct: {OURS}. The text is in its LICENSE.\n"
    return {name: text.encode("utf-8", "replace") for name, text in texts.items()}


def _terms(spec: ModelSpec) -> str:
    head = [
        f"Model: {spec.name}",
        f"Licence: {spec.licence}",
        f"Source: {spec.source or NOT_STATED}",
        f"What it asks of a model trained on its outputs: {spec.obligations or NOT_STATED}",
        "",
    ]
    words = ("licen", "notice", "use_policy")
    paths = sorted(path for path in spec.directory.iterdir() if path.is_file())
    paths = [path for path in paths if path.name.lower().startswith(words)]
    texts = (f"--- {path.name}\n{path.read_text('utf-8', 'replace')}" for path in paths)
    return "\n".join([*head, *texts])


def _specs(names: Sequence[str], recipes: Sequence[Path], workspace: Path) -> list[ModelSpec]:
    """Models by name, each once: those of `names`, and of the recipes those on this disk."""
    catalog = load_catalog(workspace)
    specs = {name: catalog.get(name) for name in names}
    for path in recipes:
        models, own_catalog = load_recipe(path).models, load_catalog(find_workspace(path.parent))
        for name in (*models.asked.values(), models.student, models.encoder):
            spec = own_catalog.get(name)
            if not spec.servers:
                specs.setdefault(name, spec)
    return [specs[name] for name in sorted(specs)]


def _wheels(selection: Selection) -> list[Wheel]:
    """Wheels of the folder, and the program where it is a wheel that is not among them."""
    wheels = read_wheels(selection.wheels) if selection.wheels else []
    program = selection.program
    own = program if program and program.suffix == ".whl" else None
    if wheels and own and own.name not in {wheel.path.name for wheel in wheels}:
        wheels.append(_own_wheel(own))
    return wheels


def _own_wheel(path: Path) -> Wheel:
    try:
        return read_wheel(path)
    except ValueError as error:
        raise BundleError(f"{path}: {error}", BUILD_WHEEL) from None


def _is_left_out(name: str) -> bool:
    """True for files that stay at home: hidden ones and caches."""
    return any(part.startswith((".", "__pycache__")) for part in name.split("/"))
