"""A recipe: everything that shapes a run, in one YAML file, as frozen sections.

Sections live beside the code that uses them and are put together here. `load_recipe` reads the file, applies `--set`
overrides, and reports every problem at once. A workspace is the folder that holds models.yaml; a recipe's paths are
relative to the workspace it lies in, so that a recipe works from any directory. The resolved recipe is saved in the run.
"""

import difflib
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator

from localinstruct.config import Section, load_yaml, nearby, parse
from localinstruct.curate.filters import Filters
from localinstruct.curate.novelty import Novelty
from localinstruct.errors import RecipeError
from localinstruct.methods import MethodSection, Then
from localinstruct.records import digest
from localinstruct.teacher import Sampling, Serve


class Models(Section):
    """Names in models.yaml."""

    teacher: str
    """Writes the rows."""
    student: str
    """Is fine-tuned on them."""
    encoder: str = "all-minilm-l6-v2"
    """Embeds instructions for novelty."""
    answerer: str | None = None
    """Answers the instructions in `then.answer`, in place of the teacher that wrote them: a stronger model, say."""
    rivals: list[str] = Field(default_factory=list)
    """More models whose answers compete in `then.preference`."""
    judge: str | None = None
    """Grades answers; None lets the teacher do it."""

    @property
    def asked(self) -> dict[str, str]:
        """Role of a prompt -> name of the model that is asked; a role that nobody was named for falls to the teacher."""
        named = {"answerer": self.answerer, "judge": self.judge}
        rivals = {f"rival-{number}": name for number, name in enumerate(self.rivals, 1)}
        return {"teacher": self.teacher, **{role: name or self.teacher for role, name in named.items()}, **rivals}


class Generate(Section):
    """How much is generated, and when to stop."""

    target: int = Field(52_000, ge=1)
    """Kept rows wanted. The episode that reaches it is kept whole, so a few more may come."""
    in_flight: int | None = Field(None, ge=1, le=4096)
    """Episodes at work at the same time; None means twice serve.max_num_seqs. A method sees the rows kept up to that
    many episodes before its own, so this number is part of what makes a run repeatable."""
    stop_window: int = Field(1_000, ge=10)
    """Candidates looked back on by the stop rule."""
    stop_below: float = Field(0.01, ge=0, lt=1)
    """Stop (exit code 5) when a smaller share than this of the last stop_window candidates was kept; 0 never stops."""
    checker: Literal["nano"] | None = None
    """Knows the right answer of the teacher's tasks, so that the share of right answers can be reported."""


class Dataset(Section):
    """What the student sees of the kept rows."""

    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the kept rows set aside for the held-out loss."""
    max_rows: int | None = Field(None, ge=1)
    """Train on at most this many rows, drawn at random; None takes all."""
    include_seeds: bool = False
    """Add the seed tasks to the training rows."""
    decontaminate: bool = True
    """Drop rows whose instruction and input also stand in evaluate.tasks."""


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685)."""

    r: int = Field(16, ge=1)
    """Rank."""
    alpha: int = Field(32, ge=1)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on the adapter's input."""
    target_modules: str | list[str] = "all-linear"
    """Layers that get an adapter."""


class Train(Section):
    """Supervised fine-tuning with TRL's SFTTrainer. Defaults follow Alpaca where LoRA does not ask for others."""

    template: Literal["alpaca", "chat"] = "alpaca"
    """Alpaca's two prompts, or the student's own chat template."""
    lora: Lora = Lora()
    """The adapter."""
    epochs: float = Field(3, gt=0)
    """Passes over the training rows."""
    learning_rate: float = Field(2e-4, gt=0)
    """Peak learning rate (2e-5 in Alpaca's full fine-tuning; LoRA wants about ten times that)."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW weight decay."""
    batch_size: int = Field(128, ge=1)
    """Rows per optimizer step."""
    device_batch_size: int = Field(4, ge=1)
    """Rows on the device at once; batch_size / device_batch_size steps are accumulated."""
    max_length: int = Field(512, ge=8)
    """Tokens per row; longer rows lose the end of their answer and are counted."""
    save_steps: int = Field(200, ge=1)
    """Optimizer steps between checkpoints."""
    logging_steps: int = Field(1, ge=1)
    """Optimizer steps between metric lines."""
    gradient_checkpointing: bool = False
    """Recompute activations instead of storing them: less memory, about a third more time."""


class Evaluate(Section):
    """Base against student."""

    tasks: str | None = None
    """JSONL of held-out tasks with a checkable output (fields instruction, input, output, optional family)."""
    side_by_side: int = Field(12, ge=0)
    """Answers of base and student shown next to each other in the report."""
    max_tokens: int = Field(256, ge=1)
    """Output tokens per answer."""


class Recipe(Section):
    """Everything that shapes a run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Default name of the run."""
    about: str = ""
    """One sentence for `recipes list` and the report."""
    seed: int = 42
    """Of every random choice: demonstrations, splits, training."""
    sealed: bool = False
    """Run only in a process without a network, as --sealed does."""
    seeds: str = "seeds/seed_tasks.jsonl"
    """File of seed tasks, in any format `formats.py` reads."""
    models: Models
    """Who writes, who learns, who measures."""
    method: MethodSection
    """How instructions are made: one method by name, with its options."""
    then: Then = Then()
    """What is done with every row before it is filtered: steps by name, with their options."""
    generate: Generate = Generate()
    """How much, and when to stop."""
    sampling: Sampling = Sampling()
    """The teacher's sampling."""
    serve: Serve = Serve()
    """The teacher's server."""
    filters: Filters = Filters()
    """What is rejected by rule."""
    novelty: Novelty = Novelty()
    """What is rejected because it resembles something kept."""
    dataset: Dataset = Dataset()
    """Split and selection."""
    train: Train = Train()
    """Fine-tuning."""
    evaluate: Evaluate = Evaluate()
    """Base against student."""

    @field_validator("seeds")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("expected the path of a seed file")
        return value

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved recipe."""
        return digest(self.model_dump(mode="json"))

    def to_yaml(self) -> str:
        """The resolved recipe as YAML that `load_recipe` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)


def packaged_workspace() -> Path:
    """The recipes, seeds and models.yaml that came with the program: the checkout, or the installed package's copy."""
    package = Path(str(resources.files("localinstruct")))
    checkout = package.parent
    return checkout if (checkout / "models.yaml").is_file() else package / "workspace"


def find_workspace(start: Path) -> Path:
    """The nearest folder at or above `start` that holds models.yaml, or the packaged one."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "models.yaml").is_file():
            return folder
    return packaged_workspace()


def find_recipe(name: str) -> Path:
    """A recipe by path, or by bare name among the workspace's recipes and the packaged ones."""
    path = Path(name)
    if path.is_file():
        return path
    for workspace in (find_workspace(Path.cwd()), packaged_workspace()):
        candidate = workspace / "recipes" / f"{path.name.removesuffix('.yaml')}.yaml"
        if candidate.is_file() and path.parent in (Path(), Path("recipes")):
            return candidate
    known = sorted(p.stem for p in (packaged_workspace() / "recipes").glob("*.yaml"))
    close = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else nearby(path)
    raise RecipeError(f"{name}: no such recipe. Recipes that came with the program: {', '.join(known)}.", hint)


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and apply `key.path=value` overrides (values are YAML)."""
    data = load_yaml(path)
    for override in overrides:
        _override(data, override)
    return parse(Recipe, data, str(path))


def recipe_from_text(text: str, source: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Rebuild the recipe a run was made with; the same checks as `load_recipe`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.yaml")
        path.write_text(text, encoding="utf-8")
        return load_recipe(path, overrides)


def changed_keys(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """Every key whose value differs, as 'train.epochs' -> (old, new)."""
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    keys = sorted(before.keys() | after.keys())
    return {k: (before.get(k), after.get(k)) for k in keys if before.get(k) != after.get(k)}


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override}: expected key=value.", "For example: --set generate.target=500")
    *parents, last = key.strip().split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise RecipeError(f"--set {override}: {parent} is a value, not a section.")
    try:
        data[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise RecipeError(f"--set {override}: {value!r} is not a YAML value.") from None
